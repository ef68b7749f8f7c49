//! Directions in two spaces along which paired images vary together.

use faer::{Mat, Side};

use crate::TransferError;
use crate::error::degenerate;
use crate::features::linalg::{centered_matrix, features, thin_svd};
use crate::features::table::{Features, check_dim};

const METHOD: &str = "CCA";
/// A pivot of the covariance that counts as zero, relative to its trace.
const SINGULAR: f64 = 1e-12;

/// Canonical correlation analysis (Hotelling 1936) of two descriptions of the same images, or of images paired by
/// their labels: maps `A` `[dim_x, d]` and `B` `[dim_y, d]` for which the columns of `X A` and `Y B` have variance
/// 1, are uncorrelated, and pairwise correlated as strongly as can be.
///
/// `regularization` is added to the variances, relative to their mean; without it, fewer pairs than dimensions give
/// correlations of 1 that mean nothing. It hurts with few pairs all the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cca {
    /// Number of directions `d`; fewer where the pairs span fewer.
    pub dimensions: usize,
    /// Regularisation relative to the mean variance, at least 0.
    pub regularization: f64,
}

impl Default for Cca {
    fn default() -> Self {
        Self {
            dimensions: 20,
            regularization: 0.1,
        }
    }
}

/// Both maps of [`Cca`].
#[derive(Clone, Debug)]
pub struct CanonicalMaps {
    means: [Vec<f64>; 2],
    maps: [Mat<f64>; 2],
    /// Correlations of the pairs, falling; shrunk by the regularisation.
    pub correlations: Vec<f64>,
}

impl Cca {
    /// Computes the maps for pairs: row `i` of `x` `[n, dim_x]` belongs to row `i` of `y` `[n, dim_y]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for different numbers of rows, [`TransferError::Degenerate`] for fewer than
    /// two pairs, no direction, a regularisation below 0, a singular covariance, or a side whose images are all
    /// alike.
    pub fn fit(&self, x: &Features, y: &Features) -> Result<CanonicalMaps, TransferError> {
        check_dim("rows that are paired", y.len(), x.len())?;
        let is_regular = self.regularization.is_finite() && self.regularization >= 0.0;
        if x.len() < 2 || self.dimensions == 0 || !is_regular {
            return degenerate(
                METHOD,
                format!(
                    "{} pairs, {} dimensions, regularisation {}; at least 2, 1 and 0 are needed",
                    x.len(),
                    self.dimensions,
                    self.regularization
                ),
            );
        }
        let means = [x.mean(), y.mean()];
        let centered = [centered_matrix(x, &means[0]), centered_matrix(y, &means[1])];
        let n = (x.len() - 1) as f64;
        let factors = [self.factor(&centered[0])?, self.factor(&centered[1])?];
        let product = centered[0].transpose() * &centered[1];
        let mut cross = Mat::from_fn(x.dim(), y.dim(), |i, j| product[(i, j)] / n);
        // L_x^-1 C_xy L_y^-T, whose singular values are the correlations.
        factors[0].solve_lower_triangular_in_place(cross.as_mut());
        let mut turned = cross.transpose().to_owned();
        factors[1].solve_lower_triangular_in_place(turned.as_mut());
        let svd = thin_svd(METHOD, turned.transpose())?;
        let count = self.dimensions.min(svd.values.len());
        if count == 0 {
            return degenerate(METHOD, "the sides don't vary together at all".into());
        }
        let mut maps = [
            svd.left.subcols(0, count).to_owned(),
            svd.right.subcols(0, count).to_owned(),
        ];
        for (map, factor) in maps.iter_mut().zip(&factors) {
            factor
                .transpose()
                .solve_upper_triangular_in_place(map.as_mut());
        }
        Ok(CanonicalMaps {
            means,
            maps,
            correlations: svd.values[..count].to_vec(),
        })
    }

    /// Computes the lower Cholesky factor of a side's covariance.
    fn factor(&self, centered: &Mat<f64>) -> Result<Mat<f64>, TransferError> {
        let (n, dim) = (centered.nrows() - 1, centered.ncols());
        let product = centered.transpose() * centered;
        let trace: f64 = (0..dim).map(|i| product[(i, i)]).sum();
        if trace == 0.0 {
            return degenerate(METHOD, "the images of a side are all alike".into());
        }
        let ridge = self.regularization * trace / dim as f64;
        let covariance = Mat::from_fn(dim, dim, |i, j| {
            (product[(i, j)] + if i == j { ridge } else { 0.0 }) / n as f64
        });
        let singular = || {
            degenerate(
                METHOD,
                "a covariance is singular; raise the regularisation".into(),
            )
        };
        let Ok(factor) = covariance.llt(Side::Lower) else {
            return singular();
        };
        let factor = factor.L().to_owned();
        // Rounding may leave a pivot of a singular matrix a little above zero.
        let least = (0..dim)
            .map(|i| factor[(i, i)].powi(2))
            .fold(trace, f64::min);
        if least <= SINGULAR * trace / n as f64 {
            return singular();
        }
        Ok(factor)
    }
}

impl CanonicalMaps {
    /// Images of the first side `[n, dim_x]` in the shared space, `[n, d]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform_x(&self, x: &Features) -> Result<Features, TransferError> {
        self.transform(x, 0)
    }

    /// Images of the second side `[n, dim_y]` in the shared space, `[n, d]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform_y(&self, y: &Features) -> Result<Features, TransferError> {
        self.transform(y, 1)
    }

    fn transform(&self, rows: &Features, side: usize) -> Result<Features, TransferError> {
        check_dim("features", rows.dim(), self.means[side].len())?;
        features((centered_matrix(rows, &self.means[side]) * &self.maps[side]).as_ref())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Two sides that share one hidden number each image, among noise of their own.
    fn sides(count: usize) -> (Features, Features) {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(7);
        let drawn: Vec<f32> = (0..4 * count)
            .map(|_| generator.random_range(-1.0..1.0))
            .collect();
        let noise = |i: usize, k: usize| drawn[4 * i + k];
        let x = (0..count).flat_map(|i| [noise(i, 0) + noise(i, 1), noise(i, 1), noise(i, 2)]);
        let y = (0..count).flat_map(|i| [noise(i, 3), noise(i, 3) - 2.0 * noise(i, 0)]);
        (
            Features::new(x.collect(), 3).unwrap(),
            Features::new(y.collect(), 2).unwrap(),
        )
    }

    fn correlation(a: &Features, b: &Features, column: usize) -> f64 {
        let take = |f: &Features| -> Vec<f64> {
            let mean = f.mean()[column];
            f.rows().map(|row| f64::from(row[column]) - mean).collect()
        };
        let (a, b) = (take(a), take(b));
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
    }

    #[test]
    fn the_hidden_number_is_found_and_correlations_are_those_of_the_mapped_pairs() {
        let (x, y) = sides(200);
        let bare = Cca {
            dimensions: 2,
            regularization: 0.0,
        };
        let maps = bare.fit(&x, &y).unwrap();
        let (a, b) = (maps.transform_x(&x).unwrap(), maps.transform_y(&y).unwrap());
        assert!(maps.correlations[0] > 0.999, "{:?}", maps.correlations);
        for column in 0..2 {
            let found = correlation(&a, &b, column);
            assert!((found - maps.correlations[column]).abs() < 1e-5);
        }
        assert!(maps.correlations[1] < 0.5);
    }

    #[test]
    fn few_pairs_need_the_regularisation_and_degenerate_input_is_an_error() {
        let (x, y) = sides(3);
        let bare = Cca {
            dimensions: 2,
            regularization: 0.0,
        };
        assert!(bare.fit(&x, &y).is_err());
        let maps = Cca::default().fit(&x, &y).unwrap();
        assert!(maps.correlations.iter().all(|c| *c < 1.0 && c.is_finite()));
        assert!(
            Cca::default()
                .fit(&x.select(&[0]), &y.select(&[0]))
                .is_err()
        );
        assert!(Cca::default().fit(&x, &y.select(&[0, 1])).is_err());
        assert!(Cca::default().fit(&x.select(&[1, 1, 1]), &y).is_err());
    }
}
