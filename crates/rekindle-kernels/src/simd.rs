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
    /// The larger one, `b` where one is no number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller one, `b` where one is no number.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The nearest whole number, for values within a million of zero.
    unsafe fn round(x: Self::V) -> Self::V;
    /// `x * 2^n` for whole numbers `n` from -200 to 200 and `x` near one.
    unsafe fn times_power_of_two(x: Self::V, n: Self::V) -> Self::V;
    /// Exchanges rows and columns of sixteen vectors.
    unsafe fn transpose(rows: &mut [Self::V; 16]);
    /// Fetches a line that will be needed soon; any address will do.
    #[inline(always)]
    fn prefetch(_: *const f32) {}
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
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512;

    // SAFETY of every block below: the trait's contract gives the instruction set and valid pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Avx512 {
        type V = __m512;

        #[inline(always)]
        fn prefetch(p: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }

        #[inline(always)]
        unsafe fn zero() -> __m512 {
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(p, v) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn round(x: __m512) -> __m512 {
            unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT }>(x) }
        }
        #[inline(always)]
        unsafe fn times_power_of_two(x: __m512, n: __m512) -> __m512 {
            unsafe { _mm512_scalef_ps(x, n) }
        }
        #[inline(always)]
        unsafe fn transpose(rows: &mut [__m512; 16]) {
            unsafe {
                let wide = |a, b| (_mm512_castps_pd(a), _mm512_castps_pd(b));
                // Pairs of rows, then of pairs: each register holds four values of one column, for four columns.
                let mut pairs = *rows;
                for i in (0..16).step_by(2) {
                    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
                    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
                }
                let mut fours = pairs;
                for i in (0..16).step_by(4) {
                    for j in 0..2 {
                        let (a, b) = wide(pairs[i + j], pairs[i + j + 2]);
                        fours[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                        fours[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                    }
                }
                // Quarters of registers, which hold rows 4 k to 4 k + 3 of columns j, j + 4, j + 8 and j + 12.
                for j in 0..4 {
                    let [a, b, c, d] = [fours[j], fours[j + 4], fours[j + 8], fours[j + 12]];
                    let (even_ab, odd_ab) = (
                        _mm512_shuffle_f32x4::<0x88>(a, b),
                        _mm512_shuffle_f32x4::<0xdd>(a, b),
                    );
                    let (even_cd, odd_cd) = (
                        _mm512_shuffle_f32x4::<0x88>(c, d),
                        _mm512_shuffle_f32x4::<0xdd>(c, d),
                    );
                    rows[j] = _mm512_shuffle_f32x4::<0x88>(even_ab, even_cd);
                    rows[j + 4] = _mm512_shuffle_f32x4::<0x88>(odd_ab, odd_cd);
                    rows[j + 8] = _mm512_shuffle_f32x4::<0xdd>(even_ab, even_cd);
                    rows[j + 12] = _mm512_shuffle_f32x4::<0xdd>(odd_ab, odd_cd);
                }
            }
        }
        #[inline(always)]
        unsafe fn keep_positive(x: __m512, gate: __m512) -> __m512 {
            unsafe {
                let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate, _mm512_setzero_ps());
                _mm512_maskz_mov_ps(positive, x)
            }
        }
        #[inline(always)]
        unsafe fn keep_equal(x: __m512, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), x) }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2;

    // SAFETY of every block below: the trait's contract gives the instruction set and valid pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Avx2 {
        type V = [__m256; 2];

        #[inline(always)]
        fn prefetch(p: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }

        #[inline(always)]
        unsafe fn zero() -> Self::V {
            unsafe { [_mm256_setzero_ps(); 2] }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            unsafe { [_mm256_set1_ps(x); 2] }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            unsafe {
                _mm256_storeu_ps(p, v[0]);
                _mm256_storeu_ps(p.add(8), v[1]);
            }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            unsafe {
                [
                    _mm256_fmadd_ps(a[0], b[0], c[0]),
                    _mm256_fmadd_ps(a[1], b[1], c[1]),
                ]
            }
        }
        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn round(x: Self::V) -> Self::V {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            unsafe {
                [
                    _mm256_round_ps::<NEAREST>(x[0]),
                    _mm256_round_ps::<NEAREST>(x[1]),
                ]
            }
        }
        #[inline(always)]
        unsafe fn times_power_of_two(x: Self::V, n: Self::V) -> Self::V {
            unsafe { [scaled(x[0], n[0]), scaled(x[1], n[1])] }
        }
        #[inline(always)]
        unsafe fn transpose(rows: &mut [Self::V; 16]) {
            unsafe {
                // Four squares of eight; the two off the diagonal change places.
                let from = *rows;
                for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let square = std::array::from_fn(|k| from[8 * i + k][j]);
                    for (k, column) in transposed_square(square).into_iter().enumerate() {
                        rows[8 * j + k][i] = column;
                    }
                }
            }
        }
        #[inline(always)]
        unsafe fn keep_positive(x: Self::V, gate: Self::V) -> Self::V {
            unsafe {
                let zero = _mm256_setzero_ps();
                [
                    _mm256_and_ps(x[0], _mm256_cmp_ps::<_CMP_GT_OQ>(gate[0], zero)),
                    _mm256_and_ps(x[1], _mm256_cmp_ps::<_CMP_GT_OQ>(gate[1], zero)),
                ]
            }
        }
        #[inline(always)]
        unsafe fn keep_equal(x: Self::V, a: Self::V, b: Self::V) -> Self::V {
            unsafe {
                [
                    _mm256_and_ps(x[0], _mm256_cmp_ps::<_CMP_EQ_OQ>(a[0], b[0])),
                    _mm256_and_ps(x[1], _mm256_cmp_ps::<_CMP_EQ_OQ>(a[1], b[1])),
                ]
            }
        }
    }

    /// `x * 2^n` in two steps, since neither the largest nor the smallest power is a normal number.
    #[inline(always)]
    #[allow(clippy::undocumented_unsafe_blocks)]
    unsafe fn scaled(x: __m256, n: __m256) -> __m256 {
        unsafe {
            let (n, bias) = (_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            let half = _mm256_srai_epi32::<1>(n);
            let rest = _mm256_sub_epi32(n, half);
            let first = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
            let second = _mm256_slli_epi32::<23>(_mm256_add_epi32(rest, bias));
            let x = _mm256_mul_ps(x, _mm256_castsi256_ps(first));
            _mm256_mul_ps(x, _mm256_castsi256_ps(second))
        }
    }

    #[inline(always)]
    #[allow(clippy::undocumented_unsafe_blocks)]
    unsafe fn transposed_square(rows: [__m256; 8]) -> [__m256; 8] {
        unsafe {
            let wide = |a, b| (_mm256_castps_pd(a), _mm256_castps_pd(b));
            let mut pairs = rows;
            for i in (0..8).step_by(2) {
                pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
                pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
            }
            let mut fours = pairs;
            for i in (0..8).step_by(4) {
                for j in 0..2 {
                    let (a, b) = wide(pairs[i + j], pairs[i + j + 2]);
                    fours[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
                    fours[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
                }
            }
            let mut columns = fours;
            for j in 0..4 {
                columns[j] = _mm256_permute2f128_ps::<0x20>(fours[j], fours[j + 4]);
                columns[j + 4] = _mm256_permute2f128_ps::<0x31>(fours[j], fours[j + 4]);
            }
            columns
        }
    }
}
