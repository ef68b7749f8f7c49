//! MobileNetV4's convolutional networks (Qin et al. 2024, <https://arxiv.org/abs/2404.10518>) as in timm.
//!
//! For phones of several makes: no gates and no functions that an accelerator lacks.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `timm/mobilenetv4_conv_small` | 3.8 M | 0.24 G | 256 pixels |  |
//! | `timm/mobilenetv4_conv_medium` | 9.7 M | 2.43 G | 384 pixels |  |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, mobilenet_v4};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = mobilenet_v4::mobilenetv4_conv_small(&Options::with_classes(2))?; // ants and bees
//! let network = Network::new(graph, 42, &Device::flex());
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &Device::flex());
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use rekindle_nn::{
    Activation::Relu, Builder, Conv, ConvInit, Graph, GraphError, LinearInit, Value,
};

use crate::Options;
use crate::common::{begin, conv_norm, make_divisible, shortcut, variants};

variants! { network:
    /// Describes MobileNetV4-Conv-Small.
    mobilenetv4_conv_small(&SMALL);
    /// Describes MobileNetV4-Conv-Medium.
    mobilenetv4_conv_medium(&MEDIUM);
}

/// A block with its output channels and stride.
#[derive(Clone, Copy)]
enum Block {
    /// Convolution with this kernel.
    Conv(usize, usize, usize),
    /// 3x3 convolution to four times as many channels, and 1x1: a fused inverted bottleneck.
    Fused(usize, usize),
    /// Universal inverted bottleneck: kernels of the depthwise convolutions in front of and inside the expansion (0 for
    /// none), the expansion, channels, stride.
    Universal(usize, usize, usize, usize, usize),
}
use Block::{Conv as C, Fused as F, Universal as U};

#[rustfmt::skip]
const SMALL: [&[Block]; 5] = [
    &[C(3, 32, 2), C(1, 32, 1)],
    &[C(3, 96, 2), C(1, 64, 1)],
    &[U(5, 5, 3, 96, 2), U(0, 3, 2, 96, 1), U(0, 3, 2, 96, 1), U(0, 3, 2, 96, 1), U(0, 3, 2, 96, 1), U(3, 0, 4, 96, 1)],
    &[U(3, 3, 6, 128, 2), U(5, 5, 4, 128, 1), U(0, 5, 4, 128, 1), U(0, 5, 3, 128, 1), U(0, 3, 4, 128, 1), U(0, 3, 4, 128, 1)],
    &[C(1, 960, 1)],
];

#[rustfmt::skip]
const MEDIUM: [&[Block]; 5] = [
    &[F(48, 2)],
    &[U(3, 5, 4, 80, 2), U(3, 3, 2, 80, 1)],
    &[U(3, 5, 6, 160, 2), U(3, 3, 4, 160, 1), U(3, 3, 4, 160, 1), U(3, 5, 4, 160, 1), U(3, 3, 4, 160, 1), U(3, 0, 4, 160, 1),
      U(0, 0, 2, 160, 1), U(3, 0, 4, 160, 1)],
    &[U(5, 5, 6, 256, 2), U(5, 5, 4, 256, 1), U(3, 5, 4, 256, 1), U(3, 5, 4, 256, 1), U(0, 0, 4, 256, 1), U(3, 0, 4, 256, 1),
      U(3, 5, 2, 256, 1), U(5, 5, 4, 256, 1), U(0, 0, 4, 256, 1), U(0, 0, 4, 256, 1), U(5, 0, 2, 256, 1)],
    &[C(1, 960, 1)],
];

fn network(name: &str, stages: &[&[Block]], options: &Options) -> Result<Graph, GraphError> {
    let mut b = begin(name, options)
        .init(ConvInit::KaimingFanOutOfGroup, LinearInit::UniformFanOut)
        .head_dropout(options.drop_rate.unwrap_or(0.0));
    let mut x = b.images();
    x = b.stage("stem", |b| {
        let stem = Conv::new(32, 3).stride(2);
        b.block(|b| conv_norm(b, ["conv_stem", "bn1"], x, stem, Some(Relu)))
    });
    let blocks: usize = stages.iter().map(|stage| stage.len()).sum();
    let step = options.drop_path_rate.unwrap_or(0.0) / blocks as f64;
    let mut done = 0;
    for (stage, blocks) in stages.iter().enumerate() {
        x = b.stage(format!("stage{}", stage + 1), |b| {
            blocks.iter().enumerate().fold(x, |x, (index, block)| {
                let rate = step * done as f64;
                done += 1;
                b.scope(format!("blocks.{stage}.{index}"), |b| {
                    b.block(|b| one(b, x, *block, rate))
                })
            })
        });
    }
    x = b.global_avg_pool(x);
    x = conv_norm(
        &mut b,
        ["conv_head", "norm_head"],
        x,
        Conv::new(1280, 1),
        Some(Relu),
    );
    x = b.flatten(x);
    b.finish("classifier", x, options.classes)
}

fn one(b: &mut Builder, x: Value, block: Block, rate: f64) -> Value {
    match block {
        C(kernel, channels, stride) => {
            let conv = Conv::new(channels, kernel).stride(stride);
            // timm gives plain convolutions a shortcut only where it is asked for.
            conv_norm(b, ["conv", "bn1"], x, conv, Some(Relu))
        }
        F(channels, stride) => {
            let expand = Conv::new(make_divisible(4.0 * b.channels(x) as f64), 3).stride(stride);
            let y = conv_norm(b, ["conv_exp", "bn1"], x, expand, Some(Relu));
            let y = conv_norm(b, ["conv_pwl", "bn2"], y, Conv::new(channels, 1), None);
            shortcut(b, x, y, stride, rate)
        }
        U(start, middle, expansion, channels, stride) => {
            let expanded = make_divisible((b.channels(x) * expansion) as f64);
            // The stride sits in the middle where there is a convolution.
            let (first, second) = if middle > 0 { (1, stride) } else { (stride, 1) };
            let part = |b: &mut Builder, name: &str, x, conv, act| {
                b.scope(name, |b| conv_norm(b, ["conv", "bn"], x, conv, act))
            };
            let mut y = x;
            if start > 0 {
                y = part(b, "dw_start", y, Conv::depthwise(start).stride(first), None);
            }
            y = part(b, "pw_exp", y, Conv::new(expanded, 1), Some(Relu));
            if middle > 0 {
                let conv = Conv::depthwise(middle).stride(second);
                y = part(b, "dw_mid", y, conv, Some(Relu));
            }
            y = part(b, "pw_proj", y, Conv::new(channels, 1), None);
            shortcut(b, x, y, stride, rate)
        }
    }
}
