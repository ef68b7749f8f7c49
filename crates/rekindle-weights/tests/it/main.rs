//! Files of weights in and out.
#![allow(clippy::unwrap_used)]

mod config;
mod find;
mod formats;
mod hostile;
#[path = "../common/pytorch.rs"]
mod pytorch;
mod repository;
