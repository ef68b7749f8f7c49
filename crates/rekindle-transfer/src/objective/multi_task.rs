//! Several losses as one: fixed weights, and weights by learnt uncertainty.

use burn::module::{Module, Param};
use burn::prelude::*;

use super::check;
use crate::TransferError;

/// Computes `sum_i weights_i * losses_i`, `[1]`. `losses` are scalars `[1]` each.
///
/// # Errors
///
/// [`TransferError`] without losses, for another number of weights, or a weight that is negative or no number.
pub fn weighted_sum(losses: &[Tensor<1>], weights: &[f64]) -> Result<Tensor<1>, TransferError> {
    check::length("weights of tasks", weights.len(), losses.len())?;
    if let Some(weight) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
        return Err(TransferError::InvalidStrategy {
            strategy: "weights of tasks",
            parameter: "weights".into(),
            found: weight.to_string(),
            expected: "finite numbers, at least 0",
        });
    }
    losses
        .iter()
        .zip(weights)
        .map(|(loss, weight)| loss.clone().mul_scalar(*weight))
        .reduce(|sum, next| sum + next)
        .ok_or_else(no_task)
}

const LEAST_LOG_VARIANCE: f64 = -2.0;

/// Weights that are learnt with the network, from the uncertainty of each task (Kendall et al. 2018,
/// <https://arxiv.org/abs/1705.07115>).
///
/// With `s_i = ln sigma_i^2` the loss is `sum_i exp(-s_i) losses_i + s_i / 2`; for a fixed loss it is smallest at
/// `s_i = ln(2 losses_i)`, so that each task ends with a share of the same size whatever its units. A task whose loss
/// goes to 0 would get a weight without bound, so that `s` counts as no less than -2, which is a weight of 7.4.
#[derive(Module, Debug)]
pub struct UncertaintyWeighting {
    /// `s_i`, `[tasks]`.
    pub log_variances: Param<Tensor<1>>,
}

impl UncertaintyWeighting {
    /// Begins all tasks with `s = 0`, which is a plain sum.
    pub fn new(tasks: usize, device: &Device) -> Self {
        let zeros = Tensor::zeros([tasks], device);
        Self {
            log_variances: Param::from_tensor(zeros),
        }
    }

    /// Computes the weighted loss, `[1]`, of the scalars `losses`.
    ///
    /// # Errors
    ///
    /// [`TransferError`] for another number of tasks, or none.
    pub fn loss(&self, losses: &[Tensor<1>]) -> Result<Tensor<1>, TransferError> {
        let s = self.log_variances.val();
        check::length("losses of tasks", losses.len(), s.dims()[0])?;
        if losses.is_empty() {
            return Err(no_task());
        }
        let losses = Tensor::cat(losses.to_vec(), 0);
        let s = s.clamp_min(LEAST_LOG_VARIANCE);
        Ok((s.clone().neg().exp() * losses + s.div_scalar(2.0)).sum())
    }
}

fn no_task() -> TransferError {
    TransferError::Degenerate {
        method: "multi-task loss",
        reason: "no task; give at least one loss".into(),
    }
}
