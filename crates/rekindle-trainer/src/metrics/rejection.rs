//! What a threshold for unknown classes is worth.

use rekindle_transfer::features::{UnknownDetector, UnknownScore, auroc, false_positive_rate};
use serde::{Deserialize, Serialize};

use crate::TrainerError;

/// Share of known images that are kept for [`UnknownRates::false_positive_rate`].
const KEPT: f64 = 0.95;

/// How a detector of unknown classes does on images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RejectionRates {
    /// The score that the detector uses.
    pub score: UnknownScore,
    /// The share of images of known classes that may be rejected.
    pub asked: f64,
    /// The score above which an image is unknown.
    pub threshold: f64,
    /// The share of images of known classes that is rejected, 0 to 1.
    pub known_rejected: f64,
    /// The same of unknown classes, where there are images of some.
    pub unknown: Option<UnknownRates>,
}

/// How a detector does on images of unknown classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UnknownRates {
    /// Images of unknown classes.
    pub images: usize,
    /// The share of them that is rejected, 0 to 1.
    pub rejected: f64,
    /// The probability that one of them has a higher score than one of a known class: area under the ROC curve, 0.5 for
    /// chance to 1.
    pub auroc: f64,
    /// The share of them that passes where 95 % of the images of known classes do (FPR95), 0 to 1.
    pub false_positive_rate: f64,
}

impl RejectionRates {
    /// Measures by the scores of images of known classes, and of unknown ones where there are some.
    ///
    /// # Errors
    ///
    /// Those of [`UnknownDetector::threshold`], and [`TrainerError::InvalidPredictions`] without images.
    pub fn measure(
        detector: &UnknownDetector,
        asked: f64,
        known: &[f64],
        unknown: Option<&[f64]>,
    ) -> Result<Self, TrainerError> {
        let threshold = detector.threshold(asked)?;
        if known.is_empty() || unknown.is_some_and(<[f64]>::is_empty) {
            return Err(TrainerError::InvalidPredictions {
                found: "no image to reject or to keep".into(),
                expected: "at least one of a known class, and one of an unknown class".into(),
            });
        }
        let rejected = |scores: &[f64]| {
            let above = scores
                .iter()
                .filter(|score| **score > threshold || score.is_nan());
            above.count() as f64 / scores.len() as f64
        };
        let rates = |unknown: &[f64]| {
            Some(UnknownRates {
                images: unknown.len(),
                rejected: rejected(unknown),
                auroc: auroc(unknown, known)?,
                false_positive_rate: false_positive_rate(unknown, known, KEPT)?,
            })
        };
        Ok(Self {
            score: detector.score_name(),
            asked,
            threshold,
            known_rejected: rejected(known),
            unknown: unknown.and_then(rates),
        })
    }
}
