//! Results of commands as exit statuses.

use std::process::ExitCode;

use rekindle::device::DeviceError;
use rekindle::imagefolder::{self, ErrorKind};
use rekindle::models;
use rekindle::trainer::TrainerError;
use rekindle::transfer::TransferError;
use rekindle::weights;

/// End of a command, as an exit status. clap itself ends with 2 where the command line is wrong.
///
/// The status says where the fault lies, not when it was found: in what was asked (2), in the images (3), or in anything
/// else (1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for was done.
    Done,
    /// Something failed: weights, a file, the network, memory.
    Failed,
    /// The command line or the recipe can't be followed.
    Usage,
    /// The images have problems: files that can't be read, leaks, classes that don't fit.
    BadData,
    /// Ctrl-C; what is needed to go on has been saved.
    Interrupted,
}

/// The exit status after Ctrl-C: 128 + SIGINT.
pub const INTERRUPTED: i32 = 130;

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Usage => 2,
            Outcome::BadData => 3,
            Outcome::Interrupted => INTERRUPTED as u8,
        })
    }
}

/// Reason why a command failed, which decides the exit status.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Training, models, reports.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// Weights and downloads.
    #[error(transparent)]
    Model(#[from] models::Error),
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
    /// A place that can't be written to.
    #[error("cannot write {path}: {reason}")]
    Unwritable {
        /// The file or folder.
        path: String,
        /// The system's reason.
        reason: String,
    },
}

impl From<weights::Error> for Failure {
    fn from(error: weights::Error) -> Self {
        Failure::Model(error.into())
    }
}

impl From<&Failure> for Outcome {
    // No arm for all that is left: each kind of error of each crate says where it belongs.
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Usage(_) | Failure::Device(_) => Outcome::Usage,
            Failure::Model(error) => match error.is_invalid_option() {
                true => Outcome::Usage,
                false => Outcome::Failed,
            },
            Failure::Transfer(error) => match error.is_invalid_option() {
                true => Outcome::Usage,
                false => Outcome::Failed,
            },
            Failure::Images(error) => error.kind().into(),
            Failure::Trainer(TrainerError::Interrupted { .. }) => Outcome::Interrupted,
            Failure::Trainer(error) => error.kind().into(),
            Failure::Unwritable { .. } => Outcome::Failed,
        }
    }
}

impl From<ErrorKind> for Outcome {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidOption => Outcome::Usage,
            ErrorKind::BadImages => Outcome::BadData,
            ErrorKind::Failed => Outcome::Failed,
        }
    }
}
