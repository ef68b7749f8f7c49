//! Networks and their files.
#![allow(clippy::unwrap_used)]

mod architectures;
mod catalogue;
mod checkpoints;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "flex")]
mod files;
#[cfg(feature = "kernels")]
mod kernels;
#[path = "../common/networks.rs"]
mod networks;
mod pretrained;
#[cfg(feature = "kernels")]
mod quantized;
