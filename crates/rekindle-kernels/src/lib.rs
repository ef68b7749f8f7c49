//! CPU convolution and friends for image networks, in pure Rust.
//!
//! Feature maps stay in one blocked layout ([`Activation`]) from the first convolution to the pooling; weights are packed
//! once ([`PackedConv2d`]) with BatchNorm folded in, and bias, residual sum and ReLU happen in the registers that hold the
//! sums. Convolutions are dense, grouped or depthwise ([`Algorithm`]), padded on each side as much as one likes
//! ([`Padding`]), and followed by any [`ActivationFn`].
//!
//! Sequences are maps whose pixels are tokens: a linear layer on them is a 1x1 convolution, between which come
//! [`LayerNorm`] and [`Attention`].
//!
//! Kernels exist for AVX-512, AVX2 with FMA, and as plain Rust that the compiler vectorises for any target (NEON on
//! AArch64); [`Isa::detect`] picks at run time. Threads are rayon's, and results do not depend on their number.
//!
//! ```
//! use rekindle_kernels::{Conv2dParams, Isa, PackedConv2d, PackedLinear, global_average_pool, max_pool};
//!
//! let isa = Isa::detect();
//! let stem = PackedConv2d::new(isa, &Conv2dParams::new(3, 64, 7, 2), &vec![0.01; 64 * 3 * 49], None)?;
//! let head = PackedLinear::new(isa, [10, 64], &vec![0.1; 640], None)?;
//! let pictures = vec![0.5; 2 * 3 * 32 * 32];
//! let x = stem.forward_nchw(&pictures, [2, 3, 32, 32], true)?;
//! let x = max_pool(isa, &x, 3, 2, 1)?;
//! let logits = head.forward(&global_average_pool(&x)?, 2)?;
//! assert_eq!(logits.len(), 20);
//! # Ok::<(), rekindle_kernels::KernelError>(())
//! ```

mod activation;
mod activation_fn;
mod algorithm;
mod apply;
mod arena;
mod arithmetic;
mod attention;
mod batch_norm;
mod bias;
mod buffer;
mod conv;
mod depthwise;
mod direct;
mod dispatch;
mod elementwise;
mod error;
mod filters;
mod functions;
mod group_norm;
mod input_gradient;
mod int8;
mod isa;
mod lanes;
mod layer_norm;
mod line;
mod linear;
mod linear_gradient;
mod matrix;
mod outer;
mod padding;
mod params;
mod partition;
mod planes;
mod pool;
mod response_norm;
mod simd;
mod squeeze_excitation;
mod taps;
mod tile;
mod transpose;
mod unpacked;
mod weight_gradient;
mod weights;
mod winograd;

pub use activation::Activation;
pub use activation_fn::ActivationFn;
pub use algorithm::Algorithm;
pub use arithmetic::{multiply, subtract};
pub use attention::{Attention, LogSumExp};
pub use batch_norm::{BatchNorm, BatchNormGradients, Gate, Statistics};
pub use bias::bias_gradient;
pub use buffer::{AlignedVec, release_buffers};
pub use conv::PackedConv2d;
pub use error::KernelError;
pub use group_norm::{GroupNorm, GroupStatistics};
pub use input_gradient::{input_gradient, input_gradient_by};
pub use int8::{Quantization, QuantizedActivation, QuantizedConv2d, max_pool_quantized};
pub use isa::Isa;
pub use layer_norm::{LayerNorm, PixelStatistics};
pub use line::LANES;
pub use linear::PackedLinear;
pub use linear_gradient::{LinearGradients, linear_gradients};
pub use matrix::transpose;
pub use padding::Padding;
pub use params::{Conv2dParams, fold_batch_norm};
pub use partition::on_pool_thread;
pub use planes::NormGradients;
pub use pool::{
    global_average_pool, global_average_pool_gradient, leave_out_padding, max_pool,
    max_pool_gradient,
};
pub use response_norm::{ChannelNorms, ResponseNorm};
pub use squeeze_excitation::{
    add_scaled_channels, channel_means, scale_channels, scale_channels_gradient,
    scale_channels_in_place, squeeze_excitation_gradient,
};
pub use unpacked::UnpackedConv2d;
pub use weight_gradient::{weight_gradient, weight_gradient_by, weight_gradient_nchw};
