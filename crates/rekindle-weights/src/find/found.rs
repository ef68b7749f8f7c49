//! A set of names under one prefix, compared with what a family proposes.

use std::collections::HashSet;

use super::family::{Expected, Family, Proposal, Shapes};
use super::options::LoadOptions;
use crate::checkpoint::Checkpoint;
use crate::error::{Candidate, Mismatch, printable};

/// A set of names under one prefix that may be a network.
pub(super) struct Found<'f, C> {
    pub prefix: String,
    pub proposal: Proposal<C>,
    pub family: &'f dyn Family<Config = C>,
    /// Number of its tensors that are there in the right shape.
    matched: usize,
    /// Reason why the layer in the head's place is no classifier, where the way it was trained says so.
    pub projection: Option<&'static str>,
    /// Number of tensors in which the file differs.
    wrong: usize,
}

impl<'f, C> Found<'f, C> {
    /// Looks at every name once: those that end as a first tensor's do say which prefixes there are.
    ///
    /// Returns all that fit, and the one that is nearest to a network among the others that `options` admit: a file may
    /// have many prefixes, and each is compared with more names than it has.
    pub fn all(
        checkpoint: &Checkpoint,
        families: &[&'f dyn Family<Config = C>],
        options: &LoadOptions,
    ) -> (Vec<Self>, Option<Self>) {
        let anchors: Vec<(&'f dyn Family<Config = C>, String)> = families
            .iter()
            .flat_map(|family| family.anchors().into_iter().map(|name| (*family, name)))
            .collect();
        let named = checkpoint.metadata.get("architecture");
        let named = named.map(String::as_str);
        let (mut fits, mut nearest): (Vec<Self>, Option<Self>) = (Vec::new(), None);
        for name in checkpoint.tensors.keys() {
            // One family may say an anchor of another's; the network is one.
            let mut here: Vec<(&str, Vec<Self>)> = Vec::new();
            for (family, anchor) in &anchors {
                let prefix = name.strip_suffix(anchor.as_str());
                let Some(prefix) =
                    prefix.filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
                else {
                    continue;
                };
                let proposals = family.propose(anchor, &Shapes::under(prefix, checkpoint));
                let proposals = proposals
                    .into_iter()
                    .map(|proposal| Self::new(checkpoint, prefix, proposal, *family));
                match here.iter_mut().find(|(of, _)| *of == prefix) {
                    Some((_, all)) => all.extend(proposals),
                    None => here.push((prefix, proposals.collect())),
                }
            }
            for found in here.into_iter().filter_map(|(_, all)| best(all, named)) {
                if found.fits() {
                    fits.push(found);
                    continue;
                }
                let least = nearest.as_ref().map_or(0, |nearest| nearest.matched);
                if options.admits(&found.prefix) && found.matched >= least {
                    nearest = Some(found);
                }
            }
        }
        (fits, nearest)
    }

    fn new(
        checkpoint: &Checkpoint,
        prefix: &str,
        proposal: Proposal<C>,
        family: &'f dyn Family<Config = C>,
    ) -> Self {
        let mut found = Self {
            prefix: prefix.to_string(),
            proposal,
            family,
            matched: 0,
            projection: None,
            wrong: 0,
        };
        let mismatch = found.compare(checkpoint);
        let absent = mismatch.missing.len() + mismatch.misshapen.len() + mismatch.wrong_type.len();
        found.matched = found.names() - absent;
        found.wrong = absent + mismatch.extra.len();
        found
    }

    /// Counts the file's names of all its tensors.
    fn names(&self) -> usize {
        let tensors = self.proposal.tensors.iter();
        tensors.map(|expected| expected.parts().0.len()).sum()
    }

    /// Tells whether all of its tensors are there, and nothing unknown among them.
    pub fn fits(&self) -> bool {
        self.wrong == 0
    }

    /// Lists all in which the names under the prefix differ from the network's.
    pub fn compare(&self, checkpoint: &Checkpoint) -> Mismatch {
        let mut mismatch = Mismatch::of(&checkpoint.path);
        let mut known = HashSet::new();
        for expected in &self.proposal.tensors {
            let (names, shape) = expected.parts();
            for name in names {
                let full = self.full_name(name);
                checkpoint.compare(&full, &shape, &mut mismatch);
                known.insert(full);
            }
        }
        let is_extra =
            |name: &String| !known.contains(name) && !name.ends_with(".num_batches_tracked");
        // Tensors and their counters are fewer; what stands among more is another network, however many there are.
        let limit = 2 * known.len();
        for beginning in &self.proposal.beginnings {
            let from = self.full_name(beginning);
            let names = checkpoint
                .tensors
                .range(from.clone()..)
                .map(|(name, _)| name)
                .take_while(|name| name.starts_with(&from));
            for (count, name) in names.take(limit + 1).enumerate() {
                if count == limit || is_extra(name) {
                    mismatch.extra.push(name.clone());
                }
            }
        }
        if !mismatch.is_empty() {
            mismatch.advice = self.advice();
        }
        mismatch
    }

    /// Says where the names are and whose they are nearest to.
    fn advice(&self) -> String {
        let under = match self.prefix.trim_end_matches('.') {
            "" => String::new(),
            prefix => format!(
                "These are the names under `{}`, the nearest to a {} in the file.",
                printable(prefix),
                self.family.name()
            ),
        };
        let whose = match self.proposal.is_fixed {
            false => String::new(),
            true => format!("They were compared with those of {}.", self.proposal.name),
        };
        [under, whose]
            .into_iter()
            .filter(|sentence| !sentence.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub fn full_name(&self, in_file: &str) -> String {
        format!("{}{in_file}", self.prefix)
    }

    /// Returns the Python class around it that nobody here knows.
    pub fn inside(&self, checkpoint: &Checkpoint) -> Option<String> {
        let first = self.proposal.tensors.first()?;
        let first = checkpoint.tensors.get(&self.full_name(&first.in_file))?;
        first.inside.as_deref().map(str::to_string)
    }

    pub fn candidate(&self) -> Candidate {
        Candidate {
            prefix: self.prefix.clone(),
            tensors: self.proposal.tensors.len(),
            architecture: self.proposal.name.clone(),
        }
    }

    /// Tells whether two networks differ at most in their head and in the channels that the first tensor takes.
    pub fn is_same_trunk(&self, other: &Self) -> bool {
        let (a, b) = (&self.proposal.tensors, &other.proposal.tensors);
        let same = |(a, b): (&Expected, &Expected)| a.name == b.name && a.shape == b.shape;
        self.proposal.name == other.proposal.name
            && a.len() == b.len()
            && a.iter().zip(b).skip(1).all(same)
    }

    pub fn parts(&self) -> Vec<&str> {
        self.prefix.split_terminator('.').collect()
    }
}

/// Chooses among networks at one place: of those that fit the one with the name that the file says, or else the first;
/// where none fits, the one that is nearest.
fn best<'f, C>(mut all: Vec<Found<'f, C>>, named: Option<&str>) -> Option<Found<'f, C>> {
    let is_named = |found: &Found<'f, C>| {
        let name = found.proposal.name.as_str();
        let bare = name.rsplit('/').next();
        named.is_some_and(|named| name == named || bare == Some(named))
    };
    let fits = |found: &Found<'f, C>| found.fits();
    let meant = all.iter().position(|found| fits(found) && is_named(found));
    let meant = meant.or_else(|| all.iter().position(fits));
    let nearest = || {
        let order = all.iter().enumerate();
        let nearest = order.min_by_key(|(_, found)| found.wrong);
        nearest.map(|(index, _)| index)
    };
    meant.or_else(nearest).map(|index| all.swap_remove(index))
}

/// Leaves one of several names for the same numbers: parts that a module has under two attributes.
pub(super) fn drop_twins<C>(checkpoint: &Checkpoint, fits: &mut Vec<Found<'_, C>>) {
    fits.sort_by_key(|found| (found.prefix.len(), found.prefix.clone()));
    let mut seen = HashSet::new();
    fits.retain(|found| {
        let tensors = found.proposal.tensors.iter();
        let places: Option<Vec<_>> = tensors
            .map(|expected| {
                let name = found.full_name(&expected.in_file);
                checkpoint.tensors.get(&name)?.identity.clone()
            })
            .collect();
        places.is_none_or(|places| seen.insert(places))
    });
}
