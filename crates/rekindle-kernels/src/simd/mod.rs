//! Sixteen `f32` as the instruction sets see them.

/// Operations on one [`LANES`](crate::LANES)-wide vector.
///
/// Every method is `#[inline(always)]`, so that it ends up inside the caller that enables the instruction set.
///
/// # Safety
/// Methods may only run on a machine that has the instruction set; pointers must be valid for sixteen values (one for
/// `splat_from`).
pub(crate) trait Simd: Copy {
    /// Sixteen values in one, two or four registers.
    type V: Copy;
    unsafe fn zero() -> Self::V;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// `a * b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `1 / x` within two units of the last digit, for normal numbers whose reciprocal is one.
    #[inline(always)]
    unsafe fn reciprocal(x: Self::V) -> Self::V {
        // SAFETY: the caller has the instruction set.
        unsafe { Self::div(Self::splat(1.0), x) }
    }
    /// Returns the larger one, `b` where one is no number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Returns the smaller one, `b` where one is no number.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Returns the nearest whole number, for values within a million of zero.
    unsafe fn round(x: Self::V) -> Self::V;
    /// `x * 2^n` for whole numbers `n` from -200 to 200 and `x` near one.
    unsafe fn times_power_of_two(x: Self::V, n: Self::V) -> Self::V;
    /// Exchanges rows and columns of sixteen vectors.
    unsafe fn transpose(rows: &mut [Self::V; 16]);
    /// Fetches a line that will be needed soon; any address will do.
    #[inline(always)]
    fn prefetch(_: *const f32) {}
    /// Prefetches like [`prefetch`](Self::prefetch), into the second-level cache.
    #[inline(always)]
    fn prefetch_far(_: *const f32) {}
    /// `x` where `gate > 0`, else zero.
    unsafe fn keep_positive(x: Self::V, gate: Self::V) -> Self::V;
    /// `x` where `a == b`, else zero.
    unsafe fn keep_equal(x: Self::V, a: Self::V, b: Self::V) -> Self::V;
}

/// Fetches a line that will be needed soon; any address will do.
#[inline(always)]
pub(crate) fn prefetch(p: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and a prefetch does not fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// Fused where the target has it; elsewhere `mul_add` would be a call into the C library.
#[inline(always)]
fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// Added to a small number, it leaves no bits behind the point, and the whole number in the lowest bits.
const TO_WHOLE: f32 = 12_582_912.0;

/// `2^n`, for exponents of normal numbers; something for others.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

impl Simd for Portable {
    type V = [f32; 16];

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        [0.0; 16]
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; 16]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the caller passes a pointer to sixteen values.
        unsafe { p.cast::<[f32; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        // SAFETY: as above.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| mul_add(a[i], b[i], c[i]))
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn round(x: Self::V) -> Self::V {
        std::array::from_fn(|i| (x[i] + TO_WHOLE) - TO_WHOLE)
    }
    #[inline(always)]
    unsafe fn times_power_of_two(x: Self::V, n: Self::V) -> Self::V {
        // In two steps, since neither the largest nor the smallest power is a normal number.
        std::array::from_fn(|i| {
            let n = (n[i] + TO_WHOLE).to_bits() as i32 - TO_WHOLE.to_bits() as i32;
            let half = n >> 1;
            x[i] * power_of_two(half) * power_of_two(n - half)
        })
    }
    #[inline(always)]
    unsafe fn transpose(rows: &mut [Self::V; 16]) {
        *rows = std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]));
    }
    #[inline(always)]
    unsafe fn keep_positive(x: Self::V, gate: Self::V) -> Self::V {
        std::array::from_fn(|i| if gate[i] > 0.0 { x[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn keep_equal(x: Self::V, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] == b[i] { x[i] } else { 0.0 })
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86;
