//! A network in the forms that a fit may choose from.

use rekindle_models::Pretrained;

use super::reduced::reduced;

/// A network, and what else can be made of its weights.
pub(super) struct Candidate {
    /// As it was given.
    pub plain: Pretrained,
    /// With features of two levels, and the lengths of their parts, where it has them.
    pub multilevel: Option<(Pretrained, Vec<usize>)>,
    /// For smaller pictures, where it takes any.
    pub reduced: Option<Box<Candidate>>,
}

impl Candidate {
    /// Makes of a network what it allows; for smaller pictures where `is_reducible` says so.
    pub fn new(pretrained: &Pretrained, is_reducible: bool) -> Self {
        let smaller = is_reducible.then(|| reduced(pretrained)).flatten();
        Self {
            plain: pretrained.clone(),
            multilevel: pretrained.clone().with_multilevel_features(),
            reduced: smaller.map(|smaller| Box::new(Self::new(&smaller, false))),
        }
    }
}
