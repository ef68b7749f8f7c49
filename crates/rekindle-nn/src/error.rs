//! Errors in a description, or in what is given to it.

use thiserror::Error;

use crate::shape::Shape;

/// Errors of descriptions of networks.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// An operation takes another kind of value or another number of channels.
    #[error("{node} takes {expected}, found {found}")]
    Input {
        /// The node's name.
        node: String,
        /// Shapes that are accepted.
        expected: String,
        /// Shape that was given.
        found: Shape,
    },
    /// Two values that belong together have different shapes.
    #[error("{node} takes values that fit together, found {left} and {right}")]
    Mismatch {
        /// The node's name.
        node: String,
        /// The first value.
        left: Shape,
        /// The other.
        right: Shape,
    },
    /// Channels can't be divided into groups.
    #[error(
        "{node}: {in_channels} to {out_channels} channels can't be divided into {groups} groups"
    )]
    Groups {
        /// The node's name.
        node: String,
        /// Channels of the input.
        in_channels: usize,
        /// Channels of the output.
        out_channels: usize,
        /// The groups asked for.
        groups: usize,
    },
    /// A network that can't be given images of other channels.
    #[error(
        "{node} works on the {channels} channels of the images before any convolution over all of them, so that they can't be others"
    )]
    FixedChannels {
        /// The node's name.
        node: String,
        /// Channels of its images.
        channels: usize,
    },
    /// A size is zero where it can't be.
    #[error("{node}: {what} is zero")]
    Zero {
        /// The node's name.
        node: String,
        /// The size's name.
        what: &'static str,
    },
    /// Two parameters have one name.
    #[error("two tensors are called {name}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A stage or a block is cut where more than one value would have to pass, or none does.
    #[error("{what}: {reason}")]
    Cut {
        /// The stage or block.
        what: String,
        /// The reason.
        reason: String,
    },
    /// A block holds more parameters than one operation of Burn's graph may have.
    #[error("block {block} has {found} parameter tensors, more than {most}")]
    TooManyTensors {
        /// The block's first node.
        block: String,
        /// Their number.
        found: usize,
        /// The largest number allowed.
        most: usize,
    },
    /// There are no stages, or no head.
    #[error("the network has no {what}")]
    Missing {
        /// The thing that doesn't exist.
        what: &'static str,
    },
    /// A window is larger than what it slides over.
    #[error("{node}: a window of {} x {} doesn't fit into {} x {} with its padding", window[0], window[1], size[0], size[1])]
    TooSmall {
        /// The node's name.
        node: String,
        /// Height and width of the window.
        window: [usize; 2],
        /// Height and width of the input.
        size: [usize; 2],
    },
    /// A layer can't be the network's classifier.
    #[error(
        "the classifier takes rows of {expected} for one class or more, found a layer from {} to {}",
        found[0], found[1]
    )]
    Classifier {
        /// Length of the network's features.
        expected: usize,
        /// Inputs and outputs of the layer.
        found: [usize; 2],
    },
    /// A tensor was given another number of elements than it has.
    #[error("tensor {name} has {expected} elements, found {found}")]
    Values {
        /// Its name.
        name: String,
        /// Elements by its shape.
        expected: usize,
        /// Elements that were given.
        found: usize,
    },
    /// A stage that doesn't exist was asked for.
    #[error("stages {start} to {end} were asked for, there are {stages}")]
    UnknownStage {
        /// The first stage.
        start: usize,
        /// The one behind the last.
        end: usize,
        /// Number of stages.
        stages: usize,
    },
}
