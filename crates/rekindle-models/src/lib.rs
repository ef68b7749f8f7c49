//! Families of vision networks for Burn, one file each, with their published weights.

mod common;
pub mod densenet;
pub mod efficientnet;
pub mod efficientnet_lite;
pub mod mobilenet_v2;
pub mod mobilenet_v3;
pub mod mobilenet_v4;
mod options;
pub mod registry;
pub mod regnet;
pub mod resnet;
pub mod shufflenet_v2;

pub use options::Options;
pub use registry::{Model, Source, UnknownModel, Weights, models};
