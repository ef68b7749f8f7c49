use serde::{Deserialize, Serialize};

use super::{Calibration, check_probabilities};
use crate::error::TrainerError;

/// Temperature scaling (Guo et al. 2017, <https://arxiv.org/abs/1706.04599>): logits divided by one number, so
/// that confidence agrees with accuracy. The predicted class never changes.
///
/// [`value`](Self::value) is fitted on all samples. The figures beside it are cross-fitted, each fifth of the
/// samples scaled by the temperature of the other four fifths, so that they say what to expect of new images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// Number that logits are divided by: above 1 where the classifier is overconfident. Lies in
    /// [[`LOWEST`](Self::LOWEST), [`HIGHEST`](Self::HIGHEST)].
    pub value: f64,
    /// Mean cross entropy as it was, in nats.
    pub cross_entropy_before: f64,
    /// Mean cross entropy after scaling, in nats.
    pub cross_entropy_after: f64,
    /// The reliability diagram after scaling.
    pub calibration: Calibration,
}

/// Parts of the samples that are held out in turn.
const FOLDS: usize = 5;

/// Relative precision of 1 / T, far beyond that of what it is fitted to.
const PRECISION: f64 = 1e-7;

/// Steps at most; Newton's method takes about six, and the bounds take as many halvings as they need.
const STEPS: usize = 60;

impl Temperature {
    /// Returns the temperature to use on new images: [`value`](Self::value) where the samples determine it and
    /// cross-fitting shows that it lowers the cross entropy of images that it was not fitted on, else 1, which
    /// changes nothing. Where every answer is right the samples determine none: ever smaller values would fit them
    /// ever better.
    pub fn to_keep(&self) -> f64 {
        let is_determined = self.value > 1.001 * Self::LOWEST && self.value < 0.999 * Self::HIGHEST;
        match is_determined && self.cross_entropy_after < self.cross_entropy_before {
            true => self.value,
            false => 1.0,
        }
    }

    /// Smallest temperature: where every answer is right, ever smaller ones would fit ever better.
    pub const LOWEST: f64 = 0.05;
    /// Largest temperature: where answers are no better than chance, ever larger ones would fit.
    pub const HIGHEST: f64 = 20.0;

    /// Fits the temperature of the classifier that gave `probabilities`, row-major `[samples, classes]`.
    ///
    /// Logits are not needed: they differ from the logarithms of probabilities by a constant per row.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`], as
    /// [`Evaluation::from_probabilities`](super::Evaluation::from_probabilities).
    pub fn fit(
        probabilities: &[f32],
        labels: &[usize],
        classes: usize,
    ) -> Result<Self, TrainerError> {
        check_probabilities(probabilities, labels, classes)?;
        let logits: Vec<f64> = probabilities
            .iter()
            .map(|p| f64::from(p.max(f32::MIN_POSITIVE)).ln())
            .collect();
        let all = Samples {
            logits: &logits,
            labels,
            classes,
        };
        let whole = all.inverse_temperature(1.0, |_| true);
        let mut scaled = vec![0.0; logits.len()];
        for fold in 0..FOLDS {
            // Samples come class by class, so every fifth one of them is a fair share of each class.
            let inverse = all.inverse_temperature(whole, |sample| sample % FOLDS != fold);
            for sample in (fold..labels.len()).step_by(FOLDS) {
                let row = softmax(all.row(sample), inverse);
                scaled[sample * classes..(sample + 1) * classes].copy_from_slice(&row);
            }
        }
        let narrow: Vec<f32> = scaled.iter().map(|p| *p as f32).collect();
        let bins = Calibration::BINS;
        Ok(Self {
            value: 1.0 / whole,
            cross_entropy_before: all.cross_entropy(|sample| softmax(all.row(sample), 1.0)),
            cross_entropy_after: all
                .cross_entropy(|sample| scaled[sample * classes..(sample + 1) * classes].to_vec()),
            calibration: Calibration::from_probabilities(&narrow, labels, classes, bins)?,
        })
    }
}

struct Samples<'a> {
    logits: &'a [f64],
    labels: &'a [usize],
    classes: usize,
}

impl Samples<'_> {
    fn row(&self, sample: usize) -> &[f64] {
        &self.logits[sample * self.classes..(sample + 1) * self.classes]
    }

    /// Finds the minimum of the cross entropy of the chosen samples. It is convex in 1 / T: Newton's method
    /// from `start`, with bisection where a step leaves the interval that the signs of the slopes allow, or
    /// is slow.
    fn inverse_temperature(&self, start: f64, is_chosen: impl Fn(usize) -> bool) -> f64 {
        let (mut low, mut high) = (1.0 / Temperature::HIGHEST, 1.0 / Temperature::LOWEST);
        // Where every answer is right, ever larger inverses would fit ever better.
        if self.derivatives(high, &is_chosen).0 <= 0.0 {
            return high;
        }
        if self.derivatives(low, &is_chosen).0 >= 0.0 {
            return low;
        }
        let mut inverse = start.clamp(low, high);
        let mut before = f64::INFINITY;
        for _ in 0..STEPS {
            let (slope, curvature) = self.derivatives(inverse, &is_chosen);
            if slope > 0.0 {
                high = inverse;
            } else {
                low = inverse;
            }
            let newton = inverse - slope / curvature;
            let is_fast = slope.abs() <= 0.25 * before;
            let is_there = (newton / inverse - 1.0).abs() < PRECISION;
            inverse = if is_there || (is_fast && newton > low && newton < high) {
                newton
            } else {
                (low * high).sqrt()
            };
            before = slope.abs();
            if is_there || high / low - 1.0 < PRECISION {
                break;
            }
        }
        inverse
    }

    /// Computes the first and second derivative, by 1 / T, of the cross entropy summed over the chosen samples: what
    /// the probabilities expect of the logits less the true class's, and their variance.
    fn derivatives(&self, inverse: f64, is_chosen: impl Fn(usize) -> bool) -> (f64, f64) {
        let (mut slope, mut curvature) = (0.0, 0.0);
        for sample in (0..self.labels.len()).filter(|sample| is_chosen(*sample)) {
            let row = self.row(sample);
            let (mut mean, mut square) = (0.0, 0.0);
            for (probability, logit) in softmax(row, inverse).iter().zip(row) {
                mean += probability * logit;
                square += probability * logit * logit;
            }
            slope += mean - row[self.labels[sample]];
            curvature += (square - mean * mean).max(0.0);
        }
        (slope, curvature)
    }

    fn cross_entropy(&self, probabilities: impl Fn(usize) -> Vec<f64>) -> f64 {
        let samples = self.labels.len();
        let nats = (0..samples).map(|sample| {
            let probability = probabilities(sample)[self.labels[sample]];
            -probability.max(f64::MIN_POSITIVE).ln()
        });
        nats.sum::<f64>() / samples as f64
    }
}

/// Computes the softmax of `inverse` times the logits.
fn softmax(logits: &[f64], inverse: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut row: Vec<f64> = logits
        .iter()
        .map(|logit| (inverse * (logit - largest)).exp())
        .collect();
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
    row
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Answers of a classifier whose true probabilities are softmax(z), but which says softmax(z / truth).
    fn answers(truth: f64) -> (Vec<f32>, Vec<usize>, usize) {
        let classes = 3;
        let (mut said, mut labels) = (Vec::new(), Vec::new());
        let mut state = 12345u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f64 / (1u64 << 24) as f64
        };
        for _ in 0..6000 {
            let z: Vec<f64> = (0..classes).map(|_| 4.0 * draw()).collect();
            let honest = softmax(&z, 1.0);
            let mut at = draw();
            let label = honest.iter().position(|p| {
                at -= p;
                at < 0.0
            });
            labels.push(label.unwrap_or(classes - 1));
            said.extend(softmax(&z, 1.0 / truth).iter().map(|p| *p as f32));
        }
        (said, labels, classes)
    }

    #[test]
    fn it_undoes_a_known_temperature() {
        // Said too boldly by a factor of two: the logits are to be halved.
        for factor in [0.5, 1.0, 3.0] {
            let (said, labels, classes) = answers(factor);
            let found = Temperature::fit(&said, &labels, classes).unwrap();
            let expected = 1.0 / factor;
            assert!((found.value / expected - 1.0).abs() < 0.06, "{found:?}");
            assert!(found.calibration.ece < 0.02, "{}", found.calibration.ece);
            assert!(found.cross_entropy_after <= found.cross_entropy_before + 1e-3);
        }
    }

    #[test]
    fn no_temperature_on_a_fine_grid_is_better() {
        let (said, labels, classes) = answers(0.6);
        let found = Temperature::fit(&said, &labels, classes).unwrap();
        let cross_entropy = |temperature: f64| -> f64 {
            let rows = said.chunks_exact(classes).zip(&labels);
            rows.map(|(row, label)| {
                let powers: Vec<f64> = row
                    .iter()
                    .map(|p| f64::from(*p).powf(1.0 / temperature))
                    .collect();
                -(powers[*label] / powers.iter().sum::<f64>()).ln()
            })
            .sum()
        };
        let best = (0..4000)
            .map(|step| 0.05 * 400f64.powf(f64::from(step) / 3999.0))
            .min_by(|a, b| cross_entropy(*a).total_cmp(&cross_entropy(*b)))
            .unwrap();
        assert!(
            (found.value / best - 1.0).abs() < 2e-3,
            "{} {best}",
            found.value
        );
    }

    #[test]
    fn answers_that_are_all_right_or_all_alike_have_a_bounded_temperature() {
        let right = Temperature::fit(&[0.9, 0.1, 0.2, 0.8], &[0, 1], 2).unwrap();
        assert!((right.value / Temperature::LOWEST - 1.0).abs() < 1e-3);
        let wrong = Temperature::fit(&[0.1, 0.9, 0.8, 0.2], &[0, 1], 2).unwrap();
        assert!((wrong.value / Temperature::HIGHEST - 1.0).abs() < 1e-3);
        let sure = Temperature::fit(&[1.0, 0.0, 1.0, 0.0], &[0, 1], 2).unwrap();
        assert!(sure.value.is_finite() && sure.cross_entropy_after.is_finite());
    }
}
