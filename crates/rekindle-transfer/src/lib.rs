//! Transfers a network's knowledge: backbones with a new head, frozen stages, rates per stage, cached features.
//!
//! A [`Classifier`] puts a fresh head on a [`Backbone`]; a [`Strategy`] is data that says what is frozen in
//! which epoch and how fast the rest learns; [`features`] works on features that are computed once.
//!
//! ```
//! use rekindle_transfer::Strategy;
//!
//! let stages = ["stem", "layer1", "layer2", "layer3", "layer4"];
//! let strategy = Strategy::GradualUnfreezing { epochs_per_stage: 2 };
//! assert_eq!(strategy.plan(&stages, 0)?.frozen_stages, 5); // the head alone
//! assert_eq!(strategy.plan(&stages, 4)?.frozen_stages, 3); // layer4 and layer3 as well
//! # Ok::<(), rekindle_transfer::TransferError>(())
//! ```

pub mod advise;
pub mod backbone;
mod classifier;
mod error;
pub mod features;
mod initialise;
pub mod objective;
pub mod tuning;

pub use burn;

pub use backbone::{Backbone, Entry, FrozenPrefix, QuantizedPrefix};
pub use classifier::Classifier;
pub use error::TransferError;
pub use tuning::{Plan, Strategy};
