//! Slow and simple counterparts in f64, and numbers to feed both sides.
#![allow(dead_code)]

use rayon::prelude::*;
use rekindle_kernels::Conv2dParams;

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

/// Every `[oh, ow]` window position that reads pixel `(iy, ix)` is left to the caller; this walks output to input.
pub fn conv(p: &Conv2dParams, x: &[f32], [n, _, h, w]: [usize; 4], weight: &[f32]) -> Vec<f64> {
    let [oh, ow] = p.output_size([h, w]).unwrap();
    let [kh, kw] = p.kernel;
    let (ig, og) = (p.in_channels / p.groups, p.out_channels / p.groups);
    let mut out = vec![0.0; n * p.out_channels * oh * ow];
    out.par_chunks_mut(oh * ow)
        .enumerate()
        .for_each(|(plane, out)| {
            let (b, o) = (plane / p.out_channels, plane % p.out_channels);
            for i in 0..ig {
                let c = o / og * ig + i;
                let picture = &x[(b * p.in_channels + c) * h * w..][..h * w];
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let weight = f64::from(weight[((o * ig + i) * kh + ky) * kw + kx]);
                    for (y, x) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                        let (iy, ix) = (y * p.stride + ky, x * p.stride + kx);
                        let inside = (p.padding..h + p.padding).contains(&iy)
                            && (p.padding..w + p.padding).contains(&ix);
                        if inside {
                            let at = (iy - p.padding) * w + ix - p.padding;
                            out[y * ow + x] += weight * f64::from(picture[at]);
                        }
                    }
                }
            }
        });
    out
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

/// Every distinct convolution of torchvision's ten ResNets.
pub fn resnet_convolutions() -> Vec<Conv2dParams> {
    let mut all = vec![Conv2dParams::new(3, 64, 7, 2)];
    let basic = |all: &mut Vec<Conv2dParams>| {
        for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
            let (before, stride) = if stage == 0 { (64, 1) } else { (width / 2, 2) };
            all.push(Conv2dParams::new(before, width, 3, stride));
            all.push(Conv2dParams::new(width, width, 3, 1));
            if stage > 0 {
                all.push(Conv2dParams::new(before, width, 1, 2));
            }
        }
    };
    let bottleneck = |all: &mut Vec<Conv2dParams>, groups: usize, group_width: usize| {
        for (stage, planes) in [64, 128, 256, 512].into_iter().enumerate() {
            let width = planes * group_width / 64 * groups;
            let (before, stride) = if stage == 0 { (64, 1) } else { (planes * 2, 2) };
            all.push(Conv2dParams::new(before, width, 1, 1));
            all.push(Conv2dParams::new(planes * 4, width, 1, 1));
            all.push(Conv2dParams::new(width, width, 3, stride).with_groups(groups));
            all.push(Conv2dParams::new(width, width, 3, 1).with_groups(groups));
            all.push(Conv2dParams::new(width, planes * 4, 1, 1));
            all.push(Conv2dParams::new(before, planes * 4, 1, stride));
        }
    };
    basic(&mut all);
    for (groups, group_width) in [(1, 64), (32, 4), (32, 8), (64, 4), (1, 128)] {
        bottleneck(&mut all, groups, group_width);
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|p| seen.insert(*p));
    all
}
