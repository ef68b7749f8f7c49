//! Computes the likelihood of labels under a linear model of the features.

use crate::TransferError;
use crate::features::Features;
use crate::features::linalg::{matrix, thin_svd};
use crate::features::table::check_labels;

/// Logarithm of the maximum evidence (You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for
/// Transfer Learning"): for each class the evidence of Bayesian linear regression from the features to its one-hot
/// label, an image, with the prior's and the noise's precision at their maximum (MacKay's fixed point); the mean
/// over the classes. Larger is better; comparable between backbones for one target only.
///
/// Integrating over all heads is what keeps it from rewarding dimensions that only fit noise. It says nothing of
/// how far fine-tuning would get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogMe {
    /// Fixed-point iterations at most.
    pub max_iterations: usize,
}

impl Default for LogMe {
    fn default() -> Self {
        Self {
            max_iterations: 100,
        }
    }
}

impl LogMe {
    /// Computes the score of `features` `[n, dim]` for `labels` `[n]`, each below `classes`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for a single class, a
    /// class without an image, or features that are all zero.
    pub fn score(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<f64, TransferError> {
        check_labels("LogME", labels, features.len(), classes)?;
        let svd = thin_svd("LogME", matrix(features).as_ref())?;
        if svd.values.is_empty() {
            return Err(TransferError::Degenerate {
                method: "LogME",
                reason: "all features are zero; check the images and weights".into(),
            });
        }
        let squares: Vec<f64> = svd.values.iter().map(|value| value * value).collect();
        let mut sum = 0.0;
        for class in 0..classes {
            let mut shares = vec![0.0; squares.len()];
            let mut total = 0.0;
            for (row, label) in labels.iter().enumerate() {
                if *label == class {
                    total += 1.0;
                    for (j, share) in shares.iter_mut().enumerate() {
                        *share += svd.left[(row, j)];
                    }
                }
            }
            shares.iter_mut().for_each(|share| *share *= *share);
            let outside = (total - shares.iter().sum::<f64>()).max(0.0);
            let problem = Evidence {
                squares: &squares,
                shares: &shares,
                outside,
                images: features.len() as f64,
                dim: features.dim() as f64,
            };
            sum += problem.maximum(self.max_iterations);
        }
        Ok(sum / classes as f64)
    }
}

struct Evidence<'a> {
    /// Squared singular values of the features.
    squares: &'a [f64],
    /// Squared coordinates of the labels along the left singular vectors.
    shares: &'a [f64],
    /// Squared length of the labels outside of these.
    outside: f64,
    images: f64,
    dim: f64,
}

impl Evidence<'_> {
    /// Computes the log evidence per image at the fixed point of both precisions.
    fn maximum(&self, iterations: usize) -> f64 {
        // Keeps both precisions finite where the labels are fitted without any error.
        const FLOOR: f64 = 1e-5;
        let (mut alpha, mut beta) = (1.0, 1.0);
        for _ in 0..iterations {
            let ratio: f64 = alpha / beta;
            let (weight, residual) = self.lengths(ratio);
            let effective: f64 = self.squares.iter().map(|s| s / (s + ratio)).sum();
            alpha = effective / (weight + FLOOR);
            beta = (self.images - effective).max(f64::MIN_POSITIVE) / (residual + FLOOR);
            if (alpha / beta - ratio).abs() <= 1e-3 * ratio {
                break;
            }
        }
        let (weight, residual) = self.lengths(alpha / beta);
        let determinant: f64 = self.squares.iter().map(|s| (alpha + beta * s).ln()).sum();
        let rank = self.squares.len() as f64;
        let evidence = self.dim / 2.0 * alpha.ln() + self.images / 2.0 * beta.ln()
            - 0.5 * (determinant + (self.dim - rank) * alpha.ln())
            - beta / 2.0 * residual
            - alpha / 2.0 * weight
            - self.images / 2.0 * std::f64::consts::TAU.ln();
        evidence / self.images
    }

    /// Returns the squared length of the mean weights, and of what they leave of the labels.
    fn lengths(&self, ratio: f64) -> (f64, f64) {
        let pairs = || self.squares.iter().zip(self.shares);
        let weight = pairs().map(|(s, x)| s * x / (ratio + s).powi(2)).sum();
        let residual = pairs().map(|(s, x)| x / (1.0 + s / ratio).powi(2));
        (weight, residual.sum::<f64>() + self.outside)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example(dim: usize) -> (Features, Vec<usize>) {
        let wave = |i: usize| (i as f32 * 0.77).sin() + (i as f32 * 0.13).cos();
        let values = (0..30 * dim).map(wave).collect();
        (
            Features::new(values, dim).unwrap(),
            (0..30).map(|i| i * i % 3 % 2).collect(),
        )
    }

    #[test]
    fn values_of_the_papers_algorithm_in_numpy() {
        for (dim, expected) in [(5, -1.043800), (50, -1.045894)] {
            let (features, labels) = example(dim);
            let found = LogMe::default().score(&features, &labels, 2).unwrap();
            assert!((found - expected).abs() < 2e-3, "{dim}: {found} {expected}");
        }
    }

    #[test]
    fn features_that_tell_the_classes_apart_score_higher() {
        let (features, labels) = example(5);
        let good = features.rows().zip(&labels).flat_map(|(row, label)| {
            row.iter()
                .map(|v| 0.1 * v + *label as f32)
                .collect::<Vec<_>>()
        });
        let good = Features::new(good.collect(), 5).unwrap();
        let score = |features: &Features| LogMe::default().score(features, &labels, 2).unwrap();
        assert!(score(&good) > score(&features) + 0.3);
    }

    #[test]
    fn constant_and_degenerate_input() {
        let constant = Features::new(vec![1.0; 12], 3).unwrap();
        let labels = [0, 1, 0, 1];
        assert!(
            LogMe::default()
                .score(&constant, &labels, 2)
                .unwrap()
                .is_finite()
        );
        let zeros = Features::new(vec![0.0; 12], 3).unwrap();
        assert!(LogMe::default().score(&zeros, &labels, 2).is_err());
        assert!(LogMe::default().score(&constant, &[0; 4], 1).is_err());
        let perfect = Features::new(vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0], 2).unwrap();
        assert!(
            LogMe::default()
                .score(&perfect, &labels, 2)
                .unwrap()
                .is_finite()
        );
    }
}
