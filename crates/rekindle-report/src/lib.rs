//! A run, or several side by side, as one HTML file for people.
//!
//! The file needs nothing but itself: pictures and curves are inside, no script, no network. It
//! reads in light and dark, on wide and narrow screens, and prints.
//!
//! [`Report::from_runs`] reads what training left on the disk; [`Report`] and [`RunReport`] are filled from the
//! events of runs in memory.
//!
//! ```no_run
//! use rekindle_report::{Report, run_directories};
//! use rekindle_trainer::burn::tensor::Device;
//!
//! let runs = run_directories(&["runs".into()])?;
//! let report = Report::from_runs(&runs, None, &Device::flex(), |note| eprintln!("{note}"))?;
//! report.write("report.html")?;
//! # Ok::<(), rekindle_trainer::TrainerError>(())
//! ```

mod audit;
mod axis;
mod build;
mod chart;
mod comparison;
mod confusion;
mod contents;
mod curves;
mod data;
mod examine;
mod folds;
mod gallery;
mod headline;
mod html;
mod images;
mod labels;
mod numbers;
mod page;
mod parts;
mod ranking;
mod rates;
mod reliability;
mod run;
mod run_directories;
mod scatter;
mod summary;
mod svg;
mod time;
mod trials;

pub use audit::AuditPage;
pub use build::{augmented_grid, prediction_grid};
pub use contents::{
    ClassCount, DataReport, Fact, FeatureMap, MapPoint, Miss, Mistake, NumberSpread, NumbersReport,
    PhaseTime, Picture, Report, RunReport, SkippedFile,
};
pub use examine::{Examination, examine, examine_inspected};
pub use folds::{FoldReport, Spread};
pub use run_directories::run_directories;

/// Compiles the README's code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
