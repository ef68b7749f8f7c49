//! The gradients of the fully connected layer.

use crate::buffer::{Buffer, SendPtr};
use crate::dispatch::Kernels;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::linear::PackedLinear;
use crate::outer::Outer;
use rayon::prelude::*;

/// Gradients of a linear layer, row-major.
#[derive(Clone, Debug)]
pub struct LinearGradients {
    /// Gradient by the input, `[batch, inputs]`.
    pub x: Vec<f32>,
    /// Gradient by the weight, `[outputs, inputs]`.
    pub weight: Vec<f32>,
    /// Gradient by the bias, `[outputs]`.
    pub bias: Vec<f32>,
}

/// Gradients for the input `x` (`[batch, inputs]`), `weight` (`[outputs, inputs]`) and the gradient `dy` by the output
/// (`[batch, outputs]`), all row-major.
pub fn linear_gradients(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    [batch, outputs, inputs]: [usize; 3],
) -> Result<LinearGradients, KernelError> {
    check_len("the linear layer's input", x.len(), &[batch, inputs])?;
    check_len(
        "the linear layer's weight",
        weight.len(),
        &[outputs, inputs],
    )?;
    check_len("the linear layer's gradient", dy.len(), &[batch, outputs])?;
    check_isa(isa)?;
    let back = PackedLinear::transposed(isa, [outputs, inputs], weight);
    let mut bias = vec![0.0; outputs];
    for row in dy.chunks(outputs) {
        for (sum, value) in bias.iter_mut().zip(row) {
            *sum += value;
        }
    }
    Ok(LinearGradients {
        x: back.forward(dy, batch)?,
        weight: weight_gradient(Kernels::of(isa), x, dy, [batch, outputs, inputs]),
        bias,
    })
}

/// `dyᵀ x` as a sum of outer products over the batch, with inputs in the lanes.
fn weight_gradient(
    kernels: &'static Kernels,
    x: &[f32],
    dy: &[f32],
    [batch, outputs, inputs]: [usize; 3],
) -> Vec<f32> {
    let (rows, blocks) = (
        outputs.next_multiple_of(kernels.outer_rows),
        inputs.div_ceil(LANES),
    );
    let mut b = Buffer::zeroed(batch * blocks);
    for (line, lines) in b.lines_mut().chunks_mut(blocks).enumerate() {
        for (line, values) in lines
            .iter_mut()
            .zip(x[line * inputs..][..inputs].chunks(LANES))
        {
            line.0[..values.len()].copy_from_slice(values);
        }
    }
    let mut a = vec![0.0f32; batch * rows];
    for (a, dy) in a.chunks_mut(rows).zip(dy.chunks(outputs)) {
        a[..outputs].copy_from_slice(dy);
    }
    let mut sums = Buffer::new(rows * blocks);
    let out = SendPtr::new(sums.as_mut_ptr());
    (0..rows / kernels.outer_rows)
        .into_par_iter()
        .for_each(|group| {
            let r = group * kernels.outer_rows;
            for first in (0..blocks).step_by(kernels.outer_blocks) {
                let outer = Outer {
                    a: a.as_ptr().wrapping_add(r),
                    a_pixel: 0,
                    a_row: rows,
                    a_picture: 0,
                    b: b.as_ptr().wrapping_add(first * LANES),
                    b_block: LANES,
                    b_row: blocks * LANES,
                    b_picture: 0,
                    a_ahead: 0,
                    b_ahead: 0,
                    count: 1,
                    rows: batch,
                    pictures: 1,
                    out: out.get().wrapping_add((r * blocks + first) * LANES),
                    out_stride: blocks * LANES,
                    out_block: LANES,
                    accumulate: false,
                };
                // SAFETY: `a`, `b` and the sums cover all rows and blocks, and each task has its own rows.
                unsafe { kernels.outer(kernels.outer_blocks.min(blocks - first))(&outer) };
            }
        });
    let mut out = vec![0.0; outputs * inputs];
    out.par_chunks_mut(inputs)
        .zip(sums.lines().par_chunks(blocks))
        .for_each(|(row, lines)| row.copy_from_slice(&Line::values(lines)[..inputs]));
    out
}
