//! The training loop: recipes, schedules, checkpoints, run directories.
//!
//! Three levels: [`fine_tune`] is one call that makes the best of two minutes, [`Trainer`] a builder for strategy and
//! [`Recipe`], and [`Learner`], [`Predictor`] and [`feed::Feed`] are the parts. A run tells its [`Observer`]s
//! what happens, keeps a [`RunDirectory`], stops at Ctrl-C ([`Interrupt`]) and goes on to the same bits. [`advise`] says
//! beforehand which weights and which strategy suit a folder of images.
//!
//! ```
//! use rekindle_trainer::{Optimizer, Recipe, Schedule};
//!
//! let recipe = Recipe {
//!     epochs: 10,
//!     optimizer: Optimizer::AdamW { weight_decay: 0.01 },
//!     learning_rate: 1e-3,
//!     schedule: Schedule::cosine().with_warmup(1.0),
//!     label_smoothing: 0.1,
//!     ..Recipe::tutorial()
//! };
//! recipe.validate()?;
//! # Ok::<(), rekindle_trainer::TrainerError>(())
//! ```

mod activations;
mod adapt;
mod advise;
mod announce;
mod audit;
mod calibration;
mod checkpoint;
mod cross_validation;
#[cfg(feature = "tui")]
mod dashboard;
mod data;
mod data_parallel;
mod disjoint_sets;
mod early_stopping;
mod error;
pub mod events;
mod feature_extractor;
mod feature_table;
pub mod feed;
mod fine_tune;
mod fit;
mod fitted;
mod grad_cam;
mod identity;
pub mod inspect;
mod interrupt;
mod known_classes;
mod learner;
mod log;
mod looking;
pub mod loss;
mod lr_finder;
pub mod metrics;
mod model;
mod optimizer;
mod origin;
mod out_of_memory;
mod pace;
mod pooled;
mod predictor;
mod progress;
mod recipe;
mod recipe_file;
mod replica;
pub mod run_directory;
mod run_feeds;
mod schedule;
mod shared_features;
mod similar;
mod slot;
mod source;
mod target_scale;
mod tensorboard;
mod test_views;
pub mod text;
mod trainer;
mod zero_shot;

pub use burn;

#[cfg(feature = "tui")]
pub use dashboard::Dashboard;
pub use early_stopping::{BestEpoch, EarlyStopping, Monitor};
pub use error::TrainerError;
pub use events::{Event, Observer};
pub use interrupt::Interrupt;
pub use metrics::{
    Calibration, ClassCurves, ClassScores, ConformalResiduals, ConformalScores, ConfusionMatrix,
    Coverage, Evaluation, IntervalCoverage, LabelScores, LabelThresholds, MultiLabelEvaluation,
    OrdinalEvaluation, RankingCurves, RegressionEvaluation, RejectionRates, ReliabilityBin,
    Temperature, UnknownRates, top_k_accuracy,
};
pub use progress::{Progress, ProgressMode};
pub use rekindle_imagefolder::ErrorKind;
pub use run_directory::{
    Checkpoint, ClassesRecord, Position, RunDirectory, RunRecord, RunWriter, WeightsRecord,
    WriteError, atomic_replace, atomic_write,
};
pub use schedule::{Anneal, Schedule};

pub use advise::{Advise, Scored, ScoredBackbone, advise};
pub use audit::{Audit, Audited, AuditedPart, Finding, FindingKind, Twin};
pub use cross_validation::CrossValidation;
pub use data::{TransferData, VALIDATION_SHARE, eval_pipeline, train_pipeline};
pub use feature_extractor::{FeatureExtractor, FilledCache};
pub use feature_table::{FeatureLayer, FeatureTable};
pub use fine_tune::{FineTuned, Fit, fine_tune};
pub use fitted::Fitted;
pub use grad_cam::GradCam;
pub use identity::{DataChanges, DataIdentity, DataList, ImageRecord, Part};
pub use known_classes::{Forgetting, KnownClasses};
pub use learner::{Learner, StepOutcome};
pub use loss::Loss;
pub use lr_finder::{LrCurve, LrFinder};
pub use model::{
    Answer, Classified, Evaluated, EvaluatedLabels, EvaluatedNumbers, FittedUnknown, Model,
    QuantizationLoss, QuantizedModel, UnknownCheck, image_files, weights_file,
};
pub use optimizer::{Optimizer, clip_norm};
pub use out_of_memory::OutOfMemory;
pub use predictor::{Predictions, Predictor};
pub use recipe::{Cache, Recipe};
pub use shared_features::SharedFeatures;
pub use similar::{FoundSimilar, Similar, SimilarAnswer};
pub use source::Source;
pub use target_scale::TargetScale;
pub use tensorboard::TensorBoard;
pub use test_views::TestViews;
pub use trainer::Trainer;
pub use zero_shot::ZeroShot;
