//! Deep CORAL: covariances of source and target alike.

use burn::prelude::*;

use super::check;
use crate::TransferError;

/// Computes the distance of two covariances, `[1]`: `|C_s - C_t|_F^2 / (4 d^2)`, each covariance with the divisor
/// `n - 1` (Deep CORAL; Sun and Saenko 2016, <https://arxiv.org/abs/1607.01719>).
///
/// `source` `[n, d]`, `target` `[m, d]`. Means may differ. With far more features than rows the estimates are
/// of low rank and mostly noise, so put it behind a narrow layer; and the loss can be brought to 0 by features
/// that shrink, so never without a classification loss.
///
/// # Errors
///
/// [`TransferError`] for fewer than two rows in a batch, or other shapes.
pub fn deep_coral_loss(source: Tensor<2>, target: Tensor<2>) -> Result<Tensor<1>, TransferError> {
    check::same_width("Deep CORAL", &source, &target, 2)?;
    let d = source.dims()[1] as f64;
    let difference = covariance(source) - covariance(target);
    Ok(difference.square().sum().div_scalar(4.0 * d * d))
}

fn covariance(x: Tensor<2>) -> Tensor<2> {
    let n = x.dims()[0] as f64;
    let centred = x.clone() - x.mean_dim(0);
    centred
        .clone()
        .transpose()
        .matmul(centred)
        .div_scalar(n - 1.0)
}
