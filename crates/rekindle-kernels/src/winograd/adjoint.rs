//! The adjoints of the transforms of F(4x4, 3x3), for the gradient by the weight.

#![allow(clippy::needless_range_loop)]

use super::transform::{A, B, IN, OUT, POSITIONS, SCALE_A, SCALE_B, ZERO, both, constant};
use crate::line::{LANES, Line};
use crate::simd::Simd;

/// Transforms one 4x4 tile of the gradient by the output, sixteen channels: the adjoint of the output transform.
pub(crate) struct GradientTile {
    /// Upper left pixel of the tile.
    pub dy: *const f32,
    /// Values between two rows of the plane.
    pub row_stride: usize,
    /// Pixels of the tile that lie inside the picture.
    pub rows: usize,
    pub columns: usize,
    /// Destination of position 0.
    pub out: *mut f32,
    /// Values between two positions.
    pub position_stride: usize,
}

/// `A y` for one row or column.
#[inline(always)]
unsafe fn gradient_1d<S: Simd>(y: [S::V; OUT]) -> [S::V; IN] {
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let (even_a, odd_a) = (
            S::fma(constant::<S>(A * A), y[2], y[0]),
            both::<S>(A, y[1], A * A * A, y[3]),
        );
        let (even_b, odd_b) = (
            S::fma(constant::<S>(B * B), y[2], y[0]),
            both::<S>(B, y[1], B * B * B, y[3]),
        );
        [
            y[0],
            S::add(even_a, odd_a),
            S::sub(even_a, odd_a),
            S::add(even_b, odd_b),
            S::sub(even_b, odd_b),
            y[3],
        ]
    }
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn gradient_tile<S: Simd>(t: &GradientTile) {
    // SAFETY: rows and columns bound what is read, everything else is the contract above.
    unsafe {
        for position in 0..POSITIONS {
            S::prefetch(t.out.wrapping_add(position * t.position_stride + LANES));
        }
        let mut half = [[S::zero(); OUT]; IN];
        for j in 0..OUT {
            let mut column = [S::zero(); OUT];
            for (i, v) in column.iter_mut().enumerate() {
                let inside = i < t.rows && j < t.columns;
                let zero: *const f32 = (&raw const ZERO).cast();
                let at = t.dy.wrapping_add(i * t.row_stride + j * LANES);
                *v = S::load(if inside { at } else { zero });
            }
            let column = gradient_1d::<S>(column);
            for i in 0..IN {
                half[i][j] = column[i];
            }
        }
        for (i, row) in half.into_iter().enumerate() {
            for (j, v) in gradient_1d::<S>(row).into_iter().enumerate() {
                S::store(t.out.add((i * IN + j) * t.position_stride), v);
            }
        }
    }
}

/// Turns sums of products into the gradient by the filters of sixteen output channels: the adjoint of the weight transform.
pub(crate) struct FilterTile<'a> {
    /// Position 0 of the sums.
    pub sums: *const f32,
    /// Values between two positions.
    pub position_stride: usize,
    pub filters: &'a mut [Line; 9],
}

/// `Gᵀ m` for one row or column.
#[inline(always)]
unsafe fn filter_1d<S: Simd>(m: [S::V; IN]) -> [S::V; 3] {
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let (sum_a, dif_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (sum_b, dif_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(m[0], both::<S>(SCALE_A, sum_a, SCALE_B, sum_b)),
            both::<S>(A * SCALE_A, dif_a, B * SCALE_B, dif_b),
            S::add(
                m[5],
                both::<S>(A * A * SCALE_A, sum_a, B * B * SCALE_B, sum_b),
            ),
        ]
    }
}

/// # Safety
/// The instruction set of `S` must be there; `sums` valid as described.
#[inline(always)]
pub(crate) unsafe fn filter_tile<S: Simd>(t: &mut FilterTile<'_>) {
    // SAFETY: by the contract above.
    unsafe {
        for position in 0..POSITIONS {
            S::prefetch(
                t.sums
                    .wrapping_add(position * t.position_stride + 2 * LANES),
            );
        }
        let mut half = [[S::zero(); IN]; 3];
        for j in 0..IN {
            let mut column = [S::zero(); IN];
            for (i, v) in column.iter_mut().enumerate() {
                *v = S::load(t.sums.add((i * IN + j) * t.position_stride));
            }
            let column = filter_1d::<S>(column);
            for i in 0..3 {
                half[i][j] = column[i];
            }
        }
        for (i, row) in half.into_iter().enumerate() {
            for (j, v) in filter_1d::<S>(row).into_iter().enumerate() {
                S::store(t.filters[i * 3 + j].0.as_mut_ptr(), v);
            }
        }
    }
}
