//! Inference in eight bits: `u8` maps, `s8` weights, `i32` sums.
//!
//! Maps are quantised by one scale and zero point per layer ([`Quantization`]), weights by one scale per output channel and
//! symmetrically around zero (Jacob et al. 2018, <https://arxiv.org/abs/1712.05877>). Sums are exact; in the registers that
//! hold them they take BatchNorm's scale and shift, the residual sum and ReLU, and become the next layer's bytes. Sixty-four
//! channels of a pixel fill a cache line, of which AVX-512's VNNI multiplies four bytes for each of sixteen output channels
//! in one instruction: the geometry of the `f32` kernels with four channels in place of each value.

mod activation;
mod conv;
mod convert;
mod dispatch;
mod pass;
mod planar;
mod pool;
mod pool_row;
mod simd;
mod tile;
mod weights;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use activation::{Quantization, QuantizedActivation};
pub use conv::QuantizedConv2d;
pub use pool::max_pool_quantized;
