//! Kernels that pass over a plane once: BatchNorm's parts and the gates of ReLU.

use crate::buffer::{LANES, Line};
use crate::simd::Simd;

/// Sums of sixteen channels over some pixels.
pub(crate) struct Moments<'a> {
    pub x: *const f32,
    pub count: usize,
    /// Subtracted first, so that a large mean costs no digits.
    pub shift: &'a Line,
    /// Receives the sums of `x - shift` and of its square.
    pub sums: &'a mut [Line; 2],
}

/// # Safety
/// The instruction set of `S` must be there; `x` valid for `count` lines.
#[inline(always)]
pub(crate) unsafe fn moments<S: Simd>(t: &mut Moments<'_>) {
    // SAFETY: by the contract above.
    unsafe {
        let shift = S::load(t.shift.0.as_ptr());
        let (mut sum, mut square) = ([S::zero(); 2], [S::zero(); 2]);
        // Two chains of additions, so that one does not wait for the other.
        for pair in 0..t.count.div_ceil(2) {
            for k in 0..2.min(t.count - 2 * pair) {
                let x = S::sub(S::load(t.x.add((2 * pair + k) * LANES)), shift);
                sum[k] = S::add(sum[k], x);
                square[k] = S::fma(x, x, square[k]);
            }
        }
        S::store(t.sums[0].0.as_mut_ptr(), S::add(sum[0], sum[1]));
        S::store(t.sums[1].0.as_mut_ptr(), S::add(square[0], square[1]));
    }
}

/// `y = relu(x * scale + shift + residual)` over some pixels, without what is not asked for.
pub(crate) struct Affine<'a> {
    pub x: *const f32,
    pub residual: *const f32,
    pub y: *mut f32,
    pub count: usize,
    pub scale: &'a Line,
    pub shift: &'a Line,
    pub relu: bool,
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid for `count` lines, `residual` unless null.
#[inline(always)]
pub(crate) unsafe fn affine<S: Simd>(t: &mut Affine<'_>) {
    // SAFETY: by the contract above.
    unsafe {
        let (scale, shift) = (S::load(t.scale.0.as_ptr()), S::load(t.shift.0.as_ptr()));
        for i in (0..t.count).map(|p| p * LANES) {
            let mut y = S::fma(S::load(t.x.add(i)), scale, shift);
            if !t.residual.is_null() {
                y = S::add(y, S::load(t.residual.add(i)));
            }
            if t.relu {
                y = S::max(S::zero(), y);
            }
            S::store(t.y.add(i), y);
        }
    }
}

/// Where a gradient passes a ReLU.
#[derive(Clone, Copy)]
pub(crate) enum GatePtr {
    /// There was none.
    Open,
    /// Where `x * scale + shift` is positive.
    Recompute,
    /// Where these values are.
    Output(*const f32),
}

/// What both passes of BatchNorm's gradient read.
pub(crate) struct NormGradient<'a> {
    pub x: *const f32,
    pub dy: *const f32,
    pub gate: GatePtr,
    pub count: usize,
    pub scale: &'a Line,
    pub shift: &'a Line,
    pub mean: &'a Line,
    pub pass: NormPass<'a>,
}

pub(crate) enum NormPass<'a> {
    /// Receives the sums of `g` and of `g * (x - mean)`, `g` being the gated gradient.
    Sums(&'a mut [Line; 2]),
    /// `dx = g * c[0] + (x - mean) * c[1] + c[2]`; `g` itself goes to `gated` unless that is null.
    Apply {
        c: &'a [Line; 3],
        dx: *mut f32,
        gated: *mut f32,
    },
}

/// The gated gradient of one pixel, `x` being the layer's input there.
///
/// # Safety
/// As [`norm_gradient`].
#[inline(always)]
unsafe fn gated<S: Simd>(
    t: &NormGradient<'_>,
    i: usize,
    x: S::V,
    scale: S::V,
    shift: S::V,
) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let g = S::load(t.dy.add(i));
        match t.gate {
            GatePtr::Open => g,
            GatePtr::Recompute => S::keep_positive(g, S::fma(x, scale, shift)),
            GatePtr::Output(y) => S::keep_positive(g, S::load(y.add(i))),
        }
    }
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid for `count` lines.
#[inline(always)]
pub(crate) unsafe fn norm_gradient<S: Simd>(t: &mut NormGradient<'_>) {
    // SAFETY: by the contract above; `dx` may be `dy`, each line is read before it is written.
    unsafe {
        let (scale, shift) = (S::load(t.scale.0.as_ptr()), S::load(t.shift.0.as_ptr()));
        let mean = S::load(t.mean.0.as_ptr());
        let mut sums = [S::zero(); 2];
        if let NormPass::Apply { c, dx, gated: out } = t.pass {
            let (c0, c1) = (S::load(c[0].0.as_ptr()), S::load(c[1].0.as_ptr()));
            let c2 = S::load(c[2].0.as_ptr());
            for i in (0..t.count).map(|p| p * LANES) {
                let x = S::load(t.x.add(i));
                let g = gated::<S>(t, i, x, scale, shift);
                if !out.is_null() {
                    S::store(out.add(i), g);
                }
                S::store(dx.add(i), S::fma(g, c0, S::fma(S::sub(x, mean), c1, c2)));
            }
            return;
        }
        for i in (0..t.count).map(|p| p * LANES) {
            let x = S::load(t.x.add(i));
            let g = gated::<S>(t, i, x, scale, shift);
            sums[0] = S::add(sums[0], g);
            sums[1] = S::fma(g, S::sub(x, mean), sums[1]);
        }
        if let NormPass::Sums(out) = &mut t.pass {
            S::store(out[0].0.as_mut_ptr(), sums[0]);
            S::store(out[1].0.as_mut_ptr(), sums[1]);
        }
    }
}
