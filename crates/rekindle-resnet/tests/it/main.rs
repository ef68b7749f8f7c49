//! Networks and their files.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/networks.rs"]
mod networks;
#[path = "../common/pytorch.rs"]
mod pytorch;
mod architectures;
mod catalogue;
#[cfg(feature = "kernels")]
mod kernels;
mod pretrained;
#[cfg(feature = "kernels")]
mod quantized;
mod weights_formats;
mod weights_hostile;
#[cfg(feature = "flex")]
mod weights_network;
