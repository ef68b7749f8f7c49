//! The micro-kernel of depthwise weight gradients: sums over pixels for one row of the filter.

// Indices are constants after unrolling; iterators over the sums would hide that from the reader and the optimiser.
#![allow(clippy::needless_range_loop)]

use super::row::line;
use crate::line::LANES;
use crate::simd::Simd;
use crate::tile::unrolled;

/// Arguments of one call of the micro-kernel, which computes for each tap `kx` of a row of the filter
/// `sums[kx] += sum over rows r and pixels p of input[r][first + p * STRIDE + kx] * dy[r][p]`, where input
/// columns outside of `0..width` are zero.
pub(crate) struct DepthwiseSums {
    /// Pixel 0 of the input row that the first output row meets.
    pub input: *const f32,
    /// Values between the input rows that neighbouring output rows meet.
    pub input_row: usize,
    /// Pixels of an input row.
    pub width: usize,
    /// Input column of the first tap of output pixel 0, negative in the padding.
    pub first: isize,
    pub dy: *const f32,
    /// Values between two output rows.
    pub dy_row: usize,
    /// Output rows, and pixels of one.
    pub rows: usize,
    pub count: usize,
    /// A line per tap.
    pub sums: *mut f32,
}

/// A compiled micro-kernel. Its pointers must be valid for all it touches.
pub(crate) type DepthwiseSumsFn = unsafe fn(&DepthwiseSums);

/// Sums for rows of `K` taps, `SETS` pixels at a time, so that one addition does not wait for the other.
///
/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn depthwise_sums<
    S: Simd,
    const K: usize,
    const STRIDE: usize,
    const SETS: usize,
>(
    t: &DepthwiseSums,
) {
    // The pixels `from..to` see all taps inside the row.
    let inside = |column: isize| column.clamp(0, t.count as isize) as usize;
    let step = STRIDE as isize;
    let from = inside(((-t.first).max(0) + step - 1) / step);
    let last = t.width as isize - K as isize - t.first;
    let to = if last < 0 { 0 } else { inside(last / step + 1) }.max(from);
    // SAFETY: by the contract above; columns near the borders are looked at.
    unsafe {
        let mut acc = [[S::zero(); K]; SETS];
        for row in 0..t.rows {
            let input = t.input.wrapping_add(row * t.input_row);
            let dy = t.dy.add(row * t.dy_row);
            for x in (0..from).chain(to..t.count) {
                let g = S::load(dy.add(x * LANES));
                let first = t.first + (x * STRIDE) as isize;
                unrolled!(kx < K, {
                    let v = S::load(line::<true>(t.width, input, first + kx as isize));
                    acc[0][kx] = S::fma(v, g, acc[0][kx]);
                });
            }
            let mut x = from;
            while x + SETS <= to {
                let first = t.first + (x * STRIDE) as isize;
                let input = input.offset(first * LANES as isize);
                unrolled!(set < SETS, {
                    let g = S::load(dy.add((x + set) * LANES));
                    unrolled!(kx < K, {
                        let v = S::load(input.add((set * STRIDE + kx) * LANES));
                        acc[set][kx] = S::fma(v, g, acc[set][kx]);
                    });
                });
                x += SETS;
            }
            while x < to {
                let g = S::load(dy.add(x * LANES));
                let first = t.first + (x * STRIDE) as isize;
                let input = input.offset(first * LANES as isize);
                unrolled!(kx < K, {
                    let v = S::load(input.add(kx * LANES));
                    acc[0][kx] = S::fma(v, g, acc[0][kx]);
                });
                x += 1;
            }
        }
        unrolled!(kx < K, {
            let mut sum = S::load(t.sums.add(kx * LANES));
            for set in 0..SETS {
                sum = S::add(sum, acc[set][kx]);
            }
            S::store(t.sums.add(kx * LANES), sum);
        });
    }
}
