//! The micro-kernel: a register tile of output pixels by output channels, and what becomes of its sums.

// Indices are constants after unrolling; iterators over the sums would hide that from the reader and the optimiser.
#![allow(clippy::needless_range_loop)]

use super::simd::Sums;
use crate::line::LANES;
use crate::simd::prefetch;
use crate::tile::unrolled;

/// Input bytes that one step multiplies.
pub(crate) const QUAD: usize = 4;

/// Arguments of one call of the micro-kernel. It computes:
///
/// `sum[p, j] = start[j] + sum over segments s and bytes k of a[s][k + p * step] * w[s, k][j]`, then
/// `y = sum * scale + shift + residual * residual_scale`, at least `floor`, for pixels `p` and output channels `j`.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Input byte of pixel 0 that the segments' offsets count from.
    pub a: *const u8,
    /// Bytes from the input of one output pixel to the next's.
    pub step: usize,
    /// Weights `[segments, quads, channels of the tile, 4]`.
    pub w: *const i8,
    /// Offset in bytes from `a` to the first byte of each segment.
    pub offsets: *const isize,
    pub segments: usize,
    /// Four consecutive input bytes each.
    pub quads: usize,
    pub start: *const i32,
    pub scale: *const f32,
    pub shift: *const f32,
    /// Residual in the layout of bytes, or null.
    pub residual: *const u8,
    pub residual_scale: f32,
    pub floor: f32,
    /// Fetch the pixels after these, which the next call will read.
    pub fetch_next: bool,
    pub out: Out,
}

/// Destination of a tile's output.
#[derive(Clone, Copy)]
pub(crate) enum Out {
    /// Rounded to bytes, 64 from one pixel to the next.
    Bytes(*mut u8),
    /// Unrounded, with values from one block of channels to the next, in the layout of `f32`.
    Floats(*mut f32, usize),
}

pub(crate) type TileFn = unsafe fn(&Tile);

/// # Safety
/// The instruction set of `S` must be there, and `t`'s pointers valid for `MR` pixels and `NR` blocks of channels. `STEP`
/// is `t.step`, or zero.
#[inline(always)]
pub(crate) unsafe fn tile<S: Sums, const MR: usize, const NR: usize, const STEP: usize>(t: &Tile) {
    // SAFETY: by the contract above.
    unsafe {
        // The processor does not see these far ahead of the long sum, and would wait for each line at its end.
        unrolled!(p < MR, {
            if !t.residual.is_null() {
                prefetch(t.residual.wrapping_add(p * LINE).cast());
            }
            match t.out {
                Out::Bytes(out) => prefetch(out.wrapping_add(p * LINE).cast()),
                Out::Floats(out, block) => {
                    for j in 0..NR {
                        prefetch(out.wrapping_add(j * block + p * LANES));
                    }
                }
            }
        });
        let mut sums = [[S::load(t.start); NR]; MR];
        for j in 1..NR {
            let start = S::load(t.start.add(j * LANES));
            unrolled!(p < MR, { sums[p][j] = start });
        }
        let step = if STEP == 0 { t.step } else { STEP };
        let mut w = t.w;
        for s in 0..t.segments {
            let mut a = t.a.offset(*t.offsets.add(s));
            if t.fetch_next {
                unrolled!(p < MR, {
                    prefetch(a.wrapping_add((MR + p) * step).cast());
                });
            }
            for _ in 0..t.quads {
                let mut weights = [S::weights(w); NR];
                for j in 1..NR {
                    weights[j] = S::weights(w.add(j * LANES * QUAD));
                }
                unrolled!(p < MR, {
                    let quad = S::quad(a.add(p * step));
                    for j in 0..NR {
                        sums[p][j] = S::dot(sums[p][j], quad, weights[j]);
                    }
                });
                w = w.add(NR * LANES * QUAD);
                a = a.add(QUAD);
            }
        }
        let (residual_scale, floor) = (S::splat(t.residual_scale), S::splat(t.floor));
        unrolled!(j < NR, {
            let scale = S::load_float(t.scale.add(j * LANES));
            let shift = S::load_float(t.shift.add(j * LANES));
            unrolled!(p < MR, {
                let mut y = S::add(S::mul(S::to_float(sums[p][j]), scale), shift);
                if !t.residual.is_null() {
                    let r = S::bytes_to_float(t.residual.add(p * LINE + j * LANES));
                    y = S::add(y, S::mul(r, residual_scale));
                }
                let y = S::max(y, floor);
                match t.out {
                    Out::Bytes(out) => S::store_bytes(out.add(p * LINE + j * LANES), y),
                    Out::Floats(out, block) => {
                        S::store_float(out.add(j * block + p * LANES), y);
                    }
                }
            });
        });
    }
}

/// Bytes of a pixel's channels that lie next to each other.
pub(crate) const LINE: usize = 64;
