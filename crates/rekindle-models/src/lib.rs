//! Families of vision networks for Burn, one file each, with their published weights.
//!
//! [`Model::named`] finds a model in the registry; its function describes it as a [`Graph`](rekindle_nn::Graph), which
//! [`Network`](rekindle_nn::Network) turns into one of Burn's modules. [`Weights`] says where weights are and which
//! preprocessing they need; parameters have the names that they have there. [`Pretrained::open`] recognises a model in a
//! file of weights, and `Pretrained::named` downloads one by its name here or on the Hugging Face hub.
//!
//! ```
//! use rekindle_models::burn::tensor::{Device, Tensor};
//! use rekindle_models::{Model, Options};
//! use rekindle_models::nn::Network;
//!
//! # #[cfg(feature = "flex")] {
//! let model = Model::named("torchvision/mobilenet_v2").unwrap();
//! let graph = (model.describe)(&Options::with_classes(2)).unwrap(); // ants and bees
//! let device = Device::flex();
//! let network = Network::new(graph, 42, &device);
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &device);
//! assert_eq!(network.forward(images).dims(), [1, 2]);
//! # }
//! ```

pub mod clip;
mod common;
pub mod conv_net;
pub mod convnext;
pub mod densenet;
pub mod efficientnet;
pub mod efficientnet_lite;
mod error;
pub mod files;
pub mod mobilenet_v2;
pub mod mobilenet_v3;
pub mod mobilenet_v4;
#[cfg(feature = "hub")]
mod named;
mod options;
mod pretrained;
mod recognise;
pub mod registry;
pub mod regnet;
mod remote;
pub mod resnet;
pub mod shufflenet_v2;
pub mod vision_transformer;

pub use rekindle_nn as nn;
pub use rekindle_weights as weights;

pub use burn;
pub use rekindle_preprocess::{Channels, Interpolation, Preprocess, ResizeMode};

pub use error::Error;
#[cfg(feature = "hub")]
pub use named::{Fetched, fetch};
pub use options::Options;
pub use pretrained::Pretrained;
pub use recognise::{Found, Registry, ResNets, find, look};
pub use registry::{Model, Source, UnknownModel, Weights, models};

/// Compiles the README's code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
