//! Stages of a network packed for inference: normalisation folded into the convolutions, and bias, residual sum
//! and ReLU in their epilogues.

use burn::nn::conv::Conv2d;
use burn::prelude::*;
use rekindle_kernels::{
    Activation, Conv2dParams, Isa, KernelError, PackedConv2d, fold_batch_norm, max_pool,
};

use super::layer::{Layer, running_statistics};
use crate::batch_norm::EPSILON;
use crate::{BatchNorm, Block, ResNet};

/// One of [`STAGES`](crate::STAGES), as it stood when it was packed.
pub(super) enum PackedStage {
    Stem(Box<PackedConv2d>),
    Blocks(Vec<PackedBlock>),
}

pub(super) struct PackedBlock {
    downsample: Option<PackedConv2d>,
    /// All but the last are followed by a ReLU; the last by the residual sum and a ReLU.
    convs: Vec<PackedConv2d>,
}

/// What a stage takes: the stem images in row-major order, the others feature maps.
pub(super) enum StageInput<'a> {
    Images(&'a [f32], [usize; 4]),
    Maps(Activation),
}

impl PackedStage {
    /// Packs a stage; `None` where a layer is not what the kernels know.
    pub fn new(resnet: &ResNet, stage: usize) -> Option<Self> {
        if stage == 0 {
            let stem = pack(&resnet.conv1, &resnet.bn1)?;
            return Some(Self::Stem(Box::new(stem)));
        }
        let blocks = resnet.blocks(stage).iter();
        blocks
            .map(PackedBlock::new)
            .collect::<Option<_>>()
            .map(Self::Blocks)
    }

    pub fn forward(&self, x: StageInput<'_>) -> Result<Activation, KernelError> {
        self.observed(x, &mut |_| {})
    }

    /// As [`forward`](Self::forward), showing the output of each layer to `observe`: in a block first that of the one
    /// beside, then those in a row.
    pub fn observed(
        &self,
        x: StageInput<'_>,
        observe: &mut dyn FnMut(&Activation),
    ) -> Result<Activation, KernelError> {
        match (self, x) {
            (Self::Stem(conv), x) => {
                let x = match x {
                    StageInput::Images(images, shape) => conv.forward_nchw(images, shape, true)?,
                    StageInput::Maps(x) => conv.forward(&x, None, true)?,
                };
                observe(&x);
                max_pool(Isa::detect(), &x, 3, 2, 1)
            }
            (Self::Blocks(blocks), x) => {
                let x = match x {
                    StageInput::Maps(x) => x,
                    StageInput::Images(images, shape) => Activation::from_nchw(images, shape)?,
                };
                let mut blocks = blocks.iter();
                blocks.try_fold(x, |x, block| block.forward(&x, observe))
            }
        }
    }
}

impl PackedBlock {
    fn new(block: &Block) -> Option<Self> {
        let downsample = match block.downsample() {
            Some((conv, norm)) => Some(pack(conv, norm)?),
            None => None,
        };
        let layers = block.layers().into_iter();
        Some(Self {
            downsample,
            convs: layers
                .map(|(conv, norm)| pack(conv, norm))
                .collect::<Option<_>>()?,
        })
    }

    fn forward(
        &self,
        x: &Activation,
        observe: &mut dyn FnMut(&Activation),
    ) -> Result<Activation, KernelError> {
        let projected = match &self.downsample {
            Some(conv) => Some(conv.forward(x, None, false)?),
            None => None,
        };
        if let Some(projected) = &projected {
            observe(projected);
        }
        let identity = projected.as_ref().unwrap_or(x);
        let mut inner: Option<Activation> = None;
        for (index, conv) in self.convs.iter().enumerate() {
            let residual = (index + 1 == self.convs.len()).then_some(identity);
            let y = conv.forward(inner.as_ref().unwrap_or(x), residual, true)?;
            observe(&y);
            inner = Some(y);
        }
        Ok(inner.unwrap_or_else(|| x.clone()))
    }
}

fn pack(conv: &Conv2d, norm: &BatchNorm) -> Option<PackedConv2d> {
    let folded = Folded::new(conv, norm)?;
    let scale_shift = Some((&folded.scale[..], &folded.shift[..]));
    PackedConv2d::new(Isa::detect(), &folded.params, &folded.weight, scale_shift).ok()
}

/// A layer on the host, with its normalisation by running statistics as one scale and shift a channel.
pub(super) struct Folded {
    pub params: Conv2dParams,
    /// `[out_channels, in_channels / groups, height, width]`.
    pub weight: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

impl Folded {
    /// `None` for a layer that the kernels don't know.
    pub fn new(conv: &Conv2d, norm: &BatchNorm) -> Option<Self> {
        let running = running_statistics(norm);
        let layer = Layer::new(conv, norm, None)?;
        let (scale, shift) = fold_batch_norm(
            &host(norm.weight.val()),
            &host(norm.bias.val()),
            &running.mean,
            &running.var,
            EPSILON as f32,
        )
        .ok()?;
        Some(Self {
            params: layer.conv,
            weight: host(conv.weight.val()),
            scale,
            shift,
        })
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
