//! Minimum class confusion.

use burn::prelude::*;
use burn::tensor::activation::softmax;

use super::check;
use super::entropy::entropy_of;
use crate::TransferError;

/// Computes how much the predictions on a batch of the target confuse pairs of classes, `[1]`, in `[0, 1]`
/// (minimum class confusion, MCC; Jin et al. 2020, <https://arxiv.org/abs/1912.03699>).
///
/// `logits` `[n, c]` give `P = softmax(logits / temperature)`; rows weigh `w = n (1 + exp(-H)) / sum(1 + exp(-H))`
/// by the entropy `H` of their row of `P`, without a gradient; `C = P^T diag(w) P` with rows scaled to sum 1;
/// the loss is the sum of `C` off the diagonal over `c`. The paper's temperature is 2.5.
///
/// Needs no source features and no second network. The batch should be several times as large as the number
/// of classes. One class gives 0. It hurts where the source classifier starts out wrong on most of the target:
/// certainty is then won by calling whole clusters wrong.
///
/// # Errors
///
/// [`TransferError`] for an empty batch or a temperature that isn't above 0.
pub fn minimum_class_confusion(
    logits: Tensor<2>,
    temperature: f64,
) -> Result<Tensor<1>, TransferError> {
    check::positive("MCC", "temperature", temperature)?;
    check::rows("MCC", &logits, 1)?;
    let [n, c] = logits.dims();
    let p = softmax(logits.div_scalar(temperature), 1);
    let weights = entropy_of(p.clone().detach()).neg().exp().add_scalar(1.0);
    let weights = weights.clone() / weights.sum().reshape([1, 1]) * (n as f64);
    let confusion = (p.clone() * weights).transpose().matmul(p);
    let confusion = confusion.clone() / confusion.sum_dim(1).clamp_min(f32::MIN_POSITIVE);
    let off_diagonal = Tensor::<2>::eye(c, &confusion.device())
        .neg()
        .add_scalar(1.0);
    Ok((confusion * off_diagonal).sum().div_scalar(c as f64))
}
