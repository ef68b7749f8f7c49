//! The training loop: recipes, schedules, checkpoints, run directories, reports.

mod activations;
mod checkpoint;
#[cfg(feature = "tui")]
mod dashboard;
mod data;
mod early_stopping;
mod error;
pub mod events;
pub mod feed;
mod fine_tune;
mod fit;
mod interrupt;
mod learner;
pub mod loss;
pub mod metrics;
mod narration;
mod lr_finder;
mod optimizer;
mod progress;
mod recipe;
pub mod report;
pub mod run_directory;
mod schedule;
mod text;
mod trainer;

#[cfg(feature = "tui")]
pub use dashboard::Dashboard;
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

pub use data::{TransferData, VALIDATION_SHARE, eval_pipeline, train_pipeline};
pub use fine_tune::{FineTune, FineTuned, TestViews, fine_tune};
pub use learner::{Learner, Predictions, Predictor, StepOutcome};
pub use lr_finder::{LrCurve, LrFinder};
pub use optimizer::{Optimizer, clip_norm};
pub use recipe::{Cache, Recipe};
pub use trainer::{Fitted, Source, Trainer};
