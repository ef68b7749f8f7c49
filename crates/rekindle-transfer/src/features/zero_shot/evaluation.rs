//! Accuracies that give every class the same say.

use std::collections::BTreeMap;

use crate::TransferError;
use crate::features::table::check_dim;

/// Computes the mean over the classes that occur in `labels` of the share of their images that is predicted right.
///
/// # Errors
///
/// [`TransferError::WrongLength`] where the lengths differ, [`TransferError::Degenerate`] without an image.
pub fn mean_class_accuracy(predictions: &[usize], labels: &[usize]) -> Result<f64, TransferError> {
    check_dim("predictions", predictions.len(), labels.len())?;
    let mut counts: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for (prediction, label) in predictions.iter().zip(labels) {
        let (right, all) = counts.entry(*label).or_insert((0.0, 0.0));
        *all += 1.0;
        if prediction == label {
            *right += 1.0;
        }
    }
    if counts.is_empty() {
        return Err(TransferError::Degenerate {
            method: "mean class accuracy",
            reason: "no image to measure by".into(),
        });
    }
    let shares = counts.values().map(|(right, all)| right / all);
    Ok(shares.sum::<f64>() / counts.len() as f64)
}

/// Zero-shot learning where seen classes are candidates too (Xian et al. 2018, "Zero-Shot Learning: A
/// Comprehensive Evaluation of the Good, the Bad and the Ugly").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneralizedAccuracy {
    /// Mean class accuracy on held-out images of the seen classes.
    pub seen: f64,
    /// Mean class accuracy on images of the unseen classes.
    pub unseen: f64,
}

impl GeneralizedAccuracy {
    /// Returns `2 seen unseen / (seen + unseen)`; 0 where both are.
    pub fn harmonic_mean(&self) -> f64 {
        let sum = self.seen + self.unseen;
        if sum > 0.0 {
            2.0 * self.seen * self.unseen / sum
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_class_counts_the_same() {
        let found = mean_class_accuracy(&[0, 0, 0, 1, 5], &[0, 0, 0, 0, 5]).unwrap();
        assert!((found - 0.875).abs() < 1e-12);
        assert!(mean_class_accuracy(&[], &[]).is_err());
        assert!(mean_class_accuracy(&[0], &[]).is_err());
    }

    #[test]
    fn the_harmonic_mean_is_near_the_smaller() {
        let of = |seen, unseen| GeneralizedAccuracy { seen, unseen }.harmonic_mean();
        assert!((of(0.9, 0.3) - 0.45).abs() < 1e-12);
        assert_eq!(of(0.0, 0.0), 0.0);
    }
}
