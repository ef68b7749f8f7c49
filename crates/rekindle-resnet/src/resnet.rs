//! One struct for torchvision's ten ResNets and for narrow ones of the same code.

use std::ops::Range;

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;

use crate::block::{BlockShape, conv2d};
#[cfg(feature = "kernels")]
use crate::kernels::{self, Execution};
use crate::{BatchNorm, Block, BlockKind, Error};

/// Names of the parts that a forward pass goes through before the head, in order.
pub const STAGES: [&str; 5] = ["stem", "layer1", "layer2", "layer3", "layer4"];

/// What a ResNet is built of.
///
/// [`Architecture::config`](crate::Architecture::config) gives torchvision's ten; smaller
/// [`stem_width`](Self::stem_width)s give the same networks in narrow.
#[derive(Config, Debug, PartialEq)]
pub struct ResNetConfig {
    /// The residual block.
    pub block: BlockKind,
    /// Blocks in each of the four stages.
    pub layers: [usize; 4],
    /// Number of classes of the head; 0 builds none.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Channels of the input: 3 for RGB.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Channels after the stem; the stages have 1, 2, 4 and 8 times as many planes.
    #[config(default = 64)]
    pub stem_width: usize,
    /// Groups of the 3x3 convolution in a bottleneck (ResNeXt's cardinality).
    #[config(default = 1)]
    pub groups: usize,
    /// Channels of one group at 64 planes (64; ResNeXt 4 or 8; Wide ResNet 128).
    #[config(default = 64)]
    pub width_per_group: usize,
}

impl ResNetConfig {
    /// A network with fresh weights, initialised as torchvision does, on `device`.
    pub fn init(&self, device: &Device) -> ResNet {
        let mut in_channels = self.stem_width;
        let mut stage = |index: usize| {
            let planes = self.stem_width << index;
            (0..self.layers[index])
                .map(|position| {
                    let shape = BlockShape {
                        in_channels,
                        planes,
                        width: planes * self.width_per_group / 64 * self.groups,
                        stride: if position == 0 && index > 0 { 2 } else { 1 },
                        groups: self.groups,
                    };
                    in_channels = planes * self.block.expansion();
                    Block::new(self.block, shape, device)
                })
                .collect::<Vec<_>>()
        };
        ResNet {
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            conv1: conv2d([self.in_channels, self.stem_width], 7, 2, 1, device),
            bn1: BatchNorm::new(self.stem_width, device),
            #[cfg(feature = "kernels")]
            execution: Execution::default(),
            fc: head(self.num_features(), self.num_classes, device),
        }
    }

    /// Length of the pooled feature vector: 512 or 2048 in torchvision's networks.
    pub fn num_features(&self) -> usize {
        (self.stem_width << 3) * self.block.expansion()
    }
}

/// A residual network (He et al. 2016, <https://arxiv.org/abs/1512.03385>), torchvision's v1.5.
///
/// Field names are torchvision's, so a parameter's path is its key in a state dict. Cloning shares the
/// running statistics of batch normalisation, as everywhere in Burn.
#[derive(Module, Debug)]
pub struct ResNet {
    /// 7x7 convolution of the stem, stride 2.
    pub conv1: Conv2d,
    /// After `conv1`.
    pub bn1: BatchNorm,
    /// First stage, stride 4 of the input.
    pub layer1: Vec<Block>,
    /// Second stage, stride 8.
    pub layer2: Vec<Block>,
    /// Third stage, stride 16.
    pub layer3: Vec<Block>,
    /// Fourth stage, stride 32.
    pub layer4: Vec<Block>,
    /// The classifier; none after `reset_classifier(0)`.
    pub fc: Option<Linear>,
    #[cfg(feature = "kernels")]
    #[module(skip)]
    pub(crate) execution: Execution,
}

impl ResNet {
    /// Images `[batch, channels, height, width]` to logits `[batch, classes]`; to pooled features
    /// `[batch, num_features]` where there is no classifier.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.classify(self.run_and_pool(0, images))
    }

    /// Images `[batch, channels, height, width]` to the last stage's activations
    /// `[batch, num_features, height / 32, width / 32]`.
    pub fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        self.run(0..STAGES.len(), images)
    }

    /// The activations after each of [`STAGES`], in that order.
    pub fn forward_intermediates(&self, images: Tensor<4>) -> [Tensor<4>; STAGES.len()] {
        let mut x = images;
        std::array::from_fn(|stage| {
            x = self.run(stage..stage + 1, x.clone());
            x.clone()
        })
    }

    /// Runs one of [`STAGES`] by its index: 0 is the stem with its max pooling, 1 to 4 are the layers.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStage`] for any other index.
    pub fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Result<Tensor<4>, Error> {
        self.forward_stages(stage..stage.saturating_add(1), x)
    }

    /// Runs some of [`STAGES`] in a row by their indices, on what the first of them takes; an empty range gives `x` back.
    /// On the CPU's kernels this is faster than one by one.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStage`] for a range that reaches beyond the last stage, or ends before it begins.
    pub fn forward_stages(&self, stages: Range<usize>, x: Tensor<4>) -> Result<Tensor<4>, Error> {
        check_stage(stages.end)?;
        if stages.start > stages.end {
            return Err(unknown_stage(stages.start));
        }
        Ok(self.run(stages, x))
    }

    /// Runs all stages from the one with index `start` on, and pools: what that stage takes to features
    /// `[batch, num_features]`. `STAGES.len()` only pools.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStage`] for a larger `start`.
    pub fn pool_stages(&self, start: usize, x: Tensor<4>) -> Result<Tensor<2>, Error> {
        check_stage(start)?;
        Ok(self.run_and_pool(start, x))
    }

    fn run(&self, stages: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        #[cfg(feature = "kernels")]
        if let Some(x) = kernels::forward_stages(self, stages.clone(), &x) {
            return x.into_tensor();
        }
        stages.fold(x, |x, stage| self.forward_by_burn(stage, x))
    }

    fn run_and_pool(&self, start: usize, x: Tensor<4>) -> Tensor<2> {
        #[cfg(feature = "kernels")]
        if let Some(x) = kernels::forward_stages(self, start..STAGES.len(), &x) {
            return x.pool();
        }
        self.pool(self.run(start..STAGES.len(), x))
    }

    /// Whether stages may run on the CPU's own kernels in place of Burn's operations, which they do where
    /// everything is `f32` on the flex device. On at first; off to compare.
    #[cfg(feature = "kernels")]
    pub fn with_kernels(self, is_enabled: bool) -> Self {
        Self {
            execution: Execution::with_kernels(is_enabled),
            ..self
        }
    }

    /// The first `stages` of [`STAGES`] in eight bits, for inference on a CPU: two to four times as fast as `f32`, and a
    /// little off. Weights are taken as they stand; ranges of activations are measured on `calibration`, batches of images
    /// `[batch, channels, height, width]` as the network is to see them. A few dozen images are enough, and the same ones
    /// give the same result.
    ///
    /// # Errors
    ///
    /// [`Error::NotQuantizable`] for a network in training (on an autodiff device, see [`valid`](Self::valid)), on another
    /// device than flex, with its kernels switched off, or with weights that are no finite numbers; for no images, or such
    /// as don't fit; and on a machine that multiplies bytes no faster than `f32`.
    #[cfg(feature = "kernels")]
    pub fn quantize_stages(
        &self,
        stages: usize,
        calibration: &[Tensor<4>],
    ) -> Result<kernels::QuantizedStages, Error> {
        kernels::QuantizedStages::new(self, stages, calibration)
    }

    fn forward_by_burn(&self, stage: usize, x: Tensor<4>) -> Tensor<4> {
        if stage == 0 {
            return self.forward_stem(x);
        }
        let blocks = self.blocks(stage).iter();
        blocks.fold(x, |x, block| block.forward(x))
    }

    /// Blocks of one of [`STAGES`]; none for the stem.
    pub(crate) fn blocks(&self, stage: usize) -> &[Block] {
        match stage {
            1 => &self.layer1,
            2 => &self.layer2,
            3 => &self.layer3,
            4 => &self.layer4,
            _ => &[],
        }
    }

    fn forward_stem(&self, images: Tensor<4>) -> Tensor<4> {
        let x = relu(self.bn1.forward(self.conv1.forward(images)));
        max_pool2d(
            x,
            MaxPoolOptions::new([3, 3])
                .with_stride([2, 2])
                .with_padding([1, 1]),
        )
    }

    /// Activations `[batch, num_features, height, width]` to logits `[batch, classes]` (or to pooled
    /// features where there is no classifier).
    pub fn forward_head(&self, features: Tensor<4>) -> Tensor<2> {
        self.classify(self.pool(features))
    }

    fn classify(&self, pooled: Tensor<2>) -> Tensor<2> {
        match &self.fc {
            Some(fc) => fc.forward(pooled),
            None => pooled,
        }
    }

    /// Global average pooling: `[batch, channels, height, width]` to `[batch, channels]`.
    pub fn pool(&self, features: Tensor<4>) -> Tensor<2> {
        features.flatten::<3>(2, 3).mean_dim(2).squeeze_dim::<2>(2)
    }

    /// What the network is built of, read off its tensors.
    pub fn config(&self) -> ResNetConfig {
        let [stem_width, in_channels, _, _] = self.conv1.weight.dims();
        let (block, groups, width_per_group) = match self.layer1.first() {
            Some(Block::Bottleneck(block)) => {
                let [width, per_group, _, _] = block.conv2.weight.dims();
                let groups = width / per_group;
                (
                    BlockKind::Bottleneck,
                    groups,
                    width * 64 / (stem_width * groups),
                )
            }
            _ => (BlockKind::Basic, 1, 64),
        };
        let layers = [&self.layer1, &self.layer2, &self.layer3, &self.layer4].map(Vec::len);
        ResNetConfig::new(block, layers)
            .with_num_classes(self.num_classes())
            .with_in_channels(in_channels)
            .with_stem_width(stem_width)
            .with_groups(groups)
            .with_width_per_group(width_per_group)
    }

    /// Length of the pooled feature vector.
    pub fn num_features(&self) -> usize {
        match self.layer4.last() {
            Some(Block::Basic(block)) => block.bn2.weight.dims()[0],
            Some(Block::Bottleneck(block)) => block.bn3.weight.dims()[0],
            None => self.bn1.weight.dims()[0],
        }
    }

    /// Number of classes; 0 without a classifier.
    pub fn num_classes(&self) -> usize {
        self.fc.as_ref().map_or(0, |fc| fc.weight.dims()[1])
    }

    /// Replaces the classifier by a fresh one for `num_classes`; 0 takes it away.
    pub fn reset_classifier(self, num_classes: usize) -> Self {
        let device = self.device();
        let fc = head(self.num_features(), num_classes, &device);
        Self { fc, ..self }
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.conv1.weight.lazy_device()
    }
}

/// Lets the indices of stages pass, and the one behind the last.
fn check_stage(stage: usize) -> Result<(), Error> {
    match stage <= STAGES.len() {
        true => Ok(()),
        false => Err(unknown_stage(stage - 1)),
    }
}

fn unknown_stage(found: usize) -> Error {
    Error::UnknownStage {
        found,
        stages: STAGES.len(),
    }
}

fn head(num_features: usize, num_classes: usize, device: &Device) -> Option<Linear> {
    (num_classes > 0).then(|| LinearConfig::new(num_features, num_classes).init(device))
}
