//! The training loop: recipes, schedules, checkpoints, run directories, reports.

mod early_stopping;
mod error;
pub mod events;
mod interrupt;
pub mod metrics;
mod narration;
mod progress;
pub mod report;
pub mod run_directory;
mod schedule;
mod text;

pub use early_stopping::{BestEpoch, EarlyStopping, Monitor};
pub use error::TrainerError;
pub use events::{Event, Observer};
pub use interrupt::Interrupt;
pub use metrics::{
    Calibration, ClassScores, ConfusionMatrix, Evaluation, ReliabilityBin, top_k_accuracy,
};
pub use progress::{Progress, ProgressMode};
pub use run_directory::{
    Checkpoint, ClassesRecord, Position, RunDirectory, RunRecord, RunWriter, WeightsRecord,
    WriteError, atomic_replace, atomic_write,
};
pub use schedule::{Anneal, Schedule};
