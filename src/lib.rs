//! Transfer learning for Rust, on top of Burn: take a network trained on ImageNet, and adapt it to a task of
//! your own, on a laptop's CPU, or on a GPU through wgpu or CUDA.
//!
//! One call makes a classifier of a folder of images:
//!
//! ```no_run
//! use rekindle::Device;
//! use rekindle::trainer::fine_tune;
//!
//! let tuned = fine_tune("hymenoptera", "resnet18-f37072fd.pth", &Device::flex())?;
//! println!("accuracy {:.3} in {:.1} s", tuned.accuracy(), tuned.seconds);
//! tuned.save("ants-bees.safetensors")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A builder chooses strategy and recipe ([`trainer::Trainer`]), and the parts can be had one by one. This
//! crate re-exports them as modules: [`models`] (networks and their published weights), [`nn`] (networks as data),
//! [`weights`] (files and downloads), [`imagefolder`] (data), [`transfer`]
//! (what is frozen, how fast the rest learns), [`trainer`] (the loop), [`report`] (runs for people) and [`files`] (names of files as text). Its own are
//! [`device`], which opens a device by name, [`drawings`], data that it draws itself, and [`prelude`], the names that most
//! programs need. Burn comes with it as [`burn`];
//! only its derive macros (`Module`, `Config`) want a dependency of your own on the same version.
//!
//! # Features
//!
//! - `flex` (default): Burn's pure-Rust CPU backend.
//! - `kernels` (default): inference and frozen stages on CPU kernels of our own.
//! - `hub` (default): downloads of weights and data.
//! - `wgpu`, `cuda`, `ndarray`: more backends, chosen at run time.
//! - `tui`: Burn's full-screen dashboard.

pub mod device;
pub mod drawings;
pub mod prelude;

pub use burn;
pub use burn::tensor::Device;
pub use rekindle_files as files;
pub use rekindle_imagefolder as imagefolder;
pub use rekindle_models as models;
pub use rekindle_nn as nn;
pub use rekindle_report as report;
pub use rekindle_trainer as trainer;
pub use rekindle_transfer as transfer;
pub use rekindle_weights as weights;
