//! Chooses the linear head for frozen features that answers best for images that it has not seen.

mod prepared;
mod tried;

use serde::{Deserialize, Serialize};

use super::category_relationship::CategoryRelationship;
use super::held_out::{Scoring, repeated_folds};
use super::table::{Features, LinearHead, check_labels, check_weights};
use crate::TransferError;
use prepared::Prepared;
pub(super) use prepared::deviations;
use tried::{Tried, averaged, best, move_towards, near, partners, winner};

/// Several linear probes against each other, by cross-validation on the training images.
///
/// The first kind is the one to beat: another takes its place only where its log loss on held-out images is lower by more
/// than one standard error of the difference, image by image, and its accuracy no lower (Breiman et al. 1984). So noise does
/// not pick oddities, and the choice is never below the first kind on the folds. Mirrored views of the training images,
/// where there are some, are taken by the same rule.
///
/// Features may have several parts, such as those of several levels of a network: all kinds but
/// [`Multilevel`](ProbeKind::Multilevel) are fitted to the first part alone.
///
/// Where the head that starts from the source's rows, or that of all parts, is neither clearly better nor clearly worse than the
/// chosen one, the mean of the heads is taken: log loss is convex in the logits, so that on any image that of the mean is at
/// most the mean of theirs.
///
/// ```
/// use rekindle_transfer::features::{Features, ProbeKind, ProbeSearch};
///
/// let features = Features::new(vec![1.0, 0.1, 0.9, 0.2, 0.1, 1.0, 0.2, 1.1], 2)?;
/// let found = ProbeSearch::default().fit(&features, &[0, 0, 1, 1], 2, None, None)?;
/// assert_eq!(found.head.predict(&features)?, [0, 0, 1, 1]);
/// assert_eq!(found.chosen().kind, ProbeKind::Normalized);
/// # Ok::<(), rekindle_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSearch {
    /// Kinds to compare; the first holds unless another is clearly better.
    pub kinds: Vec<ProbeKind>,
    /// Penalties to choose from, in rising order.
    pub penalties: Vec<f64>,
    /// Folds of the cross-validation; fewer where a class has fewer images.
    pub folds: usize,
    /// Times that it is repeated with other folds.
    pub repeats: usize,
    /// Mixture of the source's rows for each class.
    pub relationship: CategoryRelationship,
    /// Lengths of the parts of the features, of which the first is that of the others' kinds; a single one by default.
    pub parts: Vec<usize>,
    /// Seed of the folds.
    pub seed: u64,
    /// How much each image counts in fits, at least 0; all the same by default. Each held-out image counts once.
    pub weights: Option<Vec<f64>>,
    /// The group of each image, which is held out as a whole ([`grouped_folds`](super::grouped_folds)).
    pub groups: Option<Vec<usize>>,
}

/// Features that a linear head is fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// Features of length 1 each, without a bias: the head's answers for features as they are have the same order.
    Normalized,
    /// Features over their mean length.
    Scaled,
    /// Each feature minus its mean, over its standard deviation.
    Standardized,
    /// Features over their mean length, starting from the rows of the source classifier ([`PriorProbe`](super::PriorProbe)).
    Prior,
    /// Each part of the features over its mean length, then the whole of length 1, without a bias.
    Multilevel,
    /// Features as they are, fitted to numbers by [`RidgeRegression`](super::RidgeRegression): no kind for classes.
    Ridge,
}

/// Scores of one probe on held-out images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredProbe {
    /// Features that it is fitted to.
    pub kind: ProbeKind,
    /// True if mirrored views are among its rows.
    pub mirrored: bool,
    /// The penalty: of those within one standard error of the lowest log loss the most accurate.
    pub penalty: f64,
    /// Temperature that the head's logits were divided by, so that its confidence agrees with its accuracy.
    pub temperature: f64,
    /// Mean log loss on held-out training images at that temperature; NaN where a class has a single image.
    pub log_loss: f64,
    /// Share of held-out training images that it names right; NaN as above.
    pub accuracy: f64,
}

/// The head that was found, and what it was compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundProbe {
    /// The head, for features as they are.
    pub head: LinearHead,
    /// Every probe that was tried.
    pub candidates: Vec<ScoredProbe>,
    /// The chosen one's position among them.
    pub choice: usize,
    /// Positions of the one that starts from the source's rows and of that of all parts, where the chosen one is another and not
    /// clearly better: the head is the mean of all these.
    pub partners: Vec<usize>,
    /// Log loss of each held-out training image by the chosen probe; empty where a class has a single image.
    pub losses: Vec<f64>,
    /// Share of the repeats in which each held-out training image is named right; empty as above.
    pub right: Vec<f64>,
}

impl Default for ProbeSearch {
    fn default() -> Self {
        Self {
            kinds: vec![
                ProbeKind::Normalized,
                ProbeKind::Scaled,
                ProbeKind::Standardized,
                ProbeKind::Prior,
                ProbeKind::Multilevel,
            ],
            penalties: vec![1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1, 1.0],
            folds: 5,
            repeats: 1,
            relationship: CategoryRelationship::default(),
            parts: Vec::new(),
            seed: 0,
            weights: None,
            groups: None,
        }
    }
}

impl FoundProbe {
    /// Returns the probe that won.
    pub fn chosen(&self) -> ScoredProbe {
        self.candidates[self.choice]
    }

    /// Returns true if the head looks at more than the first part of the features.
    pub fn is_multilevel(&self) -> bool {
        let mut used = self.partners.iter().chain([&self.choice]);
        let is_it = |at: &usize| {
            let scored = self.candidates.get(*at);
            scored.is_some_and(|scored| scored.kind == ProbeKind::Multilevel)
        };
        used.any(is_it)
    }
}

/// Penalties in turn that are worse than the best before weaker ones are left out.
const PATIENCE: usize = 2;

impl ProbeSearch {
    /// Fits features `[n, dim]` to labels `[n]`, each below `classes`, in the best way. `source` is the classifier to
    /// start from for [`ProbeKind::Prior`], which is left out without one; `mirrored` are features of the same images
    /// mirrored.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for a single class, a class
    /// without an image, features that are all zero, or nothing to choose from.
    pub fn fit(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
        source: Option<&LinearHead>,
        mirrored: Option<&Features>,
    ) -> Result<FoundProbe, TransferError> {
        self.fit_while(&|| true, features, labels, classes, source, mirrored)
    }

    /// Searches as long as `goes_on` says so, which is asked before each probe but the first: for searches that have
    /// to end in time.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    pub fn fit_while(
        &self,
        goes_on: &dyn Fn() -> bool,
        features: &Features,
        labels: &[usize],
        classes: usize,
        source: Option<&LinearHead>,
        mirrored: Option<&Features>,
    ) -> Result<FoundProbe, TransferError> {
        self.check(features, labels, classes)?;
        let degenerate = |reason: &str| TransferError::Degenerate {
            method: "probe search",
            reason: reason.into(),
        };
        let [.., strongest] = self.penalties[..] else {
            return Err(degenerate("no penalty to choose from; give at least one"));
        };
        if self.kinds.contains(&ProbeKind::Ridge) {
            return Err(degenerate(
                "ridge regression is among the kinds, which fits numbers and no classes; leave it out",
            ));
        }
        let is_possible = |kind: &ProbeKind| match kind {
            ProbeKind::Prior => source.is_some(),
            ProbeKind::Multilevel => self.parts.len() > 1,
            _ => true,
        };
        let kinds: Vec<ProbeKind> = self.kinds.iter().copied().filter(is_possible).collect();
        let Some(first) = kinds.first().copied() else {
            return Err(degenerate(
                "no kind of probe to choose from; give at least one",
            ));
        };
        let groups = self.groups.as_deref();
        let times = (self.folds, self.repeats);
        let folds = repeated_folds(labels, groups, classes, times, self.seed);
        let of = |kind, mirrored: Option<&Features>| {
            Prepared::new(self, kind, features, mirrored, labels, classes, source)
        };
        if folds.is_empty() {
            // Without a comparison the source's word is the safest.
            let (kind, penalty) = match kinds.contains(&ProbeKind::Prior) {
                true => (ProbeKind::Prior, strongest),
                false => (first, self.penalties[self.penalties.len() / 2]),
            };
            let scored = ScoredProbe {
                kind,
                mirrored: false,
                penalty,
                temperature: 1.0,
                log_loss: f64::NAN,
                accuracy: f64::NAN,
            };
            return Ok(FoundProbe {
                head: of(kind, None)?.head(self, &scored, source)?,
                candidates: vec![scored],
                choice: 0,
                partners: Vec::new(),
                losses: Vec::new(),
                right: Vec::new(),
            });
        }
        let mut tried = Vec::new();
        for kind in kinds {
            if !tried.is_empty() && !goes_on() {
                break;
            }
            let prepared = of(kind, None)?;
            let held_out = prepared.contest.held_out(
                &self.penalties,
                &folds,
                Some(PATIENCE),
                Scoring::AtBestTemperature,
            );
            tried.push(Tried::new(prepared, best(held_out)?));
        }
        let mut choice = winner(&tried);
        let partners = partners(&tried, choice);
        if let Some(mirrored) = mirrored.filter(|_| goes_on()) {
            let plain = &tried[choice];
            let prepared = of(plain.prepared.kind, Some(mirrored))?;
            let near = near(&self.penalties, plain.held_out.penalty);
            let scoring = Scoring::AtBestTemperature;
            let held_out = prepared.contest.held_out(near, &folds, None, scoring);
            tried.push(Tried::new(prepared, best(held_out)?));
            if tried[tried.len() - 1].is_better_than(&tried[choice]) {
                choice = tried.len() - 1;
            }
        }
        let candidates: Vec<ScoredProbe> = tried.iter().map(Tried::scored).collect();
        let chosen = &tried[choice];
        let mut head = chosen.prepared.head(self, &candidates[choice], source)?;
        let mut losses = chosen.held_out.losses.clone();
        let mut right = chosen.held_out.right.clone();
        for (others, partner) in partners.iter().enumerate() {
            let (other, scored) = (&tried[*partner], &candidates[*partner]);
            let share = 1.0 / (others + 2) as f64;
            head = averaged(head, &other.prepared.head(self, scored, source)?, share);
            move_towards(&mut losses, &other.held_out.losses, share);
            move_towards(&mut right, &other.held_out.right, share);
        }
        Ok(FoundProbe {
            head,
            candidates,
            choice,
            partners,
            losses,
            right,
        })
    }

    /// The head of what was found before, fitted to these images: for some of those that it was found on. Weights, where
    /// there are any, are of these images.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    pub fn fit_as(
        &self,
        found: &FoundProbe,
        features: &Features,
        labels: &[usize],
        classes: usize,
        source: Option<&LinearHead>,
        mirrored: Option<&Features>,
    ) -> Result<LinearHead, TransferError> {
        check_labels("probe search", labels, features.len(), classes)?;
        let head = |scored: &ScoredProbe| {
            let mirrored = mirrored.filter(|_| scored.mirrored);
            let kind = scored.kind;
            Prepared::new(self, kind, features, mirrored, labels, classes, source)?
                .head(self, scored, source)
        };
        let mut mean = head(&found.chosen())?;
        let partners = found.partners.iter();
        for (others, partner) in partners
            .filter_map(|at| found.candidates.get(*at))
            .enumerate()
        {
            mean = averaged(mean, &head(partner)?, 1.0 / (others + 2) as f64);
        }
        Ok(mean)
    }
}

impl ProbeSearch {
    fn check(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<(), TransferError> {
        let method = "probe search";
        check_labels(method, labels, features.len(), classes)?;
        if let Some(weights) = &self.weights {
            check_weights(method, weights, labels, classes)?;
        }
        match &self.groups {
            _ if self.parts.len() > 1 && self.parts.iter().sum::<usize>() != features.dim() => {
                Err(TransferError::WrongLength {
                    what: "parts of the features",
                    expected: features.dim(),
                    found: self.parts.iter().sum(),
                })
            }
            Some(groups) if groups.len() != labels.len() => Err(TransferError::Degenerate {
                method,
                reason: format!("{} groups for {} images", groups.len(), labels.len()),
            }),
            _ => Ok(()),
        }
    }
}
