//! Relational knowledge distillation: the teacher's distances and angles, not its outputs.

use burn::prelude::*;

use super::check;
use super::mk_mmd::squared_distances;
use crate::TransferError;

/// Below this a distance counts as 0 and carries no gradient.
const LEAST_SQUARE: f64 = 1e-12;

/// Computes the mean Huber loss over all pairs of rows between the student's and the teacher's distances, each as a
/// multiple of its own mean, `[1]` (RKD-D; Park et al. 2019, <https://arxiv.org/abs/1904.05068>).
///
/// `student` `[n, d]`, `teacher` `[n, e]`: embeddings of the same images; widths may differ, and so may scales.
/// The Huber loss is `x^2 / 2` up to `|x| = 1` and `|x| - 1/2` beyond. The teacher gets no gradient. Embeddings
/// that all fall on one point count as distances of 0.
///
/// # Errors
///
/// [`TransferError`] for fewer than two rows, or different numbers of rows.
pub fn rkd_distance_loss(
    student: Tensor<2>,
    teacher: Tensor<2>,
) -> Result<Tensor<1>, TransferError> {
    check_rows("RKD-D", &student, &teacher, 2)?;
    let n = student.dims()[0];
    let difference = relative_distances(student) - relative_distances(teacher.detach());
    Ok(huber(difference).sum().div_scalar((n * (n - 1)) as f64))
}

/// Computes the mean Huber loss over all triples of different rows between the cosines of the angles that they form,
/// `[1]` (RKD-A; Park et al. 2019, <https://arxiv.org/abs/1904.05068>).
///
/// For rows `i, j, k` the angle is the one at `j`: the cosine of `x_i - x_j` and `x_k - x_j`. Shapes as in
/// [`rkd_distance_loss`]; memory grows with `n^2 d + n^3`, so keep batches below a few hundred. Two equal rows count
/// as a cosine of 0.
///
/// # Errors
///
/// [`TransferError`] for fewer than three rows, or different numbers of rows.
pub fn rkd_angle_loss(student: Tensor<2>, teacher: Tensor<2>) -> Result<Tensor<1>, TransferError> {
    check_rows("RKD-A", &student, &teacher, 3)?;
    let n = student.dims()[0];
    let difference = cosines(student) - cosines(teacher.detach());
    // Triples with i = k have a cosine of 1 on both sides, those with i = j or k = j one of 0.
    let triples = (n * (n - 1) * (n - 2)) as f64;
    Ok(huber(difference).sum().div_scalar(triples))
}

fn check_rows(
    method: &'static str,
    student: &Tensor<2>,
    teacher: &Tensor<2>,
    least: usize,
) -> Result<(), TransferError> {
    check::rows(method, student, least)?;
    check::rows(method, teacher, least)?;
    check::length("rows of the teacher", teacher.dims()[0], student.dims()[0])
}

/// Distances `[n, n]` over the mean distance of two different rows.
fn relative_distances(x: Tensor<2>) -> Tensor<2> {
    let n = x.dims()[0];
    let squares = squared_distances(x);
    let is_apart = squares.clone().detach().greater_elem(LEAST_SQUARE).float();
    let distances = squares.clamp_min(LEAST_SQUARE).sqrt() * is_apart;
    let mean = distances.clone().sum().div_scalar((n * (n - 1)) as f64);
    distances / mean.clamp_min(LEAST_SQUARE.sqrt()).reshape([1, 1])
}

/// Cosines `[j, i, k]` of the angles at row `j`.
fn cosines(x: Tensor<2>) -> Tensor<3> {
    let towards: Tensor<3> = x.clone().unsqueeze_dim::<3>(0) - x.unsqueeze_dim::<3>(1);
    let squares = towards.clone().square().sum_dim(2);
    let is_apart = squares.clone().detach().greater_elem(LEAST_SQUARE).float();
    let directions = towards * is_apart / squares.clamp_min(LEAST_SQUARE).sqrt();
    directions.clone().matmul(directions.swap_dims(1, 2))
}

fn huber<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // With the absolute value cut at 1 this is both of its branches: c |x| - c^2 / 2.
    let x = x.abs();
    let cut = x.clone().clamp_max(1.0);
    cut.clone() * x - cut.square().mul_scalar(0.5)
}
