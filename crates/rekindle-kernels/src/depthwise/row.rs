//! The micro-kernel of depthwise convolutions: one output row of sixteen channels.
//!
//! A register tile holds the sums of neighbouring pixels of the row; each tap is one multiply-add per pixel, with sixteen
//! channels in the lanes of both operands, so that nothing is broadcast and every input line is read from the first-level
//! cache once per tap.

// Indices are constants after unrolling; iterators over the sums would hide that from the reader and the optimiser.
#![allow(clippy::needless_range_loop)]

use crate::functions::{Clamp, clamped};
use crate::line::{LANES, Line};
use crate::simd::Simd;
use crate::tile::unrolled;

/// Arguments of one call of the micro-kernel. It computes:
///
/// `out[p] = clamp(bias + sum over ky and kx of input[ky][first + p * STRIDE + kx] * weights[ky][kx] + residual[p])`, where
/// input columns outside of `0..width` are zero.
pub(crate) struct DepthwiseRow {
    /// Pixel 0 of the uppermost input row.
    pub input: *const f32,
    /// Values between two input rows.
    pub row_stride: usize,
    /// Rows of the filter that meet the picture.
    pub rows: usize,
    /// Pixels of an input row.
    pub width: usize,
    /// Input column of the first tap of output pixel 0, negative in the padding.
    pub first: isize,
    /// `[rows, taps, 16]`.
    pub weights: *const f32,
    /// Taps of a row of the filter.
    pub taps: usize,
    pub out: *mut f32,
    /// Output pixels.
    pub count: usize,
    /// Values between two output pixels, in `out` and `residual`.
    pub pixel_stride: usize,
    /// Same layout as `out`, or null.
    pub residual: *const f32,
    /// Sixteen starting values.
    pub bias: *const f32,
    pub clamp: Clamp,
}

/// A compiled micro-kernel. Pointers of the row must be valid for all it touches.
pub(crate) type DepthwiseRowFn = unsafe fn(&DepthwiseRow);

/// Most taps of a row, and most columns under a register tile, of kernels that know their number of taps.
const MOST_COLUMNS: usize = 7 * 2 + 7;

static ZERO: Line = Line::ZERO;

/// Computes a row in tiles of `R` pixels, for filters whose rows have `K` taps (any number where `K` is zero).
///
/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn depthwise_row<S: Simd, const K: usize, const STRIDE: usize, const R: usize>(
    t: &DepthwiseRow,
) {
    let taps = if K == 0 { t.taps } else { K };
    for x in (0..t.count).step_by(R) {
        // The last tile overlaps the one before, rather than being smaller.
        let from = x.min(t.count.saturating_sub(R));
        let first = t.first + (from * STRIDE) as isize;
        let end = first + ((R - 1) * STRIDE + taps) as isize;
        // SAFETY: by the contract above.
        unsafe {
            if first >= 0 && end <= t.width as isize {
                tile::<S, K, STRIDE, R, false>(t, from, first);
            } else {
                tile::<S, K, STRIDE, R, true>(t, from, first);
            }
        }
    }
}

/// # Safety
/// As [`depthwise_row`]; where not `BORDER`, the tile's window lies inside the row.
#[inline(always)]
unsafe fn tile<S: Simd, const K: usize, const STRIDE: usize, const R: usize, const BORDER: bool>(
    t: &DepthwiseRow,
    from: usize,
    first: isize,
) {
    // SAFETY: by the contract above.
    unsafe {
        let mut acc = [S::load(t.bias); R];
        for ky in 0..t.rows {
            let row = t.input.wrapping_add(ky * t.row_stride);
            if K == 0 {
                let weights = t.weights.add(ky * t.taps * LANES);
                for kx in 0..t.taps {
                    let w = S::load(weights.add(kx * LANES));
                    unrolled!(p < R, {
                        let x = line::<BORDER>(t.width, row, first + (p * STRIDE + kx) as isize);
                        acc[p] = S::fma(S::load(x), w, acc[p]);
                    });
                }
                continue;
            }
            let weights = t.weights.add(ky * K * LANES);
            if BORDER {
                // Every column is looked at once, and then serves all taps.
                let mut columns = [S::zero(); MOST_COLUMNS];
                for j in 0..(R - 1) * STRIDE + K {
                    columns[j] = S::load(line::<true>(t.width, row, first + j as isize));
                }
                unrolled!(kx < K, {
                    let w = S::load(weights.add(kx * LANES));
                    unrolled!(p < R, {
                        acc[p] = S::fma(columns[p * STRIDE + kx], w, acc[p]);
                    });
                });
            } else {
                let row = row.offset(first * LANES as isize);
                unrolled!(kx < K, {
                    let w = S::load(weights.add(kx * LANES));
                    unrolled!(p < R, {
                        let x = S::load(row.add((p * STRIDE + kx) * LANES));
                        acc[p] = S::fma(x, w, acc[p]);
                    });
                });
            }
        }
        let pixels = t.count - from;
        let at = from * t.pixel_stride;
        if !t.residual.is_null() {
            unrolled!(p < R, {
                if p < pixels {
                    let residual = S::load(t.residual.add(at + p * t.pixel_stride));
                    acc[p] = S::add(acc[p], residual);
                }
            });
        }
        unrolled!(p < R, {
            if p < pixels {
                let v = clamped::<S>(t.clamp, acc[p]);
                S::store(t.out.add(at + p * t.pixel_stride), v);
            }
        });
    }
}

/// Returns the line of an input column, of zeros where it lies in the padding.
#[inline(always)]
pub(super) fn line<const BORDER: bool>(width: usize, row: *const f32, column: isize) -> *const f32 {
    if BORDER && (column < 0 || column >= width as isize) {
        (&raw const ZERO).cast()
    } else {
        row.wrapping_offset(column * LANES as isize)
    }
}
