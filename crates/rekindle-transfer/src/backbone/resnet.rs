//! torchvision's ResNets as backbones: the stem and four layers.

use burn::prelude::*;
#[cfg(all(feature = "kernels", feature = "flex"))]
use rekindle_resnet::PackedResNet;
use rekindle_resnet::{ResNet, STAGES};

use super::Backbone;
#[cfg(all(feature = "kernels", feature = "flex"))]
use super::{FrozenPrefix, StagePrefix};
#[cfg(all(feature = "kernels", feature = "flex"))]
use crate::TransferError;

impl Backbone for ResNet {
    fn stage_names(&self) -> &'static [&'static str] {
        &STAGES
    }

    fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Tensor<4> {
        ResNet::forward_stage(self, stage, x)
    }

    fn pool(&self, x: Tensor<4>) -> Tensor<2> {
        ResNet::pool(self, x)
    }

    fn num_features(&self) -> usize {
        ResNet::num_features(self)
    }

    #[cfg(all(feature = "kernels", feature = "flex"))]
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
#[cfg(all(feature = "kernels", feature = "flex"))]
struct PackedPrefix(PackedResNet);

#[cfg(all(feature = "kernels", feature = "flex"))]
impl FrozenPrefix for PackedPrefix {
    fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, TransferError> {
        self.0
            .forward(images)
            .map_err(|error| TransferError::Kernel(error.to_string()))
    }
}
