//! Errors by their cause: of others as one of this crate, and each by what the user can do about it.

use std::io;
use std::path::Path;

use rekindle_imagefolder::ErrorKind;

use super::TrainerError;

impl From<rekindle_weights::Error> for TrainerError {
    fn from(error: rekindle_weights::Error) -> Self {
        Self::Model(error.into())
    }
}

impl TrainerError {
    /// Returns the place where the error has its cause: the request, the images, or the work.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidSchedule { .. }
            | Self::InvalidRecipe { .. }
            | Self::InvalidRecipeFile { .. }
            | Self::NotARunDirectory { .. }
            | Self::OtherRecipe { .. }
            | Self::SearchDone { .. }
            | Self::ModelLacks { .. }
            | Self::InvalidCoverage { .. }
            | Self::RunDirectoryExists { .. } => ErrorKind::InvalidOption,
            Self::UnusableData { .. } | Self::ChangedData { .. } | Self::OtherWeights { .. } => {
                ErrorKind::BadImages
            }
            Self::Images(error) => error.kind(),
            Self::Model(error) if error.is_invalid_option() => ErrorKind::InvalidOption,
            Self::Transfer(error) if error.is_invalid_option() => ErrorKind::InvalidOption,
            Self::Model(_)
            | Self::Transfer(_)
            | Self::Quantization(_)
            | Self::UnusableWeights { .. }
            | Self::InvalidPredictions { .. }
            | Self::LockedByAnotherProcess { .. }
            | Self::NewerFormat { .. }
            | Self::DamagedFile { .. }
            | Self::NoCheckpoint { .. }
            | Self::DiskFull { .. }
            | Self::NotWritable { .. }
            | Self::Io { .. }
            | Self::Writer { .. }
            | Self::Diverged { .. }
            | Self::BrokenWeights { .. }
            | Self::OutOfDeviceMemory { .. }
            | Self::Device { .. }
            | Self::OptimizerState { .. }
            | Self::Interrupted { .. }
            | Self::NoInterruptHandler { .. } => ErrorKind::Failed,
        }
    }

    /// Returns an error of writing weights: one of the file system where it is one.
    pub(crate) fn of_writing(error: rekindle_weights::Error) -> Self {
        match error {
            rekindle_weights::Error::Write { path, source } => Self::io("write", &path, source),
            error => error.into(),
        }
    }

    /// Sorts an operating-system error by what the user can do about it.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                if action != "read" && action != "open" =>
            {
                Self::NotWritable { path, source }
            }
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// The same for an error that a caller's writing function returned: a full disk is recognised
    /// wherever it hides in the chain of causes.
    pub(crate) fn writer(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let path = path.to_path_buf();
        match kind_in_chain(&*source) {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Self::DiskFull { path }
            }
            _ => Self::Writer { path, source },
        }
    }
}

fn kind_in_chain(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}
