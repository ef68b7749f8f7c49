//! Matrices whose rows become columns.

use crate::buffer::{AlignedVec, SendPtr};
use crate::dispatch::Kernels;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::LANES;
use crate::transpose::Square;
use rayon::prelude::*;
use std::ops::Range;

/// Columns of a task, and rows that it reads before it moves to the next: whole cache lines of both matrices, and few enough
/// rows that their places in the cache do not collide.
const TILE: usize = 4 * LANES;
/// Rows of a task.
const ROWS: usize = 8 * TILE;

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
    let task = Task {
        kernels: Kernels::of(isa),
        values,
        rows,
        columns,
        out: SendPtr::new(out.as_mut_slice().as_mut_ptr()),
    };
    let (bands, parts) = (columns.div_ceil(TILE), rows.div_ceil(ROWS));
    (0..bands * parts).into_par_iter().for_each(|i| {
        let (column, row) = (i / parts * TILE, i % parts * ROWS);
        for first in (row..rows.min(row + ROWS)).step_by(TILE) {
            task.tile(
                first..rows.min(first + TILE),
                column..columns.min(column + TILE),
            );
        }
    });
    Ok(out)
}

struct Task<'a> {
    kernels: &'static Kernels,
    values: &'a [f32],
    rows: usize,
    columns: usize,
    out: SendPtr,
}

impl Task<'_> {
    fn tile(&self, rows: Range<usize>, columns: Range<usize>) {
        for r in rows.clone().step_by(LANES) {
            for c in columns.clone().step_by(LANES) {
                let (from, to) = (r * self.columns + c, c * self.rows + r);
                let (height, width) = (LANES.min(rows.end - r), LANES.min(columns.end - c));
                if height == LANES && width == LANES {
                    let square = Square {
                        from: self.values[from..].as_ptr(),
                        to: self.out.get().wrapping_add(to),
                        from_stride: self.columns,
                        to_stride: self.rows,
                    };
                    // SAFETY: sixteen rows and columns follow in both, and no other task has these columns of these rows.
                    unsafe { (self.kernels.square)(&square) };
                    continue;
                }
                for i in 0..height {
                    for j in 0..width {
                        let at = self.out.get().wrapping_add(to + j * self.rows + i);
                        // SAFETY: row and column lie in the matrix, and no other task has them.
                        unsafe { *at = self.values[from + i * self.columns + j] };
                    }
                }
            }
        }
    }
}
