//! Measures how well two domains can be told apart.

use crate::TransferError;
use crate::features::table::check_dim;
use crate::features::{Features, LogisticRegression};

/// Proxy A-distance (Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation"):
/// `2 (1 - 2 e)` with the error `e` of a linear classifier that tells source from target images it was not fitted
/// to; both sides count the same. 0 where it can't (below chance counts as chance), 2 where it never errs.
///
/// A large distance warns of a domain shift; whether it harms depends on the labels too. Features of real sets
/// come out near 2 nearly always: compare distances rather than read one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProxyADistance {
    /// The classifier; its weights balance the sides.
    pub learner: LogisticRegression,
    /// Parts of the cross-validation, at least 2.
    pub folds: usize,
}

impl Default for ProxyADistance {
    fn default() -> Self {
        Self {
            learner: LogisticRegression::new(1e-2),
            folds: 5,
        }
    }
}

impl ProxyADistance {
    /// Computes the distance of `source` `[n_s, dim]` and `target` `[n_t, dim]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where the sides' features differ in length, [`TransferError::Degenerate`]
    /// for a side with fewer images than folds, fewer than two folds, or features all zero.
    pub fn between(&self, source: &Features, target: &Features) -> Result<f64, TransferError> {
        check_dim("target features", target.dim(), source.dim())?;
        let fewest = source.len().min(target.len());
        if self.folds < 2 || fewest < self.folds {
            return Err(TransferError::Degenerate {
                method: "proxy A-distance",
                reason: format!(
                    "{} folds of {} source and {} target images; at least two folds with an image of each",
                    self.folds,
                    source.len(),
                    target.len()
                ),
            });
        }
        let both = source.stack(target)?;
        let side = |row: usize| usize::from(row >= source.len());
        let sizes = [source.len() as f64, target.len() as f64];
        // Neighbouring rows often show the same thing; folds of whole stretches don't split them.
        let fold = |row: usize| match side(row) {
            0 => row * self.folds / source.len(),
            _ => (row - source.len()) * self.folds / target.len(),
        };
        let mut error = 0.0;
        for part in 0..self.folds {
            let (test, train): (Vec<usize>, Vec<usize>) =
                (0..both.len()).partition(|row| fold(*row) == part);
            let labels: Vec<usize> = train.iter().map(|row| side(*row)).collect();
            let weights: Vec<f64> = labels.iter().map(|side| 1.0 / sizes[*side]).collect();
            let head = self
                .learner
                .fit_weighted(&both.select(&train), &labels, 2, &weights)?;
            let found = head.predict(&both.select(&test))?;
            for (row, found) in test.iter().zip(found) {
                if found != side(*row) {
                    error += 0.5 / sizes[side(*row)];
                }
            }
        }
        Ok((2.0 * (1.0 - 2.0 * error)).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Images spread evenly over a cube of edge 2.
    fn cloud(count: usize, shift: f32, seed: u64) -> Features {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let values = (0..3 * count).map(|_| generator.random_range(-1.0..1.0) + shift);
        Features::new(values.collect(), 3).unwrap()
    }

    #[test]
    fn apart_is_two_and_alike_is_near_zero() {
        let distance = |shift| {
            let method = ProxyADistance::default();
            method
                .between(&cloud(100, 0.0, 0), &cloud(80, shift, 31))
                .unwrap()
        };
        assert_eq!(distance(10.0), 2.0);
        assert!(distance(0.0) < 0.5, "{}", distance(0.0));
        assert!(distance(0.5) > distance(0.0) && distance(0.5) < 2.0);
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let method = ProxyADistance::default();
        let (few, some) = (cloud(3, 0.0, 0), cloud(10, 0.0, 0));
        assert!(method.between(&few, &some).is_err());
        assert!(
            method
                .between(&some, &Features::new(vec![1.0; 20], 2).unwrap())
                .is_err()
        );
        let zeros = Features::new(vec![0.0; 30], 3).unwrap();
        assert!(method.between(&zeros, &zeros).is_err());
    }
}
