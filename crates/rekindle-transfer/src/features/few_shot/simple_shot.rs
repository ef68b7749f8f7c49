//! Nearest class mean after centring and normalising.

use super::prototypes::{Distance, Prototypes};
use crate::TransferError;
use crate::features::table::{Features, check_dim};

/// Preparation of features before distances are computed: subtracts a mean, then scales to length one (Wang
/// et al. 2019, "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning", CL2N).
///
/// The mean is that of base images, which need no labels. Pooled activations of a ReLU network are all
/// positive, so that without centring every two of them point the same way. It hurts where the base mean
/// comes from a set unlike the queries (another domain): take it from unlabelled images of the queries' own.
#[derive(Clone, Debug, PartialEq)]
pub struct SimpleShot {
    mean: Vec<f64>,
}

impl SimpleShot {
    /// Centres at the mean of `base` `[n, dim]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] where `base` is empty.
    pub fn new(base: &Features) -> Result<Self, TransferError> {
        if base.is_empty() {
            return Err(TransferError::Degenerate {
                method: "SimpleShot",
                reason: "no base image to take a mean of; give unlabelled ones".into(),
            });
        }
        Ok(Self { mean: base.mean() })
    }

    /// Computes `(x - mean) / |x - mean|` for each row; a row equal to the mean becomes zeros.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform(&self, features: &Features) -> Result<Features, TransferError> {
        check_dim("features for SimpleShot", features.dim(), self.mean.len())?;
        Ok(features.centered(&self.mean)?.l2_normalized())
    }

    /// Prototypes of transformed support features; classify with them what [`transform`](Self::transform)
    /// gives for the queries.
    ///
    /// # Errors
    ///
    /// As [`Prototypes::fit`].
    pub fn fit(
        &self,
        support: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<Prototypes, TransferError> {
        let support = self.transform(support)?;
        Prototypes::fit(&support, labels, classes, Distance::SquaredEuclidean)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_common_offset_and_the_length_make_no_difference() {
        let base = Features::new(vec![3.0, 3.0, 5.0, 5.0], 2).unwrap();
        let shot = SimpleShot::new(&base).unwrap();
        let rows = Features::new(vec![4.0, 14.0, 4.0, 4.5, 4.0, 4.0], 2).unwrap();
        let found = shot.transform(&rows).unwrap();
        assert_eq!(found.values(), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn no_base_and_other_lengths_are_errors() {
        assert!(SimpleShot::new(&Features::new(Vec::new(), 3).unwrap()).is_err());
        let shot = SimpleShot::new(&Features::new(vec![1.0; 3], 3).unwrap()).unwrap();
        assert!(
            shot.transform(&Features::new(vec![1.0; 2], 2).unwrap())
                .is_err()
        );
    }
}
