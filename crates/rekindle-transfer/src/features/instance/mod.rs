//! Weights source images by how much to learn from them: for
//! [`LogisticRegression::fit_weighted`](super::LogisticRegression::fit_weighted) or any other loss.

mod density_ratio;
mod kernel;
mod kliep;
mod kmm;
mod tradaboost;

pub use density_ratio::DensityRatio;
pub use kernel::median_squared_distance;
pub use kliep::{Kliep, KliepWeights};
pub use kmm::Kmm;
pub use tradaboost::{BoostedHeads, TrAdaBoost};

use crate::TransferError;
use crate::features::table::{Features, check_dim};

/// Computes the number of images that weights are worth: `(sum w)^2 / sum w^2` (Kish 1965), between 1 and `n`. Far
/// below `n`, few images decide, and whatever is learnt with the weights is noisy. 0 where all weights are.
pub fn effective_sample_size(weights: &[f64]) -> f64 {
    let sum: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|w| w * w).sum();
    if squares > 0.0 {
        sum * sum / squares
    } else {
        0.0
    }
}

/// Both sides have images, and rows of one length.
fn check_domains(
    method: &'static str,
    source: &Features,
    target: &Features,
) -> Result<(), TransferError> {
    check_dim("target features", target.dim(), source.dim())?;
    if source.is_empty() || target.is_empty() {
        return Err(TransferError::Degenerate {
            method,
            reason: format!(
                "{} source and {} target images; both sides need some",
                source.len(),
                target.len()
            ),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::effective_sample_size;

    #[test]
    fn equal_weights_are_worth_all_images_and_a_single_one_is_worth_itself() {
        assert!((effective_sample_size(&[0.3; 8]) - 8.0).abs() < 1e-9);
        assert_eq!(effective_sample_size(&[0.0, 5.0, 0.0]), 1.0);
        assert_eq!(effective_sample_size(&[0.0; 3]), 0.0);
    }
}
