//! torchvision's ResNets as backbones: the stem and four layers.

use burn::prelude::*;
#[cfg(feature = "kernels")]
use rekindle_resnet::PackedResNet;
use rekindle_resnet::{ResNet, STAGES};

use super::Backbone;
#[cfg(feature = "kernels")]
use super::{FrozenPrefix, StagePrefix};
#[cfg(feature = "kernels")]
use crate::TransferError;

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

    #[cfg(feature = "kernels")]
    fn frozen_prefix(&self, stages: usize) -> Box<dyn FrozenPrefix> {
        if self.device().without_autodiff() == Device::flex()
            && stages > 0
            && let Ok(packed) = PackedResNet::new(self, stages)
        {
            return Box::new(PackedPrefix(packed));
        }
        Box::new(StagePrefix::new(self, stages))
    }

    fn stage_of(&self, path: &str) -> usize {
        STAGES
            .iter()
            .position(|stage| path.split('.').any(|part| part == *stage))
            .unwrap_or(0)
    }
}

/// A prefix on the CPU's own kernels.
#[cfg(feature = "kernels")]
struct PackedPrefix(PackedResNet);

#[cfg(feature = "kernels")]
impl FrozenPrefix for PackedPrefix {
    fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, TransferError> {
        self.0
            .forward(images)
            .map_err(|error| TransferError::Kernel(error.to_string()))
    }
}
