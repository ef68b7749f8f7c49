//! What a network must offer so that its knowledge can be transferred.

mod conv_net;
mod prefix;
mod resnet;

pub use prefix::{FrozenPrefix, QuantizedPrefix, check_channels};

use burn::module::{Module, ModuleDisplay};
use burn::prelude::*;

use crate::TransferError;

/// A pretrained feature extractor that runs in stages.
///
/// A strategy freezes a *prefix* of the stages, so that nothing in front of the first trained stage needs a
/// backward pass, and activations at the cut can be computed once and kept.
pub trait Backbone: Module + ModuleDisplay + 'static {
    /// Names of the stages in the order that a forward pass goes through them. A stage's parameters are
    /// found by [`stage_of`](Self::stage_of).
    fn stage_names(&self) -> &'static [&'static str];

    /// Runs one stage by its index in [`stage_names`](Self::stage_names).
    ///
    /// Stage 0 takes images `[batch, channels, height, width]`; the others what the stage before gives.
    ///
    /// # Panics
    ///
    /// For a stage that the backbone doesn't have, like an index beyond a slice.
    fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Tensor<4>;

    /// The last stage's activations `[batch, channels, height, width]` to features
    /// `[batch, num_features]`.
    fn pool(&self, x: Tensor<4>) -> Tensor<2>;

    /// Length of the feature vector.
    fn num_features(&self) -> usize;

    /// The stage that holds the parameter with this path (such as `"layer1.0.conv1.weight"`).
    fn stage_of(&self, path: &str) -> usize;

    /// Runs the stages from `start` (inclusive) to `end` (exclusive).
    ///
    /// # Panics
    ///
    /// As [`forward_stage`](Self::forward_stage).
    fn forward_stages(&self, start: usize, end: usize, x: Tensor<4>) -> Tensor<4> {
        (start..end).fold(x, |x, stage| self.forward_stage(stage, x))
    }

    /// Runs the stages from `start` on, and pools: what stage `start` takes to features
    /// `[batch, num_features]`.
    ///
    /// # Panics
    ///
    /// As [`forward_stage`](Self::forward_stage).
    fn pool_stages(&self, start: usize, x: Tensor<4>) -> Tensor<2> {
        self.pool(self.forward_stages(start, self.stage_names().len(), x))
    }

    /// The first `stages` stages in eight bits, as they stand, for inference. Ranges of activations are measured on
    /// `calibration`: batches of images as the network is to see them.
    ///
    /// # Errors
    ///
    /// [`TransferError::NotQuantizable`] where there is no such way to run them: the only answer of backbones that don't
    /// say otherwise, and a ResNet's without the feature `kernels`, on other devices than flex, or in training.
    fn quantize(
        &self,
        stages: usize,
        calibration: &[Tensor<4>],
    ) -> Result<Box<dyn QuantizedPrefix>, TransferError> {
        let _ = calibration;
        Err(TransferError::NotQuantizable {
            stages,
            reason: "this backbone has no kernels for that, or was built without them (feature `kernels`)".into(),
        })
    }

    /// Channels of the images that it takes: 3 for RGB.
    fn in_channels(&self) -> usize;

    /// What torchvision calls the head of this network: its name in a state dict.
    fn head_name(&self) -> &'static str {
        "fc"
    }
}

/// The result for stages that exist; a wrong index is a fault of the caller, as beyond the end of a slice.
fn existing<T>(result: Result<T, rekindle_resnet::Error>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
