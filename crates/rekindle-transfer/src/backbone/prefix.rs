//! The frozen part of a backbone, run without gradients.

use burn::prelude::*;
use burn::tensor::TensorData;
use sha2::Sha256;

use super::identity::{hexadecimal, numbers, text};
use super::{Backbone, Entry, weights_digest};
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

    /// Returns the same, pooled as [`Backbone::pool`] does: `[batch, num_features]`. Asked for where all stages are
    /// in eight bits.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    fn pool(&self, images: Tensor<4>) -> Result<Tensor<2>, TransferError>;

    /// Tells apart what was rounded differently; the same for the same weights and calibration.
    fn digest(&self) -> &str;
}

impl<B: Backbone> FrozenPrefix<B> {
    /// Takes the first `stages` stages of `backbone`; all of them where `stages` is their number.
    ///
    /// # Errors
    ///
    /// [`TransferError::StageOutOfRange`] for more stages than the backbone has.
    pub fn new(backbone: &B, stages: usize) -> Result<Self, TransferError> {
        backbone.check_cut(stages)?;
        Ok(Self {
            backbone: backbone.valid(),
            stages,
            quantized: None,
        })
    }

    /// Creates the prefix like [`new`](Self::new), in eight bits where there are any stages: faster on a CPU,
    /// and slightly inexact. Ranges of activations are measured on `calibration`, batches of images on a
    /// device without autodiff.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and those of [`Backbone::quantize`].
    pub fn quantized(
        backbone: &B,
        stages: usize,
        calibration: &[Tensor<4>],
    ) -> Result<Self, TransferError> {
        let mut prefix = Self::new(backbone, stages)?;
        if stages > 0 {
            prefix.quantized = Some(prefix.backbone.quantize(stages, calibration)?);
        }
        Ok(prefix)
    }

    /// Returns a name that distinguishes a part that runs in eight bits from others of the same weights; none in `f32`.
    pub fn quantization(&self) -> Option<&str> {
        self.quantized.as_ref().map(|quantized| quantized.digest())
    }

    /// Returns the number of stages.
    pub fn stages(&self) -> usize {
        self.stages
    }

    /// Returns the entry of a classifier at which the output continues: in front of the head if the prefix is
    /// the whole backbone.
    pub fn exit(&self) -> Entry {
        match self.is_whole() {
            true => Entry::Head,
            false => Entry::Stage(self.stages),
        }
    }

    /// Images `[batch, channels, height, width]`, on a device without autodiff, to the activations behind
    /// the prefix; to pooled features `[batch, num_features, 1, 1]` where the prefix is the whole backbone.
    /// Either goes on at [`exit`](Self::exit).
    ///
    /// # Errors
    ///
    /// [`TransferError::Channels`] for images of another number of channels than the backbone takes.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, TransferError> {
        check_channels(&self.backbone, &images)?;
        if let Some(quantized) = &self.quantized {
            return match self.is_whole() {
                true => Ok(quantized.pool(images)?.unsqueeze_dims(&[2, 3])),
                false => quantized.forward(images),
            };
        }
        if !self.is_whole() {
            return Ok(self.backbone.forward_stages(0, self.stages, images));
        }
        Ok(self.backbone.pool_stages(0, images).unsqueeze_dims(&[2, 3]))
    }

    /// Computes the SHA-256 of all that decides what comes out of here for an image of `height` by `width` pixels:
    /// the weights up to the cut ([`weights_digest`]), the cut, the rounding to eight bits, the device, and on the
    /// CPU, whose results are the same in every process, what it makes of one drawn image: that covers whatever else
    /// a backbone computes with.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn digest(
        &self,
        device: &Device,
        height: usize,
        width: usize,
    ) -> Result<String, TransferError> {
        let mut hasher = Sha256::default();
        text(&mut hasher, &weights_digest(&self.backbone, self.stages));
        text(&mut hasher, &format!("{:?} {device:?}", self.exit()));
        text(&mut hasher, self.quantization().unwrap_or("f32"));
        if repeats_itself(device) {
            let shape = [1, self.backbone.in_channels(), height, width];
            let wave = |place: usize| (place as f32 * 0.37).sin() + (place as f32 * 0.0021).cos();
            let values: Vec<f32> = (0..shape.iter().product()).map(wave).collect();
            let image = Tensor::from_data(TensorData::new(values, shape), device);
            let made = self.forward(image)?.into_data();
            numbers(&mut hasher, made.iter::<f32>());
        }
        Ok(hexadecimal(hasher))
    }

    fn is_whole(&self) -> bool {
        self.stages == self.backbone.stage_names().len()
    }
}

/// Returns true if two processes compute the same bits on this device.
#[cfg(feature = "flex")]
fn repeats_itself(device: &Device) -> bool {
    *device == Device::flex()
}

#[cfg(not(feature = "flex"))]
fn repeats_itself(_: &Device) -> bool {
    false
}

/// Checks that `backbone` takes these images.
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
