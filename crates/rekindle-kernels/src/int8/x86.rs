//! Sums of products of bytes by AVX-512 VNNI, AVX-VNNI and AVX2.

use super::simd::Sums;
use std::arch::x86_64::*;

/// AVX-512 with its dot product of bytes, which adds without saturation.
#[derive(Clone, Copy)]
pub(super) struct Vnni;

#[inline(always)]
unsafe fn round(x: __m512) -> __m512i {
    // SAFETY: the caller has the instruction set.
    unsafe {
        // What `i32` doesn't hold would become negative.
        let x = _mm512_min_ps(x, _mm512_set1_ps(255.0));
        // To the nearest even, as nothing in Rust may set another mode.
        _mm512_cvtps_epi32(x)
    }
}

// SAFETY of every block below: the trait's contract gives the instruction set and valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Sums for Vnni {
    type V = __m512i;
    type Quad = __m512i;
    type Weights = __m512i;
    type F = __m512;
    type Line = __m512i;

    #[inline(always)]
    unsafe fn load(p: *const i32) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn quad(p: *const u8) -> __m512i {
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, quad: __m512i, weights: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, quad, weights) }
    }
    #[inline(always)]
    unsafe fn to_float(v: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(v) }
    }
    #[inline(always)]
    unsafe fn bytes_to_float(p: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load_float(p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_float(p: *mut f32, x: __m512) {
        unsafe { _mm512_storeu_ps(p, x) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
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
    unsafe fn store_bytes(p: *mut u8, x: __m512) {
        unsafe {
            _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(round(x)));
        }
    }
    #[inline(always)]
    unsafe fn interleave(x: [__m512; 4]) -> [u32; 16] {
        unsafe {
            let [a, b, c, d] = [round(x[0]), round(x[1]), round(x[2]), round(x[3])];
            let low = _mm512_or_si512(a, _mm512_slli_epi32::<8>(b));
            let high = _mm512_or_si512(_mm512_slli_epi32::<16>(c), _mm512_slli_epi32::<24>(d));
            std::mem::transmute::<__m512i, [u32; 16]>(_mm512_or_si512(low, high))
        }
    }
    #[inline(always)]
    unsafe fn line(p: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn max_line(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_max_epu8(a, b) }
    }
    #[inline(always)]
    unsafe fn store_line(p: *mut u8, line: __m512i) {
        unsafe { _mm512_storeu_si512(p.cast(), line) }
    }
}

/// AVX2, with a dot product of bytes (AVX-VNNI) or with two of words in its place, of even and of odd bytes.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const VNNI: bool>;

// SAFETY of every block below: the trait's contract gives the instruction set and valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const VNNI: bool> Sums for Avx2<VNNI> {
    type V = [__m256i; 2];
    /// All bytes; or the even ones as words, and the odd ones.
    type Quad = [__m256i; 2];
    /// All bytes of both halves; or the even ones of both as words, and the odd ones.
    type Weights = [__m256i; 4];
    type F = [__m256; 2];
    type Line = [__m256i; 2];

    #[inline(always)]
    unsafe fn load(p: *const i32) -> [__m256i; 2] {
        unsafe { pair(p.cast()) }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> [__m256i; 4] {
        unsafe {
            let [a, b] = pair(p.cast());
            if VNNI {
                return [a, b, a, b];
            }
            let even = |w| _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w));
            let odd = |w| _mm256_srai_epi16::<8>(w);
            [even(a), even(b), odd(a), odd(b)]
        }
    }
    #[inline(always)]
    unsafe fn quad(p: *const u8) -> [__m256i; 2] {
        unsafe {
            let all = _mm256_set1_epi32(p.cast::<i32>().read_unaligned());
            if VNNI {
                return [all, all];
            }
            let even = _mm256_and_si256(all, _mm256_set1_epi16(0xff));
            [even, _mm256_srli_epi16::<8>(all)]
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: [__m256i; 2], quad: [__m256i; 2], w: [__m256i; 4]) -> [__m256i; 2] {
        unsafe {
            if VNNI {
                return [
                    _mm256_dpbusd_avx_epi32(sum[0], quad[0], w[0]),
                    _mm256_dpbusd_avx_epi32(sum[1], quad[0], w[1]),
                ];
            }
            let half = |sum, even, odd| {
                let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(quad[0], even));
                _mm256_add_epi32(sum, _mm256_madd_epi16(quad[1], odd))
            };
            [half(sum[0], w[0], w[2]), half(sum[1], w[1], w[3])]
        }
    }
    #[inline(always)]
    unsafe fn to_float(v: [__m256i; 2]) -> [__m256; 2] {
        unsafe { [_mm256_cvtepi32_ps(v[0]), _mm256_cvtepi32_ps(v[1])] }
    }
    #[inline(always)]
    unsafe fn bytes_to_float(p: *const u8) -> [__m256; 2] {
        unsafe {
            let half =
                |p: *const u8| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast())));
            [half(p), half(p.add(8))]
        }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [__m256; 2] {
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    unsafe fn load_float(p: *const f32) -> [__m256; 2] {
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn store_float(p: *mut f32, x: [__m256; 2]) {
        unsafe {
            _mm256_storeu_ps(p, x[0]);
            _mm256_storeu_ps(p.add(8), x[1]);
        }
    }
    #[inline(always)]
    unsafe fn add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn max(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, x: [__m256; 2]) {
        unsafe {
            let [a, b] = round_pair(x);
            let words = _mm256_packs_epi32(a, b);
            // In each half four bytes of a, then of b.
            let bytes = _mm256_packus_epi16(words, words);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            _mm_storeu_si128(p.cast(), _mm256_castsi256_si128(bytes));
        }
    }
    #[inline(always)]
    unsafe fn interleave(x: [[__m256; 2]; 4]) -> [u32; 16] {
        unsafe {
            let [a, b, c, d] = [
                round_pair(x[0]),
                round_pair(x[1]),
                round_pair(x[2]),
                round_pair(x[3]),
            ];
            let half = |i: usize| {
                let low = _mm256_or_si256(a[i], _mm256_slli_epi32::<8>(b[i]));
                let high = _mm256_slli_epi32::<24>(d[i]);
                let high = _mm256_or_si256(_mm256_slli_epi32::<16>(c[i]), high);
                _mm256_or_si256(low, high)
            };
            std::mem::transmute::<[__m256i; 2], [u32; 16]>([half(0), half(1)])
        }
    }
    #[inline(always)]
    unsafe fn line(p: *const u8) -> [__m256i; 2] {
        unsafe { pair(p.cast()) }
    }
    #[inline(always)]
    unsafe fn max_line(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        unsafe { [_mm256_max_epu8(a[0], b[0]), _mm256_max_epu8(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn store_line(p: *mut u8, line: [__m256i; 2]) {
        unsafe {
            _mm256_storeu_si256(p.cast(), line[0]);
            _mm256_storeu_si256(p.add(32).cast(), line[1]);
        }
    }
}

#[inline(always)]
unsafe fn pair(p: *const __m256i) -> [__m256i; 2] {
    // SAFETY: the caller has the instruction set and 64 bytes.
    unsafe { [_mm256_loadu_si256(p), _mm256_loadu_si256(p.add(1))] }
}

/// Rounds both halves, each like [`round`].
#[inline(always)]
unsafe fn round_pair(x: [__m256; 2]) -> [__m256i; 2] {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let most = _mm256_set1_ps(255.0);
        [
            _mm256_cvtps_epi32(_mm256_min_ps(x[0], most)),
            _mm256_cvtps_epi32(_mm256_min_ps(x[1], most)),
        ]
    }
}
