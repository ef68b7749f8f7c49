//! The training loop: recipes, schedules, checkpoints, run directories, reports.

mod early_stopping;
mod error;
pub mod events;
mod interrupt;
pub mod metrics;
mod schedule;

pub use early_stopping::{BestEpoch, EarlyStopping, Monitor};
pub use error::TrainerError;
pub use events::{Event, Observer};
pub use interrupt::Interrupt;
pub use metrics::{
    Calibration, ClassScores, ConfusionMatrix, Evaluation, ReliabilityBin, top_k_accuracy,
};
pub use schedule::{Anneal, Schedule};
