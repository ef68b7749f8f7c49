//! The first stages of a network in eight bits.

use burn::nn::conv::Conv2d;
use burn::prelude::*;
use burn::tensor::DType;
use rekindle_kernels::{
    Activation, Isa, KernelError, Quantization, QuantizedActivation, QuantizedConv2d,
    max_pool_quantized, on_pool_thread,
};
use rekindle_nn::cpu::layout::Blocked;
use sha2::{Digest, Sha256};

use super::calibration::ranges;
use super::packed::Folded;
use crate::{BatchNorm, Block, Error, ResNet, STAGES};

/// The first stages of a [`ResNet`] in eight bits, for inference: a frozen prefix in training, or everything for features.
///
/// Weights are rounded to signed bytes by one scale an output channel, feature maps to unsigned bytes by one scale and zero
/// point a layer (Jacob et al. 2018, <https://arxiv.org/abs/1712.05877>); sums are exact, and the last layer gives `f32`.
/// Batch normalisation is folded in by its running statistics. Made by [`ResNet::quantize_stages`].
pub struct QuantizedStages {
    input: Quantization,
    stem: QuantizedLayer,
    blocks: Vec<QuantizedBlock>,
    stages: usize,
    digest: String,
}

struct QuantizedLayer {
    conv: QuantizedConv2d,
    output: Quantization,
}

struct QuantizedBlock {
    downsample: Option<QuantizedLayer>,
    /// All but the last are followed by a ReLU; the last by the residual sum and a ReLU.
    layers: Vec<QuantizedLayer>,
}

/// Maps between layers, and behind the last.
enum Maps {
    Bytes(QuantizedActivation),
    Floats(Activation),
}

impl QuantizedStages {
    pub(crate) fn new(
        resnet: &ResNet,
        stages: usize,
        calibration: &[Tensor<4>],
    ) -> Result<Self, Error> {
        let refuse = |reason: String| Error::NotQuantizable { stages, reason };
        check(resnet, stages, calibration).map_err(refuse)?;
        let (input, ranges) = ranges(resnet, stages, calibration).map_err(refuse)?;
        let mut ranges = ranges.into_iter();
        let mut layer = |conv: &Conv2d, norm: &BatchNorm| {
            let output = ranges.next().ok_or("a layer without a range")?;
            QuantizedLayer::new(conv, norm, output)
        };
        let mut build = || {
            let stem = layer(&resnet.conv1, &resnet.bn1)?;
            let blocks = (1..stages).flat_map(|stage| resnet.blocks(stage));
            let blocks = blocks.map(|block: &Block| {
                let beside = block.downsample();
                Ok(QuantizedBlock {
                    downsample: beside.map(|(conv, norm)| layer(conv, norm)).transpose()?,
                    layers: block
                        .layers()
                        .into_iter()
                        .map(|(conv, norm)| layer(conv, norm))
                        .collect::<Result<_, String>>()?,
                })
            });
            Ok(Self {
                input,
                stem,
                blocks: blocks.collect::<Result<_, String>>()?,
                stages,
                digest: String::new(),
            })
        };
        let mut made = build().map_err(refuse)?;
        made.digest = made.digest_of_ranges();
        Ok(made)
    }

    /// How many of [`STAGES`] these are.
    pub fn stages(&self) -> usize {
        self.stages
    }

    /// Digest of all scales and zero points: with that of the weights it decides every number that comes out.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Images `[batch, channels, height, width]` to the last stage's activations, as [`ResNet::forward_stages`].
    ///
    /// # Errors
    ///
    /// [`Error::NotQuantizable`] for images that are not `f32` on the flex device, or don't fit the network.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, Error> {
        Ok(self.run(images)?.into_tensor())
    }

    /// As [`forward`](Self::forward), averaged over the maps: `[batch, channels]`, the features where these are all stages.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn pool(&self, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        Ok(self.run(images)?.pool())
    }

    fn run(&self, images: Tensor<4>) -> Result<Blocked, Error> {
        let run = || {
            check_images(&images)?;
            let shape = images.dims();
            let data = images.into_data();
            let values = data.as_slice::<f32>().map_err(|e| e.to_string())?;
            on_pool_thread(|| self.run_values(values, shape)).map_err(|e| e.to_string())
        };
        let refuse = |reason| Error::NotQuantizable {
            stages: self.stages,
            reason,
        };
        run().map(Blocked::from_activation).map_err(refuse)
    }

    fn run_values(&self, images: &[f32], shape: [usize; 4]) -> Result<Activation, KernelError> {
        let QuantizedLayer { conv, output } = &self.stem;
        let x = conv.forward_nchw(images, shape, self.input, true, *output)?;
        let mut x = max_pool_quantized(Isa::detect(), &x, 3, 2, 1)?;
        for (index, block) in self.blocks.iter().enumerate() {
            match block.forward(&x, index + 1 == self.blocks.len())? {
                Maps::Bytes(y) => x = y,
                Maps::Floats(y) => return Ok(y),
            }
        }
        Ok(x.dequantize())
    }

    fn digest_of_ranges(&self) -> String {
        let inner = self.blocks.iter().flat_map(|block| {
            let layers = block.downsample.iter().chain(&block.layers);
            layers.map(|layer| layer.output)
        });
        let mut hasher = Sha256::new();
        for quantization in [self.input, self.stem.output].into_iter().chain(inner) {
            hasher.update(quantization.scale().to_bits().to_le_bytes());
            hasher.update([quantization.zero_point()]);
        }
        let digest = hasher.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl QuantizedBlock {
    fn forward(&self, x: &QuantizedActivation, is_last: bool) -> Result<Maps, KernelError> {
        let beside = self.downsample.as_ref();
        let projected = beside
            .map(|QuantizedLayer { conv, output }| conv.forward(x, None, false, *output))
            .transpose()?;
        let identity = projected.as_ref().unwrap_or(x);
        let mut inner: Option<QuantizedActivation> = None;
        for (index, QuantizedLayer { conv, output }) in self.layers.iter().enumerate() {
            let input = inner.as_ref().unwrap_or(x);
            if index + 1 < self.layers.len() {
                inner = Some(conv.forward(input, None, true, *output)?);
            } else if is_last {
                let y = conv.forward_dequantized(input, Some(identity), true)?;
                return Ok(Maps::Floats(y));
            } else {
                let y = conv.forward(input, Some(identity), true, *output)?;
                return Ok(Maps::Bytes(y));
            }
        }
        Ok(Maps::Bytes(x.clone()))
    }
}

impl QuantizedLayer {
    fn new(conv: &Conv2d, norm: &BatchNorm, output: Quantization) -> Result<Self, String> {
        let folded = Folded::new(conv, norm).ok_or("a layer that the kernels don't know")?;
        let scale_shift = Some((&folded.scale[..], &folded.shift[..]));
        let conv = QuantizedConv2d::new(Isa::detect(), &folded.params, &folded.weight, scale_shift)
            .map_err(|error| error.to_string())?;
        Ok(Self { conv, output })
    }
}

/// Why these stages can't be quantised, if they can't.
fn check(resnet: &ResNet, stages: usize, calibration: &[Tensor<4>]) -> Result<(), String> {
    if !(1..=STAGES.len()).contains(&stages) {
        return Err(format!("a network has 1 to {} stages", STAGES.len()));
    }
    if resnet.device().is_autodiff() {
        return Err(
            "the network is in training; freeze the stages and quantise `valid()` of it".into(),
        );
    }
    if resnet.device() != Device::flex() || !resnet.execution.is_enabled() {
        return Err("that needs the kernels of the CPU: weights on the flex device, and kernels switched on".into());
    }
    if !Isa::detect().has_byte_products() {
        return Err(
            "this machine does not multiply bytes faster than f32 (no AVX-512 VNNI, no AVX-VNNI)"
                .into(),
        );
    }
    if calibration.is_empty() {
        return Err(
            "no images to measure the ranges of activations on; give some batches of your own"
                .into(),
        );
    }
    let expected = resnet.conv1.weight.dims()[1];
    for images in calibration {
        check_images(images)?;
        let found = images.dims()[1];
        if found != expected {
            return Err(format!(
                "images to measure on have {found} channels, the network takes {expected}"
            ));
        }
    }
    Ok(())
}

fn check_images(images: &Tensor<4>) -> Result<(), String> {
    let device = images.device();
    let is_at_home =
        device == Device::flex() && !device.is_autodiff() && images.dtype() == DType::F32;
    if is_at_home && images.dims().iter().all(|extent| *extent > 0) {
        return Ok(());
    }
    Err(format!(
        "images must be f32, on the CPU device (flex) without autodiff, and not empty; found {} of shape {:?}{}",
        images.dtype().name(),
        images.dims(),
        if device == Device::flex() {
            ""
        } else {
            " on another device"
        }
    ))
}
