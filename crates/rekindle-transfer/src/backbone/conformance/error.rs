//! Promises of a backbone that are broken.

/// The promise of [`Backbone`](crate::Backbone) that an implementation breaks. A difference is that of two results which
/// should be equal, relative to the largest value; none where their shapes differ or they hold no numbers.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConformanceError {
    /// Images that nothing can be checked on.
    #[error("images: {found}; expected {expected}")]
    Images {
        /// Value that was given.
        found: String,
        /// Value that is needed.
        expected: String,
    },
    /// Promise 1.
    #[error("stage names are {found:?}; expected at least one, none empty and none twice")]
    StageNames {
        /// The names.
        found: Vec<String>,
    },
    /// Promise 2.
    #[error(
        "`forward_stages` from {start} to {end} is not `forward_stage` one by one; they differ by {difference:?}"
    )]
    Composition {
        /// The first stage.
        start: usize,
        /// The stage behind the last.
        end: usize,
        /// Largest difference.
        difference: Option<f32>,
    },
    /// Promise 3.
    #[error(
        "`pool_stages` from {start} is not `forward_stages` and then `pool`, once; they differ by {difference:?}"
    )]
    Pooling {
        /// The first stage.
        start: usize,
        /// Largest difference.
        difference: Option<f32>,
    },
    /// Promise 4.
    #[error("features have shape {found:?}; expected {expected:?} by batch and `num_features`")]
    Features {
        /// Their shape.
        found: Vec<usize>,
        /// The shape announced.
        expected: Vec<usize>,
    },
    /// Promise 5, in a batch.
    #[error(
        "features of image {image} depend on the others of its batch, by {difference:?}, in evaluation"
    )]
    Batch {
        /// Its position.
        image: usize,
        /// Largest difference.
        difference: Option<f32>,
    },
    /// Promise 5, in two calls.
    #[error("two calls in evaluation differ by {difference:?}")]
    Chance {
        /// Largest difference.
        difference: Option<f32>,
    },
    /// Promise 5, of tensors.
    #[error("{name} moved in evaluation")]
    Moved {
        /// The tensor's name.
        name: String,
    },
    /// Promise 6, of names.
    #[error("parameter {name}: {reason}")]
    ParameterName {
        /// The name.
        name: String,
        /// The problem with it.
        reason: String,
    },
    /// Promise 6, of stages.
    #[error(
        "`stage_of` says that {name} belongs to stage {stage}, but stage {moved} changes with it"
    )]
    StageOf {
        /// The parameter's path, or that of one of several.
        name: String,
        /// Its stage.
        stage: usize,
        /// A stage that should not depend on it.
        moved: usize,
    },
    /// Promise 8.
    #[error("`{method}` takes a stage beyond the {stages} that there are without a word")]
    BeyondTheLast {
        /// The method.
        method: &'static str,
        /// Number of stages.
        stages: usize,
    },
    /// Promise 9.
    #[error("in eight bits: {reason}")]
    EightBits {
        /// The problem.
        reason: String,
    },
    /// Promise 10.
    #[error("`reinitialise`: {reason}")]
    FreshWeights {
        /// The problem.
        reason: String,
    },
}
