//! MobileNetV2 (Sandler et al. 2018, <https://arxiv.org/abs/1801.04381>) as in torchvision.
//!
//! The network for phones that everything supports: ReLU6 and depthwise convolutions, no gates.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `torchvision/mobilenet_v2` | 3.5 M | 0.30 G | 224 pixels | 72.2 |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, mobilenet_v2};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = mobilenet_v2::mobilenet_v2(&Options::with_classes(2))?; // ants and bees
//! let network = Network::new(graph, 42, &Device::flex());
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &Device::flex());
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use rekindle_nn::{
    Activation::Relu6, Builder, Conv, ConvInit, Graph, GraphError, LinearInit, Value,
};

use crate::Options;
use crate::common::{begin, conv_norm_act, shortcut, variants};

variants! { network:
    /// Describes MobileNetV2.
    mobilenet_v2();
}

/// Expansion, channels, blocks and stride of the first block, stage by stage.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

fn network(name: &str, options: &Options) -> Result<Graph, GraphError> {
    let mut b = begin(name, options)
        .init(ConvInit::KaimingFanOut, LinearInit::Normal(0.01))
        .head_dropout(options.drop_rate.unwrap_or(0.2));
    let mut x = b.images();
    x = b.stage("stem", |b| {
        b.block(|b| conv_norm_act(b, "features.0", x, Conv::new(32, 3).stride(2), Some(Relu6)))
    });
    let blocks: usize = STAGES.iter().map(|(_, _, blocks, _)| blocks).sum();
    let step = options.drop_path_rate.unwrap_or(0.0) / blocks as f64;
    let mut done = 0;
    for (stage, (expansion, channels, blocks, first)) in STAGES.into_iter().enumerate() {
        x = b.stage(format!("stage{}", stage + 1), |b| {
            (0..blocks).fold(x, |x, index| {
                let stride = if index == 0 { first } else { 1 };
                let rate = step * done as f64;
                done += 1;
                b.scope(format!("features.{done}.conv"), |b| {
                    b.block(|b| inverted_residual(b, x, expansion, channels, stride, rate))
                })
            })
        });
    }
    x = b.stage("last", |b| {
        let name = format!("features.{}", done + 1);
        b.block(|b| conv_norm_act(b, name, x, Conv::new(1280, 1), Some(Relu6)))
    });
    x = b.global_pool(x);
    b.finish("classifier.1", x, options.classes)
}

fn inverted_residual(
    b: &mut Builder,
    x: Value,
    expansion: usize,
    channels: usize,
    stride: usize,
    rate: f64,
) -> Value {
    let (mut y, mut part) = (x, 0);
    if expansion > 1 {
        let expanded = b.channels(x) * expansion;
        y = conv_norm_act(b, part, y, Conv::new(expanded, 1), Some(Relu6));
        part += 1;
    }
    y = conv_norm_act(b, part, y, Conv::depthwise(3).stride(stride), Some(Relu6));
    y = b.conv2d(part + 1, y, Conv::new(channels, 1));
    y = b.batch_norm(part + 2, y);
    shortcut(b, x, y, stride, rate)
}
