//! Kernels on a tile of products between some queries and all keys: softmax, its gradient, and sums by row.
//!
//! A tile is `[blocks of keys, queries, 16]`, the layout of feature maps.

// Indices are constants after unrolling; iterators over the sums would hide that from the reader and the optimiser.
#![allow(clippy::needless_range_loop)]

use crate::functions::exp_within;
use crate::lanes::{max_lanes, sum_lanes};
use crate::line::{LANES, Line};
use crate::simd::Simd;

/// Queries whose sums are in registers together.
const GROUP: usize = 4;

/// Zeros, then minus infinities: from `16 - n` on there are `n` zeros in sixteen values.
static BELOW: [f32; 2 * LANES] = first_half(0.0, f32::NEG_INFINITY);
/// Ones, then zeros, in the same way.
static SEEN: [f32; 2 * LANES] = first_half(1.0, 0.0);

const fn first_half(first: f32, second: f32) -> [f32; 2 * LANES] {
    let mut values = [first; 2 * LANES];
    let mut i = LANES;
    while i < 2 * LANES {
        values[i] = second;
        i += 1;
    }
    values
}

/// Arguments of the exponential at least. Probabilities below 1e-26 change no sum, and what they are multiplied by would
/// make numbers that are not normal, which are slow.
const SMALLEST: f32 = -60.0;

/// Number of keys that each query of a tile sees.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// Keys that the first query sees.
    pub first: usize,
    /// Number of keys that each query sees beyond the one before it.
    pub step: usize,
    /// The most that there are.
    pub keys: usize,
}

impl Seen {
    #[inline(always)]
    fn by(self, query: usize) -> usize {
        (self.first + query * self.step).min(self.keys)
    }
}

/// Loads from `mask` what stands for the keys of a block of which the first `seen` of all are seen.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
unsafe fn mask<S: Simd>(mask: &[f32; 2 * LANES], block: usize, seen: usize) -> S::V {
    let visible = seen.saturating_sub(block * LANES).min(LANES);
    // SAFETY: sixteen values follow, by the size of the mask.
    unsafe { S::load(mask.as_ptr().add(LANES - visible)) }
}

/// Turns products into exponentials: `tile = exp(scale * (tile - max))`, the largest of each query's subtracted.
pub(crate) struct Softmax {
    pub tile: *mut f32,
    /// Values between two blocks of keys.
    pub block_stride: usize,
    /// Blocks that are turned; keys past those seen become zero.
    pub blocks: usize,
    pub queries: usize,
    pub seen: Seen,
    pub scale: f32,
    /// Receive the reciprocal of each query's sum of exponentials, and the logarithm of the sum before the subtraction.
    pub inverse: *mut f32,
    pub logs: *mut f32,
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described, with a key that each query sees.
#[inline(always)]
pub(crate) unsafe fn softmax<S: Simd>(t: &Softmax) {
    // SAFETY: by the contract above.
    unsafe {
        let scale = S::splat(t.scale);
        for from in (0..t.queries).step_by(LANES) {
            let queries = LANES.min(t.queries - from);
            let mut rows = [S::zero(); LANES];
            for first in (0..queries).step_by(GROUP) {
                let (at, seen, full) = group(t.seen, from, first, queries);
                let mut acc = [S::splat(f32::NEG_INFINITY); GROUP];
                for block in 0..t.blocks {
                    let line = t.tile.add(block * t.block_stride);
                    for k in 0..GROUP {
                        let mut v = S::load(line.add(at[k]));
                        if block >= full {
                            v = S::add(v, mask::<S>(&BELOW, block, seen[k]));
                        }
                        acc[k] = S::max(acc[k], v);
                    }
                }
                rows[first..first + GROUP].copy_from_slice(&acc);
            }
            let [mut largest, mut sums] = [Line::ZERO; 2];
            S::store(largest.0.as_mut_ptr(), max_lanes::<S>(&mut rows));
            for first in (0..queries).step_by(GROUP) {
                let (at, seen, full) = group(t.seen, from, first, queries);
                let mut acc = [S::zero(); GROUP];
                let mut max = [S::zero(); GROUP];
                for k in 0..GROUP {
                    max[k] = S::splat(largest.0[(first + k).min(queries - 1)]);
                }
                for block in 0..t.blocks {
                    let line = t.tile.add(block * t.block_stride);
                    // All are read before any is written, since the last may be there more than once.
                    let mut values = [S::zero(); GROUP];
                    for k in 0..GROUP {
                        values[k] = S::load(line.add(at[k]));
                    }
                    for k in 0..GROUP {
                        let v = S::mul(scale, S::sub(values[k], max[k]));
                        // Keys that are not seen may be larger.
                        let v = S::min(S::zero(), S::max(S::splat(SMALLEST), v));
                        let mut e = exp_within::<S>(v);
                        if block >= full {
                            e = S::keep_positive(e, mask::<S>(&SEEN, block, seen[k]));
                        }
                        acc[k] = S::add(acc[k], e);
                        S::store(line.add(at[k]), e);
                    }
                }
                rows[first..first + GROUP].copy_from_slice(&acc);
            }
            S::store(sums.0.as_mut_ptr(), sum_lanes::<S>(&mut rows));
            for q in 0..queries {
                *t.inverse.add(from + q) = 1.0 / sums.0[q];
                *t.logs.add(from + q) = t.scale * largest.0[q] + sums.0[q].ln();
            }
        }
    }
}

/// Finds where the queries of a group lie in a block of keys, how many keys they see, and the blocks that all see whole.
#[inline(always)]
fn group(
    seen: Seen,
    from: usize,
    first: usize,
    queries: usize,
) -> ([usize; GROUP], [usize; GROUP], usize) {
    let (mut at, mut keys) = ([0; GROUP], [0; GROUP]);
    for k in 0..GROUP {
        // Where there are fewer queries, the last takes the place of the others.
        let query = from + (first + k).min(queries - 1);
        at[k] = query * LANES;
        keys[k] = seen.by(query);
    }
    // The first of them sees fewest.
    (at, keys, keys[0] / LANES)
}

/// Turns products of queries and keys into probabilities `p = exp(scale * product - log)`, and gradients by these into
/// gradients by the products, `scale * p * (gradient - delta)`.
pub(crate) struct SoftmaxGradient {
    pub products: *mut f32,
    pub gradients: *mut f32,
    /// As of [`Softmax`], of both.
    pub block_stride: usize,
    pub blocks: usize,
    pub queries: usize,
    pub seen: Seen,
    pub scale: f32,
    /// For each query, the logarithm of its sum of exponentials, and its sum of probabilities times gradients.
    pub logs: *const f32,
    pub deltas: *const f32,
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn softmax_gradient<S: Simd>(t: &SoftmaxGradient) {
    // SAFETY: by the contract above.
    unsafe {
        let scale = S::splat(t.scale);
        for block in 0..t.blocks {
            let line = block * t.block_stride;
            for query in 0..t.queries {
                let at = line + query * LANES;
                let log = S::splat(-*t.logs.add(query));
                let v = S::fma(S::load(t.products.add(at)), scale, log);
                // No probability is above one but for rounding, and keys that are not seen have none.
                let v = S::min(S::splat(1.0), S::max(S::splat(SMALLEST), v));
                let mut p = exp_within::<S>(v);
                let seen = t.seen.by(query);
                if seen < (block + 1) * LANES {
                    p = S::keep_positive(p, mask::<S>(&SEEN, block, seen));
                }
                let gradient = S::load(t.gradients.add(at));
                let moved = S::sub(gradient, S::splat(*t.deltas.add(query)));
                S::store(t.products.add(at), p);
                S::store(t.gradients.add(at), S::mul(S::mul(p, scale), moved));
            }
        }
    }
}

/// `[blocks, rows, 16]`, each row multiplied by its factor.
pub(crate) struct ScaleRows {
    pub values: *mut f32,
    /// Values between two blocks.
    pub block_stride: usize,
    pub blocks: usize,
    pub rows: usize,
    pub factors: *const f32,
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn scale_rows<S: Simd>(t: &ScaleRows) {
    // SAFETY: by the contract above.
    unsafe {
        for block in 0..t.blocks {
            for row in 0..t.rows {
                let at = t.values.add(block * t.block_stride + row * LANES);
                S::store(at, S::mul(S::load(at), S::splat(*t.factors.add(row))));
            }
        }
    }
}

/// Two `[blocks, rows, 16]`, whose products are summed by row.
pub(crate) struct RowDots {
    pub a: *const f32,
    pub b: *const f32,
    /// Values between two blocks of both.
    pub block_stride: usize,
    pub blocks: usize,
    pub rows: usize,
    pub out: *mut f32,
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn row_dots<S: Simd>(t: &RowDots) {
    // SAFETY: by the contract above.
    unsafe {
        for from in (0..t.rows).step_by(LANES) {
            let rows = LANES.min(t.rows - from);
            let mut sums = [S::zero(); LANES];
            for block in 0..t.blocks {
                for row in 0..rows {
                    let at = block * t.block_stride + (from + row) * LANES;
                    sums[row] = S::fma(S::load(t.a.add(at)), S::load(t.b.add(at)), sums[row]);
                }
            }
            let mut line = Line::ZERO;
            S::store(line.0.as_mut_ptr(), sum_lanes::<S>(&mut sums));
            for row in 0..rows {
                *t.out.add(from + row) = line.0[row];
            }
        }
    }
}
