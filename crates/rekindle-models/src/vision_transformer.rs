//! Vision transformers: ViT (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>), DeiT (Touvron et al. 2021,
//! <https://arxiv.org/abs/2012.12877>) and DINOv2 (Oquab et al. 2024, <https://arxiv.org/abs/2304.07193>) with and without
//! registers (Darcet et al. 2024, <https://arxiv.org/abs/2309.16588>), under torchvision's names and timm's; files may
//! have those of Hugging Face's `transformers`, but for registers.
//!
//! DINOv2's features, learnt without labels, are the ones to take for a probe on pictures that are far from ImageNet; ViT and
//! DeiT are the plain transformers to fine-tune. They take images of any size whose sides their patches divide: positions
//! are resampled.
//!
//! | model | parameters | multiply-adds | images | top-1 on ImageNet, as published |
//! |---|---|---|---|---|
//! | `torchvision/vit_b_16` | 86.6 M | 17.56 G | 224 pixels | 81.1 |
//! | `torchvision/vit_b_32` | 88.2 M | 4.41 G | 224 pixels | 75.9 |
//! | `timm/vit_tiny_patch16_224` | 5.7 M | 1.25 G | 224 pixels |  |
//! | `timm/vit_small_patch16_224` | 22.1 M | 4.60 G | 224 pixels |  |
//! | `timm/vit_base_patch16_224` | 86.6 M | 17.56 G | 224 pixels |  |
//! | `timm/vit_base_patch32_224` | 88.2 M | 4.41 G | 224 pixels |  |
//! | `timm/deit_tiny_patch16_224` | 5.7 M | 1.25 G | 224 pixels |  |
//! | `timm/deit_small_patch16_224` | 22.1 M | 4.60 G | 224 pixels |  |
//! | `timm/deit_base_patch16_224` | 86.6 M | 17.56 G | 224 pixels |  |
//! | `timm/vit_small_patch14_dinov2` | 22.0 M | 46.70 G | 518 pixels |  |
//! | `timm/vit_base_patch14_dinov2` | 86.5 M | 151.57 G | 518 pixels |  |
//! | `timm/vit_small_patch14_reg4_dinov2` | 22.0 M | 46.88 G | 518 pixels |  |
//! | `timm/vit_base_patch14_reg4_dinov2` | 86.5 M | 152.12 G | 518 pixels |  |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::{Options, vision_transformer};
//! use rekindle_nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let graph = vision_transformer::timm::vit_tiny_patch16_224(&Options::with_classes(2))?;
//! // Twelve blocks in four stages, so that a strategy can freeze the lower ones.
//! assert_eq!(graph.stage_names()[1..], ["blocks0-2", "blocks3-5", "blocks6-8", "blocks9-11"]);
//! let network = Network::new(graph, 42, &Device::flex());
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &Device::flex());
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use rekindle_nn::{
    Activation::Gelu, Builder, Conv, ConvInit, Graph, GraphError, Init, LinearInit, Padding,
    Tokens, Value,
};

use crate::Options;
use crate::common::begin;

/// torchvision's variants.
pub mod torchvision {
    use super::{Naming::Torchvision, Sizes, network};
    use crate::common::variants;

    variants! { network:
        /// Describes ViT-B/16.
        vit_b_16(Torchvision, Sizes::new(16, 768));
        /// Describes ViT-B/32.
        vit_b_32(Torchvision, Sizes::new(32, 768));
    }
}

/// timm's variants.
pub mod timm {
    use super::{Naming::Timm, Sizes, network};
    use crate::common::variants;

    variants! { network:
        /// Describes ViT-Ti/16.
        vit_tiny_patch16_224(Timm, Sizes::new(16, 192));
        /// Describes ViT-S/16.
        vit_small_patch16_224(Timm, Sizes::new(16, 384));
        /// Describes ViT-B/16.
        vit_base_patch16_224(Timm, Sizes::new(16, 768));
        /// Describes ViT-B/32.
        vit_base_patch32_224(Timm, Sizes::new(32, 768));
        /// Describes DeiT-Ti/16, whose tensors are ViT's.
        deit_tiny_patch16_224(Timm, Sizes::new(16, 192));
        /// Describes DeiT-S/16, whose tensors are ViT's.
        deit_small_patch16_224(Timm, Sizes::new(16, 384));
        /// Describes DeiT-B/16, whose tensors are ViT's.
        deit_base_patch16_224(Timm, Sizes::new(16, 768));
        /// Describes DINOv2's ViT-S/14.
        vit_small_patch14_dinov2(Timm, Sizes::dinov2(384, 0));
        /// Describes DINOv2's ViT-B/14.
        vit_base_patch14_dinov2(Timm, Sizes::dinov2(768, 0));
        /// Describes DINOv2's ViT-S/14 with four registers.
        vit_small_patch14_reg4_dinov2(Timm, Sizes::dinov2(384, 4));
        /// Describes DINOv2's ViT-B/14 with four registers.
        vit_base_patch14_reg4_dinov2(Timm, Sizes::dinov2(768, 4));
    }
}

/// Library whose names the tensors have.
#[derive(Clone, Copy)]
enum Naming {
    Torchvision,
    Timm,
}

#[derive(Clone, Copy)]
struct Sizes {
    patch: usize,
    /// Channels of a token; a head has 64 of them.
    width: usize,
    registers: usize,
    /// Number that layer scales begin with; none where there are no layer scales.
    layer_scale: Option<f32>,
}

impl Sizes {
    const fn new(patch: usize, width: usize) -> Self {
        Self {
            patch,
            width,
            registers: 0,
            layer_scale: None,
        }
    }

    const fn dinov2(width: usize, registers: usize) -> Self {
        Self {
            patch: 14,
            width,
            registers,
            layer_scale: Some(1e-5),
        }
    }
}

/// Side in pixels of the images that positions are made for.
const SIDE: usize = 224;
/// Channels of a head.
const HEAD: usize = 64;
const BLOCKS: usize = 12;
/// Blocks of a stage.
const PER_STAGE: usize = 3;

fn network(
    name: &str,
    naming: Naming,
    sizes: Sizes,
    options: &Options,
) -> Result<Graph, GraphError> {
    let mut b = begin(name, options)
        .init(ConvInit::PyTorch, LinearInit::TruncatedNormal(0.02))
        .norm(1e-6, 0.1)
        .head_dropout(options.drop_rate.unwrap_or(0.0));
    let mut x = b.images();
    x = b.stage("stem", |b| embed(b, naming, sizes, x, options));
    let step = options.drop_path_rate.unwrap_or(0.0) / (BLOCKS - 1) as f64;
    for first in (0..BLOCKS).step_by(PER_STAGE) {
        let range = first..first + PER_STAGE;
        let stage = format!("blocks{}-{}", range.start, range.end - 1);
        x = b.stage(stage, |b| {
            range.fold(x, |x, index| {
                let scope = match naming {
                    Naming::Torchvision => format!("encoder.layers.encoder_layer_{index}"),
                    Naming::Timm => format!("blocks.{index}"),
                };
                let rate = step * index as f64;
                b.scope(scope, |b| b.block(|b| block(b, naming, sizes, x, rate)))
            })
        });
    }
    let (norm, head) = match naming {
        Naming::Torchvision => ("encoder.ln", "heads.head"),
        Naming::Timm => ("norm", "head"),
    };
    x = b.layer_norm(norm, x);
    x = b.token(x, 0);
    b.finish(head, x, options.classes)
}

/// Adds the turn of images into tokens with positions.
fn embed(b: &mut Builder, naming: Naming, sizes: Sizes, x: Value, options: &Options) -> Value {
    let Sizes {
        patch,
        width,
        registers,
        ..
    } = sizes;
    let tokens = Tokens {
        channels: width,
        registers,
        grid: options.position_grid.unwrap_or([SIDE / patch; 2]),
        has_class_position: registers == 0,
        lacks_class_token: false,
    };
    let conv = Conv::new(width, patch)
        .stride(patch)
        .padding(Padding::all(0))
        .bias();
    let small = Init::Normal { std: 1e-6 };
    let normal = Init::TruncatedNormal { std: 0.02 };
    let positions = [1, tokens.positions(), width];
    let (patches, tables) = match naming {
        Naming::Torchvision => {
            let class = b.parameter("class_token", &[1, 1, width], Init::Constant(0.0));
            let patches = b.conv2d("conv_proj", x, conv);
            let positions = b.parameter("encoder.pos_embedding", &positions, normal);
            (patches, vec![class, positions])
        }
        Naming::Timm => {
            let mut tables = vec![b.parameter("cls_token", &[1, 1, width], small)];
            if registers > 0 {
                tables.push(b.parameter("reg_token", &[1, registers, width], small));
            }
            tables.push(b.parameter("pos_embed", &positions, normal));
            (b.conv2d("patch_embed.proj", x, conv), tables)
        }
    };
    b.tokens(patches, tokens, tables)
}

fn block(b: &mut Builder, naming: Naming, sizes: Sizes, x: Value, rate: f64) -> Value {
    let [norms, scales] = match naming {
        Naming::Torchvision => [["ln_1", "ln_2"], ["", ""]],
        Naming::Timm => [["norm1", "norm2"], ["ls1.gamma", "ls2.gamma"]],
    };
    let branch = |b: &mut Builder, x: Value, y: Value, scale: &str| {
        let y = match sizes.layer_scale {
            Some(value) => {
                let gamma = b.parameter(scale, &[sizes.width], Init::Constant(value));
                b.layer_scale(y, gamma)
            }
            None => y,
        };
        let y = b.drop_path(y, rate);
        b.add(y, x)
    };
    let y = b.layer_norm(norms[0], x);
    let y = match naming {
        Naming::Torchvision => b.scope("self_attention", |b| {
            let y = b.linear_of(y, 3 * sizes.width, ["in_proj_weight", "in_proj_bias"]);
            let y = b.attention(y, sizes.width / HEAD);
            b.linear("out_proj", y, sizes.width)
        }),
        Naming::Timm => b.scope("attn", |b| {
            let y = b.linear("qkv", y, 3 * sizes.width);
            let y = b.attention(y, sizes.width / HEAD);
            b.linear("proj", y, sizes.width)
        }),
    };
    let x = branch(b, x, y, scales[0]);
    let y = b.layer_norm(norms[1], x);
    let [first, second] = match naming {
        Naming::Torchvision => ["mlp.0", "mlp.3"],
        Naming::Timm => ["mlp.fc1", "mlp.fc2"],
    };
    let y = b.linear(first, y, 4 * sizes.width);
    let y = b.activation(y, Gelu);
    let y = b.linear(second, y, sizes.width);
    branch(b, x, y, scales[1])
}
