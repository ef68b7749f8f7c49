//! ShuffleNetV2 (Ma et al. 2018, <https://arxiv.org/abs/1807.11164>) as in torchvision.
//!
//! For the smallest machines.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `torchvision/shufflenet_v2_x0_5` | 1.4 M | 0.04 G | 224 pixels | 60.6 |
//! | `torchvision/shufflenet_v2_x1_0` | 2.3 M | 0.14 G | 224 pixels | 69.4 |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, shufflenet_v2};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = shufflenet_v2::shufflenet_v2_x0_5(&Options::with_classes(2))?; // ants and bees
//! let network = Network::new(graph, 42, &Device::flex());
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &Device::flex());
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use rekindle_nn::{
    Activation::Relu, Builder, Conv, ConvInit, Graph, GraphError, LinearInit, Pool2d, Value,
};

use crate::Options;
use crate::common::{begin, conv_norm, variants};

// Channels of the three stages and of the last convolution.
variants! { network:
    /// Describes ShuffleNetV2 of half the width.
    shufflenet_v2_x0_5([48, 96, 192], 1024);
    /// Describes ShuffleNetV2.
    shufflenet_v2_x1_0([116, 232, 464], 1024);
}

fn network(
    name: &str,
    stages: [usize; 3],
    features: usize,
    options: &Options,
) -> Result<Graph, GraphError> {
    let mut b = begin(name, options)
        .init(ConvInit::PyTorch, LinearInit::PyTorch)
        .head_dropout(options.drop_rate.unwrap_or(0.0));
    let mut x = b.images();
    x = b.stage("stem", |b| {
        b.block(|b| {
            let stem = Conv::new(24, 3).stride(2);
            let x = conv_norm(b, ["conv1.0", "conv1.1"], x, stem, Some(Relu));
            b.max_pool(x, Pool2d::new(3, 2, 1))
        })
    });
    for (number, (channels, blocks)) in (2..).zip(stages.into_iter().zip([4, 8, 4])) {
        let name = format!("stage{number}");
        x = b.stage(&name, |b| {
            (0..blocks).fold(x, |x, index| {
                b.scope(format!("{name}.{index}"), |b| {
                    b.block(|b| block(b, x, channels / 2, index == 0))
                })
            })
        });
    }
    x = b.stage("conv5", |b| {
        let last = Conv::new(features, 1);
        b.block(|b| conv_norm(b, ["conv5.0", "conv5.1"], x, last, Some(Relu)))
    });
    x = b.global_pool(x);
    b.finish("fc", x, options.classes)
}

/// Halves the channels and runs one half, or runs both halves of a smaller map on everything.
fn block(b: &mut Builder, x: Value, half: usize, is_first: bool) -> Value {
    let (stride, left, right) = match is_first {
        true => {
            let left = b.scope("branch1", |b| {
                let y = conv_norm(b, ["0", "1"], x, Conv::depthwise(3).stride(2), None);
                conv_norm(b, ["2", "3"], y, Conv::new(half, 1), Some(Relu))
            });
            (2, left, x)
        }
        false => (1, b.slice(x, 0, half), b.slice(x, half, half)),
    };
    let right = b.scope("branch2", |b| {
        let y = conv_norm(b, ["0", "1"], right, Conv::new(half, 1), Some(Relu));
        let y = conv_norm(b, ["3", "4"], y, Conv::depthwise(3).stride(stride), None);
        conv_norm(b, ["5", "6"], y, Conv::new(half, 1), Some(Relu))
    });
    let y = b.concat(&[left, right]);
    b.channel_shuffle(y, 2)
}
