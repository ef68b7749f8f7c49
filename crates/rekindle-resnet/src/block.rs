//! Residual blocks: two 3x3 convolutions, or a bottleneck of 1x1, 3x3, 1x1.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

use crate::BatchNorm;

/// Which residual block a network is built of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockKind {
    /// Two 3x3 convolutions (ResNet-18 and -34).
    Basic,
    /// 1x1, 3x3 and 1x1 convolutions, four times as wide at the end (ResNet-50 and deeper).
    Bottleneck,
}

impl BlockKind {
    /// Output channels of a block per plane: 1 or 4.
    pub fn expansion(self) -> usize {
        match self {
            BlockKind::Basic => 1,
            BlockKind::Bottleneck => 4,
        }
    }
}

/// Sizes of one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockShape {
    pub in_channels: usize,
    pub planes: usize,
    pub width: usize,
    pub stride: usize,
    pub groups: usize,
}

/// A residual block of either kind.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // A network holds a few dozen blocks, all of one variant.
pub enum Block {
    /// Two 3x3 convolutions.
    Basic(BasicBlock),
    /// 1x1, 3x3, 1x1.
    Bottleneck(Bottleneck),
}

impl Block {
    pub(crate) fn new(kind: BlockKind, shape: BlockShape, device: &Device) -> Self {
        match kind {
            BlockKind::Basic => Block::Basic(BasicBlock::new(shape, device)),
            BlockKind::Bottleneck => Block::Bottleneck(Bottleneck::new(shape, device)),
        }
    }

    /// `[batch, in_channels, height, width]` to `[batch, out_channels, height / stride, width / stride]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self {
            Block::Basic(block) => block.forward(input),
            Block::Bottleneck(block) => block.forward(input),
        }
    }

    /// The convolutions that follow each other, with their normalisations.
    #[cfg(feature = "kernels")]
    pub(crate) fn layers(&self) -> Vec<(&Conv2d, &BatchNorm)> {
        match self {
            Block::Basic(block) => vec![(&block.conv1, &block.bn1), (&block.conv2, &block.bn2)],
            Block::Bottleneck(block) => vec![
                (&block.conv1, &block.bn1),
                (&block.conv2, &block.bn2),
                (&block.conv3, &block.bn3),
            ],
        }
    }

    /// What fits the identity to the output.
    #[cfg(feature = "kernels")]
    pub(crate) fn downsample(&self) -> Option<(&Conv2d, &BatchNorm)> {
        let downsample = match self {
            Block::Basic(block) => &block.downsample,
            Block::Bottleneck(block) => &block.downsample,
        };
        downsample.as_ref().map(|(conv, norm)| (conv, norm))
    }
}

/// Convolution and normalisation that fit the identity to a block's output; torchvision's `downsample.0`
/// and `downsample.1`.
pub type Downsample = (Conv2d, BatchNorm);

/// Two 3x3 convolutions with a shortcut.
#[derive(Module, Debug)]
pub struct BasicBlock {
    /// 3x3, with the block's stride.
    pub conv1: Conv2d,
    /// After `conv1`.
    pub bn1: BatchNorm,
    /// 3x3.
    pub conv2: Conv2d,
    /// After `conv2`.
    pub bn2: BatchNorm,
    /// Where the input's shape differs from the output's.
    pub downsample: Option<Downsample>,
}

impl BasicBlock {
    fn new(shape: BlockShape, device: &Device) -> Self {
        let planes = shape.planes;
        Self {
            conv1: conv3x3(shape.in_channels, planes, shape.stride, 1, device),
            bn1: BatchNorm::new(planes, device),
            conv2: conv3x3(planes, planes, 1, 1, device),
            bn2: BatchNorm::new(planes, device),
            downsample: downsample(shape, BlockKind::Basic, device),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let identity = shortcut(&self.downsample, input.clone());
        let out = relu(self.bn1.forward(self.conv1.forward(input)));
        let out = self.bn2.forward(self.conv2.forward(out));
        relu(out + identity)
    }
}

/// 1x1, 3x3 and 1x1 convolutions with a shortcut; the stride sits in the 3x3 (v1.5).
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// 1x1 down to the block's width.
    pub conv1: Conv2d,
    /// After `conv1`.
    pub bn1: BatchNorm,
    /// 3x3, with the block's stride and groups.
    pub conv2: Conv2d,
    /// After `conv2`.
    pub bn2: BatchNorm,
    /// 1x1 up to four times the planes.
    pub conv3: Conv2d,
    /// After `conv3`.
    pub bn3: BatchNorm,
    /// Where the input's shape differs from the output's.
    pub downsample: Option<Downsample>,
}

impl Bottleneck {
    fn new(shape: BlockShape, device: &Device) -> Self {
        let width = shape.width;
        let out_channels = shape.planes * BlockKind::Bottleneck.expansion();
        Self {
            conv1: conv1x1(shape.in_channels, width, 1, device),
            bn1: BatchNorm::new(width, device),
            conv2: conv3x3(width, width, shape.stride, shape.groups, device),
            bn2: BatchNorm::new(width, device),
            conv3: conv1x1(width, out_channels, 1, device),
            bn3: BatchNorm::new(out_channels, device),
            downsample: downsample(shape, BlockKind::Bottleneck, device),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let identity = shortcut(&self.downsample, input.clone());
        let out = relu(self.bn1.forward(self.conv1.forward(input)));
        let out = relu(self.bn2.forward(self.conv2.forward(out)));
        let out = self.bn3.forward(self.conv3.forward(out));
        relu(out + identity)
    }
}

fn shortcut(downsample: &Option<Downsample>, input: Tensor<4>) -> Tensor<4> {
    match downsample {
        Some((conv, norm)) => norm.forward(conv.forward(input)),
        None => input,
    }
}

fn downsample(shape: BlockShape, kind: BlockKind, device: &Device) -> Option<Downsample> {
    let out_channels = shape.planes * kind.expansion();
    (shape.stride != 1 || shape.in_channels != out_channels).then(|| {
        (
            conv1x1(shape.in_channels, out_channels, shape.stride, device),
            BatchNorm::new(out_channels, device),
        )
    })
}

fn conv1x1(in_channels: usize, out_channels: usize, stride: usize, device: &Device) -> Conv2d {
    conv2d([in_channels, out_channels], 1, stride, 1, device)
}

fn conv3x3(
    in_channels: usize,
    out_channels: usize,
    stride: usize,
    groups: usize,
    device: &Device,
) -> Conv2d {
    conv2d([in_channels, out_channels], 3, stride, groups, device)
}

/// A convolution without bias, padded by half its kernel, with torchvision's initialisation: normal with
/// standard deviation `sqrt(2 / (out_channels * kernel^2))` (He et al. 2015, fan-out mode).
pub(crate) fn conv2d(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    device: &Device,
) -> Conv2d {
    let padding = kernel / 2;
    let fan_out = (channels[1] * kernel * kernel) as f64;
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(
            padding, padding, padding, padding,
        ))
        .with_groups(groups)
        .with_bias(false)
        .with_initializer(Initializer::Normal {
            mean: 0.0,
            std: (2.0 / fan_out).sqrt(),
        })
        .init(device)
}
