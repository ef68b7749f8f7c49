//! Errors of models and their weights.

use rekindle_nn::onnx::{ExportError, ImportError};
use rekindle_nn::{DescriptionError, GraphError};
use rekindle_weights::Format;
use thiserror::Error;

use crate::registry::UnknownModel;

/// Everything that this crate refuses, in the reader's terms.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no model has.
    #[error(transparent)]
    UnknownModel(#[from] UnknownModel),
    /// Weights that have not been published for a model.
    #[error("no weights called {name:?} have been published for {model}; there are: {known}")]
    UnknownWeights {
        /// The model asked for.
        model: &'static str,
        /// The weights asked for.
        name: String,
        /// Names of those that have been published.
        known: String,
    },
    /// An ONNX file that is no network that can be read.
    #[error("{}: {source}", path.display())]
    Onnx {
        /// The file.
        path: std::path::PathBuf,
        /// The problem with it.
        source: ImportError,
    },
    /// A network that no ONNX file with its preprocessing inside can be written of.
    #[error("no preprocessing can be written into the file: {source}")]
    Export {
        /// Why.
        source: ExportError,
    },
    /// Calibrated probabilities of a model that has no temperature.
    #[error(
        "the model holds no temperature to calibrate its probabilities by; train with this version of rekindle, which fits one, or ask for answers as they are"
    )]
    NoTemperature,
    /// A choice inside of a file that files of its format don't offer.
    #[error("{}: {flags} has no meaning for a file of {format}: {advice}", path.display())]
    NoSuchChoice {
        /// The file.
        path: std::path::PathBuf,
        /// The choice, as the program takes it.
        flags: String,
        /// The file's format.
        format: Format,
        /// Options that choose within such a file.
        advice: &'static str,
    },
    /// A description of a network inside of a file of weights that can't be taken.
    #[error("{}: {source}", path.display())]
    Description {
        /// The file.
        path: std::path::PathBuf,
        /// The problem with it.
        source: DescriptionError,
    },
    /// A file whose preprocessing gives pictures that its network can't take.
    #[error("{}: pictures of {crop} x {crop} pixels, as its preprocessing makes them, don't fit its network: {source}", path.display())]
    Crop {
        /// The file.
        path: std::path::PathBuf,
        /// Side of the pictures in pixels.
        crop: usize,
        /// The layer that can't take them.
        source: GraphError,
    },
    /// A network that can't be given pictures of other channels.
    #[error("{}: {source}; leave out --channels", path.display())]
    Channels {
        /// The file.
        path: std::path::PathBuf,
        /// The layer that can't take them.
        source: GraphError,
    },
    /// A file whose two towers give embeddings of other lengths.
    #[error("{}: images have embeddings of {image} numbers and texts of {text}; are they of one CLIP?", path.display())]
    Towers {
        /// The file.
        path: std::path::PathBuf,
        /// Length of an image's.
        image: usize,
        /// Length of a text's.
        text: usize,
    },
    /// A file of a network that knows no texts.
    #[error("{}: it holds {found}, which is not the image tower of a CLIP", path.display())]
    NoClip {
        /// The file.
        path: std::path::PathBuf,
        /// The network's name.
        found: String,
    },
    /// A text that can't be encoded.
    #[error("texts can't be encoded: {reason}")]
    Text {
        /// The problem with it.
        reason: String,
    },
    /// There is no vocabulary to read texts with.
    #[error("{}: there is no tokenizer; it is looked for as {}", folder.display(), names.join(", "))]
    NoTokenizer {
        /// The folder that was looked into.
        folder: std::path::PathBuf,
        /// The files that would do.
        names: Vec<String>,
    },
    /// A vocabulary that can't be used.
    #[error("{}: {reason}", path.display())]
    Tokenizer {
        /// The file.
        path: std::path::PathBuf,
        /// The problem with it.
        reason: String,
    },
    /// A file of weights, or a download.
    #[error(transparent)]
    Weights(#[from] rekindle_weights::Error),
    /// A description, or what is given to a network, doesn't fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl Error {
    /// Returns true where a name or a combination of options was asked for that there is not, as opposed to a file, a
    /// download or a network that failed.
    pub fn is_invalid_option(&self) -> bool {
        match self {
            Self::UnknownModel(_) | Self::UnknownWeights { .. } | Self::Graph(_) => true,
            Self::Text { .. } | Self::NoSuchChoice { .. } => true,
            Self::Export { .. } | Self::NoTemperature => true,
            Self::Channels { .. }
            | Self::Crop { .. }
            | Self::Towers { .. }
            | Self::NoClip { .. }
            | Self::NoTokenizer { .. }
            | Self::Tokenizer { .. }
            | Self::Onnx { .. }
            | Self::Description { .. } => false,
            Self::Weights(error) => error.is_invalid_option(),
        }
    }
}
