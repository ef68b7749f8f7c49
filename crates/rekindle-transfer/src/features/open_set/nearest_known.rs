//! Distances to the nearest images that are known.

use crate::TransferError;
use crate::error::degenerate;
use crate::features::table::{Features, check_dim, dot};

/// The Euclidean distance of features of length 1 to their k-th nearest among those of training images (Sun et al. 2022,
/// <https://arxiv.org/abs/2204.06507>). It is between 0 and 2.
///
/// Of more than [`MOST`](Self::MOST) images an even selection of each class is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct NearestKnown {
    pub(super) dim: usize,
    pub(super) neighbors: usize,
    /// `[kept, dim]`, rows of length 1.
    pub(super) rows: Vec<f32>,
}

impl NearestKnown {
    /// Training images that are kept at most.
    pub const MOST: usize = 2000;

    /// Prepares distances to the `neighbors`-th nearest of `features` `[n, dim]`, which have a class each.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, and [`TransferError::Degenerate`] for 0 neighbours or more than
    /// there are images to keep.
    pub fn fit(
        features: &Features,
        labels: &[usize],
        neighbors: usize,
    ) -> Result<Self, TransferError> {
        check_dim("labels", labels.len(), features.len())?;
        let kept = features.select(&evenly(labels, Self::MOST)).l2_normalized();
        if neighbors == 0 || neighbors > kept.len() {
            return degenerate(
                "nearest neighbours",
                format!(
                    "{neighbors} neighbours of {} images; give at least 1 and at most as many as there are",
                    kept.len()
                ),
            );
        }
        Ok(Self {
            dim: kept.dim(),
            neighbors,
            rows: kept.values().to_vec(),
        })
    }

    /// Number of training images that are kept.
    pub fn len(&self) -> usize {
        self.rows.len() / self.dim
    }

    /// Whether no image is kept, which never happens.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Computes the distance of features `[dim]` to the k-th nearest image. That of features that are all zero is 1.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn distance(&self, features: &[f32]) -> Result<f64, TransferError> {
        check_dim("features for this distance", features.len(), self.dim)?;
        let norm = dot(features, features).sqrt();
        if norm == 0.0 {
            return Ok(1.0);
        }
        let cosine = |row: &[f32]| dot(row, features) / norm;
        let mut cosines: Vec<f64> = self.rows.chunks_exact(self.dim).map(cosine).collect();
        let (_, nearest, _) =
            cosines.select_nth_unstable_by(self.neighbors - 1, |a, b| b.total_cmp(a));
        Ok((2.0 - 2.0 * *nearest).max(0.0).sqrt())
    }
}

/// At most `most` rows, of each class an even share, in rising order.
pub(super) fn evenly(labels: &[usize], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    if order.len() <= most {
        return order;
    }
    order.sort_by_key(|row| (labels[*row], *row));
    let count = order.len();
    let mut chosen: Vec<usize> = (0..most).map(|at| order[at * count / most]).collect();
    chosen.sort_unstable();
    chosen
}
