//! The micro-kernel: a register tile of output pixels by output channels.
//!
//! Pixels are broadcast one value at a time and multiplied with vectors of output channels. The same kernel serves
//! 1x1, 3x3 and 7x7 convolutions, the products of Winograd's algorithm and the linear layer: what differs is only
//! where the input values lie, which comes as a list of segments.

// Indices are constants after unrolling; iterators over the sums would hide that from the reader and the optimiser.
#![allow(clippy::needless_range_loop)]

use crate::functions::Clamp;
use crate::line::LANES;
use crate::simd::Simd;

/// Arguments of one call of the micro-kernel. It computes:
///
/// `out[p, j] = [out | bias][p, j] + sum over segments s and k of a[s][k + p * STRIDE] * w[s * len + k][j]`, then
/// `+ residual`, then `clamp`, for pixels `p` and output channels `j` of the tile.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Input value of pixel 0 that the segments' offsets count from.
    pub a: *const f32,
    /// Weights `[segments * segment_len, channels of the tile]`.
    pub w: *const f32,
    /// Offset in values from `a` to the first value of each segment.
    pub offsets: *const isize,
    pub segments: usize,
    /// Consecutive input values in a segment.
    pub segment_len: usize,
    pub out: *mut f32,
    /// Values between two blocks of output channels, in `out` and `residual`.
    pub block_stride: usize,
    /// Values between two output pixels, in `out` and `residual`.
    pub pixel_stride: usize,
    /// Same layout as `out`, or null.
    pub residual: *const f32,
    /// Starting values by output channel, or null for zero.
    pub bias: *const f32,
    /// Start from what `out` holds instead of `bias`.
    pub accumulate: bool,
    pub clamp: Clamp,
    /// Fetch the pixels after these, which the next call will read.
    pub fetch_next: bool,
    /// A line for each term of the sum that later calls will read as weights, fetched meanwhile into the second-level cache.
    /// May be `w` for none.
    pub ahead: *const f32,
}

/// A compiled micro-kernel. Pointers of the tile must be valid for all it touches.
pub(crate) type TileFn = unsafe fn(&Tile);

/// Repeats the body with a constant index, so that register arrays are never indexed at run time.
macro_rules! unrolled {
    ($i:ident < $n:ident, $body:block) => {
        $crate::tile::unrolled!(@ $i, $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $i:ident, $n:ident, $body:block, $($k:literal)*) => {
        $(if $k < $n { #[allow(non_upper_case_globals)] const $i: usize = $k; $body })*
    };
}
pub(crate) use unrolled;

/// # Safety
/// The instruction set of `S` must be there, and `t`'s pointers valid for `MR` pixels `STRIDE` values apart and `NR`
/// blocks of channels.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd, const MR: usize, const NR: usize, const STRIDE: usize>(
    t: &Tile,
) {
    // SAFETY: by the contract above.
    unsafe {
        let mut acc = [[S::zero(); NR]; MR];
        // The processor does not see these far ahead of the long sum, and would wait for each line at its end.
        unrolled!(p < MR, {
            for j in 0..NR {
                let at = j * t.block_stride + p * t.pixel_stride;
                S::prefetch(t.out.wrapping_add(at));
                if !t.residual.is_null() {
                    S::prefetch(t.residual.wrapping_add(at));
                }
            }
        });
        if t.accumulate {
            unrolled!(p < MR, {
                for j in 0..NR {
                    acc[p][j] = S::load(t.out.add(j * t.block_stride + p * t.pixel_stride));
                }
            });
        } else if !t.bias.is_null() {
            for j in 0..NR {
                let bias = S::load(t.bias.add(j * LANES));
                unrolled!(p < MR, { acc[p][j] = bias });
            }
        }
        let (mut w, mut ahead) = (t.w, t.ahead);
        for s in 0..t.segments {
            let mut a = t.a.offset(*t.offsets.add(s));
            if t.fetch_next {
                unrolled!(p < MR, {
                    S::prefetch(a.wrapping_add((MR + p) * STRIDE));
                });
            }
            for _ in 0..t.segment_len {
                S::prefetch_far(ahead);
                ahead = ahead.wrapping_add(LANES);
                let mut wv = [S::zero(); NR];
                for (j, v) in wv.iter_mut().enumerate() {
                    *v = S::load(w.add(j * LANES));
                }
                unrolled!(p < MR, {
                    let x = S::splat(*a.add(p * STRIDE));
                    for j in 0..NR {
                        acc[p][j] = S::fma(x, wv[j], acc[p][j]);
                    }
                });
                w = w.add(NR * LANES);
                a = a.add(1);
            }
        }
        if !t.residual.is_null() {
            unrolled!(p < MR, {
                for j in 0..NR {
                    let r = S::load(t.residual.add(j * t.block_stride + p * t.pixel_stride));
                    acc[p][j] = S::add(acc[p][j], r);
                }
            });
        }
        if t.clamp != Clamp::None {
            unrolled!(p < MR, {
                for j in 0..NR {
                    // In this order a NaN stays one.
                    acc[p][j] = S::max(S::zero(), acc[p][j]);
                }
            });
        }
        if t.clamp == Clamp::Relu6 {
            let six = S::splat(6.0);
            unrolled!(p < MR, {
                for j in 0..NR {
                    acc[p][j] = S::min(six, acc[p][j]);
                }
            });
        }
        unrolled!(p < MR, {
            for j in 0..NR {
                S::store(
                    t.out.add(j * t.block_stride + p * t.pixel_stride),
                    acc[p][j],
                );
            }
        });
    }
}

/// Cuts `0..len` into as few pieces of at most `max` as possible, of nearly equal size.
pub(crate) fn pieces(len: usize, max: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = len.div_ceil(max);
    (0..count).map(move |i| {
        let (from, to) = (i * len / count, (i + 1) * len / count);
        (from, to - from)
    })
}
