//! A network run by the CPU's own kernels.
//!
//! Where all tensors are `f32` on Burn's flex device, segments of a network run on [`rekindle_kernels`]
//! instead of Burn's operations: `plan` divides the network into units, `lower` turns a unit's nodes into
//! steps of as few passes as possible, and feature maps stay in the kernels' layout from the first unit to
//! the pooling. Without gradients weights are packed once; with them, each unit is one operation of Burn's
//! graph with a backward pass of its own. Operations without a kernel are left to Burn. `quantized` runs
//! stages in eight bits.

mod autodiff;
mod backward;
mod error;
pub(crate) mod execution;
mod forward;
mod gradients;
mod infer;
mod layer;
pub(crate) mod layout;
mod lower;
mod memory;
mod operand;
mod operations;
mod parameters;
mod pixels;
mod plan;
mod program;
mod quantized;
mod run;
mod sizes;
mod tensors;
mod train;
mod weights;

pub use error::NoKernel;
pub(crate) use plan::Unit;
pub use quantized::{NotQuantizable, QuantizedStages};
pub(crate) use run::Maps;
