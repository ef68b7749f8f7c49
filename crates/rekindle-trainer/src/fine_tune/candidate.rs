//! The networks that a fit may choose from, in their forms.

use std::cell::OnceCell;

use rekindle_models::Pretrained;

use super::reduced::reduced;

/// All that there is to choose from.
pub(super) struct Candidates {
    /// The networks that were given.
    pub single: Vec<Candidate>,
    /// Several of them side by side, once they are known.
    pub joined: OnceCell<Candidate>,
}

/// A network, and what else can be made of its weights.
pub(super) struct Candidate {
    /// As it was given.
    pub plain: Pretrained,
    /// With features of two levels, and the lengths of their parts, where it has them.
    pub multilevel: Option<(Pretrained, Vec<usize>)>,
    /// For smaller pictures, where it takes any.
    pub reduced: Option<Box<Candidate>>,
    /// The networks that stand side by side in it; none in a single one.
    pub members: Vec<Pretrained>,
}

impl Candidates {
    /// Makes of networks what they allow; for smaller pictures where `is_reducible` says so.
    pub fn new(networks: &[Pretrained], is_reducible: bool) -> Self {
        let single = networks.iter();
        Self {
            single: single
                .map(|network| Candidate::new(network, is_reducible))
                .collect(),
            joined: OnceCell::new(),
        }
    }
}

impl Candidate {
    fn new(pretrained: &Pretrained, is_reducible: bool) -> Self {
        let smaller = is_reducible.then(|| reduced(pretrained)).flatten();
        Self {
            plain: pretrained.clone(),
            multilevel: pretrained.clone().with_multilevel_features(),
            reduced: smaller.map(|smaller| Box::new(Self::new(&smaller, false))),
            members: Vec::new(),
        }
    }

    /// Returns the multiplications of numbers that an image takes.
    pub fn multiply_adds(&self) -> u64 {
        let crop = self.plain.preprocess.crop;
        let counted = self.plain.model.graph().multiply_adds(crop, crop);
        counted.unwrap_or(u64::MAX)
    }

    /// Takes a network that was joined of others as it is.
    pub fn joined(pretrained: Pretrained, members: Vec<Pretrained>) -> Self {
        Self {
            plain: pretrained,
            multilevel: None,
            reduced: None,
            members,
        }
    }
}
