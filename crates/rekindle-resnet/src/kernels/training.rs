//! Stages of a network on an autodiff device: its modules' weights through the operations.

use std::ops::Range;

use burn::backend::{Dispatch, DispatchTensor};
use burn::nn::conv::Conv2d;
use burn::prelude::*;
use rekindle_kernels::Statistics;
use rekindle_nn::cpu::layout::Blocked;

use super::layer::{Layer, running_statistics};
use super::operations::ResNetOperations;
use super::residual::ResidualBlock;
use super::stem::Pooling;
use super::weights::{BlockWeights, LayerWeights};
use crate::{BatchNorm, Block, ResNet};

/// As [`forward_stages`](super::forward_stages).
pub(super) fn forward_stages(
    resnet: &ResNet,
    stages: Range<usize>,
    x: Tensor<4>,
) -> Option<Blocked> {
    let has_stem = stages.start == 0;
    let blocks = stages.flat_map(|stage| resnet.blocks(stage));
    let blocks = blocks.map(Modules::of).collect::<Option<Vec<_>>>()?;
    let mut channels = x.dims()[1];
    let stem = if has_stem {
        Some(Modules::new([(&resnet.conv1, &resnet.bn1)])?)
    } else {
        None
    };
    for layers in stem.iter().chain(&blocks) {
        channels = layers.follows(channels)?;
    }
    let x = match stem {
        Some(stem) => stem.run_pooled(x.into_dispatch(), Pooling::STEM)?,
        None => Blocked::new(x),
    };
    blocks.iter().try_fold(x, |x, block| block.run_block(x))
}

/// Images through layers with ReLU that each halve the maps by max pooling; `None` where Burn's operations have to do it.
pub(super) fn pooled_layers<'a>(
    layers: impl IntoIterator<Item = (&'a Conv2d, &'a BatchNorm)>,
    x: Tensor<4>,
) -> Option<Blocked> {
    let layers = layers.into_iter().map(|layer| Modules::new([layer]));
    let layers = layers.collect::<Option<Vec<_>>>()?;
    let (first, others) = layers.split_first()?;
    let mut channels = x.dims()[1];
    let mut size = x.dims()[2..].to_vec();
    for layer in &layers {
        channels = layer.follows(channels)?;
        size.iter_mut().for_each(|extent| *extent /= 2);
        if size.contains(&0) {
            return None;
        }
    }
    let x = first.run_pooled(x.into_dispatch(), Pooling::HALVING)?;
    others.iter().try_fold(x, |x, layer| {
        layer.run_pooled(x.tensor.into_dispatch(), Pooling::HALVING)
    })
}

/// Convolutions with their normalisations: as the kernels see them, and as modules.
struct Modules<'a> {
    layers: Vec<Layer>,
    modules: Vec<(&'a Conv2d, &'a BatchNorm)>,
    has_downsample: bool,
}

impl<'a> Modules<'a> {
    fn of(block: &'a Block) -> Option<Self> {
        let beside = block.downsample();
        Some(Self {
            has_downsample: beside.is_some(),
            ..Self::new(block.layers().into_iter().chain(beside))?
        })
    }

    fn new(modules: impl IntoIterator<Item = (&'a Conv2d, &'a BatchNorm)>) -> Option<Self> {
        let modules: Vec<_> = modules.into_iter().collect();
        let layers = modules.iter().map(|(conv, norm)| {
            let running = (!norm.training.is_enabled()).then(|| running_statistics(norm));
            Layer::new(conv, norm, running)
        });
        Some(Self {
            layers: layers.collect::<Option<_>>()?,
            modules,
            has_downsample: false,
        })
    }

    /// Channels out, where `channels` come in and all layers fit together.
    fn follows(&self, channels: usize) -> Option<usize> {
        let (main, beside) = self.layers.split_at(self.in_a_row());
        let fits = |channels: usize, layer: &Layer| {
            (layer.conv.in_channels == channels).then_some(layer.conv.out_channels)
        };
        let out = main.iter().try_fold(channels, fits)?;
        let identity = beside.iter().try_fold(channels, fits)?;
        // A stem has no identity.
        (main.len() == 1 || identity == out).then_some(out)
    }

    fn in_a_row(&self) -> usize {
        self.layers.len() - usize::from(self.has_downsample)
    }

    fn run_pooled(&self, x: DispatchTensor, pooling: Pooling) -> Option<Blocked> {
        let layer = self.layers.first()?.clone();
        let channels = layer.conv.out_channels;
        let weights = self.weights().next()?;
        let (y, statistics) = Dispatch::stem(x, weights, layer, pooling);
        Some(self.finish(y, statistics, channels))
    }

    fn run_block(&self, x: Blocked) -> Option<Blocked> {
        let mut main = self.layers.clone();
        let downsample = main.split_off(self.in_a_row()).pop();
        let block = ResidualBlock { main, downsample };
        let channels = block.out_channels();
        let weights = BlockWeights::new(self.weights())?;
        let (y, statistics) = Dispatch::residual_block(x.tensor.into_dispatch(), weights, block);
        Some(self.finish(y, statistics, channels))
    }

    fn weights(&self) -> impl Iterator<Item = LayerWeights<Dispatch>> {
        self.modules.iter().map(|(conv, norm)| LayerWeights {
            conv: conv.weight.val().into_dispatch(),
            gamma: norm.weight.val().into_dispatch(),
            beta: norm.bias.val().into_dispatch(),
        })
    }

    fn finish(
        &self,
        y: DispatchTensor,
        statistics: Vec<Option<Statistics>>,
        channels: usize,
    ) -> Blocked {
        let tensor = Tensor::from_dispatch(y);
        let device = tensor.device();
        for ((_, norm), statistics) in self.modules.iter().zip(statistics) {
            if let Some(Statistics { mean, var, count }) = statistics {
                let [mean, var] =
                    [mean, var].map(|values| Tensor::from_floats(values.as_slice(), &device));
                norm.observe(mean, var, count.unwrap_or(1));
            }
        }
        Blocked { tensor, channels }
    }
}
