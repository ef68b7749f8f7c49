//! Tensors in and out of files of weights, the network among them, and verified downloads; no family of networks is
//! known here.
//!
//! [`read`] opens a file of any known format and lists its tensors; [`Checkpoint::network`] finds the network of a
//! [`Family`] among them and gives it its published names; [`check()`] compares them with what a model expects;
//! [`write_safetensors`] and [`write_burnpack`] write them. [`state_dict`] has the tensors of any Burn module under
//! PyTorch's names, and `hub` downloads files into a cache.
//!
//! ```
//! use rekindle_weights::{CheckOptions, TensorOut};
//! # let path = std::env::temp_dir().join(format!("rekindle-head-{}.safetensors", std::process::id()));
//! let head = TensorOut::f32("fc.weight", [2, 3], &[0.0; 6]);
//! rekindle_weights::write_safetensors(&path, vec![head], &Default::default())?;
//!
//! let checkpoint = rekindle_weights::read(&path)?;
//! let expected = [("fc.weight".into(), vec![2, 3])];
//! rekindle_weights::check(&checkpoint, &expected, "fc", CheckOptions::default())?;
//! assert_eq!(checkpoint.read_f32("fc.weight")?, [0.0; 6]);
//! # std::fs::remove_file(path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod burnpack;
mod check;
mod checkpoint;
mod config;
mod contents;
mod digest;
mod error;
mod find;
mod format;
mod html;
#[cfg(feature = "hub")]
pub mod hub;
mod info;
mod metadata;
mod other_content;
mod pytorch;
mod read;
mod remote;
mod repository;
mod safetensors;
pub mod state_dict;
mod write;

pub use burnpack::write_burnpack;
pub use check::{CheckOptions, check};
pub use checkpoint::{Checkpoint, ElementType, Format, NamedTensor};
pub use config::description_beside;
pub use digest::{sha256, sha256_of};
pub use error::{Candidate, Error, Mismatch, Misshapen, RepositoryError, RepositoryNameError};
pub use find::{
    Expected, Family, HeadNames, Layout, LeftOut, LoadOptions, Network, NetworkSource, Proposal,
    Shapes,
};
pub use format::detect;
pub use info::{ModelInfo, UNKNOWN_DETECTOR};
pub use metadata::set_metadata;
pub use read::{read, read_safetensors_bytes};
pub use remote::RemoteFile;
pub use repository::Repository;
pub use write::{TensorOut, named_tensors, write_atomically, write_safetensors};

/// Compiles the README's code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
