//! Kernels that normalise the channels of each pixel.
//!
//! They take sixteen pixels at a time through all blocks of channels, so that every pass after the first finds them in
//! the cache. A pass leaves one vector of sums per pixel; sixteen of these are exchanged with their lanes and added up.

// Indices are constants after unrolling; iterators over the sums would hide that from the reader and the optimiser.
#![allow(clippy::needless_range_loop)]

use crate::lanes::sum_lanes;
use crate::line::{LANES, Line};
use crate::simd::Simd;

/// Pixels whose sums are in registers together.
const GROUP: usize = 4;

/// Pixels whose channels are normalised: `y = (x - mean) * rstd * weight + bias`.
pub(crate) struct PixelNorm<'a> {
    pub x: *const f32,
    /// May be `x`.
    pub y: *mut f32,
    /// Values from a block of channels to the next, of all maps.
    pub block_stride: usize,
    /// Lines for each block of channels, zero past the last channel.
    pub weight: &'a [Line],
    pub bias: &'a [Line],
    /// Positive in the lanes of the last block that are channels.
    pub used: &'a Line,
    pub channels: usize,
    pub eps: f32,
    /// Pixels.
    pub count: usize,
    /// Receive the mean and the reciprocal deviation of each pixel, or null.
    pub mean: *mut f32,
    pub rstd: *mut f32,
}

/// Normalises the channels of each pixel.
///
/// # Safety
/// The instruction set of `S` must be there; the pointers valid for `count` pixels of all blocks.
#[inline(always)]
pub(crate) unsafe fn pixel_norm<S: Simd>(t: &PixelNorm<'_>) {
    let per_channel = 1.0 / t.channels as f32;
    for from in (0..t.count).step_by(LANES) {
        let pixels = LANES.min(t.count - from);
        // SAFETY: by the contract above; every line is read before it is written.
        unsafe {
            let x = t.x.add(from * LANES);
            let [mut mean, mut rstd] = [Line::ZERO; 2];
            let sums = pass::<S, false>(t, x, pixels, &mean);
            S::store(mean.0.as_mut_ptr(), S::mul(sums, S::splat(per_channel)));
            let squares = pass::<S, true>(t, x, pixels, &mean);
            S::store(rstd.0.as_mut_ptr(), S::mul(squares, S::splat(per_channel)));
            for value in &mut rstd.0 {
                *value = 1.0 / (*value + t.eps).sqrt();
            }
            let y = t.y.add(from * LANES);
            for block in 0..t.weight.len() {
                let weight = S::load(t.weight[block].0.as_ptr());
                let bias = S::load(t.bias[block].0.as_ptr());
                for p in 0..pixels {
                    let at = block * t.block_stride + p * LANES;
                    let centred = S::sub(S::load(x.add(at)), S::splat(mean.0[p]));
                    let hat = S::mul(centred, S::splat(rstd.0[p]));
                    S::store(y.add(at), S::fma(hat, weight, bias));
                }
            }
            if !t.mean.is_null() {
                for p in 0..pixels {
                    *t.mean.add(from + p) = mean.0[p];
                    *t.rstd.add(from + p) = rstd.0[p];
                }
            }
        }
    }
}

/// Sums the channels of up to sixteen pixels, or the squares of their distances from the mean: a lane for each pixel.
///
/// # Safety
/// As [`pixel_norm`], for `pixels` pixels from `x` on.
#[inline(always)]
unsafe fn pass<S: Simd, const SQUARES: bool>(
    t: &PixelNorm<'_>,
    x: *const f32,
    pixels: usize,
    mean: &Line,
) -> S::V {
    // SAFETY: by the contract above.
    unsafe {
        let mut rows = [S::zero(); LANES];
        let used = S::load(t.used.0.as_ptr());
        for first in (0..pixels).step_by(GROUP) {
            let mut acc = [S::zero(); GROUP];
            let mut centre = [S::zero(); GROUP];
            let mut at = [0; GROUP];
            for k in 0..GROUP {
                // Where there are fewer pixels, the last takes the place of the others.
                let p = (first + k).min(pixels - 1);
                centre[k] = S::splat(mean.0[p]);
                at[k] = p * LANES;
            }
            let last = t.weight.len() - 1;
            for block in 0..=last {
                let line = x.add(block * t.block_stride);
                for k in 0..GROUP {
                    let mut v = S::load(line.add(at[k]));
                    if SQUARES {
                        v = S::sub(v, centre[k]);
                        if block == last {
                            v = S::keep_positive(v, used);
                        }
                        acc[k] = S::fma(v, v, acc[k]);
                    } else {
                        acc[k] = S::add(acc[k], v);
                    }
                }
            }
            rows[first..first + GROUP].copy_from_slice(&acc);
        }
        sum_lanes::<S>(&mut rows)
    }
}

/// Gradients of [`PixelNorm`] by its input, which take the place of those by its output, and the sums of those by weight
/// and bias.
pub(crate) struct PixelNormGradient<'a> {
    pub x: *const f32,
    pub dy: *mut f32,
    /// Added to the result; or null.
    pub add: *const f32,
    /// As of [`PixelNorm`].
    pub block_stride: usize,
    pub weight: &'a [Line],
    pub used: &'a Line,
    pub channels: usize,
    pub count: usize,
    pub mean: *const f32,
    pub rstd: *const f32,
    /// Two lines for each block of channels, to which the gradients by weight and by bias are added.
    pub sums: &'a mut [Line],
}

/// Computes the gradients. With `g = dy * weight` and `hat = (x - mean) * rstd`, over the channels of a pixel:
/// `dx = rstd * (g - mean(g) - hat * mean(g * hat)) + add`.
///
/// # Safety
/// The instruction set of `S` must be there; the pointers valid for `count` pixels of all blocks.
#[inline(always)]
pub(crate) unsafe fn pixel_norm_gradient<S: Simd>(t: &mut PixelNormGradient<'_>) {
    let per_channel = 1.0 / t.channels as f32;
    for from in (0..t.count).step_by(LANES) {
        let pixels = LANES.min(t.count - from);
        // SAFETY: by the contract above; every line is read before it is written.
        unsafe {
            let (x, dy) = (t.x.add(from * LANES), t.dy.add(from * LANES));
            let (mean, rstd) = (t.mean.add(from), t.rstd.add(from));
            let [mut plain, mut product] = [Line::ZERO; 2];
            let sums = gradient_sums::<S>(t, from, pixels);
            S::store(plain.0.as_mut_ptr(), S::mul(sums[0], S::splat(per_channel)));
            S::store(
                product.0.as_mut_ptr(),
                S::mul(sums[1], S::splat(per_channel)),
            );
            for p in 0..pixels {
                plain.0[p] *= *rstd.add(p);
                product.0[p] *= *rstd.add(p);
            }
            let last = t.weight.len() - 1;
            let used = S::load(t.used.0.as_ptr());
            for block in 0..=last {
                let weight = S::load(t.weight[block].0.as_ptr());
                let by_weight = t.sums[2 * block].0.as_mut_ptr();
                let by_bias = t.sums[2 * block + 1].0.as_mut_ptr();
                let (mut a, mut b) = (S::load(by_weight), S::load(by_bias));
                for p in 0..pixels {
                    let at = block * t.block_stride + p * LANES;
                    let rstd = S::splat(*rstd.add(p));
                    let centred = S::sub(S::load(x.add(at)), S::splat(*mean.add(p)));
                    let hat = S::mul(centred, rstd);
                    let g = S::load(dy.add(at));
                    a = S::fma(g, hat, a);
                    b = S::add(g, b);
                    let flow = S::fma(hat, S::splat(product.0[p]), S::splat(plain.0[p]));
                    let mut dx = S::sub(S::mul(S::mul(g, weight), rstd), flow);
                    if block == last {
                        dx = S::keep_positive(dx, used);
                    }
                    if !t.add.is_null() {
                        dx = S::add(dx, S::load(t.add.add(from * LANES + at)));
                    }
                    S::store(dy.add(at), dx);
                }
                S::store(by_weight, a);
                S::store(by_bias, b);
            }
        }
    }
}

/// Sums `g` and `g * hat` over the channels of up to sixteen pixels: a lane for each pixel.
///
/// # Safety
/// As [`pixel_norm_gradient`], for `pixels` pixels from the `from`-th on.
#[inline(always)]
unsafe fn gradient_sums<S: Simd>(
    t: &PixelNormGradient<'_>,
    from: usize,
    pixels: usize,
) -> [S::V; 2] {
    // SAFETY: by the contract above.
    unsafe {
        let mut rows = [[S::zero(); LANES]; 2];
        for first in (0..pixels).step_by(GROUP) {
            let mut acc = [[S::zero(); GROUP]; 2];
            let [mut mean, mut rstd] = [[S::zero(); GROUP]; 2];
            let mut at = [0; GROUP];
            for k in 0..GROUP {
                let p = from + (first + k).min(pixels - 1);
                mean[k] = S::splat(*t.mean.add(p));
                rstd[k] = S::splat(*t.rstd.add(p));
                at[k] = p * LANES;
            }
            for block in 0..t.weight.len() {
                let weight = S::load(t.weight[block].0.as_ptr());
                let line = block * t.block_stride;
                for k in 0..GROUP {
                    let g = S::mul(S::load(t.dy.add(line + at[k])), weight);
                    let x = S::sub(S::load(t.x.add(line + at[k])), mean[k]);
                    acc[0][k] = S::add(acc[0][k], g);
                    acc[1][k] = S::fma(g, x, acc[1][k]);
                }
            }
            for k in 0..GROUP {
                rows[0][first + k] = acc[0][k];
                rows[1][first + k] = S::mul(acc[1][k], rstd[k]);
            }
        }
        let [plain, product] = &mut rows;
        [sum_lanes::<S>(plain), sum_lanes::<S>(product)]
    }
}
