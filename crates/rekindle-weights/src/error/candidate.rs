//! A network among others in a file.

use std::fmt;

use super::wording::printable;

/// A network that a file holds, beside others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Prefix of its names, dot included.
    pub prefix: String,
    /// Number of its tensors, without the head's.
    pub tensors: usize,
    /// Its published name, or a description of a network that has none.
    pub architecture: String,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.prefix.trim_end_matches('.') {
            "" => "no prefix".to_string(),
            prefix => format!("`{}`", printable(prefix)),
        };
        write!(
            f,
            "{prefix} ({}, {} tensors)",
            self.architecture, self.tensors
        )
    }
}

pub(super) fn join(candidates: &[Candidate]) -> String {
    const SHOWN: usize = 8;
    let shown = candidates.iter().take(SHOWN).map(Candidate::to_string);
    let more = candidates.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("{more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}
