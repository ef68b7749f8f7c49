//! Directions of largest variance.

use faer::Mat;

use crate::TransferError;
use crate::features::linalg::{centered_matrix, features, thin_svd};
use crate::features::table::{Features, check_dim};

/// Principal component analysis (Pearson 1901): the first right singular vectors of the centred features.
///
/// Components that hold 90 % or more of the variance make clustering and densities work in few dimensions. It
/// hurts where what tells classes apart varies less than what doesn't, such as the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pca {
    /// Number of components; fewer where the images span fewer.
    pub components: usize,
}

/// Result of [`Pca`].
#[derive(Clone, Debug)]
pub struct PrincipalComponents {
    mean: Vec<f64>,
    /// `[dim, components]`.
    directions: Mat<f64>,
    /// Variance along each component, falling.
    pub variances: Vec<f64>,
    /// Sum of the variances of all components, kept or not.
    pub total_variance: f64,
}

impl Pca {
    /// Components of `features` `[n, dim]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] for no component, or images that are all alike.
    pub fn fit(&self, features: &Features) -> Result<PrincipalComponents, TransferError> {
        let mean = features.mean();
        let svd = thin_svd("PCA", centered_matrix(features, &mean).as_ref())?;
        let count = self.components.min(svd.values.len());
        if count == 0 {
            return Err(TransferError::Degenerate {
                method: "PCA",
                reason: format!(
                    "{} components of {} images that span {}; at least one is needed",
                    self.components,
                    features.len(),
                    svd.values.len()
                ),
            });
        }
        let variance = |value: &f64| value * value / (features.len() - 1) as f64;
        let variances: Vec<f64> = svd.values.iter().map(variance).collect();
        Ok(PrincipalComponents {
            total_variance: variances.iter().sum(),
            variances: variances[..count].to_vec(),
            directions: svd.right.subcols(0, count).to_owned(),
            mean,
        })
    }
}

impl PrincipalComponents {
    /// Features `[n, dim]` along the components, `[n, components]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform(&self, others: &Features) -> Result<Features, TransferError> {
        check_dim("features", others.dim(), self.mean.len())?;
        features((centered_matrix(others, &self.mean) * &self.directions).as_ref())
    }

    /// Returns the share of the variance that the components hold, in [0, 1].
    pub fn explained(&self) -> f64 {
        self.variances.iter().sum::<f64>() / self.total_variance
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cloud() -> Features {
        let value = |i: usize, j: usize| ((i * 91 + j * 37) as f32 * 0.61).sin() / (1 + j) as f32;
        let values = (0..30).flat_map(|i| (0..4).map(move |j| 2.0 + value(i, j)));
        Features::new(values.collect(), 4).unwrap()
    }

    #[test]
    fn components_are_uncorrelated_and_carry_their_variances() {
        let cloud = cloud();
        let found = Pca { components: 3 }.fit(&cloud).unwrap();
        let scores = found.transform(&cloud).unwrap();
        for a in 0..3 {
            for b in 0..3 {
                let sum: f64 = scores.rows().map(|row| f64::from(row[a] * row[b])).sum();
                let expected = if a == b { found.variances[a] } else { 0.0 };
                assert!((sum / 29.0 - expected).abs() < 1e-6, "{a} {b}");
            }
        }
        let mean = cloud.mean();
        let squares = cloud.rows().flat_map(|row| row.iter().zip(&mean));
        let total: f64 = squares.map(|(x, m)| (f64::from(*x) - m).powi(2)).sum();
        assert!((found.total_variance - total / 29.0).abs() < 1e-6);
        assert!(found.explained() > 0.9 && found.explained() < 1.0);
        let all = Pca { components: 99 }.fit(&cloud).unwrap();
        assert!((all.explained() - 1.0).abs() < 1e-12 && all.variances.len() == 4);
    }

    #[test]
    fn degenerate_input_is_an_error() {
        assert!(Pca { components: 0 }.fit(&cloud()).is_err());
        assert!(Pca { components: 2 }.fit(&cloud().select(&[3])).is_err());
        assert!(
            Pca { components: 2 }
                .fit(&cloud().select(&[3, 3, 3]))
                .is_err()
        );
    }
}
