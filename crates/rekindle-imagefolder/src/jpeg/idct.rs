//! Inverse discrete cosine transforms, to blocks of full size or reduced by a half, quarter, eighth.

use super::huffman::Block;
use super::vector::Vector;

/// What a component's coefficients are multiplied by, in the order of a [`Block`].
#[derive(Clone)]
pub(super) struct Factors {
    /// Quantisation steps.
    steps: [i32; 64],
    /// The same for blocks of reduced size.
    reduced: [f32; 64],
}

impl Factors {
    /// Prepares quantisation `steps`, row by row.
    pub(super) fn new(steps: &[f32; 64]) -> Self {
        Self {
            steps: steps.map(|step| step as i32),
            reduced: steps.map(|step| step / 8.0),
        }
    }
}

/// Turns the coefficients of a block into `size` x `size` samples at the start of `out`, whose rows
/// are `stride` apart: at full size with the bits of libjpeg's `jpeg_idct_islow`. A reduced size keeps the lowest
/// frequencies (as libjpeg's scaled decoding).
/// `last` is the position of the last coefficient in the file's order.
#[inline(always)]
pub(super) fn inverse<V: Vector>(
    token: V::Token,
    block: &Block,
    factors: &Factors,
    last: usize,
    size: usize,
    out: &mut [u8],
    stride: usize,
) {
    match (size, last) {
        (_, 0) | (1, _) => {
            let level = ((i32::from(block[0]) * factors.steps[0] + 4) >> 3) + 128;
            let level = level.clamp(0, 255) as u8;
            for row in out.chunks_mut(stride).take(size) {
                row[..size].fill(level);
            }
        }
        (2, _) => reduced::<2>(block, &factors.reduced, out, stride),
        (4, _) => reduced::<4>(block, &factors.reduced, out, stride),
        _ => {
            let rows = full::<V>(token, block, &factors.steps);
            for (row, target) in rows.iter().zip(out.chunks_mut(stride)) {
                target[..8].copy_from_slice(row);
            }
        }
    }
}

/// Bits of fraction of the constants.
const BITS: i32 = 13;

/// Bits of fraction between the two passes.
const BETWEEN: i32 = 2;

/// Loeffler, Ligtenberg and Moschytz (1989), down the columns and then along the rows, rounded where libjpeg rounds.
#[inline(always)]
fn full<V: Vector>(token: V::Token, block: &Block, steps: &[i32; 64]) -> [[u8; 8]; 8] {
    let (rows, _) = block.as_chunks::<8>();
    let (steps, _) = steps.as_chunks::<8>();
    let rows = [
        V::product(token, &rows[0], &steps[0]),
        V::product(token, &rows[1], &steps[1]),
        V::product(token, &rows[2], &steps[2]),
        V::product(token, &rows[3], &steps[3]),
        V::product(token, &rows[4], &steps[4]),
        V::product(token, &rows[5], &steps[5]),
        V::product(token, &rows[6], &steps[6]),
        V::product(token, &rows[7], &steps[7]),
    ];
    let columns = V::transpose(one_way::<V, { BITS - BETWEEN }>(rows));
    let columns = one_way::<V, { BITS + BETWEEN + 3 }>(columns);
    V::to_bytes(V::transpose(columns))
}

/// Eight transforms side by side, without their last `SHIFT` bits.
#[inline(always)]
fn one_way<V: Vector, const SHIFT: i32>(x: [V; 8]) -> [V; 8] {
    let z = x[2].plus(x[6]).times(4433);
    let even = z.plus(x[2].times(6270));
    let odd = z.minus(x[6].times(15_137));
    let sum = x[0].plus(x[4]).shifted_left::<BITS>();
    let difference = x[0].minus(x[4]).shifted_left::<BITS>();
    let (a0, a3) = (sum.plus(even), sum.minus(even));
    let (a1, a2) = (difference.plus(odd), difference.minus(odd));

    let (z3, z4) = (x[7].plus(x[3]), x[5].plus(x[1]));
    let z5 = z3.plus(z4).times(9633);
    let z1 = x[7].plus(x[1]).times(7373);
    let z2 = x[5].plus(x[3]).times(20_995);
    let z3 = z5.minus(z3.times(16_069));
    let z4 = z5.minus(z4.times(3196));
    let b0 = x[7].times(2446).minus(z1).plus(z3);
    let b1 = x[5].times(16_819).minus(z2).plus(z4);
    let b2 = x[3].times(25_172).minus(z2).plus(z3);
    let b3 = x[1].times(12_299).minus(z1).plus(z4);
    [
        a0.plus(b3).without_last::<SHIFT>(),
        a1.plus(b2).without_last::<SHIFT>(),
        a2.plus(b1).without_last::<SHIFT>(),
        a3.plus(b0).without_last::<SHIFT>(),
        a3.minus(b0).without_last::<SHIFT>(),
        a2.minus(b1).without_last::<SHIFT>(),
        a1.minus(b2).without_last::<SHIFT>(),
        a0.minus(b3).without_last::<SHIFT>(),
    ]
}

/// Computes `N` samples from the first `N` coefficients in each direction.
#[inline(never)]
fn reduced<const N: usize>(block: &Block, factors: &[f32; 64], out: &mut [u8], stride: usize) {
    let waves = const { waves::<N>() };
    // Along the rows, one coefficient of each column at a time; then down the columns.
    let mut rows = [[0.0_f32; N]; N];
    for k in 0..N {
        for (r, row) in rows.iter_mut().enumerate() {
            let value = f32::from(block[8 * r + k]) * factors[8 * r + k];
            for n in 0..N {
                row[n] += waves[k][n] * value;
            }
        }
    }
    for (n, target) in out.chunks_mut(stride).take(N).enumerate() {
        let mut sums = [128.0_f32; N];
        for (k, row) in rows.iter().enumerate() {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += waves[k][n] * value;
            }
        }
        for (target, sum) in target.iter_mut().zip(sums) {
            *target = sample(sum);
        }
    }
}

/// Rounds to the nearest of 0 to 255: at 1.5 * 2^23 a float's last bit is one.
#[inline(always)]
pub(super) fn sample(value: f32) -> u8 {
    (value.clamp(0.0, 255.0) + 12_582_912.0).to_bits() as u8
}

/// `[k][n]`: the wave of coefficient k at sample n, times the root of 8.
const fn waves<const N: usize>() -> [[f32; N]; N] {
    let mut waves = [[1.0; N]; N];
    let mut k = 1;
    while k < N {
        let mut n = 0;
        while n < N {
            waves[k][n] = std::f32::consts::SQRT_2 * cosine((2 * n + 1) * k * (8 / N));
            n += 1;
        }
        k += 1;
    }
    waves
}

/// cos(i pi / 16).
const fn cosine(i: usize) -> f32 {
    const FIRST: [f32; 9] = [
        1.0,
        0.980_785_3,
        0.923_879_5,
        0.831_469_6,
        std::f32::consts::FRAC_1_SQRT_2,
        0.555_570_2,
        0.382_683_43,
        0.195_090_32,
        0.0,
    ];
    match i % 32 {
        i @ 0..=8 => FIRST[i],
        i @ 9..=16 => -FIRST[16 - i],
        i @ 17..=23 => -FIRST[i - 16],
        i => FIRST[32 - i],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::huffman::PLACES;
    use crate::jpeg::vector::Portable;
    use std::f64::consts::PI;

    /// The formula of ITU T.81, A.3.3, evaluated at the means over `8 / size` samples.
    fn by_formula(block: &Block, steps: &[f32; 64], size: usize, x: usize, y: usize) -> f64 {
        let wave = |k: usize, n: usize| {
            let norm = if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
            0.5 * norm * ((2 * n + 1) as f64 * k as f64 * PI / (2 * size) as f64).cos()
        };
        let mut sum = 128.0;
        for v in 0..size {
            for u in 0..size {
                let coefficient = f64::from(block[8 * v + u]) * f64::from(steps[8 * v + u]);
                sum += coefficient * wave(u, x) * wave(v, y);
            }
        }
        sum.clamp(0.0, 255.0)
    }

    fn check<V: Vector>(token: V::Token) {
        let steps: [f32; 64] = std::array::from_fn(|i| (1 + i % 7) as f32);
        for (salt, last) in [(1, 0), (2, 9), (3, 63), (4, 63)] {
            let mut block = [0; 72];
            for place in &PLACES[..=last] {
                let place = usize::from(*place);
                block[place] = ((place * 37 + salt * 11) % 41) as i16 - 20;
            }
            for size in [1, 2, 4, 8] {
                let stride = 11;
                let mut out = vec![7; 8 * stride];
                let factors = Factors::new(&steps);
                inverse::<V>(token, &block, &factors, last, size, &mut out, stride);
                for y in 0..size {
                    for x in 0..size {
                        let expected = by_formula(&block, &steps, size, x, y);
                        let found = f64::from(out[y * stride + x]);
                        // Integers round twice.
                        let tolerance = if size == 8 { 0.6 } else { 0.501 };
                        assert!(
                            (found - expected).abs() <= tolerance,
                            "{size} {last} {found} {expected}"
                        );
                    }
                }
                assert_eq!(out[size], 7);
            }
        }
    }

    #[test]
    fn every_size_follows_the_formula() {
        check::<Portable>(());
        #[cfg(target_arch = "x86_64")]
        if let Some(token) = pulp::x86::V3::try_new() {
            check::<crate::jpeg::vector::Avx2>(token);
        }
    }
}
