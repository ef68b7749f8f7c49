//! Inverse discrete cosine transforms, to blocks of full size or reduced by a half, quarter, eighth.

use super::huffman::Block;
use super::vector::Vector;

/// Factors that a component's coefficients are multiplied by, in the order of a [`Block`].
pub(super) type Factors = [f32; 64];

/// Factors of quantisation `steps` (in the order of the block's rows) for blocks of `size` samples.
pub(super) fn factors(steps: &[f32; 64], size: usize) -> Factors {
    // The transform of full size wants each coefficient scaled.
    let scale = |k: usize| match (size, k) {
        (8, 1..) => 2.0_f64.sqrt() * (k as f64 * std::f64::consts::PI / 16.0).cos(),
        _ => 1.0,
    };
    std::array::from_fn(|place| {
        let (column, row) = (place / 8, place % 8);
        (f64::from(steps[8 * row + column]) * scale(row) * scale(column) / 8.0) as f32
    })
}

/// Turns the coefficients of a block into `size` x `size` samples at the start of `out`, whose rows
/// are `stride` apart. A reduced size keeps the lowest frequencies (as libjpeg's scaled decoding).
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
            let level = sample(f32::from(block[0]) * factors[0] + 128.0);
            for row in out.chunks_mut(stride).take(size) {
                row[..size].fill(level);
            }
        }
        (2, _) => reduced::<2>(block, factors, out, stride),
        (4, _) => reduced::<4>(block, factors, out, stride),
        _ => {
            let rows = full::<V>(token, block, factors);
            for (row, target) in rows.iter().zip(out.chunks_mut(stride)) {
                target[..8].copy_from_slice(row);
            }
        }
    }
}

/// Arai, Agui and Nakajima (1988), both ways.
#[inline(always)]
fn full<V: Vector>(token: V::Token, block: &Block, factors: &Factors) -> [[u8; 8]; 8] {
    let (columns, _) = block.as_chunks::<8>();
    let (factors, _) = factors.as_chunks::<8>();
    let middle = V::from_array(token, [128.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let columns = [
        V::product(token, &columns[0], &factors[0]).plus(middle),
        V::product(token, &columns[1], &factors[1]),
        V::product(token, &columns[2], &factors[2]),
        V::product(token, &columns[3], &factors[3]),
        V::product(token, &columns[4], &factors[4]),
        V::product(token, &columns[5], &factors[5]),
        V::product(token, &columns[6], &factors[6]),
        V::product(token, &columns[7], &factors[7]),
    ];
    V::to_bytes(one_way(V::transpose(one_way(columns))))
}

#[inline(always)]
fn one_way<V: Vector>(x: [V; 8]) -> [V; 8] {
    const ROOT_2: f32 = std::f32::consts::SQRT_2;
    let (sum, difference) = (x[0].plus(x[4]), x[0].minus(x[4]));
    let outer = x[2].plus(x[6]);
    let inner = x[2].minus(x[6]).times(ROOT_2).minus(outer);
    let (a0, a3) = (sum.plus(outer), sum.minus(outer));
    let (a1, a2) = (difference.plus(inner), difference.minus(inner));

    let (z13, z10) = (x[5].plus(x[3]), x[5].minus(x[3]));
    let (z11, z12) = (x[1].plus(x[7]), x[1].minus(x[7]));
    let b7 = z11.plus(z13);
    let z5 = z10.plus(z12).times(1.847_759);
    let b6 = z5.minus(z10.times(2.613_126)).minus(b7);
    let b5 = z11.minus(z13).times(ROOT_2).minus(b6);
    let b4 = z5.minus(z12.times(1.082_392_2)).minus(b5);
    [
        a0.plus(b7),
        a1.plus(b6),
        a2.plus(b5),
        a3.plus(b4),
        a3.minus(b4),
        a2.minus(b5),
        a1.minus(b6),
        a0.minus(b7),
    ]
}

/// Computes `N` samples from the first `N` coefficients in each direction.
#[inline(never)]
fn reduced<const N: usize>(block: &Block, factors: &Factors, out: &mut [u8], stride: usize) {
    let waves = const { waves::<N>() };
    // Along the rows, one coefficient of each column at a time; then down the columns.
    let mut rows = [[0.0_f32; N]; N];
    for k in 0..N {
        for (r, row) in rows.iter_mut().enumerate() {
            let value = f32::from(block[8 * k + r]) * factors[8 * k + r];
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
                let coefficient = f64::from(block[8 * u + v]) * f64::from(steps[8 * v + u]);
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
                let factors = factors(&steps, size);
                inverse::<V>(token, &block, &factors, last, size, &mut out, stride);
                for y in 0..size {
                    for x in 0..size {
                        let expected = by_formula(&block, &steps, size, x, y);
                        let found = f64::from(out[y * stride + x]);
                        assert!(
                            (found - expected).abs() < 0.501,
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
