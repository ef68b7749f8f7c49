//! The gradient of a layer by its bias.

use crate::activation::Activation;
use crate::error::{KernelError, check_isa};
use crate::isa::Isa;
use crate::line::Line;
use crate::planes::moments_by_plane;

/// Computes the gradient by the bias of a convolution, one value per channel: the sum over batch, height and width of `dy`,
/// the gradient by its output.
pub fn bias_gradient(isa: Isa, dy: &Activation) -> Result<Vec<f32>, KernelError> {
    check_isa(isa)?;
    let sums = moments_by_plane(isa, dy, |_| &Line::ZERO);
    let channels = 0..dy.shape()[1];
    Ok(channels.map(|c| sums.channel(c).0 as f32).collect())
}
