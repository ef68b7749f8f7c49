//! Eight integers at once, with AVX2 or without.

/// Eight integers of 32 bits.
pub(super) trait Vector: Copy {
    /// Proof that the processor has the instructions.
    type Token: Copy;

    fn product(token: Self::Token, values: &[i16; 8], factors: &[i32; 8]) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, factor: i32) -> Self;
    fn shifted_left<const BITS: i32>(self) -> Self;
    /// Rounded to a multiple of 2 to the power `BITS`, halves up, and divided by it.
    fn without_last<const BITS: i32>(self) -> Self;
    fn transpose(rows: [Self; 8]) -> [Self; 8];
    /// 128 more, but at least 0 and at most 255.
    fn to_bytes(rows: [Self; 8]) -> [[u8; 8]; 8];
}

/// Vector for any processor.
#[derive(Clone, Copy)]
pub(super) struct Portable([i32; 8]);

impl Vector for Portable {
    type Token = ();

    #[inline(always)]
    fn product((): (), values: &[i16; 8], factors: &[i32; 8]) -> Self {
        Self(std::array::from_fn(|i| {
            i32::from(values[i]).wrapping_mul(factors[i])
        }))
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].wrapping_sub(other.0[i])))
    }

    #[inline(always)]
    fn times(self, factor: i32) -> Self {
        Self(self.0.map(|value| value.wrapping_mul(factor)))
    }

    #[inline(always)]
    fn shifted_left<const BITS: i32>(self) -> Self {
        Self(self.0.map(|value| value << BITS))
    }

    #[inline(always)]
    fn without_last<const BITS: i32>(self) -> Self {
        let half = 1 << (BITS - 1);
        Self(self.0.map(|value| value.wrapping_add(half) >> BITS))
    }

    #[inline(always)]
    fn transpose(rows: [Self; 8]) -> [Self; 8] {
        std::array::from_fn(|r| Self(std::array::from_fn(|c| rows[c].0[r])))
    }

    #[inline(always)]
    fn to_bytes(rows: [Self; 8]) -> [[u8; 8]; 8] {
        let byte = |value: i32| value.clamp(-128, 127).wrapping_add(128) as u8;
        rows.map(|row| row.0.map(byte))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::__m256i;

    use pulp::cast;
    use pulp::x86::V3;

    use super::Vector;

    #[derive(Clone, Copy)]
    pub(in crate::jpeg) struct Avx2(V3, __m256i);

    impl Vector for Avx2 {
        type Token = V3;

        #[inline(always)]
        fn product(token: V3, values: &[i16; 8], factors: &[i32; 8]) -> Self {
            let wide = token.avx2._mm256_cvtepi16_epi32(cast(*values));
            Self(token, token.avx2._mm256_mullo_epi32(wide, cast(*factors)))
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            Self(self.0, self.0.avx2._mm256_add_epi32(self.1, other.1))
        }

        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            Self(self.0, self.0.avx2._mm256_sub_epi32(self.1, other.1))
        }

        #[inline(always)]
        fn times(self, factor: i32) -> Self {
            let factor = self.0.avx._mm256_set1_epi32(factor);
            Self(self.0, self.0.avx2._mm256_mullo_epi32(self.1, factor))
        }

        #[inline(always)]
        fn shifted_left<const BITS: i32>(self) -> Self {
            Self(self.0, self.0.avx2._mm256_slli_epi32::<BITS>(self.1))
        }

        #[inline(always)]
        fn without_last<const BITS: i32>(self) -> Self {
            let Self(token, values) = self;
            let half = token.avx._mm256_set1_epi32(1 << (BITS - 1));
            let rounded = token.avx2._mm256_add_epi32(values, half);
            Self(token, token.avx2._mm256_srai_epi32::<BITS>(rounded))
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
                Self(token, token.avx2._mm256_unpacklo_epi32(one, other.1)),
                Self(token, token.avx2._mm256_unpackhi_epi32(one, other.1)),
            ]
        }

        #[inline(always)]
        fn pair(self, other: Self) -> [Self; 2] {
            let Self(token, one) = self;
            [
                Self(token, token.avx2._mm256_unpacklo_epi64(one, other.1)),
                Self(token, token.avx2._mm256_unpackhi_epi64(one, other.1)),
            ]
        }

        #[inline(always)]
        fn halves(self, other: Self) -> [Self; 2] {
            let V3 { avx2, .. } = self.0;
            let (one, two) = (self.1, other.1);
            [
                Self(self.0, avx2._mm256_permute2x128_si256::<0x20>(one, two)),
                Self(self.0, avx2._mm256_permute2x128_si256::<0x31>(one, two)),
            ]
        }
    }

    #[inline(always)]
    fn four_to_bytes(a: Avx2, b: Avx2, c: Avx2, d: Avx2) -> [[u8; 8]; 4] {
        let V3 { avx, avx2, .. } = a.0;
        let upper = avx2._mm256_packs_epi32(a.1, b.1);
        let lower = avx2._mm256_packs_epi32(c.1, d.1);
        let middle = avx._mm256_set1_epi8(-128);
        let bytes = avx2._mm256_xor_si256(avx2._mm256_packs_epi16(upper, lower), middle);
        // Packing works on halves of vectors; this puts the rows together again.
        let order: __m256i = cast([0, 4, 1, 5, 2, 6, 3, 7_i32]);
        cast(avx2._mm256_permutevar8x32_epi32(bytes, order))
    }
}
