//! The program from outside: what it prints, what it leaves, and what it ends with.
#![allow(clippy::unwrap_used)]

mod advice;
mod audit;
mod browser;
mod channels;
mod commands;
mod fit;
mod folders;
mod folds;
mod from;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
#[path = "../../../rekindle-weights/tests/hub/hugging_face.rs"]
mod hugging_face;
#[cfg(target_os = "linux")]
mod interrupt;
mod messages;
mod numbers;
mod ordinal;
mod outcomes;
mod quantized;
mod reject;
mod runs;
#[cfg(feature = "hub")]
#[path = "../../../rekindle-weights/tests/hub/server.rs"]
mod server;
mod shards;
mod similar;
mod tables;
mod training;
mod verify;
mod weights;
mod workshop;
mod zero_shot;

#[cfg(feature = "hub")]
use rekindle::weights::sha256_of;
