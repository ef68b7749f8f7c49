//! A backbone for which nothing holds that only a described network promises.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;
use rekindle_transfer::{Backbone, Classifier};
use rekindle_weights::state_dict;

/// Two convolutions and a pooling that is not idempotent: the mean square plus one.
#[derive(Module, Debug)]
pub struct OddNet {
    first: Conv2d,
    second: Conv2d,
}

impl OddNet {
    pub fn classifier(classes: usize) -> Classifier<Self> {
        let device = Device::flex();
        let conv = |channels| {
            Conv2dConfig::new(channels, [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(&device)
        };
        let net = Self {
            first: conv([3, 4]),
            second: conv([4, 6]),
        };
        let mut shapes = state_dict::shapes(&net).into_iter();
        let net = state_dict::assign(net, |_| {
            let (_, shape) = shapes.next()?;
            Some(super::sines(&shape, shape.len()))
        });
        Classifier::new(net, classes, 5, &device)
    }
}

impl Backbone for OddNet {
    fn stage_names(&self) -> Vec<&str> {
        vec!["first", "second"]
    }

    fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Tensor<4> {
        let convolutions = [&self.first, &self.second];
        convolutions[stage].forward(x)
    }

    fn pool(&self, x: Tensor<4>) -> Tensor<2> {
        let squares = x.square().add_scalar(1.0);
        squares.mean_dim(3).mean_dim(2).flatten(1, 3)
    }

    fn num_features(&self) -> usize {
        6
    }

    fn stage_of(&self, path: &str) -> usize {
        usize::from(path.starts_with("second"))
    }

    fn in_channels(&self) -> usize {
        3
    }
}
