//! Maximum mean discrepancy with several Gaussian kernels.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::check;
use crate::TransferError;

/// Squared maximum mean discrepancy under a mean of Gaussian kernels (MK-MMD; Long et al. 2015,
/// <https://arxiv.org/abs/1502.02791>).
///
/// `mean k(s, s') + mean k(t, t') - 2 mean k(s, t)` over all pairs, with `k(x, y)` the mean over the factors
/// `a` of `exp(-|x - y|^2 / (a * b))` and `b` the mean squared distance of all pairs of different rows, taken as
/// a constant. The estimate with all pairs (a V-statistic) is never negative, exactly 0 for equal batches
/// and defined for a single row; the paper's estimate in linear time has the same expectation but for a term
/// in `1 / n`.
///
/// It matches whole distributions, so it hurts where the domains hold classes in different proportions.
/// Batches below some twenty rows make it noisy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MkMmd {
    /// Multiples of the mean squared distance, each above 0.
    pub factors: Vec<f64>,
}

impl Default for MkMmd {
    /// Five kernels from an eighth to twice the mean squared distance.
    fn default() -> Self {
        Self {
            factors: vec![0.125, 0.25, 0.5, 1.0, 2.0],
        }
    }
}

impl MkMmd {
    /// Computes the discrepancy of `source` `[n, d]` and `target` `[m, d]`, `[1]`. Rows that are all the same give 0.
    ///
    /// # Errors
    ///
    /// [`TransferError`] for an empty batch, other shapes, no kernel, or a factor that isn't above 0.
    pub fn loss(&self, source: Tensor<2>, target: Tensor<2>) -> Result<Tensor<1>, TransferError> {
        self.validate()?;
        check::same_width("MK-MMD", &source, &target, 1)?;
        let (n, m) = (source.dims()[0], target.dims()[0]);
        let distances = squared_distances(Tensor::cat(vec![source, target], 0));
        let pairs = ((n + m) * (n + m - 1)).max(1) as f64;
        let bandwidth = distances
            .clone()
            .detach()
            .sum()
            .div_scalar(pairs)
            .clamp_min(1e-20)
            .reshape([1, 1]);
        let scaled = distances / bandwidth;
        let kernel = self
            .factors
            .iter()
            .map(|factor| scaled.clone().div_scalar(-factor).exp())
            .reduce(|sum, next| sum + next)
            .map(|sum| sum.div_scalar(self.factors.len() as f64));
        let Some(kernel) = kernel else {
            return Ok(scaled.sum().mul_scalar(0.0));
        };
        let within_source = kernel.clone().slice([0..n, 0..n]).mean();
        let within_target = kernel.clone().slice([n..n + m, n..n + m]).mean();
        let across = kernel.slice([0..n, n..n + m]).mean();
        Ok(within_source + within_target - across.mul_scalar(2.0))
    }

    pub(super) fn validate(&self) -> Result<(), TransferError> {
        if self.factors.is_empty() {
            return Err(TransferError::Degenerate {
                method: "MK-MMD",
                reason: "no kernel; give at least one factor".into(),
            });
        }
        self.factors
            .iter()
            .try_for_each(|factor| check::positive("MK-MMD", "factors", *factor))
    }
}

/// Computes the squared Euclidean distances `[n, n]` of the rows of `x` `[n, d]`.
pub(super) fn squared_distances(x: Tensor<2>) -> Tensor<2> {
    // Distances don't depend on the origin, and products of centred rows cancel less.
    let x = x.clone() - x.detach().mean_dim(0);
    let squares = x.clone().square().sum_dim(1);
    let products = x.clone().matmul(x.transpose());
    let distances = squares.clone() + squares.transpose() - products.mul_scalar(2.0);
    let n = distances.dims()[0];
    let off_diagonal = Tensor::<2>::eye(n, &distances.device())
        .neg()
        .add_scalar(1.0);
    distances.clamp_min(0.0) * off_diagonal
}
