//! Forward kernels against plain loops in f64, for every instruction set of this machine.
#![allow(clippy::unwrap_used)]

mod common;

use common::{conv, random, relative_error, resnet_convolutions};
use proptest::prelude::*;
use rekindle_kernels::{
    Activation, Algorithm, Conv2dParams, Isa, KernelError, PackedConv2d, PackedLinear,
    fold_batch_norm, global_average_pool, max_pool,
};

/// Compares both algorithms, with and without all that can be fused, to the plain sum.
fn check(params: &Conv2dParams, shape: [usize; 4], seed: u64) {
    let x = random(shape.iter().product(), seed);
    let weight = random(params.weight_shape().iter().product(), seed + 1);
    let scale = random(params.out_channels, seed + 2);
    let shift = random(params.out_channels, seed + 3);
    let plain = conv(params, &x, shape, &weight);
    let [oh, ow] = params.output_size([shape[2], shape[3]]).unwrap();
    let out_shape = [shape[0], params.out_channels, oh, ow];
    let residual = random(plain.len(), seed + 4);
    let fused: Vec<f64> = (0..plain.len())
        .map(|i| {
            let c = i / (oh * ow) % params.out_channels;
            let y = plain[i] * f64::from(scale[c]) + f64::from(shift[c]) + f64::from(residual[i]);
            y.max(0.0)
        })
        .collect();
    let input = Activation::from_nchw(&x, shape).unwrap();
    let residual = Activation::from_nchw(&residual, out_shape).unwrap();
    for &isa in Isa::available() {
        for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
            let pack = |s| PackedConv2d::with_algorithm(isa, params, &weight, s, algorithm);
            let (tolerance, conv) = match (algorithm, pack(None)) {
                (Algorithm::Direct, conv) => (1e-5, conv.unwrap()),
                (Algorithm::Winograd, Ok(conv)) => (1e-4, conv),
                (Algorithm::Winograd, Err(_)) => continue,
            };
            let case = format!("{params:?} {shape:?} {isa} {algorithm:?}");
            let y = conv.forward(&input, None, false).unwrap();
            assert_eq!(y.shape(), out_shape, "{case}");
            let error = relative_error(&y.to_nchw(), &plain);
            assert!(error < tolerance, "{case}: {error:e}");
            let y = conv.forward_nchw(&x, shape, false).unwrap();
            let error = relative_error(&y.to_nchw(), &plain);
            assert!(error < tolerance, "{case}, row-major: {error:e}");
            let conv = pack(Some((&scale, &shift))).unwrap();
            let y = conv.forward(&input, Some(&residual), true).unwrap();
            let error = relative_error(&y.to_nchw(), &fused);
            assert!(error < tolerance, "{case}, fused: {error:e}");
        }
    }
}

#[test]
fn every_convolution_of_the_ten_resnets() {
    for (i, params) in resnet_convolutions().iter().enumerate() {
        let size = if params.in_channels >= 512 { 3 } else { 7 };
        check(params, [2, params.in_channels, size, size + 1], i as u64);
    }
}

#[test]
fn larger_pictures_cross_bands_and_tiles() {
    check(&Conv2dParams::new(3, 64, 7, 2), [1, 3, 75, 131], 1);
    check(&Conv2dParams::new(64, 64, 3, 1), [3, 64, 57, 33], 2);
    check(&Conv2dParams::new(64, 128, 3, 2), [2, 64, 61, 59], 3);
    check(&Conv2dParams::new(128, 96, 1, 1), [5, 128, 37, 29], 4);
    check(&Conv2dParams::new(48, 80, 1, 2), [9, 48, 37, 29], 5);
    check(&Conv2dParams::new(160, 272, 3, 1), [7, 160, 13, 9], 6);
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
        odd([1, 1], 2, 1, 1),
        odd([3, 3], 1, 0, 1),
        odd([3, 3], 1, 2, 1),
        odd([3, 3], 1, 1, 5),
        odd([2, 5], 2, 2, 3),
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
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(
        groups in 1usize..4,
        channels in (1usize..40, 1usize..40),
        kernel in (1usize..8, 1usize..8),
        stride in 1usize..3,
        padding in 0usize..4,
        size in (1usize..20, 1usize..20),
        n in 1usize..4,
        three in any::<bool>(),
        seed in 0u64..1000,
    ) {
        let params = Conv2dParams {
            in_channels: channels.0 * groups,
            out_channels: channels.1 * groups,
            kernel: if three { [3, 3] } else { [kernel.0, kernel.1] },
            stride,
            padding,
            groups: if three { 1 } else { groups },
        };
        if params.output_size([size.0, size.1]).is_ok() {
            check(&params, [n, params.in_channels, size.0, size.1], seed);
        }
    }
}

#[test]
fn blocked_layout_keeps_every_value() {
    for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [3, 16, 4, 4], [2, 33, 3, 2]] {
        let x = random(shape.iter().product(), 5);
        assert_eq!(Activation::from_nchw(&x, shape).unwrap().to_nchw(), x);
    }
}

#[test]
fn folded_batch_norm_is_batch_norm_after_the_convolution() {
    let params = Conv2dParams::new(5, 19, 3, 1);
    let (x, weight) = (random(5 * 36, 1), random(19 * 45, 2));
    let [gamma, beta, mean] = [3, 4, 5].map(|seed| random(19, seed));
    let var: Vec<f32> = random(19, 6).iter().map(|v| v.abs() + 0.1).collect();
    let expected: Vec<f64> = conv(&params, &x, [1, 5, 6, 6], &weight)
        .iter()
        .enumerate()
        .map(|(i, &y)| {
            let c = i / 36;
            let [g, b, m, v] = [gamma[c], beta[c], mean[c], var[c]].map(f64::from);
            (y - m) / (v + 1e-5).sqrt() * g + b
        })
        .collect();
    let (scale, shift) = fold_batch_norm(&gamma, &beta, &mean, &var, 1e-5).unwrap();
    let conv = PackedConv2d::new(Isa::detect(), &params, &weight, Some((&scale, &shift))).unwrap();
    let y = conv.forward_nchw(&x, [1, 5, 6, 6], false).unwrap();
    assert!(relative_error(&y.to_nchw(), &expected) < 1e-5);
}

#[test]
fn linear_layer() {
    for (batch, inputs, outputs) in [(1, 1, 1), (4, 512, 1000), (33, 37, 50), (7, 2048, 2)] {
        let [x, weight] = [random(batch * inputs, 1), random(outputs * inputs, 2)];
        let bias = random(outputs, 3);
        let mut expected = vec![0.0f64; batch * outputs];
        for (i, e) in expected.iter_mut().enumerate() {
            let (row, o) = (i / outputs, i % outputs);
            *e = f64::from(bias[o])
                + (0..inputs)
                    .map(|k| f64::from(x[row * inputs + k]) * f64::from(weight[o * inputs + k]))
                    .sum::<f64>();
        }
        for &isa in Isa::available() {
            let layer = PackedLinear::new(isa, [outputs, inputs], &weight, Some(&bias)).unwrap();
            let y = layer.forward(&x, batch).unwrap();
            assert!(
                relative_error(&y, &expected) < 1e-5,
                "{isa} {batch} {inputs} {outputs}"
            );
        }
    }
}

#[test]
fn pooling() {
    for (shape, [kernel, stride, padding]) in [
        ([2, 5, 1, 1], [3, 2, 1]),
        ([2, 64, 11, 14], [3, 2, 1]),
        ([1, 17, 9, 8], [2, 2, 0]),
        ([1, 3, 7, 5], [5, 1, 2]),
    ] {
        let x = random(shape.iter().product(), 9);
        let input = Activation::from_nchw(&x, shape).unwrap();
        let [n, c, h, w] = shape;
        let size = |s: usize| (s + 2 * padding - kernel) / stride + 1;
        let (oh, ow) = (size(h), size(w));
        let mut expected = vec![f32::NEG_INFINITY; n * c * oh * ow];
        for (i, best) in expected.iter_mut().enumerate() {
            let (plane, y, ox) = (i / (oh * ow), i / ow % oh, i % ow);
            for (ky, kx) in (0..kernel).flat_map(|a| (0..kernel).map(move |b| (a, b))) {
                let (iy, ix) = (y * stride + ky, ox * stride + kx);
                if (padding..h + padding).contains(&iy) && (padding..w + padding).contains(&ix) {
                    *best = best.max(x[(plane * h + iy - padding) * w + ix - padding]);
                }
            }
        }
        for &isa in Isa::available() {
            let y = max_pool(isa, &input, kernel, stride, padding).unwrap();
            assert_eq!(y.shape(), [n, c, oh, ow]);
            assert_eq!(y.to_nchw(), expected, "{isa} {shape:?}");
        }
        let means: Vec<f64> = x
            .chunks(h * w)
            .map(|plane| plane.iter().map(|&v| f64::from(v)).sum::<f64>() / (h * w) as f64)
            .collect();
        assert!(relative_error(&global_average_pool(&input).unwrap(), &means) < 1e-5);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for params in [
        Conv2dParams::new(32, 48, 3, 1),
        Conv2dParams::new(32, 48, 3, 2),
        Conv2dParams::new(32, 48, 1, 1),
    ] {
        let x = random(3 * 32 * 19 * 23, 1);
        let x = Activation::from_nchw(&x, [3, 32, 19, 23]).unwrap();
        let weight = random(params.weight_shape().iter().product(), 2);
        let conv = PackedConv2d::new(Isa::detect(), &params, &weight, None).unwrap();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| conv.forward(&x, None, true).unwrap().to_nchw())
        };
        let one = run(1);
        assert!(
            [2, 3, 8].iter().all(|&threads| run(threads) == one),
            "{params:?}"
        );
    }
}

#[test]
fn a_nan_survives_relu() {
    let conv = PackedConv2d::new(
        Isa::detect(),
        &Conv2dParams::new(16, 16, 1, 1),
        &[1.0; 256],
        None,
    );
    let y = conv
        .unwrap()
        .forward_nchw(&[f32::NAN; 16], [1, 16, 1, 1], true)
        .unwrap();
    assert!(y.to_nchw().iter().all(|v| v.is_nan()));
}

#[test]
fn wrong_shapes_are_typed_errors() {
    let isa = Isa::detect();
    let params = Conv2dParams::new(4, 8, 3, 1);
    let weight = vec![0.0; 8 * 4 * 9];
    let conv = PackedConv2d::new(isa, &params, &weight, None).unwrap();
    let x = Activation::zeros([1, 5, 6, 6]);
    assert_eq!(
        conv.forward(&x, None, false).unwrap_err(),
        KernelError::WrongChannels {
            found: 5,
            expected: 4
        }
    );
    let x = Activation::zeros([1, 4, 6, 6]);
    let residual = Activation::zeros([1, 8, 6, 5]);
    let error = conv.forward(&x, Some(&residual), false).unwrap_err();
    assert!(matches!(
        error,
        KernelError::WrongShape {
            found: [1, 8, 6, 5],
            ..
        }
    ));
    let error = PackedConv2d::new(isa, &params, &weight[1..], None).unwrap_err();
    assert!(matches!(
        error,
        KernelError::WrongLength {
            expected: 288,
            found: 287,
            ..
        }
    ));
    let error = Activation::from_nchw(&[0.0; 3], [1, 1, 2, 2]).unwrap_err();
    assert!(matches!(error, KernelError::WrongLength { .. }));
    let valid = Conv2dParams {
        padding: 0,
        ..params
    };
    let conv = PackedConv2d::new(isa, &valid, &weight, None).unwrap();
    let error = conv
        .forward(&Activation::zeros([1, 4, 2, 9]), None, false)
        .unwrap_err();
    assert!(matches!(
        error,
        KernelError::WindowTooLarge { found: [2, 9], .. }
    ));
    for params in [
        Conv2dParams {
            stride: 3,
            ..params
        },
        Conv2dParams {
            groups: 3,
            ..params
        },
        Conv2dParams {
            in_channels: 0,
            ..params
        },
    ] {
        let error = PackedConv2d::new(isa, &params, &weight, None).unwrap_err();
        assert!(matches!(error, KernelError::InvalidLayer(_)), "{params:?}");
    }
}
