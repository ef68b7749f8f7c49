//! ResNet (He et al. 2016, <https://arxiv.org/abs/1512.03385>), ResNeXt (Xie et al. 2017,
//! <https://arxiv.org/abs/1611.05431>) and Wide ResNet (Zagoruyko and Komodakis 2016,
//! <https://arxiv.org/abs/1605.07146>) as in torchvision, with the stride in the 3x3 convolution.
//!
//! The networks that most transfer learning begins with: robust under any strategy, and the fastest here per
//! multiply-add. [`ResNetConfig`] describes others of the same build: narrower, deeper, for grey images.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::resnet::ResNetConfig;
//!
//! # #[cfg(feature = "flex")] {
//! let device = Device::flex();
//! let narrow = ResNetConfig::RESNET18.with_stem_width(8).with_num_classes(2); // ants and bees
//! let model = narrow.network(42, &device)?;
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &device);
//! assert_eq!(model.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use burn::prelude::*;
use rekindle_nn::{
    Activation::Relu, Builder, Conv, ConvInit, Graph, GraphError, LinearInit, Network, Pool2d,
    Value,
};

use crate::Options;
use crate::common::{conv_norm, variants};

/// A residual block's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 and 1x1, with four times as many channels at the end.
    Bottleneck,
}
use BlockKind::{Basic, Bottleneck};

impl BlockKind {
    /// Returns the ratio of a block's output channels to its planes: 1 or 4.
    pub const fn expansion(self) -> usize {
        match self {
            Basic => 1,
            Bottleneck => 4,
        }
    }
}

/// Sizes of a residual network: torchvision's ten are constants, and every other combination of them is one as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResNetConfig {
    /// The residual block.
    pub block: BlockKind,
    /// Blocks in each of the four stages.
    pub layers: [usize; 4],
    /// Number of classes; 0 builds no classifier. 1000 by default.
    pub num_classes: usize,
    /// Channels of the images: 3, for RGB, by default.
    pub in_channels: usize,
    /// Channels after the stem, 64 by default; the stages have 1, 2, 4 and 8 times as many planes.
    pub stem_width: usize,
    /// Groups of the 3x3 convolution in a bottleneck, ResNeXt's cardinality: 1 by default.
    pub groups: usize,
    /// Channels of one group at 64 planes: 64 by default, 4 or 8 in ResNeXt, 128 in Wide ResNet.
    pub width_per_group: usize,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $field:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub const fn $name(self, $field: usize) -> Self {
            Self { $field, ..self }
        }
    )*};
}

impl ResNetConfig {
    /// ResNet-18.
    pub const RESNET18: Self = Self::new(Basic, [2, 2, 2, 2]);
    /// ResNet-34.
    pub const RESNET34: Self = Self::new(Basic, [3, 4, 6, 3]);
    /// ResNet-50.
    pub const RESNET50: Self = Self::new(Bottleneck, [3, 4, 6, 3]);
    /// ResNet-101.
    pub const RESNET101: Self = Self::new(Bottleneck, [3, 4, 23, 3]);
    /// ResNet-152.
    pub const RESNET152: Self = Self::new(Bottleneck, [3, 8, 36, 3]);
    /// ResNeXt-50 with 32 groups of 4 channels.
    pub const RESNEXT50_32X4D: Self = Self::RESNET50.with_groups(32).with_width_per_group(4);
    /// ResNeXt-101 with 32 groups of 8 channels.
    pub const RESNEXT101_32X8D: Self = Self::RESNET101.with_groups(32).with_width_per_group(8);
    /// ResNeXt-101 with 64 groups of 4 channels.
    pub const RESNEXT101_64X4D: Self = Self::RESNET101.with_groups(64).with_width_per_group(4);
    /// Wide ResNet-50, twice as wide inside its blocks.
    pub const WIDE_RESNET50_2: Self = Self::RESNET50.with_width_per_group(128);
    /// Wide ResNet-101, twice as wide inside its blocks.
    pub const WIDE_RESNET101_2: Self = Self::RESNET101.with_width_per_group(128);

    /// torchvision's ten by their names there.
    pub const ALL: [(&str, Self); 10] = [
        ("resnet18", Self::RESNET18),
        ("resnet34", Self::RESNET34),
        ("resnet50", Self::RESNET50),
        ("resnet101", Self::RESNET101),
        ("resnet152", Self::RESNET152),
        ("resnext50_32x4d", Self::RESNEXT50_32X4D),
        ("resnext101_32x8d", Self::RESNEXT101_32X8D),
        ("resnext101_64x4d", Self::RESNEXT101_64X4D),
        ("wide_resnet50_2", Self::WIDE_RESNET50_2),
        ("wide_resnet101_2", Self::WIDE_RESNET101_2),
    ];

    /// Returns a network for ImageNet, 64 channels wide after the stem.
    pub const fn new(block: BlockKind, layers: [usize; 4]) -> Self {
        Self {
            block,
            layers,
            num_classes: 1000,
            in_channels: 3,
            stem_width: 64,
            groups: 1,
            width_per_group: 64,
        }
    }

    setters! {
        /// Sets the number of classes; 0 builds no classifier.
        with_num_classes: num_classes,
        /// Sets the channels of the images.
        with_in_channels: in_channels,
        /// Sets the channels after the stem.
        with_stem_width: stem_width,
        /// Sets the groups of a bottleneck's 3x3 convolution.
        with_groups: groups,
        /// Sets the channels of one group at 64 planes.
        with_width_per_group: width_per_group,
    }

    /// Returns the length of the pooled features: 512 or 2048 in torchvision's networks.
    pub const fn num_features(&self) -> usize {
        (self.stem_width << 3) * self.block.expansion()
    }

    /// Returns torchvision's name of a network that differs from one of its ten at most in its head and its input's
    /// channels, and a description of any other.
    pub fn name(&self) -> String {
        let trunk = self.with_num_classes(1000).with_in_channels(3);
        let known = Self::ALL.iter().find(|(_, config)| *config == trunk);
        let block = match self.block {
            Basic => "basic",
            Bottleneck => "bottleneck",
        };
        let [a, b, c, d] = self.layers;
        let describe = || format!("resnet_{block}_{a}_{b}_{c}_{d}_width{}", self.stem_width);
        known.map_or_else(describe, |(name, _)| (*name).to_string())
    }

    /// Describes the network.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::finish`], for sizes that don't fit.
    pub fn graph(&self) -> Result<Graph, GraphError> {
        self.describe(&self.name(), 0.0, 0.0)
    }

    /// Builds the network with fresh weights, a function of `seed` alone.
    ///
    /// # Errors
    ///
    /// As [`graph`](Self::graph).
    pub fn network(&self, seed: u64, device: &Device) -> Result<Network, GraphError> {
        Ok(Network::new(self.graph()?, seed, device))
    }

    fn describe(&self, name: &str, drop: f64, drop_path: f64) -> Result<Graph, GraphError> {
        let mut b = Builder::new(name, self.in_channels)
            .init(ConvInit::KaimingFanOut, LinearInit::PyTorch)
            .head_dropout(drop);
        let mut x = b.images();
        x = b.stage("stem", |b| {
            b.block(|b| {
                let stem = Conv::new(self.stem_width, 7).stride(2);
                let x = conv_norm(b, ["conv1", "bn1"], x, stem, Some(Relu));
                b.max_pool(x, Pool2d::new(3, 2, 1))
            })
        });
        let blocks: usize = self.layers.iter().sum();
        let last = drop_path / blocks.saturating_sub(1).max(1) as f64;
        let mut done = 0;
        for (stage, blocks) in self.layers.into_iter().enumerate() {
            let name = format!("layer{}", stage + 1);
            x = b.stage(&name, |b| {
                (0..blocks).fold(x, |x, index| {
                    let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                    let rate = last * done as f64;
                    done += 1;
                    b.scope(format!("{name}.{index}"), |b| {
                        b.block(|b| self.residual(b, x, stage, stride, rate))
                    })
                })
            });
        }
        x = b.global_pool(x);
        b.finish("fc", x, self.num_classes)
    }

    /// Adds a block of a stage: its layers, and the input beside them.
    fn residual(&self, b: &mut Builder, x: Value, stage: usize, stride: usize, rate: f64) -> Value {
        let planes = self.stem_width << stage;
        let width = planes * self.width_per_group / 64 * self.groups;
        let channels = planes * self.block.expansion();
        let convs = match self.block {
            Basic => vec![Conv::new(planes, 3).stride(stride), Conv::new(planes, 3)],
            Bottleneck => vec![
                Conv::new(width, 1),
                Conv::new(width, 3).groups(self.groups).stride(stride),
                Conv::new(channels, 1),
            ],
        };
        let last = convs.len();
        let y = (1..).zip(convs).fold(x, |y, (number, conv)| {
            let names = [&*format!("conv{number}"), &*format!("bn{number}")];
            conv_norm(b, names, y, conv, (number < last).then_some(Relu))
        });
        let identity = match stride != 1 || b.channels(x) != channels {
            true => {
                let conv = Conv::new(channels, 1).stride(stride);
                conv_norm(b, ["downsample.0", "downsample.1"], x, conv, None)
            }
            false => x,
        };
        let y = b.drop_path(y, rate);
        let sum = b.add(y, identity);
        b.relu(sum)
    }
}

variants! { published:
    /// Describes ResNet-18.
    resnet18(ResNetConfig::RESNET18);
    /// Describes ResNet-34.
    resnet34(ResNetConfig::RESNET34);
    /// Describes ResNet-50.
    resnet50(ResNetConfig::RESNET50);
    /// Describes ResNet-101.
    resnet101(ResNetConfig::RESNET101);
    /// Describes ResNet-152.
    resnet152(ResNetConfig::RESNET152);
    /// Describes ResNeXt-50 with 32 groups of 4 channels.
    resnext50_32x4d(ResNetConfig::RESNEXT50_32X4D);
    /// Describes ResNeXt-101 with 32 groups of 8 channels.
    resnext101_32x8d(ResNetConfig::RESNEXT101_32X8D);
    /// Describes ResNeXt-101 with 64 groups of 4 channels.
    resnext101_64x4d(ResNetConfig::RESNEXT101_64X4D);
    /// Describes Wide ResNet-50, twice as wide inside its blocks.
    wide_resnet50_2(ResNetConfig::WIDE_RESNET50_2);
    /// Describes Wide ResNet-101, twice as wide inside its blocks.
    wide_resnet101_2(ResNetConfig::WIDE_RESNET101_2);
}

fn published(name: &str, config: ResNetConfig, options: &Options) -> Result<Graph, GraphError> {
    let config = ResNetConfig {
        num_classes: options.classes,
        in_channels: options.in_channels,
        ..config
    };
    let drop = options.drop_rate.unwrap_or(0.0);
    config.describe(name, drop, options.drop_path_rate.unwrap_or(0.0))
}
