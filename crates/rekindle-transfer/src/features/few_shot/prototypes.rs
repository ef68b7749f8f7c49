//! Nearest class mean.

use crate::TransferError;
use crate::features::table::{Features, argmax_rows, check_dim, check_labels, dot};

/// Distance between a query and a prototype.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distance {
    /// `|x - c|^2`, the distance of Snell et al.
    #[default]
    SquaredEuclidean,
    /// `1 - x c / (|x| |c|)`; a vector of zeros is at distance 1 from everything.
    Cosine,
}

/// Class means as a classifier (prototypical networks; Snell et al. 2017, "Prototypical Networks for Few-shot
/// Learning"): `c_k` is the mean of the class's support features, and a query `x` belongs to the class with
/// probability `softmax_k(-d(x, c_k))`.
///
/// It hurts where a class has several separate kinds of image and enough of them to learn a boundary:
/// from a few dozen images per class on, [`LogisticRegression`](crate::features::LogisticRegression) wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Prototypes {
    /// `[classes, dim]`.
    means: Features,
    distance: Distance,
}

impl Prototypes {
    /// Means of `support` `[n, dim]` by `labels` `[n]`, each below `classes`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for fewer than two
    /// classes or one without an image.
    pub fn fit(
        support: &Features,
        labels: &[usize],
        classes: usize,
        distance: Distance,
    ) -> Result<Self, TransferError> {
        check_labels("prototypes", labels, support.len(), classes)?;
        let mut sums = vec![0.0f64; classes * support.dim()];
        let mut counts = vec![0.0f64; classes];
        for (row, label) in support.rows().zip(labels) {
            counts[*label] += 1.0;
            let sum = &mut sums[label * support.dim()..(label + 1) * support.dim()];
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        let means = sums.chunks_exact(support.dim()).zip(&counts);
        let means = means.flat_map(|(sum, count)| sum.iter().map(move |s| (s / count) as f32));
        Ok(Self {
            means: Features::new(means.collect(), support.dim())?,
            distance,
        })
    }

    /// Returns the class means `[classes, dim]`.
    pub fn means(&self) -> &Features {
        &self.means
    }

    /// Minus the distance to each class, `[n, classes]`: logits of the queries.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn logits(&self, queries: &Features) -> Result<Vec<f64>, TransferError> {
        check_dim("queries", queries.dim(), self.means.dim())?;
        let lengths: Vec<f64> = self.means.rows().map(|mean| dot(mean, mean)).collect();
        let mut logits = Vec::with_capacity(queries.len() * self.means.len());
        for query in queries.rows() {
            let length = dot(query, query);
            for (mean, mean_length) in self.means.rows().zip(&lengths) {
                let product = dot(query, mean);
                logits.push(match self.distance {
                    Distance::SquaredEuclidean => 2.0 * product - length - mean_length,
                    Distance::Cosine => {
                        let norms = (length * mean_length).sqrt();
                        if norms > 0.0 {
                            product / norms - 1.0
                        } else {
                            -1.0
                        }
                    }
                });
            }
        }
        Ok(logits)
    }

    /// Returns the nearest class of each query.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn predict(&self, queries: &Features) -> Result<Vec<usize>, TransferError> {
        Ok(argmax_rows(&self.logits(queries)?, self.means.len()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn support() -> (Features, Vec<usize>) {
        let values = vec![0.0, 0.0, 2.0, 0.0, 10.0, 1.0, 12.0, 3.0];
        (Features::new(values, 2).unwrap(), vec![0, 0, 1, 1])
    }

    #[test]
    fn means_and_distances_by_hand() {
        let (support, labels) = support();
        let prototypes = Prototypes::fit(&support, &labels, 2, Distance::SquaredEuclidean).unwrap();
        assert_eq!(prototypes.means().values(), [1.0, 0.0, 11.0, 2.0]);
        let query = Features::new(vec![4.0, 2.0], 2).unwrap();
        let logits = prototypes.logits(&query).unwrap();
        assert!((logits[0] + 13.0).abs() < 1e-9 && (logits[1] + 49.0).abs() < 1e-9);
        assert_eq!(prototypes.predict(&query).unwrap(), [0]);
    }

    #[test]
    fn cosine_looks_at_the_direction_alone() {
        let (support, labels) = support();
        let prototypes = Prototypes::fit(&support, &labels, 2, Distance::Cosine).unwrap();
        let query = Features::new(vec![0.055, 0.01, 0.0, 0.0], 2).unwrap();
        let logits = prototypes.logits(&query).unwrap();
        assert!(logits[1].abs() < 1e-6, "{logits:?}");
        assert_eq!(logits[2..], [-1.0, -1.0], "zeros are at distance 1");
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let (support, labels) = support();
        let fit = |labels: &[usize], classes| {
            Prototypes::fit(&support, labels, classes, Distance::default()).is_err()
        };
        assert!(fit(&labels[..3], 2) && fit(&labels, 3) && fit(&[0; 4], 1));
        let prototypes = Prototypes::fit(&support, &labels, 2, Distance::default()).unwrap();
        assert!(
            prototypes
                .logits(&Features::new(vec![1.0], 1).unwrap())
                .is_err()
        );
    }
}
