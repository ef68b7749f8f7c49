//! Gradients against plain loops in f64, for every instruction set of this machine.
#![allow(clippy::unwrap_used)]

mod common;

use common::{random, relative_error, resnet_convolutions};
use proptest::prelude::*;
use rayon::prelude::*;
use rekindle_kernels::{
    Activation, Algorithm, BatchNorm, Conv2dParams, Gate, Isa, KernelError, PackedInputGradient,
    PackedLinear, Statistics, global_average_pool_gradient, linear_gradients, max_pool,
    max_pool_gradient, weight_gradient_by, weight_gradient_nchw,
};

/// Gradients of a convolution by input and weight.
fn conv_gradients(
    p: &Conv2dParams,
    x: &[f32],
    [n, _, h, w]: [usize; 4],
    weight: &[f32],
    dy: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let [oh, ow] = p.output_size([h, w]).unwrap();
    let [kh, kw] = p.kernel;
    let (ig, og) = (p.in_channels / p.groups, p.out_channels / p.groups);
    // Calls `f(input pixel, output pixel)` for all pairs that the tap joins.
    let pairs = |ky: usize, kx: usize, f: &mut dyn FnMut(usize, usize)| {
        for (y, x) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
            let (iy, ix) = (y * p.stride + ky, x * p.stride + kx);
            let inside = (p.padding..h + p.padding).contains(&iy)
                && (p.padding..w + p.padding).contains(&ix);
            if inside {
                f((iy - p.padding) * w + ix - p.padding, y * ow + x);
            }
        }
    };
    let x_plane = |b: usize, c: usize| &x[(b * p.in_channels + c) * h * w..][..h * w];
    let dy_plane = |b: usize, o: usize| &dy[(b * p.out_channels + o) * oh * ow..][..oh * ow];
    let mut dw = vec![0.0; weight.len()];
    dw.par_chunks_mut(kh * kw)
        .enumerate()
        .for_each(|(filter, dw)| {
            let (o, i) = (filter / ig, filter % ig);
            for b in 0..n {
                let (x, dy) = (x_plane(b, o / og * ig + i), dy_plane(b, o));
                for (tap, dw) in dw.iter_mut().enumerate() {
                    pairs(tap / kw, tap % kw, &mut |input, output| {
                        *dw += f64::from(x[input]) * f64::from(dy[output]);
                    });
                }
            }
        });
    let mut dx = vec![0.0; x.len()];
    dx.par_chunks_mut(h * w)
        .enumerate()
        .for_each(|(plane, dx)| {
            let (b, c) = (plane / p.in_channels, plane % p.in_channels);
            for o in 0..og {
                let o = c / ig * og + o;
                let dy = dy_plane(b, o);
                for tap in 0..kh * kw {
                    let weight = f64::from(weight[(o * ig + c % ig) * kh * kw + tap]);
                    pairs(tap / kw, tap % kw, &mut |input, output| {
                        dx[input] += weight * f64::from(dy[output]);
                    });
                }
            }
        });
    (dx, dw)
}

fn check(params: &Conv2dParams, shape: [usize; 4], seed: u64) {
    let x = random(shape.iter().product(), seed);
    let weight = random(params.weight_shape().iter().product(), seed + 1);
    let [oh, ow] = params.output_size([shape[2], shape[3]]).unwrap();
    let out_shape = [shape[0], params.out_channels, oh, ow];
    let dy = random(out_shape.iter().product(), seed + 2);
    let add = random(x.len(), seed + 3);
    let (dx, dw) = conv_gradients(params, &x, shape, &weight, &dy);
    let dx_added: Vec<f64> = dx
        .iter()
        .zip(&add)
        .map(|(d, &a)| d + f64::from(a))
        .collect();
    let input = Activation::from_nchw(&x, shape).unwrap();
    let gradient = Activation::from_nchw(&dy, out_shape).unwrap();
    let add = Activation::from_nchw(&add, shape).unwrap();
    for &isa in Isa::available() {
        for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
            let case = format!("{params:?} {shape:?} {isa} {algorithm:?}");
            let tolerance = if algorithm == Algorithm::Direct {
                1e-5
            } else {
                1e-4
            };
            if let Ok(found) = weight_gradient_by(isa, params, &input, &gradient, algorithm) {
                let error = relative_error(&found, &dw);
                assert!(error < tolerance, "{case}, by weight: {error:e}");
            } else {
                assert_eq!(algorithm, Algorithm::Winograd, "{case}");
                continue;
            }
            if params.kernel[0] != params.kernel[1] || params.padding >= params.kernel[0] {
                continue;
            }
            let packed =
                PackedInputGradient::with_algorithm(isa, params, &weight, Some(algorithm)).unwrap();
            for (add, expected) in [(None, &dx), (Some(&add), &dx_added)] {
                let found = packed
                    .backward(&gradient, [shape[2], shape[3]], add)
                    .unwrap();
                assert_eq!(found.shape(), shape);
                let error = relative_error(&found.to_nchw(), expected);
                assert!(error < tolerance, "{case}, by input: {error:e}");
            }
        }
        let found = weight_gradient_nchw(isa, params, &x, shape, &gradient).unwrap();
        assert!(
            relative_error(&found, &dw) < 1e-4,
            "{params:?} {shape:?} {isa}, row-major"
        );
    }
}

#[test]
fn every_convolution_of_the_ten_resnets() {
    for (i, params) in resnet_convolutions().iter().enumerate() {
        let size = if params.in_channels >= 512 { 2 } else { 6 };
        check(params, [2, params.in_channels, size, size + 1], i as u64);
    }
}

#[test]
fn larger_pictures_cross_bands_and_tiles() {
    check(&Conv2dParams::new(3, 64, 7, 2), [2, 3, 75, 131], 1);
    check(&Conv2dParams::new(64, 64, 3, 1), [3, 64, 57, 33], 2);
    check(&Conv2dParams::new(64, 128, 3, 2), [2, 64, 61, 59], 3);
    check(&Conv2dParams::new(128, 96, 1, 1), [5, 128, 37, 29], 4);
    check(&Conv2dParams::new(48, 80, 1, 2), [9, 48, 37, 29], 5);
    check(&Conv2dParams::new(20, 20, 3, 1), [1, 20, 3, 300], 6);
}

#[test]
fn odd_shapes() {
    let odd = |kernel: [usize; 2], stride, padding, groups| Conv2dParams {
        in_channels: 7 * groups,
        out_channels: 13 * groups,
        kernel,
        stride,
        padding,
        groups,
    };
    for (i, params) in [
        odd([1, 1], 1, 0, 1),
        odd([2, 2], 2, 1, 1),
        odd([3, 3], 1, 0, 1),
        odd([3, 3], 1, 2, 1),
        odd([3, 3], 2, 2, 1),
        odd([3, 3], 1, 1, 5),
        odd([5, 5], 2, 3, 3),
        odd([7, 1], 1, 3, 1),
        Conv2dParams::new(1, 1, 3, 1),
        Conv2dParams::new(1, 1, 1, 2),
        Conv2dParams::new(1, 17, 7, 2),
        Conv2dParams::new(17, 1, 3, 2),
    ]
    .iter()
    .enumerate()
    {
        for [h, w] in [[1, 1], [3, 2], [5, 7], [13, 11], [2, 31]] {
            if params.output_size([h, w]).is_ok() {
                check(params, [3, params.in_channels, h, w], 100 + i as u64);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(
        groups in 1usize..4,
        channels in (1usize..36, 1usize..36),
        kernel in 1usize..8,
        stride in 1usize..3,
        padding in 0usize..4,
        size in (1usize..16, 1usize..16),
        n in 1usize..4,
        seed in 0u64..1000,
    ) {
        let params = Conv2dParams {
            in_channels: channels.0 * groups,
            out_channels: channels.1 * groups,
            kernel: [kernel; 2],
            stride,
            padding,
            groups,
        };
        if params.output_size([size.0, size.1]).is_ok() {
            check(&params, [n, params.in_channels, size.0, size.1], seed);
        }
    }
}

/// BatchNorm with batch or fixed statistics, residual sum and ReLU, and all gradients, in f64.
struct Reference {
    mean: Vec<f64>,
    var: Vec<f64>,
    y: Vec<f64>,
    dx: Vec<f64>,
    dresidual: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
}

#[allow(clippy::too_many_arguments)]
fn batch_norm_reference(
    x: &[f32],
    [n, c, h, w]: [usize; 4],
    gamma: &[f32],
    beta: &[f32],
    fixed: Option<(&[f32], &[f32])>,
    residual: Option<&[f32]>,
    relu: bool,
    dy: &[f32],
) -> Reference {
    let count = (n * h * w) as f64;
    let mut r = Reference {
        mean: vec![0.0; c],
        var: vec![0.0; c],
        y: vec![0.0; x.len()],
        dx: vec![0.0; x.len()],
        dresidual: vec![0.0; x.len()],
        dgamma: vec![0.0; c],
        dbeta: vec![0.0; c],
    };
    for channel in 0..c {
        let mut indices = Vec::new();
        for b in 0..n {
            indices.extend((b * c + channel) * h * w..(b * c + channel + 1) * h * w);
        }
        let mean = indices.iter().map(|&i| f64::from(x[i])).sum::<f64>() / count;
        let var = indices
            .iter()
            .map(|&i| (f64::from(x[i]) - mean).powi(2))
            .sum::<f64>()
            / count;
        let (mean, var) = fixed.map_or((mean, var), |(m, v)| {
            (f64::from(m[channel]), f64::from(v[channel]))
        });
        (r.mean[channel], r.var[channel]) = (mean, var);
        let (rstd, gamma) = (1.0 / (var + 1e-5).sqrt(), f64::from(gamma[channel]));
        for &i in &indices {
            let hat = (f64::from(x[i]) - mean) * rstd;
            let sum =
                gamma * hat + f64::from(beta[channel]) + residual.map_or(0.0, |r| r[i].into());
            r.y[i] = if relu { sum.max(0.0) } else { sum };
            let g = if relu && sum <= 0.0 {
                0.0
            } else {
                f64::from(dy[i])
            };
            r.dresidual[i] = g;
            r.dgamma[channel] += g * hat;
            r.dbeta[channel] += g;
        }
        for &i in &indices {
            let hat = (f64::from(x[i]) - mean) * rstd;
            let flow = (r.dbeta[channel] + hat * r.dgamma[channel]) / count;
            let flow = if fixed.is_some() { 0.0 } else { flow };
            r.dx[i] = gamma * rstd * (r.dresidual[i] - flow);
        }
    }
    r
}

#[test]
fn batch_norm_with_residual_and_relu() {
    for shape in [[2, 3, 5, 7], [3, 40, 17, 19], [4, 16, 1, 1], [1, 33, 3, 2]] {
        let [x, residual, dy] = [1, 2, 3].map(|seed| random(shape.iter().product(), seed));
        // A large mean, which a plain sum of squares would not survive.
        let large = if shape[0] * shape[2] * shape[3] > 16 {
            100.0
        } else {
            0.0
        };
        let x: Vec<f32> = x.iter().map(|v| v + large).collect();
        let [gamma, beta, mean] = [4, 5, 6].map(|seed| random(shape[1], seed));
        let mean: Vec<f32> = mean.iter().map(|v| v + large).collect();
        let var: Vec<f32> = random(shape[1], 7).iter().map(|v| v.abs() + 0.1).collect();
        let norm = BatchNorm {
            gamma: &gamma,
            beta: &beta,
            eps: 1e-5,
        };
        let input = Activation::from_nchw(&x, shape).unwrap();
        let added = Activation::from_nchw(&residual, shape).unwrap();
        for fixed in [None, Some((&mean[..], &var[..]))] {
            for (with_residual, relu) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let residual = with_residual.then_some(&residual[..]);
                let r = batch_norm_reference(&x, shape, &gamma, &beta, fixed, residual, relu, &dy);
                for &isa in Isa::available() {
                    let case = format!(
                        "{shape:?} fixed {} {with_residual} {relu} {isa}",
                        fixed.is_some()
                    );
                    let statistics = match fixed {
                        None => Statistics::of_batch(isa, &input).unwrap(),
                        Some((mean, var)) => Statistics::fixed(mean.to_vec(), var.to_vec()),
                    };
                    assert!(relative_error(&statistics.mean, &r.mean) < 1e-6, "{case}");
                    assert!(relative_error(&statistics.var, &r.var) < 1e-5, "{case}");
                    let residual = with_residual.then_some(&added);
                    let y = norm
                        .forward(isa, &input, &statistics, residual, relu)
                        .unwrap();
                    // The mean of 100 costs two digits of the input itself.
                    let error = relative_error(&y.to_nchw(), &r.y);
                    assert!(error < 5e-4, "{case}: {error:e}");
                    let gate = match (with_residual, relu) {
                        (_, false) => Gate::None,
                        (false, true) => Gate::Relu,
                        (true, true) => Gate::Output(&y),
                    };
                    let dy = Activation::from_nchw(&dy, shape).unwrap();
                    let back = norm
                        .backward(isa, &input, &statistics, gate, dy, with_residual)
                        .unwrap();
                    for (what, found, expected) in [
                        ("x", back.x.to_nchw(), &r.dx),
                        ("gamma", back.gamma, &r.dgamma),
                        ("beta", back.beta, &r.dbeta),
                    ] {
                        let error = relative_error(&found, expected);
                        assert!(error < 1e-3, "{case}, by {what}: {error:e}");
                    }
                    if with_residual {
                        let found = back.residual.unwrap().to_nchw();
                        assert!(relative_error(&found, &r.dresidual) < 1e-6, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn pooling() {
    for (shape, [kernel, stride, padding]) in [
        ([2, 5, 1, 1], [3, 2, 1]),
        ([2, 64, 11, 14], [3, 2, 1]),
        ([1, 17, 9, 8], [2, 2, 0]),
    ] {
        let [n, c, h, w] = shape;
        // Few distinct values, so that windows hold equal ones.
        let x: Vec<f32> = random(shape.iter().product(), 9)
            .iter()
            .map(|v| (v * 3.0).round())
            .collect();
        let size = |s: usize| (s + 2 * padding - kernel) / stride + 1;
        let (oh, ow) = (size(h), size(w));
        let dy = random(n * c * oh * ow, 10);
        let mut expected = vec![0.0f64; x.len()];
        for (i, &dy) in dy.iter().enumerate() {
            let (plane, y, ox) = (i / (oh * ow), i / ow % oh, i % ow);
            let mut best: Option<usize> = None;
            for (ky, kx) in (0..kernel).flat_map(|a| (0..kernel).map(move |b| (a, b))) {
                let (iy, ix) = (y * stride + ky, ox * stride + kx);
                if (padding..h + padding).contains(&iy) && (padding..w + padding).contains(&ix) {
                    let at = (plane * h + iy - padding) * w + ix - padding;
                    if best.is_none_or(|best| x[at] > x[best]) {
                        best = Some(at);
                    }
                }
            }
            expected[best.unwrap()] += f64::from(dy);
        }
        let input = Activation::from_nchw(&x, shape).unwrap();
        let gradient = Activation::from_nchw(&dy, [n, c, oh, ow]).unwrap();
        for &isa in Isa::available() {
            let y = max_pool(isa, &input, kernel, stride, padding).unwrap();
            let found =
                max_pool_gradient(isa, &input, &y, &gradient, kernel, stride, padding).unwrap();
            assert!(
                relative_error(&found.to_nchw(), &expected) < 1e-6,
                "{isa} {shape:?}"
            );
        }
        let dy = random(n * c, 11);
        let expected: Vec<f64> = (0..x.len())
            .map(|i| f64::from(dy[i / (h * w)]) / (h * w) as f64)
            .collect();
        let found = global_average_pool_gradient(&dy, shape).unwrap().to_nchw();
        assert!(relative_error(&found, &expected) < 1e-6);
    }
}

#[test]
fn linear_layer() {
    for (batch, inputs, outputs) in [(1, 1, 1), (4, 512, 1000), (33, 37, 50), (7, 130, 2)] {
        let [x, weight, dy] =
            [batch * inputs, outputs * inputs, batch * outputs].map(|len| random(len, len as u64));
        let product = |rows: usize, columns: usize, f: &dyn Fn(usize, usize) -> f64| {
            (0..rows * columns)
                .map(|i| f(i / columns, i % columns))
                .collect::<Vec<f64>>()
        };
        let f = f64::from;
        let dx = product(batch, inputs, &|b, i| {
            (0..outputs)
                .map(|o| f(dy[b * outputs + o]) * f(weight[o * inputs + i]))
                .sum()
        });
        let dw = product(outputs, inputs, &|o, i| {
            (0..batch)
                .map(|b| f(dy[b * outputs + o]) * f(x[b * inputs + i]))
                .sum()
        });
        let db = product(1, outputs, &|_, o| {
            (0..batch).map(|b| f(dy[b * outputs + o])).sum()
        });
        for &isa in Isa::available() {
            let found = linear_gradients(isa, &x, &weight, &dy, [batch, outputs, inputs]).unwrap();
            assert!(relative_error(&found.x, &dx) < 1e-5, "{isa}");
            assert!(relative_error(&found.weight, &dw) < 1e-5, "{isa}");
            assert!(relative_error(&found.bias, &db) < 1e-5, "{isa}");
            // The same packing serves both directions.
            assert!(PackedLinear::new(isa, [outputs, inputs], &weight, None).is_ok());
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for params in [
        Conv2dParams::new(32, 48, 3, 1),
        Conv2dParams::new(32, 48, 3, 2),
        Conv2dParams::new(32, 48, 1, 1),
    ] {
        let shape = [5, 32, 19, 23];
        let x = Activation::from_nchw(&random(5 * 32 * 19 * 23, 1), shape).unwrap();
        let [oh, ow] = params.output_size([19, 23]).unwrap();
        let dy = random(5 * 48 * oh * ow, 2);
        let dy = Activation::from_nchw(&dy, [5, 48, oh, ow]).unwrap();
        let isa = Isa::detect();
        let algorithm = Algorithm::choose(&params);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let dw = weight_gradient_by(isa, &params, &x, &dy, algorithm).unwrap();
                (dw, Statistics::of_batch(isa, &x).unwrap())
            })
        };
        let one = run(1);
        assert!(
            [2, 3, 8].iter().all(|&threads| run(threads) == one),
            "{params:?}"
        );
    }
}

#[test]
fn wrong_shapes_are_typed_errors() {
    let isa = Isa::detect();
    let params = Conv2dParams::new(4, 8, 3, 1);
    let x = Activation::zeros([1, 4, 6, 6]);
    let dy = Activation::zeros([1, 8, 6, 5]);
    let error = weight_gradient_by(isa, &params, &x, &dy, Algorithm::Direct).unwrap_err();
    assert!(matches!(
        error,
        KernelError::WrongShape {
            expected: [1, 8, 6, 6],
            ..
        }
    ));
    let packed = PackedInputGradient::new(isa, &params, &[0.0; 288]).unwrap();
    let error = packed.backward(&dy, [6, 6], None).unwrap_err();
    assert!(matches!(error, KernelError::WrongShape { .. }));
    let wide = Conv2dParams {
        padding: 3,
        ..params
    };
    let error = PackedInputGradient::new(isa, &wide, &[0.0; 288]).unwrap_err();
    assert!(matches!(error, KernelError::InvalidLayer(_)));
    let empty = Activation::zeros([0, 4, 6, 6]);
    assert!(Statistics::of_batch(isa, &empty).is_err());
}
