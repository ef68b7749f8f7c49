//! Errors of reading an ONNX file.

use thiserror::Error;

use crate::GraphError;

/// Reason why an ONNX file doesn't become a network.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportError {
    /// The bytes are no ONNX file, or a damaged one.
    #[error("the file is no whole ONNX file: {reason}")]
    Damaged {
        /// The problem with it.
        reason: String,
    },
    /// Operators that no network here is made of.
    #[error("operators that are not known: {}", list(unknown))]
    Operators {
        /// Each with the names of its nodes.
        unknown: Vec<UnknownOperator>,
    },
    /// Operators of a layout that onnxruntime made for one kind of processor.
    #[error(
        "{operators} nodes are laid out for one kind of processor by onnxruntime (com.microsoft.nchwc): give the file that \
         it optimised, or have it write one at ORT_ENABLE_EXTENDED"
    )]
    OneProcessor {
        /// The number of such nodes.
        operators: usize,
    },
    /// A known operator in a form, or at a place, that no network here has.
    #[error("node {node} ({operator}): {reason}")]
    Node {
        /// The node's name, or that of what it gives.
        node: String,
        /// Its operator.
        operator: String,
        /// The reason.
        reason: String,
    },
    /// Inputs or outputs are not those of a network on images.
    #[error("{0}")]
    Ends(String),
    /// Weights in a file of their own can't be read.
    #[error("weights in the external file {location:?}: {reason}")]
    External {
        /// The file, as the ONNX file names it.
        location: String,
        /// The reason.
        reason: String,
    },
    /// The graph that was built is no valid network.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// An operator that isn't known, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOperator {
    /// Its name, with its domain where that is not ONNX's own.
    pub operator: String,
    /// The names of its nodes.
    pub nodes: Vec<String>,
}

/// Nodes of one operator that a message names.
const SHOWN: usize = 4;

fn list(unknown: &[UnknownOperator]) -> String {
    let each = unknown.iter().map(|operator| {
        let shown: Vec<&str> = operator
            .nodes
            .iter()
            .take(SHOWN)
            .map(String::as_str)
            .collect();
        let more = match operator.nodes.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{} ({}{more})", operator.operator, shown.join(", "))
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Reason why a node is refused, before it is known which one it is.
#[derive(Debug)]
pub(super) enum Fault {
    /// It has a form that isn't taken.
    Reason(String),
    /// An error of its own.
    Whole(ImportError),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.into())
    }
}

impl From<GraphError> for Fault {
    fn from(error: GraphError) -> Self {
        Self::Reason(error.to_string())
    }
}

impl From<ImportError> for Fault {
    fn from(error: ImportError) -> Self {
        Self::Whole(error)
    }
}

/// Result of reading a node.
pub(super) type Outcome<T> = Result<T, Fault>;
