//! Helpers that the tests of all crates share.
//!
//! [`skip`] records a test that cannot run here, and the test program `skipped`, which `cargo test --workspace` runs
//! last, prints how many there were and why. [`reference()`] opens numbers that other programs computed, kept in
//! `tests/reference` with the scripts that made them; [`shared`] finds the optional folder of larger ones beside the
//! checkout. [`uniform`] and [`parameter`] are the formula that both sides take values from. [`memory()`] is what this
//! process holds, where the system says.
#![allow(clippy::unwrap_used)]

pub mod chromium;
mod formula;
mod memory;
mod onnxruntime;
mod reference;
mod rerun;
mod skip;

pub use formula::{StateDict, images, parameter, uniform};
pub use memory::memory;
pub use onnxruntime::{OnnxRuntime, write_floats};
pub use reference::{Reference, reference, reference_path, relative_error};
pub use rerun::rerun;
pub use skip::{Needs, Skip, recorded, shared, skip};
