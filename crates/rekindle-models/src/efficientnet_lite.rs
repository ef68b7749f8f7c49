//! EfficientNet-Lite, without gates and with ReLU6
//! (<https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite>), under timm's names.
//!
//! EfficientNets for phones and for a quick start on a laptop: fast, accurate, and without parts that quantise badly.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `timm/tf_efficientnet_lite0` | 4.7 M | 0.39 G | 224 pixels |  |
//! | `timm/tf_efficientnet_lite1` | 5.4 M | 0.60 G | 240 pixels |  |
//! | `timm/tf_efficientnet_lite2` | 6.1 M | 0.86 G | 260 pixels |  |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, efficientnet_lite};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = efficientnet_lite::tf_efficientnet_lite0(&Options::with_classes(2))?; // ants and bees
//! let network = Network::new(graph, 42, &Device::flex());
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &Device::flex());
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use rekindle_nn::{
    Activation, Activation::Relu6, Builder, Conv, ConvInit, Graph, GraphError, LinearInit, Padding,
    Value,
};

use crate::Options;
use crate::common::{begin, conv_norm, make_divisible, shortcut, variants};
use crate::efficientnet::B0;

// Multipliers of width and depth.
variants! { network:
    /// Describes EfficientNet-Lite0.
    tf_efficientnet_lite0(1.0, 1.0);
    /// Describes EfficientNet-Lite1.
    tf_efficientnet_lite1(1.0, 1.1);
    /// Describes EfficientNet-Lite2.
    tf_efficientnet_lite2(1.1, 1.2);
}

fn network(name: &str, width: f64, depth: f64, options: &Options) -> Result<Graph, GraphError> {
    let mut b = begin(name, options)
        .init(ConvInit::KaimingFanOutOfGroup, LinearInit::UniformFanOut)
        .norm(1e-3, 0.1)
        .head_dropout(options.drop_rate.unwrap_or(0.0));
    let mut x = b.images();
    x = b.stage("stem", |b| {
        b.block(|b| {
            conv_norm(
                b,
                ["conv_stem", "bn1"],
                x,
                same(Conv::new(32, 3), 2),
                Some(Relu6),
            )
        })
    });
    // The first and the last stage keep their depth; stem and head keep their width.
    let scale = |(stage, sizes): (usize, [usize; 5])| match stage {
        0 | 6 => sizes[4],
        _ => (sizes[4] as f64 * depth).ceil() as usize,
    };
    let blocks: usize = B0.into_iter().enumerate().map(scale).sum();
    let step = options.drop_path_rate.unwrap_or(0.0) / blocks as f64;
    let mut done = 0;
    for (stage, sizes) in B0.into_iter().enumerate() {
        let channels = make_divisible(sizes[3] as f64 * width);
        x = b.stage(format!("stage{}", stage + 1), |b| {
            (0..scale((stage, sizes))).fold(x, |x, index| {
                let stride = if index == 0 { sizes[2] } else { 1 };
                let rate = step * done as f64;
                done += 1;
                b.scope(format!("blocks.{stage}.{index}"), |b| {
                    b.block(|b| block(b, x, [sizes[0], sizes[1], channels, stride], rate))
                })
            })
        });
    }
    x = b.stage("last", |b| {
        b.block(|b| conv_norm(b, ["conv_head", "bn2"], x, Conv::new(1280, 1), Some(Relu6)))
    });
    x = b.global_pool(x);
    b.finish("classifier", x, options.classes)
}

fn block(
    b: &mut Builder,
    x: Value,
    [expansion, kernel, channels, stride]: [usize; 4],
    rate: f64,
) -> Value {
    let depthwise = same(Conv::depthwise(kernel), stride);
    let project = Conv::new(channels, 1);
    let act: Option<Activation> = Some(Relu6);
    let y = if expansion == 1 {
        let y = conv_norm(b, ["conv_dw", "bn1"], x, depthwise, act);
        conv_norm(b, ["conv_pw", "bn2"], y, project, None)
    } else {
        let expand = Conv::new(make_divisible((b.channels(x) * expansion) as f64), 1);
        let y = conv_norm(b, ["conv_pw", "bn1"], x, expand, act);
        let y = conv_norm(b, ["conv_dw", "bn2"], y, depthwise, act);
        conv_norm(b, ["conv_pwl", "bn3"], y, project, None)
    };
    shortcut(b, x, y, stride, rate)
}

/// Pads as TensorFlow does, which at stride 1 is the default.
fn same(conv: Conv, stride: usize) -> Conv {
    match stride {
        1 => conv,
        _ => conv.stride(stride).padding(Padding::Same),
    }
}

/// Modules of the original PyTorch port of the TensorFlow weights, and of the network.
const MODULES: [(&str, &str); 5] = [
    ("_conv_stem", "conv_stem"),
    ("_bn0", "bn1"),
    ("_conv_head", "conv_head"),
    ("_bn1", "bn2"),
    ("_fc", "classifier"),
];

/// Parts of a block there and here. Normalisations are counted from 0 there, with 0 behind the expansion.
const PARTS: [(&str, &str); 6] = [
    ("_expand_conv", "conv_pw"),
    ("_bn0", "bn1"),
    ("_depthwise_conv", "conv_dw"),
    ("_bn1", "bn2"),
    ("_project_conv", "conv_pwl"),
    ("_bn2", "bn3"),
];

/// Parts of the first block, which has no expansion.
const FIRST_PARTS: [(&str, &str); 4] = [
    ("_depthwise_conv", "conv_dw"),
    ("_bn1", "bn1"),
    ("_project_conv", "conv_pw"),
    ("_bn2", "bn2"),
];

/// Translates a name of the original PyTorch port of the TensorFlow weights (`_conv_stem.weight`, `_bn0.bias`,
/// `_blocks.3._expand_conv.weight`, `_fc.bias`) into the network's; none for a name that isn't one of them.
///
/// `graph` tells how many blocks a stage has, which the original names count through.
pub fn original_name(graph: &Graph, name: &str) -> Option<String> {
    let (module, tensor) = name.rsplit_once('.')?;
    if let Some((_, renamed)) = MODULES.iter().find(|(original, _)| *original == module) {
        return Some(format!("{renamed}.{tensor}"));
    }
    let (number, part) = module.strip_prefix("_blocks.")?.split_once('.')?;
    let block = blocks(graph).nth(number.parse().ok()?)?;
    let (_, part) = parts(block)
        .iter()
        .find(|(original, _)| *original == part)?;
    Some(format!("{block}.{part}.{tensor}"))
}

/// Translates a name of the network into the one that [`original_name`] translates back; none for a name that isn't one
/// of the network's.
pub fn name_in_original(graph: &Graph, name: &str) -> Option<String> {
    let (module, tensor) = name.rsplit_once('.')?;
    if let Some((original, _)) = MODULES.iter().find(|(_, renamed)| *renamed == module) {
        return Some(format!("{original}.{tensor}"));
    }
    let (block, part) = module.rsplit_once('.')?;
    let number = blocks(graph).position(|other| other == block)?;
    let (original, _) = parts(block).iter().find(|(_, renamed)| *renamed == part)?;
    Some(format!("_blocks.{number}.{original}.{tensor}"))
}

fn parts(block: &str) -> &'static [(&'static str, &'static str)] {
    match block {
        "blocks.0.0" => &FIRST_PARTS,
        _ => &PARTS,
    }
}

/// Lists the blocks of all stages in a row: `blocks.STAGE.INDEX`.
fn blocks(graph: &Graph) -> impl Iterator<Item = &str> {
    let blocks = graph.stages().iter().flat_map(|stage| &stage.blocks);
    blocks.filter_map(|block| {
        let name = &graph.nodes()[block.nodes.start].name;
        let (block, _) = name.rsplit_once('.')?;
        block.starts_with("blocks.").then_some(block)
    })
}
