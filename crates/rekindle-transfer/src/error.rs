//! Errors of transfer.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A stage that the backbone doesn't have.
    #[error("the backbone has no stage {found:?}; its stages are {}", known.join(", "))]
    UnknownStage {
        /// The name given.
        found: String,
        /// The backbone's stages.
        known: Vec<String>,
    },
    /// More stages than the backbone has.
    #[error("stage {found} of a backbone with {} stages ({})", known.len(), known.join(", "))]
    StageOutOfRange {
        /// The index or number given.
        found: usize,
        /// The backbone's stages.
        known: Vec<String>,
    },
    /// A plan that doesn't fit the backbone.
    #[error("plan: {parameter} is {found}, expected {expected}")]
    InvalidPlan {
        /// The plan's field.
        parameter: &'static str,
        /// Its value.
        found: String,
        /// Value that fits.
        expected: String,
    },
    /// A network that can't begin with fresh weights.
    #[error(
        "{backbone} can't be given fresh weights, so it can't be trained from scratch; implement \
         `Backbone::reinitialise`, or choose a strategy that starts from its weights"
    )]
    NotReinitialisable {
        /// The backbone's type.
        backbone: &'static str,
    },
    /// A name that is no strategy's.
    #[error("there is no strategy {found:?}; known are {}", known.join(", "))]
    UnknownStrategy {
        /// The name given, with its value.
        found: String,
        /// The forms that are taken.
        known: Vec<String>,
    },
    /// A parameter of a strategy that is missing, is no number, or lies out of its range.
    #[error("strategy {strategy}: the {parameter} is {found}, expected {expected}")]
    InvalidStrategy {
        /// The strategy's name.
        strategy: &'static str,
        /// The parameter's name, such as `decay`.
        parameter: String,
        /// Its value.
        found: String,
        /// Its range.
        expected: &'static str,
    },
    /// A value given to a strategy that takes none.
    #[error("strategy {strategy} takes no value, found {found:?}")]
    UnexpectedValue {
        /// The strategy's name.
        strategy: &'static str,
        /// The value given.
        found: String,
    },
    /// Numbers whose count doesn't fit the rest of the input.
    #[error("{what}: {found} values, expected {expected}")]
    WrongLength {
        /// The input.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
    },
    /// Input on which the method is not defined.
    #[error("{method}: {reason}")]
    Degenerate {
        /// The method.
        method: &'static str,
        /// The fault of the input, and the remedy.
        reason: String,
    },
    /// A share of pictures to reject that can't be promised.
    #[error("a share of {found} to reject; give {expected}")]
    InvalidShare {
        /// The share, with what stands behind it.
        found: String,
        /// The shares that can be.
        expected: String,
    },
    /// Stages that can't run in eight bits.
    #[error("cannot run {stages} frozen stages in eight bits: {reason}")]
    NotQuantizable {
        /// Number of stages.
        stages: usize,
        /// The fault, and the remedy.
        reason: String,
    },
    /// Images of another number of channels than the network's first convolution takes.
    #[error(
        "the images have {found} channels and the network takes {expected}; load the weights for {found} channels, \
         or convert the images"
    )]
    Channels {
        /// Channels of the images.
        found: usize,
        /// Channels that the network takes.
        expected: usize,
    },
    /// A table of classes and attributes that can't be used.
    #[error("{}{}: {reason}", path.display(), if *line > 0 { format!(", line {line}") } else { String::new() })]
    Table {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on; 0 for the file as a whole.
        line: usize,
        /// The fault.
        reason: String,
    },
    /// A folder without kept features.
    #[error("{} is no feature cache: {reason}; give folders that `--cache` filled", path.display())]
    NotACache {
        /// The folder.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A cache file that can't be read or written.
    #[error("feature cache {}: {reason}; delete the file to compute the features afresh", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
}

impl TransferError {
    /// Returns true where a name, a value or a combination of options was asked for that there is not, as opposed to a
    /// failure of the work or of the data.
    pub fn is_invalid_option(&self) -> bool {
        match self {
            Self::UnknownStage { .. }
            | Self::StageOutOfRange { .. }
            | Self::InvalidPlan { .. }
            | Self::NotReinitialisable { .. }
            | Self::UnknownStrategy { .. }
            | Self::InvalidStrategy { .. }
            | Self::UnexpectedValue { .. }
            | Self::NotACache { .. }
            | Self::InvalidShare { .. }
            | Self::NotQuantizable { .. } => true,
            Self::WrongLength { .. }
            | Self::Degenerate { .. }
            | Self::Channels { .. }
            | Self::Table { .. }
            | Self::Cache { .. } => false,
        }
    }
}

/// Returns the error of input that a method can't work with.
pub(crate) fn degenerate<T>(method: &'static str, reason: String) -> Result<T, TransferError> {
    Err(TransferError::Degenerate { method, reason })
}
