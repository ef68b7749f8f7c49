//! A score with all that it needs, and a threshold that is chosen when it is asked.

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::mahalanobis::Mahalanobis;
use super::nearest_known::NearestKnown;
use super::score::{UnknownScore, doubt, energy};
use super::search::{OpenSetSearch, ScoredUnknown};
use crate::TransferError;
use crate::error::degenerate;
use crate::features::table::Features;

const METHOD: &str = "unknown classes";

/// Scores of held-out images that are kept at most; of more, an even selection.
const MOST_HELD_OUT: usize = 10_000;

/// Tells images of unknown classes by one of the [`UnknownScore`]s.
///
/// As JSON it is what a model's file keeps: the numbers of its score as base64 of little-endian `f32`.
///
/// ```
/// use rekindle_transfer::features::{Features, UnknownDetector, UnknownScore};
///
/// let train = Features::new(vec![1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9], 2)?;
/// let detector = UnknownDetector::fit(UnknownScore::Mahalanobis, &train, &[0, 0, 1, 1], 2, 1.0)?;
/// // Scores of images of known classes that neither the network nor the detector learned from.
/// let held_out = [[0.95, 0.02], [0.05, 0.97]].map(|row| detector.score(&[], &row).unwrap());
/// let detector = detector.with_held_out(held_out);
/// assert!(detector.score(&[], &[-1.0, -1.0])? > detector.threshold(0.4)?);
/// # Ok::<(), rekindle_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct UnknownDetector {
    pub(super) scorer: Scorer,
    pub(super) temperature: f64,
    pub(super) compared: Vec<ScoredUnknown>,
    /// Scores of held-out images of known classes, in ascending order.
    pub(super) held_out: Vec<f32>,
}

/// A score with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scorer {
    Energy,
    MaxProbability,
    Mahalanobis(Mahalanobis),
    NearestNeighbors(NearestKnown),
}

impl UnknownDetector {
    /// Prepares `score` by training images with `features` `[n, dim]` and a class below `classes` each. Logits will be
    /// divided by `temperature`, above 0.
    ///
    /// # Errors
    ///
    /// Those of [`Mahalanobis::fit`] and [`NearestKnown::fit`], and [`TransferError::Degenerate`] for a temperature out of its
    /// range.
    pub fn fit(
        score: UnknownScore,
        features: &Features,
        labels: &[usize],
        classes: usize,
        temperature: f64,
    ) -> Result<Self, TransferError> {
        if !(temperature.is_finite() && temperature > 0.0) {
            return degenerate(
                METHOD,
                format!("a temperature of {temperature}; give a number above 0"),
            );
        }
        let neighbors = OpenSetSearch::NEIGHBORS.min(features.len());
        let scorer = match score {
            UnknownScore::Energy => Scorer::Energy,
            UnknownScore::MaxProbability => Scorer::MaxProbability,
            UnknownScore::Mahalanobis => {
                Scorer::Mahalanobis(Mahalanobis::fit(features, labels, classes)?)
            }
            UnknownScore::NearestNeighbors => {
                Scorer::NearestNeighbors(NearestKnown::fit(features, labels, neighbors)?)
            }
        };
        Ok(Self {
            scorer,
            temperature,
            compared: Vec::new(),
            held_out: Vec::new(),
        })
    }

    /// Keeps how well each score did where they were compared.
    pub fn compared_with(self, compared: Vec<ScoredUnknown>) -> Self {
        Self { compared, ..self }
    }

    /// Sets the scores of images of known classes that nothing was learned from; thresholds are their quantiles. At most
    /// 10,000 are kept, an even selection of more.
    pub fn with_held_out(self, scores: impl IntoIterator<Item = f64>) -> Self {
        let mut all: Vec<f32> = scores.into_iter().map(rounded_up).collect();
        all.sort_by(f32::total_cmp);
        let count = all.len();
        if count > MOST_HELD_OUT {
            // The middle of each piece, so that neither end is preferred.
            let at = |place: usize| all[(2 * place + 1) * count / (2 * MOST_HELD_OUT)];
            all = (0..MOST_HELD_OUT).map(at).collect();
        }
        Self {
            held_out: all,
            ..self
        }
    }

    /// Returns the score that it uses.
    pub fn score_name(&self) -> UnknownScore {
        match self.scorer {
            Scorer::Energy => UnknownScore::Energy,
            Scorer::MaxProbability => UnknownScore::MaxProbability,
            Scorer::Mahalanobis(_) => UnknownScore::Mahalanobis,
            Scorer::NearestNeighbors(_) => UnknownScore::NearestNeighbors,
        }
    }

    /// Returns how well each score did where they were compared; empty where that wasn't kept.
    pub fn compared(&self) -> &[ScoredUnknown] {
        &self.compared
    }

    /// Returns the scores of held-out images of known classes, in ascending order.
    pub fn held_out(&self) -> &[f32] {
        &self.held_out
    }

    /// Checks that it takes `classes` logits and features of length `dim`, of which it may look at the first ones alone.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`].
    pub fn check(&self, classes: usize, dim: usize) -> Result<(), TransferError> {
        let fits = |what, found: usize, expected: usize, does_fit: bool| match does_fit {
            true => Ok(()),
            false => Err(TransferError::WrongLength {
                what,
                found,
                expected,
            }),
        };
        let features = |found: usize| fits("features of the detector", found, dim, found <= dim);
        match &self.scorer {
            Scorer::Energy | Scorer::MaxProbability => Ok(()),
            Scorer::Mahalanobis(found) => {
                features(found.dim)?;
                let (means, expected) = (found.means.len(), classes * found.dim);
                fits("class means", means, expected, means == expected)
            }
            Scorer::NearestNeighbors(found) => features(found.dim),
        }
    }

    /// Computes the score of an image by its logits `[classes]` or its features `[dim]`, whichever
    /// [`UnknownScore::needs_features`] says; the other one may be empty. Higher is more unknown. Of features that are longer
    /// than those it was fitted to it looks at the first.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features that are too short or no logits.
    pub fn score(&self, logits: &[f32], features: &[f32]) -> Result<f64, TransferError> {
        let needs_logits = !self.score_name().needs_features();
        if needs_logits && logits.is_empty() {
            return Err(TransferError::WrongLength {
                what: "logits",
                found: 0,
                expected: 2,
            });
        }
        match &self.scorer {
            Scorer::Energy => Ok(energy(logits, self.temperature)),
            Scorer::MaxProbability => Ok(doubt(logits, self.temperature)),
            Scorer::Mahalanobis(found) => found.distance(first(features, found.dim)),
            Scorer::NearestNeighbors(found) => found.distance(first(features, found.dim)),
        }
    }

    /// Returns the score above which an image is unknown, so that at most the share `rejected` of new images of known classes
    /// is rejected on average, as long as they come from where the held-out images came from (split conformal prediction).
    ///
    /// # Errors
    ///
    /// [`TransferError::InvalidShare`] for one that isn't between 0 and 1, or that is too small for so few held-out images:
    /// `n` of them promise at least `1 / (n + 1)`.
    pub fn threshold(&self, rejected: f64) -> Result<f64, TransferError> {
        if !(rejected > 0.0 && rejected < 1.0) {
            return Err(TransferError::InvalidShare {
                found: rejected.to_string(),
                expected: "a number above 0 and below 1".into(),
            });
        }
        let images = self.held_out.len();
        // The slack keeps a product such as 10 * 0.9 from being rounded over the whole number.
        let place = ((images + 1) as f64 * (1.0 - rejected) - 1e-9).ceil() as usize;
        match self.held_out.get(place.max(1) - 1) {
            Some(score) => Ok(f64::from(*score)),
            None => Err(TransferError::InvalidShare {
                found: format!(
                    "{rejected}, with {images} held-out images of known classes behind it,"
                ),
                expected: format!(
                    "at least {:.3}, or validate on more",
                    1.0 / (images + 1) as f64 + 5e-4
                ),
            }),
        }
    }
}

fn first(features: &[f32], dim: usize) -> &[f32] {
    features.get(..dim).unwrap_or(features)
}

/// Rounds to the next `f32` that isn't smaller, so that an image is not rejected for the rounding of its own score.
fn rounded_up(score: f64) -> f32 {
    let narrow = score as f32;
    match f64::from(narrow) < score {
        true => narrow.next_up(),
        false => narrow,
    }
}
