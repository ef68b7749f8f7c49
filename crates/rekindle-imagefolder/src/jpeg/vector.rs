//! Eight floats at once, with AVX2 or without.

use super::idct::sample;

/// Eight floats.
pub(super) trait Vector: Copy {
    /// Proof that the processor has the instructions.
    type Token: Copy;

    fn from_array(token: Self::Token, values: [f32; 8]) -> Self;
    fn product(token: Self::Token, values: &[i16; 8], factors: &[f32; 8]) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, factor: f32) -> Self;
    fn transpose(rows: [Self; 8]) -> [Self; 8];
    /// Rounded to the nearest of 0 to 255, ties to even.
    fn to_bytes(rows: [Self; 8]) -> [[u8; 8]; 8];
}

/// Vector for any processor.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; 8]);

impl Vector for Portable {
    type Token = ();

    #[inline(always)]
    fn from_array((): (), values: [f32; 8]) -> Self {
        Self(values)
    }

    #[inline(always)]
    fn product((): (), values: &[i16; 8], factors: &[f32; 8]) -> Self {
        Self(std::array::from_fn(|i| f32::from(values[i]) * factors[i]))
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }

    #[inline(always)]
    fn times(self, factor: f32) -> Self {
        Self(self.0.map(|value| value * factor))
    }

    #[inline(always)]
    fn transpose(rows: [Self; 8]) -> [Self; 8] {
        std::array::from_fn(|r| Self(std::array::from_fn(|c| rows[c].0[r])))
    }

    #[inline(always)]
    fn to_bytes(rows: [Self; 8]) -> [[u8; 8]; 8] {
        rows.map(|row| row.0.map(sample))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{__m256, __m256i};

    use pulp::cast;
    use pulp::x86::V3;

    use super::Vector;

    #[derive(Clone, Copy)]
    pub(in crate::jpeg) struct Avx2(V3, __m256);

    impl Vector for Avx2 {
        type Token = V3;

        #[inline(always)]
        fn from_array(token: V3, values: [f32; 8]) -> Self {
            Self(token, cast(values))
        }

        #[inline(always)]
        fn product(token: V3, values: &[i16; 8], factors: &[f32; 8]) -> Self {
            let wide = token.avx2._mm256_cvtepi16_epi32(cast(*values));
            let floats = token.avx._mm256_cvtepi32_ps(wide);
            Self(token, token.avx._mm256_mul_ps(floats, cast(*factors)))
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            Self(self.0, self.0.avx._mm256_add_ps(self.1, other.1))
        }

        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            Self(self.0, self.0.avx._mm256_sub_ps(self.1, other.1))
        }

        #[inline(always)]
        fn times(self, factor: f32) -> Self {
            let factor = self.0.avx._mm256_set1_ps(factor);
            Self(self.0, self.0.avx._mm256_mul_ps(self.1, factor))
        }

        #[inline(always)]
        fn transpose([a, b, c, d, e, f, g, h]: [Self; 8]) -> [Self; 8] {
            let [ab, abr] = a.interleave(b);
            let [cd, cdr] = c.interleave(d);
            let [ef, efr] = e.interleave(f);
            let [gh, ghr] = g.interleave(h);
            let ([p0, p1], [p2, p3]) = (ab.pair(cd), abr.pair(cdr));
            let ([q0, q1], [q2, q3]) = (ef.pair(gh), efr.pair(ghr));
            let ([t0, t4], [t1, t5]) = (p0.halves(q0), p1.halves(q1));
            let ([t2, t6], [t3, t7]) = (p2.halves(q2), p3.halves(q3));
            [t0, t1, t2, t3, t4, t5, t6, t7]
        }

        #[inline(always)]
        fn to_bytes([a, b, c, d, e, f, g, h]: [Self; 8]) -> [[u8; 8]; 8] {
            let [a, b, c, d] = four_to_bytes(a, b, c, d);
            let [e, f, g, h] = four_to_bytes(e, f, g, h);
            [a, b, c, d, e, f, g, h]
        }
    }

    // Plain functions, because instructions are used only where everything is inlined.

    impl Avx2 {
        #[inline(always)]
        fn interleave(self, other: Self) -> [Self; 2] {
            let Self(token, one) = self;
            [
                Self(token, token.avx._mm256_unpacklo_ps(one, other.1)),
                Self(token, token.avx._mm256_unpackhi_ps(one, other.1)),
            ]
        }

        #[inline(always)]
        fn pair(self, other: Self) -> [Self; 2] {
            let Self(token, one) = self;
            [
                Self(token, token.avx._mm256_shuffle_ps::<0x44>(one, other.1)),
                Self(token, token.avx._mm256_shuffle_ps::<0xee>(one, other.1)),
            ]
        }

        #[inline(always)]
        fn halves(self, other: Self) -> [Self; 2] {
            let Self(token, one) = self;
            [
                Self(
                    token,
                    token.avx._mm256_permute2f128_ps::<0x20>(one, other.1),
                ),
                Self(
                    token,
                    token.avx._mm256_permute2f128_ps::<0x31>(one, other.1),
                ),
            ]
        }

        /// Beyond the integers' range comes the least integer; packing makes 0 of it.
        #[inline(always)]
        fn to_integers(self) -> __m256i {
            let Self(V3 { avx, .. }, values) = self;
            let most = avx._mm256_set1_ps(255.0);
            avx._mm256_cvtps_epi32(avx._mm256_min_ps(values, most))
        }
    }

    #[inline(always)]
    fn four_to_bytes(a: Avx2, b: Avx2, c: Avx2, d: Avx2) -> [[u8; 8]; 4] {
        let V3 { avx2, .. } = a.0;
        let upper = avx2._mm256_packs_epi32(a.to_integers(), b.to_integers());
        let lower = avx2._mm256_packs_epi32(c.to_integers(), d.to_integers());
        let bytes = avx2._mm256_packus_epi16(upper, lower);
        // Packing works on halves of vectors; this puts the rows together again.
        let order: __m256i = cast([0, 4, 1, 5, 2, 6, 3, 7_i32]);
        cast(avx2._mm256_permutevar8x32_epi32(bytes, order))
    }
}
