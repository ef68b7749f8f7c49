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
        let mut add = |p: usize, k: usize| {
            let x = S::sub(S::load(t.x.add(p * LANES)), shift);
            sum[k] = S::add(sum[k], x);
            square[k] = S::fma(x, x, square[k]);
        };
        for p in 0..t.count / 2 {
            add(2 * p, 0);
            add(2 * p + 1, 1);
        }
        if t.count % 2 == 1 {
            add(t.count - 1, 0);
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

/// # Safety
/// The instruction set of `S` must be there; the pointers valid for `count` lines.
#[inline(always)]
pub(crate) unsafe fn norm_gradient<S: Simd>(t: &mut NormGradient<'_>) {
    // SAFETY: by the contract above; `dx` may be `dy`, each line is read before it is written.
    unsafe {
        let load = |l: &Line| S::load(l.0.as_ptr());
        let (scale, shift, mean) = (load(t.scale), load(t.shift), load(t.mean));
        let (x, dy, gate) = (t.x, t.dy, t.gate);
        let gated_at = |i: usize, x: S::V| {
            let g = S::load(dy.add(i));
            match gate {
                GatePtr::Open => g,
                GatePtr::Recompute => S::keep_positive(g, S::fma(x, scale, shift)),
                GatePtr::Output(y) => S::keep_positive(g, S::load(y.add(i))),
            }
        };
        match &mut t.pass {
            NormPass::Sums(sums) => {
                let (mut sum, mut product) = (S::zero(), S::zero());
                for i in (0..t.count).map(|p| p * LANES) {
                    let x = S::load(x.add(i));
                    let g = gated_at(i, x);
                    sum = S::add(sum, g);
                    product = S::fma(g, S::sub(x, mean), product);
                }
                S::store(sums[0].0.as_mut_ptr(), sum);
                S::store(sums[1].0.as_mut_ptr(), product);
            }
            NormPass::Apply { c, dx, gated } => {
                let c = [load(&c[0]), load(&c[1]), load(&c[2])];
                for i in (0..t.count).map(|p| p * LANES) {
                    let x = S::load(x.add(i));
                    let g = gated_at(i, x);
                    if !gated.is_null() {
                        S::store(gated.add(i), g);
                    }
                    let centred = S::fma(S::sub(x, mean), c[1], c[2]);
                    S::store(dx.add(i), S::fma(g, c[0], centred));
                }
            }
        }
    }
}
