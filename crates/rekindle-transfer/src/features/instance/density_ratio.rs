//! Importance weights from a classifier that tells the domains apart.

use super::check_domains;
use crate::TransferError;
use crate::features::LogisticRegression;
use crate::features::table::Features;

/// The ratio of densities by a discriminator (Bickel et al. 2007, "Discriminative Learning for Differing
/// Training and Test Distributions"): a logistic regression tells target from source images, and
/// `w(x) = n_s / n_t * P(target | x) / P(source | x)`.
///
/// With a weak penalty and many dimensions the two sets are separable, and the weights of a few images
/// swallow the rest; a penalty of 0.01 to 1 keeps [`effective_sample_size`](super::effective_sample_size)
/// up. It hurts where some target images look like no source image at all: no weight helps there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DensityRatio {
    /// Penalty of the regression; see [`LogisticRegression::l2`].
    pub l2: f64,
    /// Weights are cut off here, in units of their mean.
    pub largest: f64,
}

impl Default for DensityRatio {
    fn default() -> Self {
        Self {
            l2: 0.1,
            largest: 20.0,
        }
    }
}

impl DensityRatio {
    /// Computes a weight for each source image `[n]`, with mean 1.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where the sides' features differ in length,
    /// [`TransferError::Degenerate`] for a side without an image, a cut below 1, or features all zero.
    pub fn weights(&self, source: &Features, target: &Features) -> Result<Vec<f64>, TransferError> {
        check_domains("density ratio", source, target)?;
        if self.largest.is_nan() || self.largest < 1.0 {
            return Err(TransferError::Degenerate {
                method: "density ratio",
                reason: format!("largest weight {}; it is at least 1", self.largest),
            });
        }
        let both = source.stack(target)?;
        let labels: Vec<usize> = (0..both.len())
            .map(|row| usize::from(row >= source.len()))
            .collect();
        let head = LogisticRegression::new(self.l2).fit(&both, &labels, 2)?;
        let odds = |logits: &[f64]| (logits[1] - logits[0]).clamp(-50.0, 50.0).exp();
        let mut weights: Vec<f64> = head.logits(source)?.chunks_exact(2).map(odds).collect();
        for _ in 0..2 {
            // The second pass makes up for what the cut took away.
            let mean = weights.iter().sum::<f64>() / weights.len() as f64;
            let cut = |weight: &mut f64| *weight = (*weight / mean).min(self.largest);
            weights.iter_mut().for_each(cut);
        }
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        weights.iter_mut().for_each(|weight| *weight /= mean);
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::effective_sample_size;

    /// Normal numbers around `mean`, by the inverse of Box and Muller's pairs.
    fn normal(count: usize, mean: f64) -> Features {
        let value = |i: usize| {
            let u = (i as f64 + 0.5) / count as f64;
            let v = (i as f64 * 0.618_033_988_75).fract();
            mean + (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        Features::new((0..count).map(|i| value(i) as f32).collect(), 1).unwrap()
    }

    #[test]
    fn the_ratio_of_two_shifted_normals_is_an_exponential() {
        let (source, target) = (normal(4000, 0.0), normal(4000, 0.5));
        let ratio = DensityRatio {
            l2: 0.0,
            largest: 1e9,
        };
        let weights = ratio.weights(&source, &target).unwrap();
        // log p_t / p_s = 0.5 x - 0.125.
        for (weight, x) in weights.iter().zip(source.values()).step_by(97) {
            let expected = 0.5 * f64::from(*x) - 0.125;
            assert!((weight.ln() - expected).abs() < 0.1, "{x}: {}", weight.ln());
        }
    }

    #[test]
    fn the_same_set_twice_has_equal_weights_and_separate_sets_finite_ones() {
        let source = normal(50, 0.0);
        for weight in DensityRatio::default().weights(&source, &source).unwrap() {
            assert!((weight - 1.0).abs() < 1e-4);
        }
        let far = normal(50, 1000.0);
        let ratio = DensityRatio {
            l2: 1e-6,
            largest: 20.0,
        };
        let weights = ratio.weights(&source, &far).unwrap();
        assert!(weights.iter().all(|w| w.is_finite() && *w >= 0.0));
        assert!(effective_sample_size(&weights) >= 1.0);
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let source = normal(5, 0.0);
        let none = Features::new(Vec::new(), 1).unwrap();
        assert!(DensityRatio::default().weights(&source, &none).is_err());
        assert!(DensityRatio::default().weights(&none, &source).is_err());
        let wide = Features::new(vec![1.0, 2.0], 2).unwrap();
        assert!(DensityRatio::default().weights(&source, &wide).is_err());
        let zeros = Features::new(vec![0.0; 4], 1).unwrap();
        assert!(DensityRatio::default().weights(&zeros, &zeros).is_err());
    }
}
