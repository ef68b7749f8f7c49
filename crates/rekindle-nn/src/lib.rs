//! Networks as data: written once, run by Burn's operations or the CPU's own kernels, written as ONNX.
//!
//! A [`Builder`] writes a network down as a [`Graph`]: operations in the order of their computation, parameters under
//! the names of the published state dict, stages, blocks and a head. [`Network`] is such a graph with its parameters,
//! one Burn module that any optimiser trains and any device runs; [`Network::to_onnx`] writes the same graph for
//! other programs. On the CPU, kernels of our own run whatever they can (feature `kernels`).
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_nn::{Builder, Conv, Network};
//!
//! # #[cfg(feature = "flex")] {
//! let mut b = Builder::new("tiny", 3);
//! let x = b.images();
//! let x = b.stage("stem", |b| {
//!     let x = b.conv2d("conv1", x, Conv::new(16, 3).stride(2));
//!     b.relu(x)
//! });
//! let x = b.global_pool(x);
//! let graph = b.finish("fc", x, 2).unwrap(); // ants and bees
//!
//! let device = Device::flex();
//! let network = Network::new(graph, 42, &device);
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &device);
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! ```

mod builder;
mod burn;
mod channels;
#[cfg(feature = "kernels")]
mod cpu;
mod cuts;
mod description;
mod draws;
mod error;
mod graph;
mod head;
mod infer;
mod init;
mod multilevel;
mod network;
pub mod onnx;
mod op;
mod quantization;
mod random;
mod shape;
mod side_by_side;
mod slot;
mod spec;

pub use builder::Builder;
pub use channels::adapt_stem;
#[cfg(feature = "kernels")]
pub use cpu::{NoKernel, NotQuantizable, QuantizedStages};
pub use cuts::MOST_BLOCK_TENSORS;
pub use description::DescriptionError;
pub use error::GraphError;
pub use graph::{Graph, Head, Node, Parameter, Segment, Stage, TensorKind, TensorSpec, Value};
pub use init::{ConvInit, Init, LinearInit};
pub use multilevel::Multilevel;
pub use network::Network;
pub use op::{
    Activation, Attention, BatchNorm, Conv2d, LayerNorm, Linear, Op, Padding, Pool2d, Tokens,
};
pub use quantization::{QuantizationError, QuantizedNetwork, RangeRule};
pub use shape::Shape;
pub use side_by_side::{Member, SideBySide};
pub use spec::Conv;

/// Compiles the README's code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
