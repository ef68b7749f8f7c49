//! Errors of ResNets, with what to do about them.

/// Everything that this crate refuses, in the reader's terms.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is none of torchvision's ResNets.
    #[error("there is no architecture `{found}`{}; known are {}", nearest(found), crate::Architecture::ALL.map(crate::Architecture::name).join(", "))]
    UnknownArchitecture {
        /// The name given.
        found: String,
    },
    /// A stage that a network doesn't have.
    #[error("there is no stage {found}: the stages of this network are 0 to {}", stages - 1)]
    UnknownStage {
        /// The index given.
        found: usize,
        /// Number of stages.
        stages: usize,
    },
    /// Stages that can't run in eight bits, or images that they can't take.
    #[error("cannot run the first {stages} stages in eight bits: {reason}")]
    NotQuantizable {
        /// Number of stages.
        stages: usize,
        /// The fault, and the remedy.
        reason: String,
    },
    /// A catalogue entry that does not exist.
    #[error("the catalogue has no weights `{name}` for `{architecture}`; it has: {known}")]
    UnknownWeights {
        /// The architecture asked for.
        architecture: String,
        /// The entry asked for.
        name: String,
        /// The entries that there are.
        known: String,
    },
    /// A file of weights, or a download.
    #[error(transparent)]
    Weights(#[from] rekindle_weights::Error),
}

impl Error {
    /// Returns true where a name or a combination of options was asked for that there is not, as opposed to a file, a
    /// download or a network that failed.
    pub fn is_invalid_option(&self) -> bool {
        match self {
            Self::UnknownArchitecture { .. }
            | Self::UnknownWeights { .. }
            | Self::UnknownStage { .. }
            | Self::NotQuantizable { .. } => true,
            Self::Weights(error) => error.is_invalid_option(),
        }
    }
}

/// The architecture whose name is a slip of the keyboard away.
fn nearest(found: &str) -> String {
    let names = crate::Architecture::ALL.map(crate::Architecture::name);
    let mut near: Vec<(usize, &str)> = names
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&found.to_ascii_lowercase(), name),
                *name,
            )
        })
        .filter(|(distance, _)| *distance <= 2)
        .collect();
    let least = near.iter().map(|(distance, _)| *distance).min();
    near.retain(|(distance, _)| Some(*distance) == least);
    let near: Vec<&str> = near.into_iter().map(|(_, name)| name).collect();
    match near.is_empty() {
        true => String::new(),
        false => format!(", did you mean {}?", near.join(" or ")),
    }
}
