//! Principal subspaces of two domains, one turned into the other.

use faer::Mat;

use crate::TransferError;
use crate::features::linalg::{centered_matrix, features, thin_svd};
use crate::features::table::{Features, check_dim};

const METHOD: &str = "subspace alignment";

/// Subspace alignment (Fernando et al. 2013, "Unsupervised Visual Domain Adaptation Using Subspace Alignment"):
/// with the first principal directions `P_s`, `P_t` `[dim, d]` of each domain, source features become
/// `(x - m_s) P_s P_s' P_t` and target features `(x - m_t) P_t`, both of length `d`.
///
/// It takes off each domain's mean and what varies in one domain alone. It hurts with too few directions, and
/// where the domains have their classes in different shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubspaceAlignment {
    /// Number of directions `d`; fewer where a domain has fewer.
    pub dimensions: usize,
}

impl Default for SubspaceAlignment {
    fn default() -> Self {
        Self { dimensions: 80 }
    }
}

/// Both maps of [`SubspaceAlignment`].
#[derive(Clone, Debug)]
pub struct AlignedSubspaces {
    source_mean: Vec<f64>,
    target_mean: Vec<f64>,
    /// `P_s P_s' P_t`, `[dim, d]`.
    source: Mat<f64>,
    /// `P_t`, `[dim, d]`.
    target: Mat<f64>,
}

impl SubspaceAlignment {
    /// Computes the maps for `source` `[n_s, dim]` and `target` `[n_t, dim]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where the sides' features differ in length,
    /// [`TransferError::Degenerate`] for no direction or a domain whose images are all alike.
    pub fn fit(
        &self,
        source: &Features,
        target: &Features,
    ) -> Result<AlignedSubspaces, TransferError> {
        check_dim("target features", target.dim(), source.dim())?;
        let (source_mean, target_mean) = (source.mean(), target.mean());
        let of_source = self.directions(source, &source_mean)?;
        let of_target = self.directions(target, &target_mean)?;
        Ok(AlignedSubspaces {
            source: &of_source * (of_source.transpose() * &of_target),
            target: of_target,
            source_mean,
            target_mean,
        })
    }

    fn directions(&self, domain: &Features, mean: &[f64]) -> Result<Mat<f64>, TransferError> {
        let svd = thin_svd(METHOD, centered_matrix(domain, mean).as_ref())?;
        let count = self.dimensions.min(svd.values.len());
        if count == 0 {
            return Err(TransferError::Degenerate {
                method: METHOD,
                reason: format!(
                    "{} dimensions of a domain of {} images that span {}; at least one is needed",
                    self.dimensions,
                    domain.len(),
                    svd.values.len()
                ),
            });
        }
        Ok(svd.right.subcols(0, count).to_owned())
    }
}

impl AlignedSubspaces {
    /// Returns source features `[n, dim]` in the target's subspace, `[n, d]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform_source(&self, source: &Features) -> Result<Features, TransferError> {
        check_dim("source features", source.dim(), self.source_mean.len())?;
        let mapped = centered_matrix(source, &self.source_mean) * &self.source;
        features(mapped.as_ref())
    }

    /// Returns target features `[n, dim]` in their subspace, `[n, d]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform_target(&self, target: &Features) -> Result<Features, TransferError> {
        check_dim("target features", target.dim(), self.target_mean.len())?;
        let mapped = centered_matrix(target, &self.target_mean) * &self.target;
        features(mapped.as_ref())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Rows on a plane through `offset`, in coordinates that two directions of the space belong to.
    fn plane(count: usize, offset: f32, directions: [usize; 2]) -> Features {
        let mut values = vec![offset; count * 4];
        for i in 0..count {
            values[4 * i + directions[0]] += 3.0 * (i as f32 * 1.3).sin();
            values[4 * i + directions[1]] += (i as f32 * 2.1).cos();
        }
        Features::new(values, 4).unwrap()
    }

    #[test]
    fn a_shifted_domain_is_aligned_exactly() {
        let (source, target) = (plane(20, 0.0, [0, 1]), plane(20, 5.0, [0, 1]));
        let maps = SubspaceAlignment { dimensions: 2 }
            .fit(&source, &target)
            .unwrap();
        let a = maps.transform_source(&source).unwrap();
        let b = maps.transform_target(&target).unwrap();
        assert_eq!(a.dim(), 2);
        for (a, b) in a.values().iter().zip(b.values()) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn what_the_target_does_not_have_is_lost() {
        let (source, target) = (plane(20, 0.0, [0, 1]), plane(20, 0.0, [2, 3]));
        let maps = SubspaceAlignment::default().fit(&source, &target).unwrap();
        let mapped = maps.transform_source(&source).unwrap();
        assert!(mapped.values().iter().all(|v| v.abs() < 1e-6));
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let domain = plane(20, 0.0, [0, 1]);
        let constant = Features::new(vec![1.0; 8], 4).unwrap();
        let method = SubspaceAlignment::default();
        assert!(method.fit(&domain, &constant).is_err());
        assert!(method.fit(&domain.select(&[0]), &domain).is_err());
        assert!(
            SubspaceAlignment { dimensions: 0 }
                .fit(&domain, &domain)
                .is_err()
        );
        assert!(
            method
                .fit(&domain, &Features::new(vec![1.0; 6], 3).unwrap())
                .is_err()
        );
    }
}
