//! ConvNeXt (Liu et al. 2022, <https://arxiv.org/abs/2201.03545>) and ConvNeXt V2 (Woo et al. 2023,
//! <https://arxiv.org/abs/2301.00808>) under torchvision's names and timm's.
//!
//! The convolutional network to take for accuracy: as good as a vision transformer of its size, for images of any size.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `torchvision/convnext_tiny` | 28.6 M | 4.46 G | 224 pixels | 82.5 |
//! | `torchvision/convnext_small` | 50.2 M | 8.68 G | 224 pixels | 83.6 |
//! | `torchvision/convnext_base` | 88.6 M | 15.35 G | 224 pixels | 84.1 |
//! | `timm/convnext_atto` | 3.7 M | 0.55 G | 224 pixels |  |
//! | `timm/convnext_femto` | 5.2 M | 0.78 G | 224 pixels |  |
//! | `timm/convnext_pico` | 9.0 M | 1.37 G | 224 pixels |  |
//! | `timm/convnext_nano` | 15.6 M | 7.19 G | 384 pixels |  |
//! | `timm/convnext_tiny` | 28.6 M | 13.09 G | 384 pixels |  |
//! | `timm/convnext_small` | 50.2 M | 25.52 G | 384 pixels |  |
//! | `timm/convnext_base` | 88.6 M | 45.12 G | 384 pixels |  |
//! | `timm/convnextv2_atto` | 3.7 M | 0.55 G | 224 pixels |  |
//! | `timm/convnextv2_nano` | 15.6 M | 7.19 G | 384 pixels |  |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, convnext};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = convnext::timm::convnextv2_atto(&Options::with_classes(2))?; // ants and bees
//! let network = Network::new(graph, 42, &Device::flex());
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &Device::flex());
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use rekindle_nn::{
    Activation::Gelu, Builder, Conv, ConvInit, Graph, GraphError, Init, LinearInit, Padding, Value,
};

use crate::Options;
use crate::common::begin;

/// torchvision's variants.
pub mod torchvision {
    use super::{Naming::Torchvision, network};
    use crate::common::variants;

    // Channels and blocks of the four stages, and the published rate of the drop path.
    variants! { network:
        /// Describes ConvNeXt-T.
        convnext_tiny(Torchvision, [96, 192, 384, 768], [3, 3, 9, 3], 0.1);
        /// Describes ConvNeXt-S.
        convnext_small(Torchvision, [96, 192, 384, 768], [3, 3, 27, 3], 0.4);
        /// Describes ConvNeXt-B.
        convnext_base(Torchvision, [128, 256, 512, 1024], [3, 3, 27, 3], 0.5);
    }
}

/// timm's variants.
pub mod timm {
    use super::{Naming::Timm, network};
    use crate::common::variants;

    /// A block's linear layers are convolutions of one pixel.
    const CONVOLVED: super::Naming = Timm {
        is_convolved: true,
        is_v2: false,
    };
    const PLAIN: super::Naming = Timm {
        is_convolved: false,
        is_v2: false,
    };
    const V2: super::Naming = Timm {
        is_convolved: true,
        is_v2: true,
    };

    variants! { network:
        /// Describes ConvNeXt-Atto.
        convnext_atto(CONVOLVED, [40, 80, 160, 320], [2, 2, 6, 2], 0.0);
        /// Describes ConvNeXt-Femto.
        convnext_femto(CONVOLVED, [48, 96, 192, 384], [2, 2, 6, 2], 0.0);
        /// Describes ConvNeXt-Pico.
        convnext_pico(CONVOLVED, [64, 128, 256, 512], [2, 2, 6, 2], 0.0);
        /// Describes ConvNeXt-Nano.
        convnext_nano(CONVOLVED, [80, 160, 320, 640], [2, 2, 8, 2], 0.0);
        /// Describes ConvNeXt-Tiny.
        convnext_tiny(PLAIN, [96, 192, 384, 768], [3, 3, 9, 3], 0.0);
        /// Describes ConvNeXt-Small.
        convnext_small(PLAIN, [96, 192, 384, 768], [3, 3, 27, 3], 0.0);
        /// Describes ConvNeXt-Base.
        convnext_base(PLAIN, [128, 256, 512, 1024], [3, 3, 27, 3], 0.0);
        /// Describes ConvNeXt V2-Atto.
        convnextv2_atto(V2, [40, 80, 160, 320], [2, 2, 6, 2], 0.0);
        /// Describes ConvNeXt V2-Nano.
        convnextv2_nano(V2, [80, 160, 320, 640], [2, 2, 8, 2], 0.0);
    }
}

/// Library whose names the tensors have.
#[derive(Clone, Copy, PartialEq)]
enum Naming {
    Torchvision,
    Timm {
        /// Linear layers are written as convolutions of one pixel.
        is_convolved: bool,
        /// A response normalisation takes the place of the layer scale.
        is_v2: bool,
    },
}

/// Number that layer scales begin with.
const LAYER_SCALE: f32 = 1e-6;

fn network(
    name: &str,
    naming: Naming,
    channels: [usize; 4],
    blocks: [usize; 4],
    drop_path: f64,
    options: &Options,
) -> Result<Graph, GraphError> {
    let std = 0.02;
    let mut b = begin(name, options)
        .init(
            ConvInit::TruncatedNormal(std),
            LinearInit::TruncatedNormal(std),
        )
        .norm(1e-6, 0.1)
        .head_dropout(options.drop_rate.unwrap_or(0.0));
    let (stem, norm, head) = match naming {
        Naming::Torchvision => ("features.0", "classifier.0", "classifier.2"),
        Naming::Timm { .. } => ("stem", "head.norm", "head.fc"),
    };
    let mut x = b.images();
    x = b.stage("stem", |b| {
        b.scope(stem, |b| {
            b.block(|b| {
                let x = b.conv2d("0", x, patches(channels[0], 4));
                b.layer_norm("1", x)
            })
        })
    });
    let rate = options.drop_path_rate.unwrap_or(drop_path);
    let step = rate / (blocks.iter().sum::<usize>() - 1).max(1) as f64;
    let mut done = 0;
    for (number, (width, count)) in channels.into_iter().zip(blocks).enumerate() {
        x = b.stage(format!("stage{}", number + 1), |b| {
            if number > 0 {
                x = downsample(b, naming, number, x, width);
            }
            (0..count).fold(x, |x, index| {
                let scope = match naming {
                    Naming::Torchvision => format!("features.{}.{index}", 2 * number + 1),
                    Naming::Timm { .. } => format!("stages.{number}.blocks.{index}"),
                };
                let rate = step * done as f64;
                done += 1;
                b.scope(scope, |b| b.block(|b| block(b, naming, x, rate)))
            })
        });
    }
    x = b.global_avg_pool(x);
    x = b.layer_norm(norm, x);
    x = b.flatten(x);
    b.finish(head, x, options.classes)
}

/// Returns a convolution whose windows don't overlap.
fn patches(channels: usize, side: usize) -> Conv {
    Conv::new(channels, side)
        .stride(side)
        .padding(Padding::all(0))
        .bias()
}

fn downsample(b: &mut Builder, naming: Naming, stage: usize, x: Value, channels: usize) -> Value {
    let scope = match naming {
        Naming::Torchvision => format!("features.{}", 2 * stage),
        Naming::Timm { .. } => format!("stages.{stage}.downsample"),
    };
    b.scope(scope, |b| {
        b.block(|b| {
            let x = b.layer_norm("0", x);
            b.conv2d("1", x, patches(channels, 2))
        })
    })
}

fn block(b: &mut Builder, naming: Naming, x: Value, rate: f64) -> Value {
    let channels = b.channels(x);
    let init = Init::Constant(LAYER_SCALE);
    let (gamma, names) = match naming {
        Naming::Torchvision => (
            Some(b.parameter("layer_scale", &[channels, 1, 1], init)),
            ["block.0", "block.2", "block.3", "block.5"],
        ),
        Naming::Timm { is_v2, .. } => (
            (!is_v2).then(|| b.parameter("gamma", &[channels], init)),
            ["conv_dw", "norm", "mlp.fc1", "mlp.fc2"],
        ),
    };
    let is_convolved = matches!(
        naming,
        Naming::Timm {
            is_convolved: true,
            ..
        }
    );
    let linear = |b: &mut Builder, name: &str, x: Value, channels: usize| match is_convolved {
        true => b.conv2d(name, x, Conv::new(channels, 1).bias()),
        false => b.linear(name, x, channels),
    };
    let mut y = b.conv2d(names[0], x, Conv::depthwise(7).bias());
    y = b.layer_norm(names[1], y);
    y = linear(b, names[2], y, 4 * channels);
    y = b.activation(y, Gelu);
    if let Naming::Timm { is_v2: true, .. } = naming {
        y = b.global_response_norm("mlp.grn", y);
    }
    y = linear(b, names[3], y, channels);
    if let Some(gamma) = gamma {
        y = b.layer_scale(y, gamma);
    }
    y = b.drop_path(y, rate);
    b.add(y, x)
}
