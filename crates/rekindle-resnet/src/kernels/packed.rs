//! A ResNet packed for inference on the CPU's own kernels.

use std::ops::Range;

use burn::nn::conv::Conv2d;
use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_kernels::{
    Activation, Conv2dParams, Isa, KernelError, PackedConv2d, fold_batch_norm, global_average_pool,
    max_pool,
};

use super::Blocked;
use crate::batch_norm::EPSILON;
use crate::{BatchNorm, Block, ResNet, STAGES};

/// The first stages of a network, as it stands, in the layout of `rekindle-kernels`: batch normalisation is
/// folded into the convolutions, and bias, residual sum and ReLU run in their epilogues.
///
/// Later changes of the network don't reach it.
pub struct PackedResNet {
    isa: Isa,
    stem: PackedConv2d,
    layers: Vec<Vec<PackedBlock>>,
}

struct PackedBlock {
    downsample: Option<PackedConv2d>,
    /// All but the last are followed by a ReLU; the last by the residual sum and a ReLU.
    convs: Vec<PackedConv2d>,
}

impl PackedResNet {
    /// Packs the first `stages` of [`STAGES`], at least the stem.
    ///
    /// # Errors
    ///
    /// What the kernels refuse: weights whose lengths don't fit.
    pub fn new(resnet: &ResNet, stages: usize) -> Result<Self, KernelError> {
        let isa = Isa::detect();
        let layers = (1..stages.min(STAGES.len())).map(|stage| {
            let blocks = resnet.blocks(stage).iter();
            blocks.map(|block| PackedBlock::new(isa, block)).collect()
        });
        Ok(Self {
            isa,
            stem: pack(isa, &resnet.conv1, &resnet.bn1)?,
            layers: layers.collect::<Result<_, _>>()?,
        })
    }

    /// Images `[batch, channels, height, width]` to the activations behind the packed stages; to pooled
    /// features `[batch, num_features, 1, 1]` where all are packed.
    ///
    /// # Errors
    ///
    /// What the kernels refuse: another number of channels, images of no pixel.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, KernelError> {
        let device = images.device();
        let stages = self.layers.len() + 1;
        let x = self.run(0..stages, images)?;
        let [batch, channels, ..] = x.shape();
        let (values, shape) = if stages == STAGES.len() {
            (global_average_pool(&x)?, [batch, channels, 1, 1])
        } else {
            (x.to_nchw(), x.shape())
        };
        Ok(Tensor::from_data(TensorData::new(values, shape), &device))
    }

    /// Runs some of the packed stages on what the first of them takes.
    pub(crate) fn forward_stages(
        &self,
        stages: Range<usize>,
        x: Tensor<4>,
    ) -> Result<Blocked, KernelError> {
        Ok(Blocked::from_activation(self.run(stages, x)?))
    }

    fn run(&self, stages: Range<usize>, x: Tensor<4>) -> Result<Activation, KernelError> {
        let shape = x.dims();
        let data = x.into_data().convert::<f32>();
        let values = data.as_slice::<f32>().unwrap_or(&[]);
        let mut x = if stages.start == 0 {
            let x = self.stem.forward_nchw(values, shape, true)?;
            max_pool(self.isa, &x, 3, 2, 1)?
        } else {
            Activation::from_nchw(values, shape)?
        };
        let layers = stages.start.max(1) - 1..stages.end.max(1) - 1;
        for block in self.layers.get(layers).unwrap_or(&[]).iter().flatten() {
            x = block.forward(&x)?;
        }
        Ok(x)
    }
}

impl PackedBlock {
    fn new(isa: Isa, block: &Block) -> Result<Self, KernelError> {
        let downsample = block.downsample();
        let layers = block.layers().into_iter();
        Ok(Self {
            downsample: downsample
                .map(|(conv, norm)| pack(isa, conv, norm))
                .transpose()?,
            convs: layers
                .map(|(conv, norm)| pack(isa, conv, norm))
                .collect::<Result<_, _>>()?,
        })
    }

    fn forward(&self, x: &Activation) -> Result<Activation, KernelError> {
        let projected = match &self.downsample {
            Some(conv) => Some(conv.forward(x, None, false)?),
            None => None,
        };
        let identity = projected.as_ref().unwrap_or(x);
        let mut inner: Option<Activation> = None;
        for (index, conv) in self.convs.iter().enumerate() {
            let residual = (index + 1 == self.convs.len()).then_some(identity);
            inner = Some(conv.forward(inner.as_ref().unwrap_or(x), residual, true)?);
        }
        Ok(inner.unwrap_or_else(|| x.clone()))
    }
}

fn pack(isa: Isa, conv: &Conv2d, norm: &BatchNorm) -> Result<PackedConv2d, KernelError> {
    let [out_channels, in_per_group, kernel, _] = conv.weight.dims();
    let params = Conv2dParams::new(
        in_per_group * conv.groups,
        out_channels,
        kernel,
        conv.stride[0],
    )
    .with_groups(conv.groups);
    let (scale, shift) = fold_batch_norm(
        &host(norm.weight.val()),
        &host(norm.bias.val()),
        &host(norm.running_mean.value()),
        &host(norm.running_var.value()),
        EPSILON as f32,
    )?;
    PackedConv2d::new(
        isa,
        &params,
        &host(conv.weight.val()),
        Some((&scale, &shift)),
    )
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
