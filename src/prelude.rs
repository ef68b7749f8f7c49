//! The names that most programs need.
//!
//! ```no_run
//! use rekindle::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::flex();
//! let pretrained = Pretrained::open("resnet18-f37072fd.pth", &device)?;
//! let data = TransferData::open("hymenoptera", &pretrained.preprocess, 0)?;
//! let fitted = Trainer::adapt(&pretrained, data, Strategy::fine_tuning(), 0)
//!     .observer(Progress::new(ProgressMode::Auto))
//!     .run_directory("runs/ants-bees")
//!     .fit()?;
//! println!("accuracy {:.3}", fitted.best_accuracy());
//!
//! let model = Model::open("runs/ants-bees", &device)?;
//! # let _ = model;
//! # Ok(())
//! # }
//! ```

pub use rekindle_imagefolder::{
    Augmentation, ImageDataset, ImageFolder, ImageTable, Listing, Task,
};
pub use rekindle_models::{Preprocess, Pretrained};
pub use rekindle_report::{Report, RunReport};
pub use rekindle_trainer::{
    Advise, Audit, CrossValidation, Fit, Interrupt, Loss, Model, Optimizer, Progress, ProgressMode,
    Recipe, RunDirectory, Schedule, Trainer, TrainerError, TransferData, fine_tune,
};
pub use rekindle_transfer::{Backbone, Classifier, Strategy};

pub use crate::Device;
