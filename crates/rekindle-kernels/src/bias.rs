//! The gradient of a layer by its bias.

use crate::activation::Activation;
use crate::dispatch::Kernels;
use crate::elementwise::Moments;
use crate::error::{KernelError, check_isa};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::planes::sums_by_plane;

/// Computes the gradient by the bias of a convolution, one value per channel: the sum over batch, height and width of `dy`,
/// the gradient by its output.
pub fn bias_gradient(isa: Isa, dy: &Activation) -> Result<Vec<f32>, KernelError> {
    check_isa(isa)?;
    let sums = sums_by_plane(dy.shape(), dy.blocks(), |_, first, count, sums| {
        let mut moments = Moments {
            x: dy.as_ptr().wrapping_add(first * LANES),
            count,
            shift: &Line::ZERO,
            sums,
        };
        // SAFETY: the run lies in the plane, and the instruction set has been checked.
        unsafe { (Kernels::of(isa).moments)(&mut moments) };
    });
    let channels = 0..dy.shape()[1];
    Ok(channels.map(|c| sums.channel(c).0 as f32).collect())
}
