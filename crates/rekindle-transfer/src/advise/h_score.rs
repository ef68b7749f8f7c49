//! The share of the features' variance that lies between classes.

use crate::TransferError;
use crate::features::Features;
use crate::features::linalg::{centered_matrix, thin_svd};
use crate::features::table::check_labels;

/// H-score (Bao et al. 2019, "An Information-Theoretic Approach to Transferability in Task Transfer Learning"):
/// `tr(C^-1 B)` with the covariance `C` of the features and `B` of their class means. 0 where class means are
/// equal, at most the number of classes minus one; larger is better.
///
/// The covariance is shrunk towards a multiple of the identity, `(1 - a) C + a tr(C) / dim`, with the optimal `a`
/// of Ledoit and Wolf (2004) unless given (Ibrahim et al. 2022, "Newer is not always better"); without it, fewer
/// images than dimensions make every backbone look perfect.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HScore {
    /// `a` in [0, 1]; none for Ledoit and Wolf's. With 0, the pseudo-inverse is taken.
    pub shrinkage: Option<f64>,
}

impl HScore {
    /// Computes the score of `features` `[n, dim]` for `labels` `[n]`, each below `classes`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for a single class, a
    /// class without an image, a shrinkage out of its range, or features that are all alike.
    pub fn score(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<f64, TransferError> {
        check_labels("H-score", labels, features.len(), classes)?;
        let degenerate = |reason: String| {
            Err(TransferError::Degenerate {
                method: "H-score",
                reason,
            })
        };
        if let Some(shrinkage) = self.shrinkage.filter(|a| !(0.0..=1.0).contains(a)) {
            return degenerate(format!(
                "the shrinkage is {shrinkage}, expected a number from 0 to 1"
            ));
        }
        let centered = centered_matrix(features, &features.mean());
        let svd = thin_svd("H-score", centered.as_ref())?;
        if svd.values.is_empty() {
            return degenerate("all features are alike; check the images and weights".into());
        }
        let n = features.len() as f64;
        let variances: Vec<f64> = svd.values.iter().map(|v| v * v / n).collect();
        let mean_variance = variances.iter().sum::<f64>() / features.dim() as f64;
        // Coordinates of the centred rows along the principal directions are left * values.
        let rows: Vec<Vec<f64>> = (0..features.len())
            .map(|i| {
                (0..variances.len())
                    .map(|j| svd.left[(i, j)] * svd.values[j])
                    .collect()
            })
            .collect();
        let shrinkage = match self.shrinkage {
            Some(shrinkage) => shrinkage,
            None => ledoit_wolf(&rows, &variances, mean_variance, features.dim()),
        };
        let mut sums = vec![vec![0.0; variances.len()]; classes];
        let mut counts = vec![0.0; classes];
        for (row, label) in rows.iter().zip(labels) {
            counts[*label] += 1.0;
            let pairs = sums[*label].iter_mut().zip(row);
            pairs.for_each(|(sum, value)| *sum += value);
        }
        let mut score = 0.0;
        for (sum, count) in sums.iter().zip(&counts) {
            for (value, variance) in sum.iter().zip(&variances) {
                let shrunk = (1.0 - shrinkage) * variance + shrinkage * mean_variance;
                score += count / n * (value / count).powi(2) / shrunk;
            }
        }
        Ok((1.0 - shrinkage) * score)
    }
}

/// Computes the optimal shrinkage of rows in principal coordinates.
fn ledoit_wolf(rows: &[Vec<f64>], variances: &[f64], mean_variance: f64, dim: usize) -> f64 {
    let n = rows.len() as f64;
    let squares: f64 = variances.iter().map(|v| v * v).sum();
    let distance = squares - dim as f64 * mean_variance * mean_variance;
    let fourth: f64 = rows
        .iter()
        .map(|row| row.iter().map(|v| v * v).sum::<f64>().powi(2))
        .sum();
    let noise = (fourth / n - squares) / n;
    if distance <= 0.0 {
        1.0
    } else {
        (noise / distance).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example(dim: usize) -> (Features, Vec<usize>) {
        let wave = |i: usize| (i as f32 * 0.77).sin() + (i as f32 * 0.13).cos();
        let labels: Vec<usize> = (0..30).map(|i| i % 3).collect();
        let values = (0..30 * dim).map(|i| {
            wave(i)
                + if i % dim == 0 {
                    (i / dim % 3) as f32
                } else {
                    0.0
                }
        });
        (Features::new(values.collect(), dim).unwrap(), labels)
    }

    #[test]
    fn values_of_numpy_and_scikit_learn() {
        let (features, labels) = example(5);
        let plain = HScore {
            shrinkage: Some(0.0),
        };
        let found = plain.score(&features, &labels, 3).unwrap();
        assert!((found - 1.052870).abs() < 1e-4, "{found}");
        let found = HScore::default().score(&features, &labels, 3).unwrap();
        assert!((found - 0.626809).abs() < 1e-4, "{found}");
    }

    #[test]
    fn between_zero_and_classes_minus_one() {
        let (features, labels) = example(60);
        let found = HScore::default().score(&features, &labels, 3).unwrap();
        assert!(found > 0.0 && found < 2.0, "{found}");
        let values: Vec<f32> = labels.iter().map(|l| *l as f32).collect();
        let perfect = Features::new(values, 1).unwrap();
        let plain = HScore {
            shrinkage: Some(0.0),
        };
        assert!((plain.score(&perfect, &labels, 3).unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let constant = Features::new(vec![1.0; 12], 3).unwrap();
        assert!(
            HScore::default()
                .score(&constant, &[0, 1, 0, 1], 2)
                .is_err()
        );
        let (features, labels) = example(5);
        let wrong = HScore {
            shrinkage: Some(1.5),
        };
        assert!(wrong.score(&features, &labels, 3).is_err());
        assert!(HScore::default().score(&features, &labels, 4).is_err());
    }
}
