//! Activation functions and their derivatives on vectors.

use crate::activation_fn::ActivationFn;
use crate::line::LANES;
use crate::simd::Simd;

/// The part of an activation function that a kernel applies while its sums are in registers: cheap enough to stand in every
/// register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clamp {
    None,
    Relu,
    Relu6,
}

impl Clamp {
    /// Splits `function` into what register tiles do, and what is left to do on the values they have stored.
    pub fn split(function: ActivationFn) -> (Self, Option<ActivationFn>) {
        match function {
            ActivationFn::Identity => (Self::None, None),
            ActivationFn::Relu => (Self::Relu, None),
            ActivationFn::Relu6 => (Self::Relu6, None),
            other => (Self::None, Some(other)),
        }
    }
}

/// Runs the body with the function as a constant, so that each gets a loop of its own.
macro_rules! with_function {
    ($function:expr, |$known:ident| $body:expr) => {
        $crate::functions::with_function!(@arms $function, $known, $body,
            Identity Relu Relu6 Silu HardSwish HardSigmoid Sigmoid Gelu QuickGelu
            GeluTanh Mish Tanh Elu LeakyRelu LeakyReluTenth)
    };
    (@arms $function:expr, $known:ident, $body:expr, $($name:ident)*) => {
        match $function {
            $($crate::activation_fn::ActivationFn::$name => {
                #[allow(non_upper_case_globals)]
                const $known: $crate::activation_fn::ActivationFn =
                    $crate::activation_fn::ActivationFn::$name;
                $body
            })*
        }
    };
}
pub(crate) use with_function;

/// Rows of lines that an activation function is applied to in place.
pub(crate) struct Apply {
    pub values: *mut f32,
    pub rows: usize,
    /// Lines in a row.
    pub count: usize,
    /// Sixteen from one row to the next, and from one line to the next.
    pub row_stride: usize,
    pub line_stride: usize,
    pub function: ActivationFn,
}

/// # Safety
/// The instruction set of `S` must be there; the values valid as described.
#[inline(always)]
pub(crate) unsafe fn apply<S: Simd>(t: &Apply) {
    // SAFETY: by the contract above.
    unsafe {
        with_function!(t.function, |function| {
            for row in 0..t.rows {
                for i in 0..t.count {
                    let at = t.values.add(row * t.row_stride + i * t.line_stride);
                    S::store(at, activate::<S>(function, S::load(at)));
                }
            }
        });
    }
}

/// Gradients by the output of an activation function, which become those by its input `z`.
pub(crate) struct ApplyGradient {
    pub z: *const f32,
    pub gradient: *mut f32,
    /// Lines of both.
    pub count: usize,
    pub function: ActivationFn,
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid for `count` lines.
#[inline(always)]
pub(crate) unsafe fn apply_gradient<S: Simd>(t: &ApplyGradient) {
    // SAFETY: by the contract above.
    unsafe {
        with_function!(t.function, |function| {
            for i in (0..t.count).map(|i| i * LANES) {
                let g = S::load(t.gradient.add(i));
                let g = back::<S>(function, S::load(t.z.add(i)), g);
                S::store(t.gradient.add(i), g);
            }
        });
    }
}

/// Applies `clamp`. A NaN stays one.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(crate) unsafe fn clamped<S: Simd>(clamp: Clamp, v: S::V) -> S::V {
    // SAFETY: by the contract above.
    unsafe {
        match clamp {
            Clamp::None => v,
            Clamp::Relu => S::max(S::zero(), v),
            Clamp::Relu6 => S::min(S::splat(6.0), S::max(S::zero(), v)),
        }
    }
}

/// Computes `function` of each value.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd>(function: ActivationFn, x: S::V) -> S::V {
    // SAFETY: by the contract above.
    unsafe {
        match function {
            ActivationFn::Identity => x,
            ActivationFn::Relu => clamped::<S>(Clamp::Relu, x),
            ActivationFn::Relu6 => clamped::<S>(Clamp::Relu6, x),
            ActivationFn::Silu => S::div(x, one_plus_exp_minus::<S>(x)),
            ActivationFn::Sigmoid => S::div(S::splat(1.0), one_plus_exp_minus::<S>(x)),
            ActivationFn::HardSwish => S::mul(x, hard_sigmoid::<S>(x)),
            ActivationFn::HardSigmoid => hard_sigmoid::<S>(x),
            ActivationFn::Gelu => S::mul(x, normal::<S>(x).0),
            ActivationFn::QuickGelu => {
                S::div(x, one_plus_exp_minus::<S>(S::mul(x, S::splat(QUICK))))
            }
            ActivationFn::GeluTanh => S::div(x, one_plus_exp_minus::<S>(inside_gelu::<S>(x).0)),
            ActivationFn::Mish => S::mul(x, mish_gate::<S>(x).0),
            ActivationFn::Tanh => {
                // Above this it is one; a NaN stays one.
                let x = S::min(S::splat(20.0), S::max(S::splat(-20.0), x));
                let e = exp_minus_one::<S>(S::add(x, x));
                S::div(e, S::add(e, S::splat(2.0)))
            }
            ActivationFn::Elu => {
                let below = S::max(S::splat(-128.0), S::min(S::zero(), x));
                S::add(S::max(S::zero(), x), exp_minus_one::<S>(below))
            }
            ActivationFn::LeakyRelu => S::max(S::mul(x, S::splat(SMALL)), x),
            ActivationFn::LeakyReluTenth => S::max(S::mul(x, S::splat(TENTH)), x),
        }
    }
}

/// Computes `g` times the derivative of `function` at `z`.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(crate) unsafe fn back<S: Simd>(function: ActivationFn, z: S::V, g: S::V) -> S::V {
    // SAFETY: by the contract above.
    unsafe {
        match function {
            ActivationFn::Identity => g,
            ActivationFn::Relu => S::keep_positive(g, z),
            ActivationFn::Relu6 => between::<S>(z, 0.0, 6.0, g),
            ActivationFn::HardSigmoid => S::mul(between::<S>(z, -3.0, 3.0, g), S::splat(1.0 / 6.0)),
            ActivationFn::HardSwish => {
                let third = S::splat(1.0 / 3.0);
                let slope = S::fma(S::min(S::splat(3.0), z), third, S::splat(0.5));
                let from_the_left = S::keep_positive(slope, S::add(z, S::splat(3.0)));
                let excess = S::keep_positive(S::splat(0.5), S::sub(z, S::splat(3.0)));
                S::mul(g, S::sub(from_the_left, excess))
            }
            ActivationFn::Sigmoid => {
                let s = activate::<S>(ActivationFn::Sigmoid, z);
                S::mul(g, S::mul(s, S::sub(S::splat(1.0), s)))
            }
            ActivationFn::Silu => {
                let one = S::splat(1.0);
                let s = activate::<S>(ActivationFn::Sigmoid, z);
                // The factor 1 - s is zero before z overflows.
                let bounded = S::min(S::splat(1e30), S::max(S::splat(-1e30), z));
                S::mul(g, S::mul(s, S::fma(bounded, S::sub(one, s), one)))
            }
            ActivationFn::Gelu => {
                let (below, density) = normal::<S>(z);
                let bounded = S::min(S::splat(1e30), S::max(S::splat(-1e30), z));
                S::mul(g, S::fma(bounded, density, below))
            }
            ActivationFn::QuickGelu => {
                let one = S::splat(1.0);
                let scaled = S::mul(z, S::splat(QUICK));
                let s = activate::<S>(ActivationFn::Sigmoid, scaled);
                // The factor 1 - s is zero before z overflows.
                let bounded = S::min(S::splat(1e30), S::max(S::splat(-1e30), scaled));
                S::mul(g, S::mul(s, S::fma(bounded, S::sub(one, s), one)))
            }
            ActivationFn::GeluTanh => {
                let one = S::splat(1.0);
                let bounded = S::min(S::splat(1e6), S::max(S::splat(-1e6), z));
                let (inside, slope) = inside_gelu::<S>(bounded);
                let s = activate::<S>(ActivationFn::Sigmoid, inside);
                // 1 - s would lose the digits that its large factor brings forward.
                let rest = activate::<S>(ActivationFn::Sigmoid, S::sub(S::zero(), inside));
                S::mul(g, S::mul(s, S::fma(S::mul(bounded, slope), rest, one)))
            }
            ActivationFn::Mish => {
                let (gate, slope) = mish_gate::<S>(z);
                let bounded = S::min(S::splat(20.0), S::max(S::splat(-1e30), z));
                S::mul(g, S::fma(bounded, slope, gate))
            }
            ActivationFn::Tanh => {
                // 4 e / (1 + e)² with e = exp(-2 |z|): 1 - t² has no digits left where t is near one.
                let small = S::min(z, S::sub(S::zero(), z));
                let e = exp::<S>(S::add(small, small));
                let half = S::div(S::splat(2.0), S::add(S::splat(1.0), e));
                S::mul(g, S::mul(e, S::mul(half, half)))
            }
            ActivationFn::Elu => S::mul(g, exp::<S>(S::min(S::zero(), z))),
            ActivationFn::LeakyRelu => leaky_back::<S>(z, SMALL, g),
            ActivationFn::LeakyReluTenth => leaky_back::<S>(z, TENTH, g),
        }
    }
}

/// Computes the argument of the sigmoid that GELU by tanh multiplies `x` with, and its derivative:
/// `(1 + tanh(u)) / 2 = sigmoid(2 u)`.
#[inline(always)]
unsafe fn inside_gelu<S: Simd>(x: S::V) -> (S::V, S::V) {
    const FACTOR: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2;
    const CUBIC: f32 = 0.044_715 * FACTOR;
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let square = S::mul(x, x);
        let inside = S::mul(x, S::fma(square, S::splat(CUBIC), S::splat(FACTOR)));
        let slope = S::fma(square, S::splat(3.0 * CUBIC), S::splat(FACTOR));
        (inside, slope)
    }
}

/// Computes `tanh(ln(1 + exp(x)))`, which Mish multiplies `x` with, and its derivative: with `n = exp(x) (exp(x) + 2)` it is
/// `n / (n + 2)`.
#[inline(always)]
unsafe fn mish_gate<S: Simd>(x: S::V) -> (S::V, S::V) {
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let two = S::splat(2.0);
        // Above this the gate is one; a NaN stays one.
        let e = exp::<S>(S::min(S::splat(20.0), x));
        let n = S::mul(e, S::add(e, two));
        let whole = S::add(n, two);
        let (gate, share) = (S::div(n, whole), S::div(two, whole));
        let steep = S::mul(S::mul(e, S::add(e, S::splat(1.0))), S::mul(share, share));
        (gate, steep)
    }
}

/// Slopes of the two leaky ReLUs below zero.
const SMALL: f32 = 0.01;
const TENTH: f32 = 0.1;

/// Keeps `g` where `z` is above zero, and takes its share below.
#[inline(always)]
unsafe fn leaky_back<S: Simd>(z: S::V, slope: f32, g: S::V) -> S::V {
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let above = S::keep_positive(g, z);
        let below = S::mul(S::sub(g, above), S::splat(slope));
        S::add(above, below)
    }
}

/// Factor of the sigmoid's argument in QuickGELU.
const QUICK: f32 = 1.702;

/// Keeps `v` where `z` lies between `low` and `high`, else zero.
#[inline(always)]
unsafe fn between<S: Simd>(z: S::V, low: f32, high: f32, v: S::V) -> S::V {
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let above = S::keep_positive(v, S::sub(z, S::splat(low)));
        S::keep_positive(above, S::sub(S::splat(high), z))
    }
}

#[inline(always)]
unsafe fn hard_sigmoid<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller has enabled the instruction set.
    unsafe {
        let six = clamped::<S>(Clamp::Relu6, S::add(x, S::splat(3.0)));
        S::mul(six, S::splat(1.0 / 6.0))
    }
}

#[inline(always)]
unsafe fn one_plus_exp_minus<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller has enabled the instruction set.
    unsafe { S::add(S::splat(1.0), exp::<S>(S::sub(S::zero(), x))) }
}

/// Computes the exponential of each value with a relative error below 1e-7 where the result is a normal number; below that
/// it is rounded to a multiple of the smallest one, above the largest one it is infinite.
///
/// `exp(x) = 2^n exp(r)`, where `r` lies within half a logarithm of two around zero; `ln 2` is subtracted in two parts, the
/// first of so few digits that its multiples are exact.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: by the contract above.
    unsafe { exp_within::<S>(S::min(S::splat(128.0), S::max(S::splat(-128.0), x))) }
}

/// Computes what [`exp`] does of values from -128 to 128. Results that are not normal numbers cost some processors a hundred
/// cycles each.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(crate) unsafe fn exp_within<S: Simd>(x: S::V) -> S::V {
    // SAFETY: by the contract above.
    unsafe {
        let (n, p) = reduced::<S>(x);
        S::times_power_of_two(S::add(p, S::splat(1.0)), n)
    }
}

/// Computes `exp(x) - 1` of values from -128 to 80, near zero with a small relative error too.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
unsafe fn exp_minus_one<S: Simd>(x: S::V) -> S::V {
    // SAFETY: by the contract above.
    unsafe {
        let one = S::splat(1.0);
        let (n, p) = reduced::<S>(x);
        let power = S::times_power_of_two(one, n);
        S::fma(power, p, S::sub(power, one))
    }
}

/// Returns `n` and `exp(r) - 1` for `x = n ln 2 + r`.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
unsafe fn reduced<S: Simd>(x: S::V) -> (S::V, S::V) {
    const LN_2: [f32; 2] = [-0.693_359_4, 2.121_944_4e-4];
    // The polynomial q of `exp(r) = 1 + r + r * r * q(r)` whose largest relative error is smallest.
    const Q: [f32; 5] = [
        0.001_381_453_9,
        0.008_368_745,
        0.041_668_39,
        0.166_665_21,
        0.499_999_94,
    ];
    // SAFETY: by the contract above.
    unsafe {
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::fma(n, S::splat(LN_2[0]), x);
        let r = S::fma(n, S::splat(LN_2[1]), r);
        let mut q = S::splat(Q[0]);
        for c in &Q[1..] {
            q = S::fma(q, r, S::splat(*c));
        }
        (n, S::fma(S::mul(r, r), q, r))
    }
}

/// Computes the normal distribution function of each value and its density, both with an absolute error below 1e-7
/// (Abramowitz and Stegun, 7.1.26).
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
unsafe fn normal<S: Simd>(x: S::V) -> (S::V, S::V) {
    const P: [f32; 5] = [
        1.061_405_4,
        -1.453_152,
        1.421_413_8,
        -0.284_496_72,
        0.254_829_6,
    ];
    // SAFETY: by the contract above.
    unsafe {
        let (zero, one) = (S::zero(), S::splat(1.0));
        let size = S::max(S::sub(zero, x), x);
        // Beyond this the exponential is zero, and before it the square is finite.
        let size = S::min(S::splat(20.0), size);
        let e = exp::<S>(S::mul(S::mul(size, size), S::splat(-0.5)));
        let scaled = S::fma(
            size,
            S::splat(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2),
            one,
        );
        let t = S::reciprocal(scaled);
        let mut p = S::splat(P[0]);
        for c in &P[1..] {
            p = S::fma(p, t, S::splat(*c));
        }
        let tail = S::mul(S::mul(S::mul(p, t), e), S::splat(0.5));
        let above = S::keep_positive(S::sub(one, S::add(tail, tail)), x);
        let density = S::mul(e, S::splat(0.398_942_3));
        (S::add(tail, above), density)
    }
}

#[cfg(test)]
mod tests {
    use super::exp;
    use crate::isa::Isa;
    use crate::line::LANES;
    use crate::simd::{self, Simd};

    type Sixteen = [f32; LANES];

    #[inline(always)]
    fn with<S: Simd>(x: &Sixteen) -> Sixteen {
        let mut y = [0.0; LANES];
        // SAFETY: the caller has the instruction set, and both arrays are sixteen values.
        unsafe { S::store(y.as_mut_ptr(), exp::<S>(S::load(x.as_ptr()))) };
        y
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn avx512(x: &Sixteen) -> Sixteen {
        with::<simd::Avx512>(x)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(x: &Sixteen) -> Sixteen {
        with::<simd::Avx2>(x)
    }

    fn on(isa: Isa, x: &Sixteen) -> Sixteen {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: only available instruction sets are asked for.
            Isa::Avx512 => unsafe { avx512(x) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { avx2(x) },
            _ => with::<simd::Portable>(x),
        }
    }

    #[test]
    fn the_exponential_is_accurate_over_its_range() {
        for &isa in Isa::available() {
            let mut worst = 0.0f64;
            for i in (-1_100_000..=890_000).step_by(LANES) {
                let x: Sixteen = std::array::from_fn(|lane| (i + lane as i32) as f32 * 1e-4);
                for (x, y) in x.into_iter().zip(on(isa, &x)) {
                    let expected = f64::from(x).exp();
                    if expected > f64::from(f32::MAX) {
                        assert!(y == f32::INFINITY, "exp({x}) on {isa}: {y}");
                    } else if expected >= f64::from(f32::MIN_POSITIVE) {
                        worst = worst.max((f64::from(y) - expected).abs() / expected);
                    } else {
                        // Within a few of the smallest numbers there are.
                        let error = (f64::from(y) - expected).abs();
                        assert!(error < 3e-45, "exp({x}) on {isa}: {y}");
                    }
                }
            }
            assert!(worst < 1e-7, "{isa}: {worst:e}");
            let ends = [f32::NEG_INFINITY, f32::MIN, 0.0, f32::MAX, f32::INFINITY];
            let x: Sixteen = std::array::from_fn(|lane| ends[lane % ends.len()]);
            let y = on(isa, &x);
            assert_eq!(y[..5], [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY]);
            assert!(on(isa, &[f32::NAN; LANES]).iter().all(|y| y.is_nan()));
        }
    }
}
