//! The frozen part of a backbone, run without gradients.

use burn::prelude::*;

use super::Backbone;
use crate::TransferError;

/// The first stages of a backbone as they stood when this was made, in evaluation mode: the frozen part in
/// training, or everything for predictions.
pub struct FrozenPrefix<B> {
    backbone: B,
    stages: usize,
}

impl<B: Backbone> FrozenPrefix<B> {
    /// The first `stages` stages of `backbone`.
    pub fn new(backbone: &B, stages: usize) -> Self {
        Self {
            backbone: backbone.valid(),
            stages,
        }
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.stages
    }

    /// Images `[batch, channels, height, width]`, on a device without autodiff, to the activations behind
    /// the prefix; to pooled features `[batch, num_features, 1, 1]` where the prefix is the whole backbone.
    ///
    /// # Errors
    ///
    /// [`TransferError::Channels`] for images of another number of channels than the backbone takes.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, TransferError> {
        check_channels(&self.backbone, &images)?;
        if self.stages < self.backbone.stage_names().len() {
            return Ok(self.backbone.forward_stages(0, self.stages, images));
        }
        // A map of one pixel is its own average, so pooled features can go through the rest as well.
        Ok(self.backbone.pool_stages(0, images).unsqueeze_dims(&[2, 3]))
    }
}

/// Whether `backbone` takes these images.
///
/// # Errors
///
/// [`TransferError::Channels`] where it doesn't.
pub fn check_channels<B: Backbone>(backbone: &B, images: &Tensor<4>) -> Result<(), TransferError> {
    let (found, expected) = (images.dims()[1], backbone.in_channels());
    if found == expected {
        return Ok(());
    }
    Err(TransferError::Channels { found, expected })
}
