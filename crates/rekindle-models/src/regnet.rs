//! RegNetY (Radosavovic et al. 2020, <https://arxiv.org/abs/2003.13678>) as in torchvision.
//!
//! A ResNet's shape with gates and groups: more accurate than a ResNet at the same multiply-adds.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `torchvision/regnet_y_400mf` | 4.3 M | 0.40 G | 224 pixels | 75.8 |
//! | `torchvision/regnet_y_800mf` | 6.4 M | 0.83 G | 224 pixels | 78.8 |
//! | `torchvision/regnet_y_1_6gf` | 11.2 M | 1.61 G | 224 pixels | 80.9 |
//! | `torchvision/regnet_y_3_2gf` | 19.4 M | 3.18 G | 224 pixels | 82.0 |
//! | `torchvision/regnet_y_8gf` | 39.4 M | 8.47 G | 224 pixels | 82.8 |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, regnet};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = regnet::regnet_y_400mf(&Options::with_classes(2))?; // ants and bees
//! let network = Network::new(graph, 42, &Device::flex());
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &Device::flex());
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use rekindle_nn::{
    Activation::Relu, Activation::Sigmoid, Builder, Conv, ConvInit, Graph, GraphError, LinearInit,
    Value,
};

use crate::Options;
use crate::common::{begin, conv_norm_act, squeeze_excitation, variants};

// Widths and depths are what the paper's linear rule gives once it is rounded.
variants! { network:
    /// Describes RegNetY of 400 million multiply-adds.
    regnet_y_400mf([(48, 1), (104, 3), (208, 6), (440, 6)], 8);
    /// Describes RegNetY of 800 million multiply-adds.
    regnet_y_800mf([(64, 1), (144, 3), (320, 8), (784, 2)], 16);
    /// Describes RegNetY of 1.6 billion multiply-adds.
    regnet_y_1_6gf([(48, 2), (120, 6), (336, 17), (888, 2)], 24);
    /// Describes RegNetY of 3.2 billion multiply-adds.
    regnet_y_3_2gf([(72, 2), (216, 5), (576, 13), (1512, 1)], 24);
    /// Describes RegNetY of 8 billion multiply-adds.
    regnet_y_8gf([(224, 2), (448, 4), (896, 10), (2016, 1)], 56);
}

fn network(
    name: &str,
    stages: [(usize, usize); 4],
    group_width: usize,
    options: &Options,
) -> Result<Graph, GraphError> {
    let mut b = begin(name, options)
        .init(ConvInit::KaimingFanOut, LinearInit::Normal(0.01))
        .head_dropout(options.drop_rate.unwrap_or(0.0));
    let mut x = b.images();
    x = b.stage("stem", |b| {
        b.block(|b| conv_norm_act(b, "stem", x, Conv::new(32, 3).stride(2), Some(Relu)))
    });
    let blocks: usize = stages.iter().map(|(_, depth)| depth).sum();
    let step = options.drop_path_rate.unwrap_or(0.0) / blocks as f64;
    let mut done = 0;
    for (number, (width, depth)) in (1..).zip(stages) {
        x = b.stage(format!("block{number}"), |b| {
            (0..depth).fold(x, |x, index| {
                let stride = if index == 0 { 2 } else { 1 };
                let rate = step * done as f64;
                done += 1;
                let name = format!("trunk_output.block{number}.block{number}-{index}");
                b.scope(name, |b| {
                    b.block(|b| block(b, x, width, width / group_width, stride, rate))
                })
            })
        });
    }
    x = b.global_pool(x);
    b.finish("fc", x, options.classes)
}

fn block(
    b: &mut Builder,
    x: Value,
    width: usize,
    groups: usize,
    stride: usize,
    rate: f64,
) -> Value {
    let inputs = b.channels(x);
    let identity = match stride != 1 || inputs != width {
        true => conv_norm_act(b, "proj", x, Conv::new(width, 1).stride(stride), None),
        false => x,
    };
    let wide = Conv::new(width, 3).stride(stride).groups(groups);
    let y = b.scope("f", |b| {
        let y = conv_norm_act(b, "a", x, Conv::new(width, 1), Some(Relu));
        let y = conv_norm_act(b, "b", y, wide, Some(Relu));
        // A quarter of what enters the block, not of what enters the gate.
        let y = squeeze_excitation(b, "se", y, inputs / 4, [Relu, Sigmoid]);
        conv_norm_act(b, "c", y, Conv::new(width, 1), None)
    });
    let y = b.drop_path(y, rate);
    let sum = b.add(identity, y);
    b.relu(sum)
}
