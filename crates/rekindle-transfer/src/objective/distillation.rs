//! Distillation: a student that gives a teacher's probabilities.

use burn::prelude::*;
use burn::tensor::activation::{log_softmax, softmax};

use super::check;
use crate::TransferError;

/// Computes `T^2` times the mean Kullback-Leibler divergence of the student's softened probabilities from the
/// teacher's, `[1]` (Hinton et al. 2015, <https://arxiv.org/abs/1503.02531>).
///
/// `student`, `teacher`: logits `[n, c]` of the same classes, each divided by the temperature `T`; the factor keeps
/// gradients of the same size for all temperatures. The teacher gets no gradient. At least 0, and 0 for equal
/// logits. It hands on the teacher's mistakes as well; mix it with the cross entropy against labels.
///
/// # Errors
///
/// [`TransferError`] for an empty batch, other shapes, or a temperature that isn't above 0.
pub fn distillation_loss(
    student: Tensor<2>,
    teacher: Tensor<2>,
    temperature: f64,
) -> Result<Tensor<1>, TransferError> {
    check::positive("distillation", "temperature", temperature)?;
    check::same_shape("distillation", &student, &teacher, 1)?;
    let teacher = teacher.detach().div_scalar(temperature);
    let p = softmax(teacher.clone(), 1);
    let divergence =
        p * (log_softmax(teacher, 1) - log_softmax(student.div_scalar(temperature), 1));
    let mean = divergence.sum_dim(1).mean();
    Ok(mean.mul_scalar(temperature * temperature))
}
