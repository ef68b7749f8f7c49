//! The frozen part of a backbone, run without gradients.

use burn::prelude::*;

use super::Backbone;
use crate::TransferError;

/// The first stages of a backbone as they stood when this was made, in evaluation mode: the frozen part in
/// training, or everything for predictions.
pub struct FrozenPrefix<B> {
    backbone: B,
    stages: usize,
    quantized: Option<Box<dyn QuantizedPrefix>>,
}

/// The first stages of a backbone in eight bits, made by [`Backbone::quantize`].
pub trait QuantizedPrefix: Send + Sync {
    /// Images `[batch, channels, height, width]`, on a device without autodiff, to the activations behind the last stage.
    ///
    /// # Errors
    ///
    /// [`TransferError::NotQuantizable`] for images that it can't take.
    fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, TransferError>;

    /// The same, averaged over the maps: `[batch, channels]`.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    fn pool(&self, images: Tensor<4>) -> Result<Tensor<2>, TransferError>;

    /// Tells apart what was rounded differently; the same for the same weights and calibration.
    fn digest(&self) -> &str;
}

impl<B: Backbone> FrozenPrefix<B> {
    /// The first `stages` stages of `backbone`.
    pub fn new(backbone: &B, stages: usize) -> Self {
        Self {
            backbone: backbone.valid(),
            stages,
            quantized: None,
        }
    }

    /// As [`new`](Self::new), in eight bits where there are any stages: faster on a CPU, and a little off. Ranges of
    /// activations are measured on `calibration`, batches of images on a device without autodiff.
    ///
    /// # Errors
    ///
    /// Those of [`Backbone::quantize`].
    pub fn quantized(
        backbone: &B,
        stages: usize,
        calibration: &[Tensor<4>],
    ) -> Result<Self, TransferError> {
        let mut prefix = Self::new(backbone, stages);
        if stages > 0 {
            prefix.quantized = Some(prefix.backbone.quantize(stages, calibration)?);
        }
        Ok(prefix)
    }

    /// Where it runs in eight bits, what tells it apart from others of the same weights.
    pub fn quantization(&self) -> Option<&str> {
        self.quantized.as_ref().map(|quantized| quantized.digest())
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
        let is_whole = self.stages == self.backbone.stage_names().len();
        if let Some(quantized) = &self.quantized {
            return match is_whole {
                true => Ok(quantized.pool(images)?.unsqueeze_dims(&[2, 3])),
                false => quantized.forward(images),
            };
        }
        if !is_whole {
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
