//! The frozen part of a backbone, run without gradients.

use burn::prelude::*;

use super::Backbone;
use crate::TransferError;

/// The first stages of a backbone, prepared for inference.
pub trait FrozenPrefix: Send {
    /// Images `[batch, channels, height, width]`, on a device without autodiff, to the activations behind
    /// the prefix; to pooled features `[batch, num_features, 1, 1]` where the prefix is the whole backbone.
    ///
    /// # Errors
    ///
    /// [`TransferError::Kernel`] for images that don't fit the network.
    fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, TransferError>;
}

/// A prefix that runs the backbone's own modules.
pub struct StagePrefix<B> {
    backbone: B,
    stages: usize,
}

impl<B: Backbone> StagePrefix<B> {
    /// The first `stages` stages of `backbone`, in evaluation mode.
    pub fn new(backbone: &B, stages: usize) -> Self {
        Self {
            backbone: backbone.valid(),
            stages,
        }
    }
}

impl<B: Backbone> FrozenPrefix for StagePrefix<B> {
    fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, TransferError> {
        let x = self.backbone.forward_stages(0, self.stages, images);
        if self.stages < self.backbone.stage_names().len() {
            return Ok(x);
        }
        // A map of one pixel is its own average, so pooled features can go through the rest as well.
        Ok(self.backbone.pool(x).unsqueeze_dims(&[2, 3]))
    }
}
