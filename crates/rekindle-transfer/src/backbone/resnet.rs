//! torchvision's ResNets as backbones: the stem and four layers.

use burn::prelude::*;
use rekindle_resnet::{ResNet, STAGES};

use super::Backbone;

impl Backbone for ResNet {
    fn stage_names(&self) -> &'static [&'static str] {
        &STAGES
    }

    fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Tensor<4> {
        ResNet::forward_stage(self, stage, x)
    }

    fn forward_stages(&self, start: usize, end: usize, x: Tensor<4>) -> Tensor<4> {
        ResNet::forward_stages(self, start..end, x)
    }

    fn pool_stages(&self, start: usize, x: Tensor<4>) -> Tensor<2> {
        ResNet::pool_stages(self, start, x)
    }

    fn pool(&self, x: Tensor<4>) -> Tensor<2> {
        ResNet::pool(self, x)
    }

    fn num_features(&self) -> usize {
        ResNet::num_features(self)
    }

    fn in_channels(&self) -> usize {
        self.conv1.weight.dims()[1]
    }

    fn stage_of(&self, path: &str) -> usize {
        STAGES
            .iter()
            .position(|stage| path.split('.').any(|part| part == *stage))
            .unwrap_or(0)
    }
}
