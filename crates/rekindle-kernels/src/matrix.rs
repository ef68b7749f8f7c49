//! Matrices whose rows become columns.

use crate::buffer::AlignedVec;
use crate::dispatch::Kernels;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::LANES;
use crate::transpose::Square;
use rayon::prelude::*;

/// Columns of a task, and rows that it reads before it moves to the next columns: whole cache lines of both matrices, and
/// few enough rows that their places in the cache do not collide.
const TILE: usize = 4 * LANES;

/// Transposes a row-major matrix of `[rows, columns]`: the result is row-major `[columns, rows]`.
///
/// ```
/// use rekindle_kernels::{Isa, transpose};
///
/// let columns = transpose(Isa::detect(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
/// assert_eq!(columns[..], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
/// # Ok::<(), rekindle_kernels::KernelError>(())
/// ```
pub fn transpose(
    isa: Isa,
    values: &[f32],
    [rows, columns]: [usize; 2],
) -> Result<AlignedVec, KernelError> {
    check_isa(isa)?;
    check_len("the matrix", values.len(), &[rows, columns])?;
    let mut out = AlignedVec::new(values.len());
    if values.is_empty() {
        return Ok(out);
    }
    let kernels = Kernels::of(isa);
    let bands = out.as_mut_slice().par_chunks_mut(TILE * rows);
    bands.enumerate().for_each(|(band, out)| {
        let (first, width) = (band * TILE, out.len() / rows);
        for row in (0..rows).step_by(TILE) {
            let height = TILE.min(rows - row);
            for r in (row..row + height).step_by(LANES) {
                for c in (0..width).step_by(LANES) {
                    let (from, to) = (r * columns + first + c, c * rows + r);
                    let whole = r + LANES <= rows && c + LANES <= width;
                    if !whole {
                        let (height, width) = (LANES.min(rows - r), LANES.min(width - c));
                        for i in 0..height {
                            for j in 0..width {
                                out[to + j * rows + i] = values[from + i * columns + j];
                            }
                        }
                        continue;
                    }
                    let square = Square {
                        from: values[from..].as_ptr(),
                        to: out[to..].as_mut_ptr(),
                        from_stride: columns,
                        to_stride: rows,
                    };
                    // SAFETY: sixteen rows and columns follow in both.
                    unsafe { (kernels.square)(&square) };
                }
            }
        }
    });
    Ok(out)
}
