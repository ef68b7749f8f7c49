//! DenseNet (Huang et al. 2017, <https://arxiv.org/abs/1608.06993>) as in torchvision.
//!
//! Few parameters, much memory: for weights that others have published for it, as often in medicine.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `torchvision/densenet121` | 8.0 M | 2.83 G | 224 pixels | 74.4 |
//! | `torchvision/densenet169` | 14.1 M | 3.36 G | 224 pixels | 75.6 |
//! | `torchvision/densenet201` | 20.0 M | 4.29 G | 224 pixels | 76.9 |
//! | `torchvision/densenet161` | 28.7 M | 7.73 G | 224 pixels | 77.1 |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, densenet};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = densenet::densenet121(&Options::with_classes(2))?; // ants and bees
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

// Channels that a layer adds and that the stem gives, and layers of the four dense blocks.
variants! { network:
    /// Describes DenseNet-121.
    densenet121(32, 64, [6, 12, 24, 16]);
    /// Describes DenseNet-169.
    densenet169(32, 64, [6, 12, 32, 32]);
    /// Describes DenseNet-201.
    densenet201(32, 64, [6, 12, 48, 32]);
    /// Describes DenseNet-161.
    densenet161(48, 96, [6, 12, 36, 24]);
}

fn network(
    name: &str,
    growth: usize,
    stem: usize,
    layers: [usize; 4],
    options: &Options,
) -> Result<Graph, GraphError> {
    let mut b = begin(name, options)
        .init(ConvInit::KaimingFanIn, LinearInit::PyTorchZeroBias)
        .head_dropout(options.drop_rate.unwrap_or(0.0));
    let mut x = b.images();
    x = b.stage("stem", |b| {
        b.block(|b| {
            let stem = Conv::new(stem, 7).stride(2);
            let x = conv_norm(b, ["features.conv0", "features.norm0"], x, stem, Some(Relu));
            b.max_pool(x, Pool2d::new(3, 2, 1))
        })
    });
    for (number, count) in (1..).zip(layers) {
        x = b.stage(format!("denseblock{number}"), |b| {
            if number > 1 {
                let name = format!("features.transition{}", number - 1);
                x = b.scope(name, |b| b.block(|b| transition(b, x)));
            }
            x = (1..=count).fold(x, |x, layer| {
                let name = format!("features.denseblock{number}.denselayer{layer}");
                b.scope(name, |b| b.block(|b| dense_layer(b, x, growth)))
            });
            match number {
                4 => b.block(|b| norm_relu(b, "features.norm5", x)),
                _ => x,
            }
        });
    }
    x = b.global_pool(x);
    b.finish("classifier", x, options.classes)
}

fn norm_relu(b: &mut Builder, name: &str, x: Value) -> Value {
    let x = b.batch_norm(name, x);
    b.relu(x)
}

fn dense_layer(b: &mut Builder, x: Value, growth: usize) -> Value {
    let y = norm_relu(b, "norm1", x);
    let y = b.conv2d("conv1", y, Conv::new(4 * growth, 1));
    let y = norm_relu(b, "norm2", y);
    let y = b.conv2d("conv2", y, Conv::new(growth, 3));
    b.concat(&[x, y])
}

fn transition(b: &mut Builder, x: Value) -> Value {
    let halved = b.channels(x) / 2;
    let y = norm_relu(b, "norm", x);
    let y = b.conv2d("conv", y, Conv::new(halved, 1));
    b.avg_pool(y, Pool2d::new(2, 2, 0))
}

/// Returns the name that a tensor has in torchvision's published files, which are older than the code:
/// `denselayer1.norm.1.weight` for `denselayer1.norm1.weight`. None for another family's network.
pub fn name_in_published(graph: &Graph, name: &str) -> Option<String> {
    if !graph.name().starts_with("densenet") {
        return None;
    }
    let Some((block, layer)) = name.split_once(".denselayer") else {
        return Some(name.to_string());
    };
    let mut layer = layer.to_string();
    for part in ["norm1", "norm2", "conv1", "conv2"] {
        let (kind, number) = part.split_at(4);
        layer = layer.replace(&format!(".{part}."), &format!(".{kind}.{number}."));
    }
    Some(format!("{block}.denselayer{layer}"))
}
