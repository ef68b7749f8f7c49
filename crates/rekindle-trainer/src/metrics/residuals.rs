//! Intervals that hold the true number as often as is asked for.

use rekindle_imagefolder::Task;
use serde::{Deserialize, Serialize};

use super::conformal::place;
use super::regression::check;
use crate::{Predictions, TrainerError};

/// Residuals that are kept at most; of more images an even selection is taken.
const MOST: usize = 10_000;

/// How far a model's numbers were off on images that it had not learned from, so that intervals can be made for new ones:
/// split conformal prediction with absolute residuals (Lei et al. 2018, <https://arxiv.org/abs/1604.04173>).
///
/// An interval holds the true number of at least the asked share of new images, whatever the model, as long as these come
/// from where the images came from. All intervals are of one width.
///
/// ```
/// use rekindle_trainer::metrics::ConformalResiduals;
///
/// // Errors of nine images.
/// let residuals = ConformalResiduals::of([0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7, -0.8, 2.0])?;
/// // Of ten places among ten images, the interval must take in eight.
/// assert!((residuals.half_width(0.8)? - 0.8).abs() < 1e-6);
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConformalResiduals {
    /// Absolute errors, in ascending order.
    sorted: Vec<f32>,
}

/// What intervals are worth on images with known numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IntervalCoverage {
    /// The share that was asked for.
    pub asked: f64,
    /// The share of images whose interval holds their number.
    pub covered: f64,
    /// Distance from the answer to either end.
    pub half_width: f64,
}

impl ConformalResiduals {
    /// Takes the error of each image, whatever its sign.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] for one that is not finite.
    pub fn of(errors: impl IntoIterator<Item = f64>) -> Result<Self, TrainerError> {
        let all: Vec<f64> = errors.into_iter().map(f64::abs).collect();
        let stride = all.len().div_ceil(MOST).max(1);
        let kept = all.iter().step_by(stride).map(|error| {
            let rounded = *error as f32;
            // Rounded up: a promise is rather kept too well.
            match f64::from(rounded) < *error {
                true => rounded.next_up(),
                false => rounded,
            }
        });
        Self::from_kept(kept.collect())
    }

    /// Takes the answers to images with known numbers; none for another task or without an image.
    pub fn of_predictions(found: &Predictions) -> Option<Self> {
        if found.task != Task::Regression || found.targets.is_empty() {
            return None;
        }
        let pairs = found.probabilities.iter().zip(&found.targets);
        Self::of(pairs.map(|(answer, truth)| f64::from(*answer) - f64::from(*truth))).ok()
    }

    /// Restores residuals that a file holds.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] for one that is negative or not finite.
    pub fn from_kept(mut sorted: Vec<f32>) -> Result<Self, TrainerError> {
        if let Some(found) = sorted.iter().find(|r| !r.is_finite() || **r < 0.0) {
            return Err(TrainerError::InvalidPredictions {
                found: format!("an absolute residual of {found}"),
                expected: "finite numbers of at least 0".into(),
            });
        }
        sorted.sort_by(f32::total_cmp);
        Ok(Self { sorted })
    }

    /// Returns the residuals for a file, in ascending order.
    pub fn kept(&self) -> &[f32] {
        &self.sorted
    }

    /// Returns the distance from an answer to either end of its interval.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidCoverage`] for one that isn't between 0 and 1, or that is too much for so few images:
    /// `n` of them promise at most `n / (n + 1)`.
    pub fn half_width(&self, coverage: f64) -> Result<f64, TrainerError> {
        let place = place(self.sorted.len(), coverage)?;
        Ok(f64::from(self.sorted[place]))
    }

    /// Returns the share of images whose interval holds their number.
    ///
    /// # Errors
    ///
    /// As [`half_width`](Self::half_width), and for answers without numbers.
    pub fn measure(
        &self,
        found: &Predictions,
        coverage: f64,
    ) -> Result<IntervalCoverage, TrainerError> {
        check(&found.probabilities, &found.targets)?;
        let half_width = self.half_width(coverage)?;
        let pairs = found.probabilities.iter().zip(&found.targets);
        let held = pairs.filter(|(answer, truth)| {
            (f64::from(**answer) - f64::from(**truth)).abs() <= half_width
        });
        Ok(IntervalCoverage {
            asked: coverage,
            covered: held.count() as f64 / found.targets.len() as f64,
            half_width,
        })
    }
}
