//! Everything but the report and what needs a process of its own, in one program: each further one would compile Burn into it again.
#![allow(clippy::unwrap_used)]

mod advise;
mod answers;
#[path = "../common/mod.rs"]
mod common;
mod data_parallel;
mod families;
mod faults;
mod fit;
mod grad_cam;
mod identity;
mod metrics;
mod multi_label;
mod objectives;
mod ordinal;
mod plans;
mod preprocess;
mod progress;
mod pytorch_steps;
#[cfg(feature = "kernels")]
mod quantized;
mod ranking;
mod recipe_page;
mod regression;
mod resuming;
mod run_directory;
mod runs;
mod schedule;
mod several_networks;
mod thresholds;
mod training;
mod unknown;
mod unknown_measured;
