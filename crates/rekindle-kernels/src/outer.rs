//! The micro-kernel of weight gradients: a sum of outer products over pixels.

use crate::line::LANES;
use crate::simd::Simd;

/// `out[r, j] = [out[r, j]] + sum over pixels p of a[p][r] * b[p][j]`, for neighbouring values `r` of the input and
/// output channels `j`.
///
/// Pixels come as pictures of rows of `count` pixels.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    pub a: *const f32,
    /// Values between two pixels, rows and pictures of `a`.
    pub a_pixel: usize,
    pub a_row: usize,
    pub a_picture: usize,
    /// Sixteen channels per pixel.
    pub b: *const f32,
    /// Values between two blocks of channels, rows and pictures of `b`.
    pub b_block: usize,
    pub b_row: usize,
    pub b_picture: usize,
    /// Values from `a` and `b` to what the next call but few will read, fetched meanwhile.
    pub a_ahead: usize,
    pub b_ahead: usize,
    pub count: usize,
    pub rows: usize,
    pub pictures: usize,
    pub out: *mut f32,
    /// Values between `out[r, 0]` and `out[r + 1, 0]`.
    pub out_stride: usize,
    /// Values between two blocks of channels of `out`.
    pub out_block: usize,
    pub accumulate: bool,
}

/// A compiled micro-kernel. Its pointers must be valid for all it touches.
pub(crate) type OuterFn = unsafe fn(&Outer);

/// # Safety
/// The instruction set of `S` must be there, and `t`'s pointers valid for `R` values of `a` and `NR` blocks of `b`.
#[inline(always)]
pub(crate) unsafe fn outer<S: Simd, const R: usize, const NR: usize>(t: &Outer) {
    // SAFETY: by the contract above.
    unsafe {
        let mut acc = [[S::zero(); NR]; R];
        if t.accumulate {
            for (r, acc) in acc.iter_mut().enumerate() {
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = S::load(t.out.add(r * t.out_stride + j * t.out_block));
                }
            }
        }
        for picture in 0..t.pictures {
            for row in 0..t.rows {
                let mut a = t.a.add(picture * t.a_picture + row * t.a_row);
                let mut b = t.b.add(picture * t.b_picture + row * t.b_row);
                for _ in 0..t.count {
                    S::prefetch(a.wrapping_add(t.a_ahead));
                    for j in 0..NR {
                        S::prefetch(b.wrapping_add(j * t.b_block + t.b_ahead));
                    }
                    let mut bv = [S::zero(); NR];
                    for (j, v) in bv.iter_mut().enumerate() {
                        *v = S::load(b.add(j * t.b_block));
                    }
                    for (r, acc) in acc.iter_mut().enumerate() {
                        let x = S::splat(*a.add(r));
                        for (acc, &v) in acc.iter_mut().zip(&bv) {
                            *acc = S::fma(x, v, *acc);
                        }
                    }
                    a = a.wrapping_add(t.a_pixel);
                    b = b.wrapping_add(LANES);
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            for (j, &acc) in acc.iter().enumerate() {
                S::store(t.out.add(r * t.out_stride + j * t.out_block), acc);
            }
        }
    }
}
