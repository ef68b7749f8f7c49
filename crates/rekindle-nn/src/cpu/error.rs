//! Gives the reasons why nodes are left to Burn's operations.

use rekindle_kernels::KernelError;
use thiserror::Error;

use crate::GraphError;

/// Reasons why the CPU's own kernels leave a part of a network to Burn's operations.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoKernel {
    /// No kernel computes this operation.
    #[error("{node}: no kernel computes {operation}")]
    Operation {
        /// The node's name.
        node: String,
        /// The operation.
        operation: &'static str,
    },
    /// A kernel computes this operation, but not with these sizes.
    #[error("{node}: {reason}")]
    Sizes {
        /// The node's name.
        node: String,
        /// The reason why this is not computed.
        reason: &'static str,
    },
    /// Parameters or input are not `f32` tensors on the flex device.
    #[error("parameters and input are not all f32 on the flex device")]
    Device,
    /// The input does not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A kernel refuses the sizes.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}
