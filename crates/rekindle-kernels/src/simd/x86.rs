//! AVX-512 and AVX2.

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
    fn prefetch_far(p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
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
    unsafe fn reciprocal(x: __m512) -> __m512 {
        unsafe {
            // Fourteen digits, and a step of Newton's method: a division takes sixteen cycles.
            let y = _mm512_rcp14_ps(x);
            let rest = _mm512_fnmadd_ps(x, y, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(y, rest, y)
        }
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
    fn prefetch_far(p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
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
