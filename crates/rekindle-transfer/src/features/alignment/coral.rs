//! Recolours the source with the target's covariance.

use faer::Mat;

use crate::TransferError;
use crate::error::degenerate;
use crate::features::linalg::{ThinSvd, centered_matrix, features, matrix, thin_svd};
use crate::features::table::{Features, check_dim};

const METHOD: &str = "CORAL";

/// Correlation alignment (Sun et al. 2016, "Return of Frustratingly Easy Domain Adaptation"): source features
/// are whitened by their own covariance and coloured by the target's,
/// `x -> x (C_s + r I)^-1/2 (C_t + r I)^1/2`. A classifier of mapped source features is then applied to target
/// features as they are.
///
/// Covariances are of few images in many dimensions, and the regularisation `r` decides how much they count;
/// the paper's 1 leaves features of length 1 nearly alone, 0 needs more images than dimensions. It hurts where
/// the sets are small, and it leaves the means alone: take them off first
/// ([`DomainStatistics::centering`](crate::features::DomainStatistics::centering)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coral {
    /// Added to the variances, in units of squared features; at least 0.
    pub regularization: f64,
}

impl Default for Coral {
    fn default() -> Self {
        Self {
            regularization: 1.0,
        }
    }
}

/// The linear map of [`Coral`].
#[derive(Clone, Debug)]
pub struct CoralMap {
    source: Power,
    target: Power,
    dim: usize,
}

impl Coral {
    /// Computes the map from `source` `[n_s, dim]` to `target` `[n_t, dim]`; it is kept in factors of the sets' ranks.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where the sides' features differ in length,
    /// [`TransferError::Degenerate`] for fewer than two images on a side, a regularisation below 0, or one of
    /// 0 where the source's covariance is singular.
    pub fn fit(&self, source: &Features, target: &Features) -> Result<CoralMap, TransferError> {
        check_dim("target features", target.dim(), source.dim())?;
        if !(self.regularization.is_finite() && self.regularization >= 0.0) {
            return degenerate(
                METHOD,
                format!("regularisation {}; it is at least 0", self.regularization),
            );
        }
        if source.len() < 2 || target.len() < 2 {
            return degenerate(
                METHOD,
                format!(
                    "{} source and {} target images; a covariance needs two",
                    source.len(),
                    target.len()
                ),
            );
        }
        let whiten = Power::new(source, self.regularization, -0.5)?;
        if !whiten.outside.is_finite() && whiten.factors.len() < source.dim() {
            return degenerate(
                METHOD,
                "the source's covariance is singular; give a regularisation above 0".into(),
            );
        }
        Ok(CoralMap {
            source: whiten,
            target: Power::new(target, self.regularization, 0.5)?,
            dim: source.dim(),
        })
    }
}

impl CoralMap {
    /// Maps source features `[n, dim]` onto the target.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform(&self, source: &Features) -> Result<Features, TransferError> {
        check_dim("source features", source.dim(), self.dim)?;
        let white = self.source.apply(&matrix(source));
        features(self.target.apply(&white).as_ref())
    }
}

/// `(C + r I)^p` of a covariance of low rank: `outside` on what the images don't span, `factors` on the
/// directions that they do.
#[derive(Clone, Debug)]
struct Power {
    /// `[dim, rank]`.
    directions: Mat<f64>,
    factors: Vec<f64>,
    outside: f64,
}

impl Power {
    fn new(domain: &Features, regularization: f64, power: f64) -> Result<Self, TransferError> {
        let centered = centered_matrix(domain, &domain.mean());
        let ThinSvd { values, right, .. } = thin_svd(METHOD, centered.as_ref())?;
        let variances = values.iter().map(|v| v * v / (domain.len() - 1) as f64);
        Ok(Self {
            factors: variances
                .map(|v| (v + regularization).powf(power))
                .collect(),
            outside: regularization.powf(power),
            directions: right,
        })
    }

    fn apply(&self, rows: &Mat<f64>) -> Mat<f64> {
        // With a full rank nothing lies outside, whatever its factor.
        let outside = if self.outside.is_finite() {
            self.outside
        } else {
            0.0
        };
        let inner = rows * &self.directions;
        let scaled = Mat::from_fn(inner.nrows(), inner.ncols(), |i, j| {
            inner[(i, j)] * (self.factors[j] - outside)
        });
        let inside = &scaled * self.directions.transpose();
        Mat::from_fn(rows.nrows(), rows.ncols(), |i, j| {
            outside * rows[(i, j)] + inside[(i, j)]
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cloud(count: usize, dim: usize, phase: usize) -> Features {
        let value = |i: usize, j: usize| {
            let noise = ((i * 131 + j * 71 + phase * 17) as f32 * 1.7).sin();
            noise * (1.0 + (j + phase) as f32) + ((i * 13 + phase) as f32).cos()
        };
        let values = (0..count).flat_map(|i| (0..dim).map(move |j| value(i, j)));
        Features::new(values.collect(), dim).unwrap()
    }

    fn covariance(features: &Features) -> Mat<f64> {
        let centered = centered_matrix(features, &features.mean());
        let product = centered.transpose() * &centered;
        let scale = (features.len() - 1) as f64;
        Mat::from_fn(features.dim(), features.dim(), |i, j| {
            product[(i, j)] / scale
        })
    }

    #[test]
    fn without_regularisation_the_mapped_source_has_the_targets_covariance() {
        let (source, target) = (cloud(40, 4, 1), cloud(50, 4, 9));
        let coral = Coral {
            regularization: 0.0,
        };
        let mapped = coral
            .fit(&source, &target)
            .unwrap()
            .transform(&source)
            .unwrap();
        let (found, expected) = (covariance(&mapped), covariance(&target));
        for i in 0..4 {
            for j in 0..4 {
                let difference = (found[(i, j)] - expected[(i, j)]).abs();
                assert!(difference < 1e-4 * expected[(i, i)], "{difference}");
            }
        }
    }

    #[test]
    fn the_map_of_numpy_with_fewer_images_than_dimensions() {
        let source = Features::new(vec![1.0, 0.0, 2.0, 0.5, 1.0, 0.0], 3).unwrap();
        let target = Features::new(vec![0.0, 1.0, 1.0, 2.0, 0.0, 1.0, 1.0, 1.0, 0.0], 3).unwrap();
        let coral = Coral {
            regularization: 0.1,
        };
        let found = coral
            .fit(&source, &target)
            .unwrap()
            .transform(&source)
            .unwrap();
        let expected = [
            1.2893151, 0.2519306, 0.8603517, 0.8258292, 0.8642643, 0.0033877,
        ];
        for (found, expected) in found.values().iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn the_same_domain_and_an_endless_regularisation_change_nothing() {
        let (source, target) = (cloud(6, 10, 1), cloud(7, 10, 9));
        let same = Coral::default().fit(&source, &source).unwrap();
        let flat = Coral {
            regularization: 1e9,
        };
        let flat = flat.fit(&source, &target).unwrap();
        for map in [same, flat] {
            let mapped = map.transform(&source).unwrap();
            for (found, expected) in mapped.values().iter().zip(source.values()) {
                assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()));
            }
        }
    }

    #[test]
    fn singular_constant_and_small_input() {
        let (source, target) = (cloud(3, 5, 1), cloud(3, 5, 9));
        let bare = Coral {
            regularization: 0.0,
        };
        assert!(
            bare.fit(&source, &target)
                .unwrap_err()
                .to_string()
                .contains("singular")
        );
        let constant = Features::new(vec![2.0; 10], 5).unwrap();
        let mapped = Coral::default().fit(&constant, &target).unwrap();
        assert!(mapped.transform(&source).is_ok());
        assert!(Coral::default().fit(&source.select(&[0]), &target).is_err());
        assert!(Coral::default().fit(&source, &cloud(3, 4, 0)).is_err());
    }
}
