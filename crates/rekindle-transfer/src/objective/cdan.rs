//! Conditional adversarial training: the domain classifier sees features and predictions together.

use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::activation::softmax;

use super::check;
use super::entropy::entropy_of;
use crate::TransferError;
use crate::initialise::normal;

/// Features `[n, d]` and predictions `[n, c]` to their outer products `[n, d * c]`: what conditional
/// adversarial networks (CDAN; Long et al. 2018, <https://arxiv.org/abs/1705.10667>) show the domain
/// classifier. Feature `i` with class `k` is column `k * d + i`.
///
/// # Errors
///
/// [`TransferError`] where the numbers of rows differ or a batch is empty.
pub fn multilinear_map(
    features: Tensor<2>,
    predictions: Tensor<2>,
) -> Result<Tensor<2>, TransferError> {
    let ([n, d], [rows, c]) = (features.dims(), predictions.dims());
    check::rows("CDAN", &features, 1)?;
    check::length("rows of predictions", rows, n)?;
    let product: Tensor<3> = predictions.unsqueeze_dim::<3>(2) * features.unsqueeze_dim::<3>(1);
    Ok(product.reshape([n, c * d]))
}

/// The multilinear map where `d * c` is too large: `(R f) * (S g) / sqrt(size)` with fixed matrices of
/// independent standard normal numbers, whose scalar products match those of [`multilinear_map`] in
/// expectation (Long et al. 2018).
#[derive(Clone, Debug)]
pub struct RandomizedMultilinearMap {
    features: Tensor<2>,
    predictions: Tensor<2>,
}

impl RandomizedMultilinearMap {
    /// Creates a map of `d` features and `c` classes to `size` numbers, a function of `seed`.
    pub fn new(d: usize, c: usize, size: usize, seed: u64, device: &Device) -> Self {
        let matrix = |rows: usize, seed: u64| {
            let values = normal(rows * size, seed);
            Tensor::from_data(TensorData::new(values, [rows, size]), device)
        };
        Self {
            features: matrix(d, seed),
            predictions: matrix(c, seed ^ 0x5bd1_e995),
        }
    }

    /// Features `[n, d]` and predictions `[n, c]` to `[n, size]`.
    ///
    /// # Errors
    ///
    /// [`TransferError`] where shapes don't fit.
    pub fn forward(
        &self,
        features: Tensor<2>,
        predictions: Tensor<2>,
    ) -> Result<Tensor<2>, TransferError> {
        let ([n, d], [rows, c]) = (features.dims(), predictions.dims());
        let [expected_d, size] = self.features.dims();
        check::length("rows of predictions", rows, n)?;
        check::length("features", d, expected_d)?;
        check::length("classes", c, self.predictions.dims()[0])?;
        let features = features.matmul(self.features.clone());
        let predictions = predictions.matmul(self.predictions.clone());
        Ok((features * predictions).div_scalar((size as f64).sqrt()))
    }
}

/// Computes the weight of each row for the domain classifier, `[n, 1]`: `1 + exp(-H)`, with `H` the entropy
/// of the predictions of `logits` `[n, c]`. Between 1 and 2, without a gradient: easy examples are aligned
/// first.
///
/// # Errors
///
/// [`TransferError`] for an empty batch.
pub fn certainty_weights(logits: Tensor<2>) -> Result<Tensor<2>, TransferError> {
    check::rows("CDAN", &logits, 1)?;
    let entropy = entropy_of(softmax(logits.detach(), 1));
    Ok(entropy.neg().exp().add_scalar(1.0))
}
