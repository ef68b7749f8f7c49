//! Kernels that pass over a plane once: BatchNorm's parts, with the activation function behind it.

use crate::activation_fn::ActivationFn;
use crate::functions::{activate, back, with_function};
use crate::line::{LANES, Line};
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

/// `y = function(x * scale + shift + residual)` over some pixels, without what is not asked for.
pub(crate) struct Affine<'a> {
    pub x: *const f32,
    pub residual: *const f32,
    pub y: *mut f32,
    pub count: usize,
    pub scale: &'a Line,
    pub shift: &'a Line,
    pub function: ActivationFn,
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid for `count` lines, `residual` unless null.
#[inline(always)]
pub(crate) unsafe fn affine<S: Simd>(t: &mut Affine<'_>) {
    // SAFETY: by the contract above.
    unsafe {
        let (scale, shift) = (S::load(t.scale.0.as_ptr()), S::load(t.shift.0.as_ptr()));
        with_function!(t.function, |function| {
            for i in (0..t.count).map(|p| p * LANES) {
                let mut y = S::fma(S::load(t.x.add(i)), scale, shift);
                if !t.residual.is_null() {
                    y = S::add(y, S::load(t.residual.add(i)));
                }
                S::store(t.y.add(i), activate::<S>(function, y));
            }
        });
    }
}

/// Derivative that a gradient is multiplied by before it reaches batch normalisation.
#[derive(Clone, Copy)]
pub(crate) enum GatePtr {
    /// The derivative of a function at `x * scale + shift`.
    At(ActivationFn),
    /// The derivative of a function at `x * scale + shift` and these values in sum.
    AtSum(ActivationFn, *const f32),
    /// A ReLU, open where these values are positive.
    Output(*const f32),
}

/// Inputs of both passes of batch normalisation's gradient.
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

/// Passes the gradient through the activation function, which is known at compile time.
trait Gated {
    /// Computes the gradient of one pixel behind the gate, `x` being the layer's input there and `extra` the gate's
    /// own values.
    ///
    /// # Safety
    /// As [`norm_gradient`]; `extra` valid for a line where the gate reads it.
    unsafe fn pass<S: Simd>(dy: *const f32, z: S::V, extra: *const f32) -> S::V;
}

/// `F` is the index of a function among [`ActivationFn::ALL`].
struct At<const F: usize>;
struct AtSum<const F: usize>;
struct Output;

impl<const F: usize> Gated for At<F> {
    #[inline(always)]
    unsafe fn pass<S: Simd>(dy: *const f32, z: S::V, _: *const f32) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { back::<S>(ActivationFn::ALL[F], z, S::load(dy)) }
    }
}

impl<const F: usize> Gated for AtSum<F> {
    #[inline(always)]
    unsafe fn pass<S: Simd>(dy: *const f32, z: S::V, extra: *const f32) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { back::<S>(ActivationFn::ALL[F], S::add(z, S::load(extra)), S::load(dy)) }
    }
}

impl Gated for Output {
    #[inline(always)]
    unsafe fn pass<S: Simd>(dy: *const f32, _: S::V, extra: *const f32) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::keep_positive(S::load(dy), S::load(extra)) }
    }
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid for `count` lines.
#[inline(always)]
pub(crate) unsafe fn norm_gradient<S: Simd>(t: &mut NormGradient<'_>) {
    // SAFETY: the caller's promise is the callee's.
    unsafe {
        match t.gate {
            GatePtr::Output(y) => gradient::<S, Output>(t, y),
            GatePtr::At(function) => with_function!(function, |known| {
                gradient::<S, At<{ known as usize }>>(t, std::ptr::null());
            }),
            GatePtr::AtSum(function, residual) => with_function!(function, |known| {
                gradient::<S, AtSum<{ known as usize }>>(t, residual);
            }),
        }
    }
}

/// # Safety
/// As [`norm_gradient`]; `extra` valid for `count` lines where the gate reads it.
#[inline(always)]
unsafe fn gradient<S: Simd, G: Gated>(t: &mut NormGradient<'_>, extra: *const f32) {
    // SAFETY: by the contract above; `dx` may be `dy`, each line is read before it is written.
    unsafe {
        let (scale, shift) = (S::load(t.scale.0.as_ptr()), S::load(t.shift.0.as_ptr()));
        let mean = S::load(t.mean.0.as_ptr());
        if let NormPass::Apply { c, dx, gated: out } = t.pass {
            let (c0, c1) = (S::load(c[0].0.as_ptr()), S::load(c[1].0.as_ptr()));
            let c2 = S::load(c[2].0.as_ptr());
            for i in (0..t.count).map(|p| p * LANES) {
                let x = S::load(t.x.add(i));
                let z = S::fma(x, scale, shift);
                let g = G::pass::<S>(t.dy.add(i), z, extra.wrapping_add(i));
                if !out.is_null() {
                    S::store(out.add(i), g);
                }
                S::store(dx.add(i), S::fma(g, c0, S::fma(S::sub(x, mean), c1, c2)));
            }
            return;
        }
        let mut sums = [S::zero(); 2];
        for i in (0..t.count).map(|p| p * LANES) {
            let x = S::load(t.x.add(i));
            let z = S::fma(x, scale, shift);
            let g = G::pass::<S>(t.dy.add(i), z, extra.wrapping_add(i));
            sums[0] = S::add(sums[0], g);
            sums[1] = S::fma(g, S::sub(x, mean), sums[1]);
        }
        if let NormPass::Sums(out) = &mut t.pass {
            S::store(out[0].0.as_mut_ptr(), sums[0]);
            S::store(out[1].0.as_mut_ptr(), sums[1]);
        }
    }
}
