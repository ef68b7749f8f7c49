//! Networks and their files.
#![allow(clippy::unwrap_used)]

mod architectures;
mod catalogue;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "kernels")]
mod kernels;
#[path = "../common/networks.rs"]
mod networks;
mod pretrained;
#[path = "../common/pytorch.rs"]
mod pytorch;
#[cfg(feature = "kernels")]
mod quantized;
mod weights_formats;
mod weights_hostile;
#[cfg(feature = "flex")]
mod weights_network;
