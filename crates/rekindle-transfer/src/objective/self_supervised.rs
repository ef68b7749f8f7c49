//! Losses that need no label: two views of the same images, alike.

use burn::prelude::*;

use super::check;
use crate::TransferError;

/// Computes the negative mean cosine of predictions and the other view's projections, both ways, `[1]`, in `[-1, 1]`
/// (SimSiam; Chen and He 2021, <https://arxiv.org/abs/2011.10566>): `-(cos(p1, stop(z2)) + cos(p2, stop(z1))) / 2`.
///
/// All `[n, d]`; `z` are the projections of two augmentations of the same images, `p` what a small predictor makes of
/// them. The projections carry no gradient here, without which everything collapses to one point. A row of zeros
/// has a cosine of 0.
///
/// # Errors
///
/// [`TransferError`] for an empty batch, or different shapes.
pub fn simsiam_loss(
    p1: Tensor<2>,
    z1: Tensor<2>,
    p2: Tensor<2>,
    z2: Tensor<2>,
) -> Result<Tensor<1>, TransferError> {
    for other in [&z1, &p2, &z2] {
        check::same_shape("SimSiam", &p1, other, 1)?;
    }
    let first = mean_cosine(p1, z2.detach());
    let second = mean_cosine(p2, z1.detach());
    Ok((first + second).mul_scalar(-0.5))
}

fn mean_cosine(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    (unit_rows(a) * unit_rows(b)).sum_dim(1).mean()
}

/// Rows of `x` `[n, d]` divided by their Euclidean length; rows of zeros stay.
pub(crate) fn unit_rows(x: Tensor<2>) -> Tensor<2> {
    let length = x.clone().square().sum_dim(1).clamp_min(1e-16).sqrt();
    x / length
}

/// Computes the loss of Barlow Twins (Zbontar et al. 2021, <https://arxiv.org/abs/2103.03230>), `[1]`: `sum_i (1 -
/// c_ii)^2 + off_diagonal * sum_{i != j} c_ij^2` with `c` the correlations over the batch of the features of the two
/// views.
///
/// `z1`, `z2`: `[n, d]` projections of two augmentations of the same images, normalised here (divisor `n`). The
/// paper's `off_diagonal` is 0.005. A feature that is the same for all images counts as correlated with nothing.
/// The batch should not be much smaller than `d`.
///
/// # Errors
///
/// [`TransferError`] for fewer than two rows, different shapes, or an `off_diagonal` that isn't above 0.
pub fn barlow_twins_loss(
    z1: Tensor<2>,
    z2: Tensor<2>,
    off_diagonal: f64,
) -> Result<Tensor<1>, TransferError> {
    check::positive("Barlow Twins", "off_diagonal", off_diagonal)?;
    check::same_shape("Barlow Twins", &z1, &z2, 2)?;
    let [n, d] = z1.dims();
    let c = standardised(z1)
        .transpose()
        .matmul(standardised(z2))
        .div_scalar(n as f64);
    let eye = Tensor::<2>::eye(d, &c.device());
    let away_from_one = ((c.clone() - eye.clone()).square() * eye.clone()).sum();
    let redundancy = (c.square() * eye.neg().add_scalar(1.0)).sum();
    Ok(away_from_one + redundancy.mul_scalar(off_diagonal))
}

fn standardised(x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(0);
    let variance = centred.clone().square().mean_dim(0);
    centred / variance.clamp_min(1e-10).sqrt()
}
