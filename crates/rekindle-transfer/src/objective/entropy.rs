//! Certainty about unlabelled rows: entropy, information maximisation, pseudo-labels.

use burn::prelude::*;
use burn::tensor::activation::{log_softmax, softmax};

use super::check;
use crate::TransferError;

/// Computes the mean entropy of the predictions, `[1]`: `-sum_k p_k ln p_k` with `p = softmax(logits)`, between 0 and
/// `ln c` (entropy minimisation; Grandvalet and Bengio 2004).
///
/// `logits` `[n, c]`. Alone it is content with one class for everything; see [`information_maximisation`].
///
/// # Errors
///
/// [`TransferError`] for an empty batch.
pub fn mean_entropy(logits: Tensor<2>) -> Result<Tensor<1>, TransferError> {
    check::rows("entropy", &logits, 1)?;
    let p = softmax(logits.clone(), 1);
    Ok((p * log_softmax(logits, 1)).sum_dim(1).mean().neg())
}

/// Computes the mean entropy of the predictions less the entropy of the mean prediction, `[1]`, between `-ln c` and
/// 0: each row certain, all classes in use (Liang et al. 2020, SHOT, <https://arxiv.org/abs/2002.08546>; Krause
/// 2010).
///
/// `logits` `[n, c]`. It presses towards classes of equal size, and hurts where the target's are not.
///
/// # Errors
///
/// [`TransferError`] for an empty batch.
pub fn information_maximisation(logits: Tensor<2>) -> Result<Tensor<1>, TransferError> {
    let mean = softmax(logits.clone(), 1).mean_dim(0);
    Ok(mean_entropy(logits)? - entropy_of(mean).mean())
}

/// Cross entropy against the classifier's own most probable classes where it is certain, `[1]` (pseudo-labels;
/// Lee 2013): the sum of `-ln p_y` over the rows whose largest probability is at least `threshold`, over the number
/// of all rows. The labels carry no gradient. No such row gives 0.
///
/// `logits` `[n, c]` are those that learn; `teacher` `[n, c]` those that label: the same, or those of a fixed
/// classifier. Wrong labels that pass the threshold are learnt by heart, so it hurts where certainty is cheap.
///
/// # Errors
///
/// [`TransferError`] for an empty batch, other shapes, or a threshold outside `[0, 1]`.
pub fn pseudo_label_loss(
    logits: Tensor<2>,
    teacher: Tensor<2>,
    threshold: f64,
) -> Result<Tensor<1>, TransferError> {
    check::same_shape("pseudo-labels", &logits, &teacher, 1)?;
    if !(0.0..=1.0).contains(&threshold) {
        return Err(TransferError::InvalidStrategy {
            strategy: "pseudo-labels",
            parameter: "threshold".into(),
            found: threshold.to_string(),
            expected: "a number in [0, 1]",
        });
    }
    let p = softmax(teacher.detach(), 1);
    let labels = p.clone().argmax(1);
    let is_certain = p.max_dim(1).greater_equal_elem(threshold).float();
    let chosen = log_softmax(logits, 1).gather(1, labels);
    Ok((chosen * is_certain).mean().neg())
}

/// Computes the entropy of each row of probabilities `[n, c]`, `[n, 1]`; a probability of 0 adds 0.
pub(super) fn entropy_of(p: Tensor<2>) -> Tensor<2> {
    let logs = p.clone().clamp_min(f32::MIN_POSITIVE).log();
    (p * logs).sum_dim(1).neg()
}
