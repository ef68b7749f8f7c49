//! EfficientNet (Tan and Le 2019, <https://arxiv.org/abs/1905.11946>) and EfficientNetV2 (2021,
//! <https://arxiv.org/abs/2104.00298>) as in torchvision.
//!
//! Most accuracy per parameter among convolutional networks; V2-S has B4's accuracy and, after its paper, trains faster.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `torchvision/efficientnet_b0` | 5.3 M | 0.39 G | 224 pixels | 77.7 |
//! | `torchvision/efficientnet_b1` | 7.8 M | 0.69 G | 240 pixels | 79.8 |
//! | `torchvision/efficientnet_b2` | 9.1 M | 1.09 G | 288 pixels | 80.6 |
//! | `torchvision/efficientnet_b3` | 12.2 M | 1.83 G | 300 pixels | 82.0 |
//! | `torchvision/efficientnet_b4` | 19.3 M | 4.39 G | 380 pixels | 83.4 |
//! | `torchvision/efficientnet_v2_s` | 21.5 M | 8.37 G | 384 pixels | 84.2 |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, efficientnet};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = efficientnet::efficientnet_b0(&Options::with_classes(2))?; // ants and bees
//! let network = Network::new(graph, 42, &Device::flex());
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &Device::flex());
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use rekindle_nn::{
    Activation::Sigmoid, Activation::Silu, Builder, Conv, ConvInit, Graph, GraphError, LinearInit,
    Value,
};

use crate::Options;
use crate::common::{begin, conv_norm_act, make_divisible, shortcut, squeeze_excitation, variants};

// Multipliers of width and depth, and the published dropout.
variants! { v1:
    /// Describes EfficientNet-B0.
    efficientnet_b0(1.0, 1.0, 0.2);
    /// Describes EfficientNet-B1.
    efficientnet_b1(1.0, 1.1, 0.2);
    /// Describes EfficientNet-B2.
    efficientnet_b2(1.1, 1.2, 0.3);
    /// Describes EfficientNet-B3.
    efficientnet_b3(1.2, 1.4, 0.3);
    /// Describes EfficientNet-B4.
    efficientnet_b4(1.4, 1.8, 0.4);
}

variants! { v2:
    /// Describes EfficientNetV2-S.
    efficientnet_v2_s(&V2_S, 0.2);
}

/// Sizes of a stage; its first block has the stride.
#[derive(Clone, Copy)]
struct Stage {
    /// One convolution for the depthwise one and the one before it, no gate.
    is_fused: bool,
    expansion: usize,
    kernel: usize,
    stride: usize,
    channels: usize,
    blocks: usize,
}

const fn stage(is_fused: bool, sizes: [usize; 5]) -> Stage {
    let [expansion, kernel, stride, channels, blocks] = sizes;
    Stage {
        is_fused,
        expansion,
        kernel,
        stride,
        channels,
        blocks,
    }
}

/// B0's stages, of which the others are multiples.
pub(crate) const B0: [[usize; 5]; 7] = [
    [1, 3, 1, 16, 1],
    [6, 3, 2, 24, 2],
    [6, 5, 2, 40, 2],
    [6, 3, 2, 80, 3],
    [6, 5, 1, 112, 3],
    [6, 5, 2, 192, 4],
    [6, 3, 1, 320, 1],
];

const V2_S: [Stage; 6] = [
    stage(true, [1, 3, 1, 24, 2]),
    stage(true, [4, 3, 2, 48, 4]),
    stage(true, [4, 3, 2, 64, 4]),
    stage(false, [4, 3, 2, 128, 6]),
    stage(false, [6, 3, 1, 160, 9]),
    stage(false, [6, 3, 2, 256, 15]),
];

fn v1(
    name: &str,
    width: f64,
    depth: f64,
    dropout: f64,
    options: &Options,
) -> Result<Graph, GraphError> {
    let scaled = B0.map(|sizes| {
        let mut stage = stage(false, sizes);
        stage.channels = make_divisible(stage.channels as f64 * width);
        stage.blocks = (stage.blocks as f64 * depth).ceil() as usize;
        stage
    });
    let stem = make_divisible(32.0 * width);
    let b = begin(name, options);
    network(b, stem, &scaled, 4 * scaled[6].channels, dropout, options)
}

fn v2(name: &str, stages: &[Stage], dropout: f64, options: &Options) -> Result<Graph, GraphError> {
    let b = begin(name, options).norm(1e-3, 0.1);
    network(b, stages[0].channels, stages, 1280, dropout, options)
}

fn network(
    b: Builder,
    stem: usize,
    stages: &[Stage],
    features: usize,
    dropout: f64,
    options: &Options,
) -> Result<Graph, GraphError> {
    let mut b = b
        .init(ConvInit::KaimingFanOut, LinearInit::UniformFanOut)
        .head_dropout(options.drop_rate.unwrap_or(dropout));
    let mut x = b.images();
    x = b.stage("stem", |b| {
        b.block(|b| conv_norm_act(b, "features.0", x, Conv::new(stem, 3).stride(2), Some(Silu)))
    });
    let blocks: usize = stages.iter().map(|stage| stage.blocks).sum();
    let step = options.drop_path_rate.unwrap_or(0.2) / blocks as f64;
    let mut done = 0;
    for (number, sizes) in (1..).zip(stages) {
        x = b.stage(format!("stage{number}"), |b| {
            (0..sizes.blocks).fold(x, |x, index| {
                let stride = if index == 0 { sizes.stride } else { 1 };
                let rate = step * done as f64;
                done += 1;
                b.scope(format!("features.{number}.{index}.block"), |b| {
                    b.block(|b| block(b, x, *sizes, stride, rate))
                })
            })
        });
    }
    x = b.stage("last", |b| {
        let name = format!("features.{}", stages.len() + 1);
        b.block(|b| conv_norm_act(b, name, x, Conv::new(features, 1), Some(Silu)))
    });
    x = b.global_pool(x);
    b.finish("classifier.1", x, options.classes)
}

fn block(b: &mut Builder, x: Value, sizes: Stage, stride: usize, rate: f64) -> Value {
    let inputs = b.channels(x);
    let expanded = make_divisible((inputs * sizes.expansion) as f64);
    let (mut y, mut part) = (x, 0);
    let mut add = |b: &mut Builder, y, conv, act| {
        part += 1;
        conv_norm_act(b, part - 1, y, conv, act)
    };
    if sizes.is_fused {
        let to = if expanded == inputs {
            sizes.channels
        } else {
            expanded
        };
        y = add(b, y, Conv::new(to, sizes.kernel).stride(stride), Some(Silu));
        if expanded != inputs {
            y = add(b, y, Conv::new(sizes.channels, 1), None);
        }
        return shortcut(b, x, y, stride, rate);
    }
    if expanded != inputs {
        y = add(b, y, Conv::new(expanded, 1), Some(Silu));
    }
    y = add(
        b,
        y,
        Conv::depthwise(sizes.kernel).stride(stride),
        Some(Silu),
    );
    y = squeeze_excitation(b, part, y, (inputs / 4).max(1), [Silu, Sigmoid]);
    y = conv_norm_act(b, part + 1, y, Conv::new(sizes.channels, 1), None);
    shortcut(b, x, y, stride, rate)
}
