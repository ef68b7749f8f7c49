//! What a command ends with.

use std::process::ExitCode;

use rekindle::device::DeviceError;
use rekindle::imagefolder;
use rekindle::resnet;
use rekindle::trainer::TrainerError;
use rekindle::transfer::TransferError;

/// How a command ended, as an exit status. clap itself ends with 2 where the command line is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for was done.
    Done,
    /// Something failed; standard error says what.
    Failed,
    /// The command line can't be followed.
    Usage,
    /// The images have problems: files that can't be read, leaks, classes that don't fit.
    BadData,
    /// Ctrl-C; what is needed to go on has been saved.
    Interrupted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Usage => 2,
            Outcome::BadData => 3,
            Outcome::Interrupted => 130,
        })
    }
}

/// Why a command could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Training, models, reports.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// Weights and downloads.
    #[error(transparent)]
    Model(#[from] resnet::Error),
    /// Folders of images.
    #[error(transparent)]
    Images(#[from] imagefolder::Error),
    /// Strategies and methods on features.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A device that can't be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A command line that contradicts itself or the files it names.
    #[error("{0}")]
    Usage(String),
    /// A file given on the command line.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A place that can't be written to.
    #[error("cannot write {path}: {reason}")]
    Unwritable {
        /// The folder.
        path: String,
        /// Why.
        reason: String,
    },
}

impl From<&Failure> for Outcome {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Usage(_)
            | Failure::Device(_)
            | Failure::Transfer(
                TransferError::UnknownStrategy { .. }
                | TransferError::UnknownStage { .. }
                | TransferError::InvalidStrategy { .. },
            )
            | Failure::Trainer(
                TrainerError::InvalidRecipe { .. }
                | TrainerError::InvalidSchedule { .. }
                | TrainerError::RunDirectoryExists { .. }
                | TrainerError::NotARunDirectory { .. }
                | TrainerError::Transfer(
                    TransferError::UnknownStage { .. } | TransferError::InvalidStrategy { .. },
                ),
            ) => Outcome::Usage,
            Failure::Images(_)
            | Failure::Trainer(TrainerError::Images(_) | TrainerError::UnusableData { .. }) => {
                Outcome::BadData
            }
            _ => Outcome::Failed,
        }
    }
}
