//! MobileNetV3 (Howard et al. 2019, <https://arxiv.org/abs/1905.02244>) as in torchvision.
//!
//! For phones, where milliseconds count; the small variant gives up accuracy for them.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `torchvision/mobilenet_v3_small` | 2.5 M | 0.06 G | 224 pixels | 67.7 |
//! | `torchvision/mobilenet_v3_large` | 5.5 M | 0.22 G | 224 pixels | 75.3 |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, mobilenet_v3};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = mobilenet_v3::mobilenet_v3_small(&Options::with_classes(2))?; // ants and bees
//! let network = Network::new(graph, 42, &Device::flex());
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &Device::flex());
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use rekindle_nn::{
    Activation, Activation::HardSigmoid, Activation::HardSwish, Activation::Relu, Builder, Conv,
    ConvInit, Graph, GraphError, LinearInit, Value,
};

use crate::Options;
use crate::common::{begin, conv_norm_act, make_divisible, shortcut, squeeze_excitation, variants};

variants! { network:
    /// Describes MobileNetV3-Large.
    mobilenet_v3_large(&LARGE, 1280);
    /// Describes MobileNetV3-Small.
    mobilenet_v3_small(&SMALL, 1024);
}

/// Kernel, expanded channels, channels, squeeze-and-excitation, activation and stride of a block.
type Block = (usize, usize, usize, bool, Activation, usize);

#[rustfmt::skip]
const LARGE: [Block; 15] = [
    (3, 16, 16, false, Relu, 1), (3, 64, 24, false, Relu, 2), (3, 72, 24, false, Relu, 1),
    (5, 72, 40, true, Relu, 2), (5, 120, 40, true, Relu, 1), (5, 120, 40, true, Relu, 1),
    (3, 240, 80, false, HardSwish, 2), (3, 200, 80, false, HardSwish, 1), (3, 184, 80, false, HardSwish, 1),
    (3, 184, 80, false, HardSwish, 1), (3, 480, 112, true, HardSwish, 1), (3, 672, 112, true, HardSwish, 1),
    (5, 672, 160, true, HardSwish, 2), (5, 960, 160, true, HardSwish, 1), (5, 960, 160, true, HardSwish, 1),
];

#[rustfmt::skip]
const SMALL: [Block; 11] = [
    (3, 16, 16, true, Relu, 2), (3, 72, 24, false, Relu, 2), (3, 88, 24, false, Relu, 1),
    (5, 96, 40, true, HardSwish, 2), (5, 240, 40, true, HardSwish, 1), (5, 240, 40, true, HardSwish, 1),
    (5, 120, 48, true, HardSwish, 1), (5, 144, 48, true, HardSwish, 1), (5, 288, 96, true, HardSwish, 2),
    (5, 576, 96, true, HardSwish, 1), (5, 576, 96, true, HardSwish, 1),
];

fn network(
    name: &str,
    blocks: &[Block],
    features: usize,
    options: &Options,
) -> Result<Graph, GraphError> {
    let mut b = begin(name, options)
        .init(ConvInit::KaimingFanOut, LinearInit::Normal(0.01))
        .norm(1e-3, 0.01)
        .head_dropout(options.drop_rate.unwrap_or(0.2));
    let mut x = b.images();
    x = b.stage("stem", |b| {
        let stem = Conv::new(16, 3).stride(2);
        b.block(|b| conv_norm_act(b, "features.0", x, stem, Some(HardSwish)))
    });
    let step = options.drop_path_rate.unwrap_or(0.0) / blocks.len() as f64;
    let (mut done, mut stage) = (0, 0);
    // A stage ends in front of each stride.
    while done < blocks.len() {
        let behind = blocks.iter().skip(done + 1);
        let count = 1 + behind.take_while(|block| block.5 == 1).count();
        stage += 1;
        x = b.stage(format!("stage{stage}"), |b| {
            blocks[done..done + count].iter().fold(x, |x, block| {
                let rate = step * done as f64;
                done += 1;
                b.scope(format!("features.{done}.block"), |b| {
                    b.block(|b| inverted_residual(b, x, *block, rate))
                })
            })
        });
    }
    x = b.stage("last", |b| {
        let conv = Conv::new(6 * b.channels(x), 1);
        let name = format!("features.{}", done + 1);
        b.block(|b| conv_norm_act(b, name, x, conv, Some(HardSwish)))
    });
    x = b.global_pool(x);
    x = b.linear("classifier.0", x, features);
    x = b.activation(x, HardSwish);
    b.finish("classifier.3", x, options.classes)
}

fn inverted_residual(
    b: &mut Builder,
    x: Value,
    (kernel, expanded, channels, is_gated, act, stride): Block,
    rate: f64,
) -> Value {
    let (mut y, mut part) = (x, 0);
    if expanded != b.channels(x) {
        y = conv_norm_act(b, part, y, Conv::new(expanded, 1), Some(act));
        part += 1;
    }
    y = conv_norm_act(
        b,
        part,
        y,
        Conv::depthwise(kernel).stride(stride),
        Some(act),
    );
    part += 1;
    if is_gated {
        let squeeze = make_divisible((expanded / 4) as f64);
        y = squeeze_excitation(b, part, y, squeeze, [Relu, HardSigmoid]);
        part += 1;
    }
    y = conv_norm_act(b, part, y, Conv::new(channels, 1), None);
    shortcut(b, x, y, stride, rate)
}
