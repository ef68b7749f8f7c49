//! Domain-adversarial training: a classifier of domains and the loss that it and the features fight over.

use burn::module::Module;
use burn::nn::Linear;
use burn::prelude::*;
use burn::tensor::activation::{relu, softplus};

use super::check;
use crate::TransferError;
use crate::initialise::linear;

/// Tells source from target: a network of two layers with a ReLU between them, `[n, features]` to one logit
/// a row, large for the source.
#[derive(Module, Debug)]
pub struct DomainClassifier {
    hidden: Linear,
    output: Linear,
}

impl DomainClassifier {
    /// Creates a fresh classifier with `hidden` units, a function of `seed`.
    pub fn new(features: usize, hidden: usize, seed: u64, device: &Device) -> Self {
        Self {
            hidden: linear(features, hidden, seed, device),
            output: linear(hidden, 1, seed ^ 0x9e37_79b9_7f4a_7c15, device),
        }
    }

    /// Features `[n, features]` to logits `[n, 1]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.hidden.forward(features)))
    }
}

/// Computes the binary cross entropy of a domain classifier, `[1]`: half the mean over the source of `log(1 +
/// exp(-z))` plus half the mean over the target of `log(1 + exp(z))`.
///
/// `source` `[n, 1]` and `target` `[m, 1]` are logits, large for the source; each domain counts the same,
/// whatever its number of rows. `weights`, one per row (`[n, 1]` and `[m, 1]`), turn the means into weighted
/// means; CDAN weighs by certainty.
///
/// Domain-adversarial training (DANN; Ganin et al. 2016, <https://arxiv.org/abs/1505.07818>) puts
/// [`reverse_gradient`](super::reverse_gradient) in front of the classifier. It hurts where the domains hold
/// classes in different proportions: features that match as a whole then must mix classes.
///
/// # Errors
///
/// [`TransferError`] for an empty batch, or other shapes.
pub fn domain_loss(
    source: Tensor<2>,
    target: Tensor<2>,
    weights: Option<(Tensor<2>, Tensor<2>)>,
) -> Result<Tensor<1>, TransferError> {
    check::same_width("domain classifier", &source, &target, 1)?;
    let (source, target) = (softplus(source.neg(), 1.0), softplus(target, 1.0));
    let total = match weights {
        None => source.mean() + target.mean(),
        Some((of_source, of_target)) => {
            check::same_shape("domain classifier", &source, &of_source, 1)?;
            check::same_shape("domain classifier", &target, &of_target, 1)?;
            weighted_mean(source, of_source) + weighted_mean(target, of_target)
        }
    };
    Ok(total.mul_scalar(0.5))
}

fn weighted_mean(x: Tensor<2>, weights: Tensor<2>) -> Tensor<1> {
    (x * weights.clone()).sum() / weights.sum().clamp_min(f32::MIN_POSITIVE)
}
