//! A run, or several side by side, as one HTML file for people.
//!
//! The file needs nothing but itself: pictures and curves are inside, no script, no network. It
//! reads in light and dark, on wide and narrow screens, and prints.

mod axis;
mod build;
mod chart;
mod comparison;
mod confusion;
mod contents;
mod curves;
mod data;
mod examine;
mod gallery;
mod headline;
mod html;
mod images;
mod page;
mod parts;
mod rates;
mod reliability;
mod run;
mod scatter;
mod summary;
mod svg;
mod time;

pub use build::{augmented_grid, prediction_grid, run_directories};
pub use contents::{
    ClassCount, DataReport, Fact, FeatureMap, MapPoint, Mistake, PhaseTime, Picture, Report,
    RunReport, SkippedFile,
};
pub use examine::{Examination, examine};
