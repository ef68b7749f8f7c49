//! What is transferred and how: backbones with a new head, frozen stages, rates per stage, cached features.

pub mod backbone;
mod classifier;
mod error;
pub mod features;
pub mod tuning;

pub use backbone::{Backbone, FrozenPrefix};
pub use classifier::Classifier;
pub use error::TransferError;
pub use tuning::{Plan, Strategy};
