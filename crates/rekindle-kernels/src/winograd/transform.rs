//! The transforms of Winograd's minimal filtering F(4x4, 3x3) and F(3x3, 4x4).
//!
//! Both have tiles of 6x6 and the same interpolation points, and so the same transform of the input.
//!
//! Interpolation points 0, ±√½, ±√2 and infinity. They are better conditioned than the usual 0, ±1, ±2: the powers stay
//! closer to one, so less is lost when the transform of the products is undone. Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks" (2016); on the choice of points, Barabasz et al., "Error Analysis and Improving the
//! Accuracy of Winograd Convolution for Deep Neural Networks" (2020).

#![allow(clippy::needless_range_loop)]

use crate::functions::{Clamp, clamped};
use crate::line::{LANES, Line};
use crate::simd::Simd;

/// Output pixels of a tile along one axis, for a filter of 3x3; for one of 4x4 it is one less.
pub(crate) const OUT: usize = 4;
/// Input pixels of a tile along one axis.
pub(crate) const IN: usize = 6;
/// Products of a tile.
pub(crate) const POSITIONS: usize = IN * IN;

/// The points are ±A and ±B, with A² B² = 1.
pub(super) const A: f64 = std::f64::consts::FRAC_1_SQRT_2;
pub(super) const B: f64 = std::f64::consts::SQRT_2;

/// Reciprocals of the products of each point's distances to the others.
pub(super) const SCALE_A: f64 = 1.0 / (2.0 * A * A * (A * A - B * B));
pub(super) const SCALE_B: f64 = 1.0 / (2.0 * B * B * (B * B - A * A));

// Functions, not closures: a closure has no instruction set, and where it is not inlined every operation is a call.

#[inline(always)]
pub(super) unsafe fn constant<S: Simd>(x: f64) -> S::V {
    // SAFETY: the caller has enabled the instruction set.
    unsafe { S::splat(x as f32) }
}

/// `a * x + b * y`.
#[inline(always)]
pub(super) unsafe fn both<S: Simd>(a: f64, x: S::V, b: f64, y: S::V) -> S::V {
    // SAFETY: the caller has enabled the instruction set.
    unsafe { S::fma(constant::<S>(a), x, S::mul(constant::<S>(b), y)) }
}

/// Transforms square filters of sixteen output channels.
pub(crate) struct WeightTile<'a> {
    /// One line for each tap.
    pub filters: &'a [Line],
    /// Destination of position 0.
    pub out: *mut f32,
    /// Values between two positions.
    pub position_stride: usize,
}

/// `G g` for one row or column of `R` taps.
#[inline(always)]
unsafe fn weight_1d<S: Simd, const R: usize>(g: [S::V; R]) -> [S::V; IN] {
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let even_a = both::<S>(SCALE_A, g[0], A * A * SCALE_A, g[2]);
        let even_b = both::<S>(SCALE_B, g[0], B * B * SCALE_B, g[2]);
        let mut odd_a = S::mul(constant::<S>(A * SCALE_A), g[1]);
        let mut odd_b = S::mul(constant::<S>(B * SCALE_B), g[1]);
        if R == 4 {
            odd_a = S::fma(constant::<S>(A * A * A * SCALE_A), g[R - 1], odd_a);
            odd_b = S::fma(constant::<S>(B * B * B * SCALE_B), g[R - 1], odd_b);
        }
        [
            g[0],
            S::add(even_a, odd_a),
            S::sub(even_a, odd_a),
            S::add(even_b, odd_b),
            S::sub(even_b, odd_b),
            g[R - 1],
        ]
    }
}

/// # Safety
/// The instruction set of `S` must be there; `out` valid as described.
#[inline(always)]
pub(crate) unsafe fn weight_tile<S: Simd, const R: usize>(t: &WeightTile<'_>) {
    // SAFETY: by the contract above.
    unsafe {
        let mut half = [[S::zero(); R]; IN];
        for x in 0..R {
            let mut column = [S::zero(); R];
            for (y, v) in column.iter_mut().enumerate() {
                *v = S::load(t.filters[y * R + x].0.as_ptr());
            }
            let column = weight_1d::<S, R>(column);
            for i in 0..IN {
                half[i][x] = column[i];
            }
        }
        for (i, row) in half.into_iter().enumerate() {
            for (j, v) in weight_1d::<S, R>(row).into_iter().enumerate() {
                S::store(t.out.add((i * IN + j) * t.position_stride), v);
            }
        }
    }
}

/// Transforms one input tile of sixteen channels.
pub(crate) struct InputTile {
    /// The plane `[height, width, 16]`.
    pub plane: *const f32,
    pub height: usize,
    pub width: usize,
    /// Upper left pixel of the tile, possibly in the padding.
    pub y: isize,
    pub x: isize,
    /// Destination of position 0.
    pub out: *mut f32,
    /// Values between two positions.
    pub position_stride: usize,
}

/// `Bᵀ d` for one row or column.
#[inline(always)]
unsafe fn input_1d<S: Simd>(d: [S::V; IN]) -> [S::V; IN] {
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let sum = S::splat((-A * A - B * B) as f32);
        let (na2, nb2) = (S::splat((-A * A) as f32), S::splat((-B * B) as f32));
        let (a, b) = (S::splat(A as f32), S::splat(B as f32));
        let (even_a, odd_a) = (S::fma(nb2, d[2], d[4]), S::mul(a, S::fma(nb2, d[1], d[3])));
        let (even_b, odd_b) = (S::fma(na2, d[2], d[4]), S::mul(b, S::fma(na2, d[1], d[3])));
        [
            S::fma(sum, d[2], S::add(d[0], d[4])),
            S::add(even_a, odd_a),
            S::sub(even_a, odd_a),
            S::add(even_b, odd_b),
            S::sub(even_b, odd_b),
            S::fma(sum, d[3], S::add(d[1], d[5])),
        ]
    }
}

/// # Safety
/// The instruction set of `S` must be there; `plane` and `out` valid as described.
#[inline(always)]
pub(crate) unsafe fn input_tile<S: Simd>(t: &InputTile) {
    // SAFETY: pixels outside the plane are never loaded, everything else is the contract above.
    unsafe {
        for position in 0..POSITIONS {
            S::prefetch(t.out.wrapping_add(position * t.position_stride + LANES));
        }
        let mut half = [[S::zero(); IN]; IN];
        let (h, w) = (t.height as isize, t.width as isize);
        let inside = t.y >= 0 && t.x >= 0 && t.y + IN as isize <= h && t.x + IN as isize <= w;
        for j in 0..IN {
            let mut column = [S::zero(); IN];
            if inside {
                let first = t
                    .plane
                    .offset((t.y * w + t.x + j as isize) * LANES as isize);
                for (i, v) in column.iter_mut().enumerate() {
                    *v = S::load(first.add(i * t.width * LANES));
                }
            } else {
                let x = t.x + j as isize;
                for (i, v) in column.iter_mut().enumerate() {
                    let y = t.y + i as isize;
                    let valid = x >= 0 && x < w && y >= 0 && y < h;
                    let zero: *const f32 = (&raw const ZERO).cast();
                    let at = t.plane.wrapping_offset((y * w + x) * LANES as isize);
                    *v = S::load(if valid { at } else { zero });
                }
            }
            let column = input_1d::<S>(column);
            for i in 0..IN {
                half[i][j] = column[i];
            }
        }
        for (i, row) in half.into_iter().enumerate() {
            for (j, v) in input_1d::<S>(row).into_iter().enumerate() {
                S::store(t.out.add((i * IN + j) * t.position_stride), v);
            }
        }
    }
}

pub(super) static ZERO: Line = Line::ZERO;

/// Turns the products of one tile into output pixels of sixteen channels.
pub(crate) struct OutputTile {
    /// Position 0 of the products.
    pub products: *const f32,
    /// Values between two positions.
    pub position_stride: usize,
    /// Sixteen values.
    pub bias: *const f32,
    /// Upper left pixel of the tile in the output plane.
    pub out: *mut f32,
    /// The same pixel of what is added, or null.
    pub residual: *const f32,
    /// Values between two rows of the plane.
    pub row_stride: usize,
    /// Pixels of the tile that lie inside the picture.
    pub rows: usize,
    pub columns: usize,
    pub clamp: Clamp,
}

/// `Aᵀ m` for one row or column, `M` output pixels.
#[inline(always)]
unsafe fn output_1d<S: Simd, const M: usize>(m: [S::V; IN]) -> [S::V; M] {
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let (sum_a, dif_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (sum_b, dif_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        let mut y = [S::zero(); M];
        y[0] = S::add(m[0], S::add(sum_a, sum_b));
        y[1] = both::<S>(A, dif_a, B, dif_b);
        y[2] = both::<S>(A * A, sum_a, B * B, sum_b);
        if M == 4 {
            y[M - 1] = both::<S>(A * A * A, dif_a, B * B * B, dif_b);
        }
        y[M - 1] = S::add(m[5], y[M - 1]);
        y
    }
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn output_tile<S: Simd, const M: usize>(t: &OutputTile) {
    // SAFETY: rows and columns bound what is written, everything else is the contract above.
    unsafe {
        for position in 0..POSITIONS {
            S::prefetch(
                t.products
                    .wrapping_add(position * t.position_stride + 2 * LANES),
            );
        }
        let mut half = [[S::zero(); IN]; M];
        for j in 0..IN {
            let mut column = [S::zero(); IN];
            for (i, v) in column.iter_mut().enumerate() {
                *v = S::load(t.products.add((i * IN + j) * t.position_stride));
            }
            let column = output_1d::<S, M>(column);
            for i in 0..M {
                half[i][j] = column[i];
            }
        }
        let bias = S::load(t.bias);
        for (i, row) in half.into_iter().enumerate().take(t.rows) {
            for (j, v) in output_1d::<S, M>(row)
                .into_iter()
                .enumerate()
                .take(t.columns)
            {
                let at = i * t.row_stride + j * LANES;
                let mut v = S::add(v, bias);
                if !t.residual.is_null() {
                    v = S::add(v, S::load(t.residual.add(at)));
                }
                S::store(t.out.add(at), clamped::<S>(t.clamp, v));
            }
        }
    }
}
