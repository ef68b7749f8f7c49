//! Domain confusion: features that leave a domain classifier undecided.

use burn::prelude::*;
use burn::tensor::activation::softplus;

use super::check;
use crate::TransferError;

/// Cross entropy of a domain classifier against the uniform distribution over the two domains, `[1]`:
/// the mean over all rows of `(log(1 + exp(z)) + log(1 + exp(-z))) / 2`, at least `ln 2`, which it takes at
/// `z = 0`.
///
/// `source` `[n, 1]` and `target` `[m, 1]` are logits of a domain classifier whose own parameters must not
/// learn from this loss (`classifier.no_grad()`); train it by [`domain_loss`](super::domain_loss) on detached
/// features in the same step (Tzeng et al. 2015, <https://arxiv.org/abs/1510.02192>).
///
/// Gentler than a reversed gradient, since its gradient vanishes where the classifier is undecided; for the
/// same reason slow where the domains are far apart.
///
/// # Errors
///
/// [`TransferError`] for an empty batch, or other shapes.
pub fn domain_confusion_loss(
    source: Tensor<2>,
    target: Tensor<2>,
) -> Result<Tensor<1>, TransferError> {
    check::same_width("domain confusion", &source, &target, 1)?;
    let z = Tensor::cat(vec![source, target], 0);
    Ok((softplus(z.clone(), 1.0) + softplus(z.neg(), 1.0))
        .mean()
        .mul_scalar(0.5))
}
