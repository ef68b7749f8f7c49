//! Episodic training with prototypes.

use burn::prelude::*;

use super::check;
use crate::TransferError;

/// Class means of the support, `[ways, d]`, from rows `[ways * shots, d]` that lie class after class (Snell et al.
/// 2017, <https://arxiv.org/abs/1703.05175>).
///
/// # Errors
///
/// [`TransferError`] where the rows aren't a multiple of `ways`, or there are none.
pub fn prototypes(support: Tensor<2>, ways: usize) -> Result<Tensor<2>, TransferError> {
    check::rows("prototypes", &support, 1)?;
    let [rows, d] = support.dims();
    if ways == 0 || !rows.is_multiple_of(ways) {
        return Err(TransferError::WrongLength {
            what: "rows of the support, as many for each class",
            found: rows,
            expected: ways,
        });
    }
    let grouped: Tensor<3> = support.reshape([ways, rows / ways, d]);
    Ok(grouped.mean_dim(1).reshape([ways, d]))
}

/// Computes the negative squared Euclidean distances of queries `[n, d]` to prototypes `[ways, d]`, `[n, ways]`:
/// logits of the prototypical network, to go into a cross entropy.
///
/// # Errors
///
/// [`TransferError`] for other widths or an empty batch.
pub fn prototype_logits(
    queries: Tensor<2>,
    prototypes: Tensor<2>,
) -> Result<Tensor<2>, TransferError> {
    check::same_width("prototypes", &queries, &prototypes, 1)?;
    let lengths = queries.clone().square().sum_dim(1);
    let others = prototypes.clone().square().sum_dim(1).transpose();
    let products = queries.matmul(prototypes.transpose());
    Ok(products.mul_scalar(2.0) - lengths - others)
}
