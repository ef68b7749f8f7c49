//! torchvision's ResNets as backbones: the stem and four layers.

use burn::prelude::*;
#[cfg(feature = "kernels")]
use rekindle_resnet::QuantizedStages;
use rekindle_resnet::{ResNet, ResNetConfig, STAGES};

#[cfg(feature = "kernels")]
use super::QuantizedPrefix;
use super::{Backbone, assert_stages, existing};
use crate::TransferError;
use crate::initialise::seeded;

impl Backbone for ResNet {
    fn stage_names(&self) -> &'static [&'static str] {
        &STAGES
    }

    fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Tensor<4> {
        Backbone::forward_stages(self, stage, stage + 1, x)
    }

    fn forward_stages(&self, start: usize, end: usize, x: Tensor<4>) -> Tensor<4> {
        assert_stages(start, end, STAGES.len());
        existing(ResNet::forward_stages(self, start..end, x))
    }

    fn pool_stages(&self, start: usize, x: Tensor<4>) -> Tensor<2> {
        assert_stages(start, STAGES.len(), STAGES.len());
        existing(ResNet::pool_stages(self, start, x))
    }

    fn pool(&self, x: Tensor<4>) -> Tensor<2> {
        ResNet::pool(self, x)
    }

    fn num_features(&self) -> usize {
        ResNet::num_features(self)
    }

    fn reinitialise(self, seed: u64) -> Result<Self, TransferError> {
        let device = self.device();
        let config = ResNetConfig {
            num_classes: 0,
            ..self.config()
        };
        Ok(seeded(seed, &device, || config.init(&device)))
    }

    #[cfg(feature = "kernels")]
    fn quantize(
        &self,
        stages: usize,
        calibration: &[Tensor<4>],
    ) -> Result<Box<dyn QuantizedPrefix>, TransferError> {
        Ok(Box::new(self.quantize_stages(stages, calibration)?))
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

#[cfg(feature = "kernels")]
impl QuantizedPrefix for QuantizedStages {
    fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, TransferError> {
        Ok(QuantizedStages::forward(self, images)?)
    }

    fn pool(&self, images: Tensor<4>) -> Result<Tensor<2>, TransferError> {
        Ok(QuantizedStages::pool(self, images)?)
    }

    fn digest(&self) -> &str {
        QuantizedStages::digest(self)
    }
}

#[cfg(feature = "kernels")]
impl From<rekindle_resnet::Error> for TransferError {
    fn from(error: rekindle_resnet::Error) -> Self {
        match error {
            rekindle_resnet::Error::NotQuantizable { stages, reason } => {
                Self::NotQuantizable { stages, reason }
            }
            other => Self::NotQuantizable {
                stages: 0,
                reason: other.to_string(),
            },
        }
    }
}
