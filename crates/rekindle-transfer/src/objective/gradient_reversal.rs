//! Reverses gradients.

use burn::prelude::*;

/// Returns `x` unchanged in the forward pass, and multiplies its gradient in the backward pass by `-strength`.
///
/// Put it between features and a domain classifier, and one minimisation trains the classifier to tell the
/// domains apart and the features to confuse it (Ganin et al. 2016, <https://arxiv.org/abs/1505.07818>).
/// A `strength` of 0 cuts the features off; values far above 1 make the features collapse.
pub fn reverse_gradient<const D: usize>(x: Tensor<D>, strength: f64) -> Tensor<D> {
    let fixed = x.clone().detach();
    // The difference is exactly 0, so that the value stays the same to the last bit.
    fixed.clone() + (fixed - x).mul_scalar(strength)
}
