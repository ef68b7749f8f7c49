//! Directions of a kernel space along which two domains look alike.

use faer::Mat;

use crate::TransferError;
use crate::error::degenerate;
use crate::features::linalg::{features, generalized_eigen, matrix};
use crate::features::table::{Features, check_dim};

const METHOD: &str = "TCA";

/// Similarity of two images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Kernel {
    /// `x y`.
    #[default]
    Linear,
    /// `exp(-|x - y|^2 / scale)` with this scale `2 width^2`, above 0.
    Gaussian(f64),
}

/// Transfer component analysis (Pan et al. 2011, "Domain Adaptation via Transfer Component Analysis"): with the
/// kernel matrix `K` of all images, directions that keep the variance and bring the domains' means together,
/// the first eigenvectors `W` of `(K L K + mu I)^-1 K H K`; the new features are `K W`.
///
/// `L` holds `1/n_s^2`, `1/n_t^2` and `-1/(n_s n_t)`, so that `tr(W' K L K W)` is the maximum mean discrepancy;
/// `H = I - 1/n` centres; `mu` weighs the size of `W`. Time grows with the cube of the number of images, memory
/// with the square. It hurts where classes are in different shares (their means should differ) and matches
/// means alone, not classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tca {
    /// Length of the new features; fewer where there are fewer images.
    pub dimensions: usize,
    /// Trade-off `mu`, above 0.
    pub mu: f64,
    /// The kernel.
    pub kernel: Kernel,
}

impl Default for Tca {
    fn default() -> Self {
        Self {
            dimensions: 40,
            mu: 1.0,
            kernel: Kernel::Linear,
        }
    }
}

/// Images in the shared space of [`Tca`].
#[derive(Clone, Debug)]
pub struct TransferComponents {
    /// Source features `[n_s, d]`.
    pub source: Features,
    /// Target features `[n_t, d]`.
    pub target: Features,
    /// All images, source first.
    images: Mat<f64>,
    /// `[n_s + n_t, d]`.
    weights: Mat<f64>,
    kernel: Kernel,
}

impl Tca {
    /// Computes the shared space of `source` `[n_s, dim]` and `target` `[n_t, dim]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where the sides' features differ in length,
    /// [`TransferError::Degenerate`] for a side without an image, no dimension, a `mu` or kernel scale that is
    /// not above 0, or images that are all alike.
    pub fn fit(
        &self,
        source: &Features,
        target: &Features,
    ) -> Result<TransferComponents, TransferError> {
        check_dim("target features", target.dim(), source.dim())?;
        self.check(source.len(), target.len())?;
        let (n_source, n_target) = (source.len(), target.len());
        let count = n_source + n_target;
        let images = matrix(&source.stack(target)?);
        let kernel = self.kernel.between(&images, &images);
        // K L K = g g' with g = K (1/n_s on the source, -1/n_t on the target).
        let sides = Mat::from_fn(count, 1, |i, _| match i < n_source {
            true => 1.0 / n_source as f64,
            false => -1.0 / n_target as f64,
        });
        let gap = &kernel * &sides;
        let row_mean = &kernel * Mat::from_fn(count, 1, |_, _| 1.0 / count as f64);
        let centered = Mat::from_fn(count, count, |i, j| kernel[(i, j)] - row_mean[(i, 0)]);
        let variance = &centered * kernel.transpose();
        let trace: f64 = (0..count).map(|i| variance[(i, i)]).sum();
        let size: f64 = (0..count).map(|i| kernel[(i, i)]).sum::<f64>() / count as f64;
        if trace <= 1e-12 * size * size * count as f64 {
            return degenerate(
                METHOD,
                "all images are alike; there is nothing to tell apart".into(),
            );
        }
        let mu = self.mu;
        let penalty = Mat::from_fn(count, count, |i, j| {
            gap[(i, 0)] * gap[(j, 0)] + if i == j { mu } else { 0.0 }
        });
        let symmetric = Mat::from_fn(count, count, |i, j| {
            0.5 * (variance[(i, j)] + variance[(j, i)])
        });
        let (_, vectors) = generalized_eigen(METHOD, symmetric.as_ref(), penalty.as_ref())?;
        let dimensions = self.dimensions.min(count);
        let weights = vectors.subcols(0, dimensions).to_owned();
        let mapped = &kernel * &weights;
        Ok(TransferComponents {
            source: features(mapped.subrows(0, n_source))?,
            target: features(mapped.subrows(n_source, n_target))?,
            images,
            weights,
            kernel: self.kernel,
        })
    }

    fn check(&self, n_source: usize, n_target: usize) -> Result<(), TransferError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let is_kernel = match self.kernel {
            Kernel::Linear => true,
            Kernel::Gaussian(scale) => positive(scale),
        };
        if n_source == 0 || n_target == 0 || self.dimensions == 0 {
            return degenerate(
                METHOD,
                format!(
                    "{n_source} source images, {n_target} target images, {} dimensions; at least 1 of each",
                    self.dimensions
                ),
            );
        }
        if !positive(self.mu) || !is_kernel {
            return degenerate(
                METHOD,
                format!(
                    "mu is {} or the kernel's scale is out of range; both are numbers above 0",
                    self.mu
                ),
            );
        }
        Ok(())
    }
}

impl TransferComponents {
    /// Maps other images of either domain `[n, dim]` into the shared space, `[n, d]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform(&self, others: &Features) -> Result<Features, TransferError> {
        check_dim("features", others.dim(), self.images.ncols())?;
        let kernel = self.kernel.between(&matrix(others), &self.images);
        features((kernel * &self.weights).as_ref())
    }
}

impl Kernel {
    /// `[a, b]`.
    fn between(self, a: &Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
        let products = a * b.transpose();
        let Self::Gaussian(scale) = self else {
            return products;
        };
        let squares = |m: &Mat<f64>| -> Vec<f64> {
            let row = |i: usize| (0..m.ncols()).map(|j| m[(i, j)] * m[(i, j)]).sum();
            (0..m.nrows()).map(row).collect()
        };
        let (of_a, of_b) = (squares(a), squares(b));
        Mat::from_fn(a.nrows(), b.nrows(), |i, j| {
            (-(of_a[i] + of_b[j] - 2.0 * products[(i, j)]).max(0.0) / scale).exp()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn domains() -> (Features, Features) {
        let value = |i: usize, j: usize| ((i * 5 + j * 3) as f32 * 0.9).sin();
        let source: Vec<f32> = (0..6).flat_map(|i| [value(i, 0), value(i, 1)]).collect();
        let target: Vec<f32> = (6..11)
            .flat_map(|i| [value(i, 0) + 2.0, value(i, 1)])
            .collect();
        (
            Features::new(source, 2).unwrap(),
            Features::new(target, 2).unwrap(),
        )
    }

    #[test]
    fn the_components_of_scipy() {
        let (source, target) = domains();
        let tca = Tca {
            dimensions: 2,
            mu: 0.5,
            kernel: Kernel::Gaussian(2.0),
        };
        let found = tca.fit(&source, &target).unwrap();
        let expected = [
            0.048654, -0.609255, -1.037043, -0.353708, 1.268654, 0.048317, 1.365658, -0.059888,
            -0.997302, -0.425118, -0.197367, -0.344098, -0.226003, 0.980043, 0.502129, -0.138717,
            0.611804, -0.862366, 0.149995, 0.820063, -0.131472, 0.900076,
        ];
        // Signs of eigenvectors are free.
        for column in 0..2 {
            let sign = f64::from(found.source.row(0)[column]) * expected[column];
            let rows = found.source.rows().chain(found.target.rows());
            for (row, expected) in rows.zip(expected.chunks_exact(2)) {
                let found = f64::from(row[column]) * sign.signum();
                assert!(
                    (found - expected[column]).abs() < 1e-4,
                    "{found} {expected:?}"
                );
            }
        }
    }

    #[test]
    fn images_seen_before_are_mapped_as_before() {
        let (source, target) = domains();
        let found = Tca::default().fit(&source, &target).unwrap();
        let again = found.transform(&source).unwrap();
        for (a, b) in again.values().iter().zip(found.source.values()) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let (source, target) = domains();
        let same = Features::new(vec![1.0; 8], 2).unwrap();
        assert!(Tca::default().fit(&same, &same).is_err());
        let none = Features::new(Vec::new(), 2).unwrap();
        assert!(Tca::default().fit(&source, &none).is_err());
        let tca = |mu, kernel| Tca {
            dimensions: 2,
            mu,
            kernel,
        };
        assert!(tca(0.0, Kernel::Linear).fit(&source, &target).is_err());
        assert!(
            tca(1.0, Kernel::Gaussian(0.0))
                .fit(&source, &target)
                .is_err()
        );
    }
}
