//! Computes metrics of predictions: accuracy, per-class scores, calibration, errors of numbers.

mod calibration;
mod conformal;
mod confusion;
mod multi_label;
mod ordinal;
mod ranking;
mod regression;
mod rejection;
mod residuals;
mod temperature;
mod thresholds;

pub use calibration::{Calibration, ReliabilityBin};
pub use conformal::{ConformalScores, Coverage};
pub use confusion::{ClassScores, ConfusionMatrix};
pub use multi_label::{
    LabelScores, MultiLabelEvaluation, THRESHOLD, average_precision, best_threshold,
};
pub use ordinal::OrdinalEvaluation;
pub use ranking::{ClassCurves, RankingCurves};
pub use regression::RegressionEvaluation;
pub use rejection::{RejectionRates, UnknownRates};
pub use residuals::{ConformalResiduals, IntervalCoverage};
pub use temperature::Temperature;
pub use thresholds::LabelThresholds;

use serde::{Deserialize, Serialize};

use crate::error::TrainerError;

/// Everything that one pass over a labelled set says about a classifier.
///
/// ```
/// use rekindle_trainer::Evaluation;
///
/// // Three pictures, two classes; the last one is taken for class 1 but is of class 0.
/// let probabilities = [0.9, 0.1, 0.2, 0.8, 0.4, 0.6];
/// let evaluation = Evaluation::from_probabilities(&probabilities, &[0, 1, 0], 2)?;
/// assert!((evaluation.accuracy - 2.0 / 3.0).abs() < 1e-12);
/// assert_eq!(evaluation.confusion.count(0, 1), 1);
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Samples looked at.
    pub samples: usize,
    /// Share of right answers, 0 to 1.
    pub accuracy: f64,
    /// Mean over the classes that have samples of each one's recall: accuracy as if all classes
    /// were equally frequent.
    pub balanced_accuracy: f64,
    /// Mean of every class's F1.
    pub macro_f1: f64,
    /// Mean of -ln of the true class's probability (cross-entropy), in nats.
    pub cross_entropy: f64,
    /// Mean squared distance to the one-hot truth, summed over classes, 0 to 2 (Brier, 1950).
    pub brier: f64,
    /// Number of times each class was taken for each other.
    pub confusion: ConfusionMatrix,
    /// Precision, recall and F1, in the order of the classes.
    pub classes: Vec<ClassScores>,
    /// Calibration of the confidence.
    pub calibration: Calibration,
    /// Each class against the others over all thresholds; empty in what earlier versions wrote.
    #[serde(default)]
    pub ranking: RankingCurves,
}

impl Evaluation {
    /// Evaluates `probabilities`, row-major `[samples, classes]`, against the true class of each
    /// row. The predicted class is the first one with the largest probability. Calibration uses
    /// [`Calibration::BINS`] bins.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] where lengths disagree, there are no samples, a label
    /// is no class, or a row isn't made of probabilities (each within 0 to 1, sum 1 within 0.01).
    pub fn from_probabilities(
        probabilities: &[f32],
        labels: &[usize],
        classes: usize,
    ) -> Result<Self, TrainerError> {
        check_probabilities(probabilities, labels, classes)?;
        let predicted: Vec<usize> = probabilities.chunks_exact(classes).map(argmax).collect();
        let confusion = ConfusionMatrix::from_labels(labels, &predicted, classes)?;
        let scores = confusion.class_scores();
        let samples = labels.len() as f64;
        let rows = || probabilities.chunks_exact(classes).zip(labels);
        Ok(Self {
            samples: labels.len(),
            accuracy: confusion.accuracy(),
            balanced_accuracy: confusion.balanced_accuracy(),
            macro_f1: confusion.macro_f1(),
            cross_entropy: rows().map(|(row, &y)| nats(row[y])).sum::<f64>() / samples,
            brier: rows()
                .map(|(row, &y)| squared_distance(row, y))
                .sum::<f64>()
                / samples,
            calibration: Calibration::from_probabilities(
                probabilities,
                labels,
                classes,
                Calibration::BINS,
            )?,
            ranking: RankingCurves::of(probabilities, labels, classes),
            confusion,
            classes: scores,
        })
    }
}

/// Returns the share of rows whose true class is among the `k` most probable ones. Of equal probabilities the lower
/// class index comes first.
///
/// # Errors
///
/// [`TrainerError::InvalidPredictions`] where lengths disagree, there are no samples, or a label is
/// no class. Any scores will do, logits as well as probabilities.
pub fn top_k_accuracy(
    scores: &[f32],
    labels: &[usize],
    classes: usize,
    k: usize,
) -> Result<f64, TrainerError> {
    check_shape(scores, labels, classes)?;
    let hits = scores
        .chunks_exact(classes)
        .zip(labels)
        .filter(|&(row, &label)| {
            let better = |(class, &score): (usize, &f32)| {
                score > row[label] || (score == row[label] && class < label)
            };
            let ahead = row
                .iter()
                .enumerate()
                .filter(|&entry| better(entry))
                .count();
            ahead < k && !row[label].is_nan()
        })
        .count();
    Ok(hits as f64 / labels.len() as f64)
}

/// Returns the index of the largest value, the first of equal ones; 0 for an empty row.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, &value) in row.iter().enumerate() {
        if value > row[best] {
            best = index;
        }
    }
    best
}

/// The information in nats; one hopeless answer doesn't make a mean of these infinite.
fn nats(probability: f32) -> f64 {
    // From zero, so that certainty isn't a negative zero.
    0.0 - f64::from(probability.max(f32::MIN_POSITIVE)).ln()
}

fn squared_distance(row: &[f32], label: usize) -> f64 {
    row.iter()
        .enumerate()
        .map(|(class, &p)| {
            let truth = if class == label { 1.0 } else { 0.0 };
            (f64::from(p) - truth).powi(2)
        })
        .sum()
}

fn check_probabilities(
    probabilities: &[f32],
    labels: &[usize],
    classes: usize,
) -> Result<(), TrainerError> {
    check_shape(probabilities, labels, classes)?;
    for (index, row) in probabilities.chunks_exact(classes).enumerate() {
        let sum: f64 = row.iter().copied().map(f64::from).sum();
        let within = row.iter().all(|p| (-1e-6..=1.0 + 1e-6).contains(p));
        if !within || (sum - 1.0).abs() > 0.01 {
            let shown: Vec<f32> = row.iter().copied().take(5).collect();
            return Err(TrainerError::InvalidPredictions {
                found: format!("row {index} begins {shown:?} and sums to {sum:.4}"),
                expected: "probabilities between 0 and 1 that sum to 1 (apply softmax to logits; \
                           NaN means that training diverged)"
                    .into(),
            });
        }
    }
    Ok(())
}

fn check_shape(scores: &[f32], labels: &[usize], classes: usize) -> Result<(), TrainerError> {
    let invalid =
        |found: String, expected: String| Err(TrainerError::InvalidPredictions { found, expected });
    if labels.is_empty() || classes == 0 {
        return invalid(
            format!("{} samples and {classes} classes", labels.len()),
            "at least one of each".into(),
        );
    }
    if labels.len().checked_mul(classes) != Some(scores.len()) {
        return invalid(
            format!("{} scores for {} labels", scores.len(), labels.len()),
            format!("{classes} scores a label, one for each class"),
        );
    }
    check_labels(labels, classes)
}

fn check_labels(labels: &[usize], classes: usize) -> Result<(), TrainerError> {
    match labels
        .iter()
        .enumerate()
        .find(|&(_, &label)| label >= classes)
    {
        None => Ok(()),
        Some((index, label)) => Err(TrainerError::InvalidPredictions {
            found: format!("class {label} at sample {index}"),
            expected: format!("a class from 0 to {}", classes.saturating_sub(1)),
        }),
    }
}
