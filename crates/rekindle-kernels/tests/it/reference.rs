//! Slow and simple counterparts in f64, and numbers to feed both sides.

use rayon::prelude::*;
use rekindle_kernels::{Conv2dParams, NormGradients, Padding};

/// Uniform values in [-1, 1), the same for the same seed.
pub fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// For each tap of the filter, the pairs of input and output pixel that it joins.
fn pairs(p: &Conv2dParams, [h, w]: [usize; 2]) -> Vec<Vec<(usize, usize)>> {
    let [oh, ow] = p.output_size([h, w]).unwrap();
    let [kh, kw] = p.kernel;
    let Padding { top, left, .. } = p.padding;
    let tap = |tap: usize| {
        let mut pairs = Vec::new();
        for (y, x) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
            let (iy, ix) = (y * p.stride + tap / kw, x * p.stride + tap % kw);
            if (top..h + top).contains(&iy) && (left..w + left).contains(&ix) {
                pairs.push(((iy - top) * w + ix - left, y * ow + x));
            }
        }
        pairs
    };
    (0..kh * kw).map(tap).collect()
}

/// The plain convolution.
pub fn convolution(
    p: &Conv2dParams,
    x: &[f32],
    [_, _, h, w]: [usize; 4],
    weight: &[f32],
) -> Vec<f64> {
    let [oh, ow] = p.output_size([h, w]).unwrap();
    let (ig, og) = (p.in_channels / p.groups, p.out_channels / p.groups);
    let (pairs, taps) = (pairs(p, [h, w]), p.kernel[0] * p.kernel[1]);
    let n = x.len() / (p.in_channels * h * w);
    let mut out = vec![0.0; n * p.out_channels * oh * ow];
    let planes = out.par_chunks_mut(oh * ow).enumerate();
    planes.for_each(|(plane, out)| {
        let (b, o) = (plane / p.out_channels, plane % p.out_channels);
        for i in 0..ig {
            let x = &x[(b * p.in_channels + o / og * ig + i) * h * w..][..h * w];
            let filter = &weight[(o * ig + i) * taps..][..taps];
            for (pairs, &weight) in pairs.iter().zip(filter) {
                for &(input, output) in pairs {
                    out[output] += f64::from(weight) * f64::from(x[input]);
                }
            }
        }
    });
    out
}

/// Gradients of a convolution by input and by weight.
pub fn convolution_gradients(
    p: &Conv2dParams,
    x: &[f32],
    [n, _, h, w]: [usize; 4],
    weight: &[f32],
    dy: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let [oh, ow] = p.output_size([h, w]).unwrap();
    let (ig, og) = (p.in_channels / p.groups, p.out_channels / p.groups);
    let (pairs, taps) = (pairs(p, [h, w]), p.kernel[0] * p.kernel[1]);
    let x_plane = |b: usize, c: usize| &x[(b * p.in_channels + c) * h * w..][..h * w];
    let dy_plane = |b: usize, o: usize| &dy[(b * p.out_channels + o) * oh * ow..][..oh * ow];
    let mut dw = vec![0.0; weight.len()];
    let filters = dw.par_chunks_mut(taps).enumerate();
    filters.for_each(|(filter, dw)| {
        let (o, i) = (filter / ig, filter % ig);
        for b in 0..n {
            let (x, dy) = (x_plane(b, o / og * ig + i), dy_plane(b, o));
            for (dw, pairs) in dw.iter_mut().zip(&pairs) {
                for &(input, output) in pairs {
                    *dw += f64::from(x[input]) * f64::from(dy[output]);
                }
            }
        }
    });
    let mut dx = vec![0.0; x.len()];
    let planes = dx.par_chunks_mut(h * w).enumerate();
    planes.for_each(|(plane, dx)| {
        let (b, c) = (plane / p.in_channels, plane % p.in_channels);
        for o in c / ig * og..(c / ig + 1) * og {
            let (dy, filter) = (dy_plane(b, o), &weight[(o * ig + c % ig) * taps..][..taps]);
            for (pairs, &weight) in pairs.iter().zip(filter) {
                for &(input, output) in pairs {
                    dx[input] += f64::from(weight) * f64::from(dy[output]);
                }
            }
        }
    });
    (dx, dw)
}

/// The largest difference, relative to the largest expected value.
pub fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |m, e| m.max(e.abs()));
    let differences = found
        .iter()
        .zip(expected)
        .map(|(&f, e)| (f64::from(f) - e).abs());
    let difference = differences.fold(0.0f64, |m, d| if d.is_nan() { f64::NAN } else { m.max(d) });
    if largest == 0.0 {
        difference
    } else {
        difference / largest
    }
}

/// Gradients of `loss` at `values` by central differences, whose own error is near 1e-9.
pub fn differences(values: &[f32], loss: impl Fn(&[f64]) -> f64 + Sync) -> Vec<f64> {
    let exact = wide(values);
    let by_value = |i: usize| {
        let [mut above, mut below] = [exact.clone(), exact.clone()];
        above[i] += 1e-5;
        below[i] -= 1e-5;
        (loss(&above) - loss(&below)) / 2e-5
    };
    (0..values.len()).into_par_iter().map(by_value).collect()
}

/// The sum of products.
pub fn dot(a: &[f64], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum()
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

/// Gradients of `loss` by a normalisation's input, weight and bias, which it takes in this order.
pub fn norm_differences(
    [x, weight, bias]: [&[f32]; 3],
    loss: impl Fn(&[f64], &[f64], &[f64]) -> f64 + Sync,
) -> [Vec<f64>; 3] {
    let [e, w, b] = [x, weight, bias].map(wide);
    [
        differences(x, |x| loss(x, &w, &b)),
        differences(weight, |w| loss(&e, w, &b)),
        differences(bias, |b| loss(&e, &w, b)),
    ]
}

/// Holds a normalisation's gradients against those of plain loops, by input, weight and bias.
pub fn assert_norm_gradients(found: NormGradients, expected: &[Vec<f64>; 3], place: &str) {
    let found = [found.x.to_nchw(), found.weight, found.bias];
    for ((what, found), expected) in ["x", "weight", "bias"].iter().zip(found).zip(expected) {
        let error = relative_error(&found, expected);
        assert!(error < 1e-5, "{place}, by {what}: {error:e}");
    }
}
