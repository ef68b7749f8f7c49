//! Sums and products of feature maps, number by number.

use crate::activation::Activation;
use crate::error::KernelError;
use rayon::prelude::*;

/// Lines of a task.
const TASK: usize = 1 << 10;

/// Multiplies two feature maps of one shape, number by number, as gated units do.
///
/// The gradient by one factor is the product of the other with the output's gradient.
///
/// # Errors
///
/// [`KernelError`] for maps of two shapes.
pub fn multiply(a: &Activation, b: &Activation) -> Result<Activation, KernelError> {
    combine("the other factor", a, b, |a, b| a * b)
}

/// Subtracts `b` from `a`, feature maps of one shape.
///
/// # Errors
///
/// [`KernelError`] for maps of two shapes.
pub fn subtract(a: &Activation, b: &Activation) -> Result<Activation, KernelError> {
    combine("what is subtracted", a, b, |a, b| a - b)
}

fn combine(
    what: &'static str,
    a: &Activation,
    b: &Activation,
    function: impl Fn(f32, f32) -> f32 + Sync,
) -> Result<Activation, KernelError> {
    b.check_shape(what, a.shape())?;
    let mut y = Activation::uninit(a.shape());
    let inputs = a.lines().par_chunks(TASK).zip(b.lines().par_chunks(TASK));
    let results = y.lines_mut().par_chunks_mut(TASK).zip(inputs);
    results.for_each(|(y, (a, b))| {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            for ((y, a), b) in y.0.iter_mut().zip(a.0).zip(b.0) {
                *y = function(a, b);
            }
        }
    });
    Ok(y)
}
