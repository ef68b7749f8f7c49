//! Convolutions and their gradients against plain loops in f64, for every instruction set of this machine.

use crate::reference::{convolution, convolution_gradients, random, relative_error};
use crate::shapes::{self, Case};
use proptest::prelude::*;
use rekindle_kernels::{
    Activation, Algorithm, Conv2dParams, Isa, PackedConv2d, Padding, Statistics, UnpackedConv2d,
    fold_batch_norm, input_gradient, input_gradient_by, weight_gradient_by, weight_gradient_nchw,
};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Direct, Algorithm::Winograd, Algorithm::Depthwise];

/// Of the largest value, by algorithm.
fn tolerance(algorithm: Algorithm) -> f64 {
    match algorithm {
        Algorithm::Direct | Algorithm::Depthwise => 1e-5,
        Algorithm::Winograd => 1e-4,
    }
}

fn check_all(cases: &[Case]) {
    assert!(!cases.is_empty());
    for (i, (params, shape)) in cases.iter().enumerate() {
        check_forward(params, *shape, i as u64);
        check_gradients(params, *shape, i as u64);
    }
}

/// Both algorithms, packed and unpacked, with and without all that can be fused.
fn check_forward(params: &Conv2dParams, shape: [usize; 4], seed: u64) {
    let x = random(shape.iter().product(), seed);
    let weight = random(params.weight_shape().iter().product(), seed + 1);
    let scale = random(params.out_channels, seed + 2);
    let shift = random(params.out_channels, seed + 3);
    let plain = convolution(params, &x, shape, &weight);
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
        for algorithm in ALGORITHMS {
            let pack = |s| PackedConv2d::with_algorithm(isa, params, &weight, s, algorithm);
            let tolerance = tolerance(algorithm);
            let conv = match (algorithm, pack(None)) {
                (Algorithm::Winograd | Algorithm::Depthwise, Err(_)) => continue,
                (_, conv) => conv.unwrap(),
            };
            let case = format!("{params:?} {shape:?} {isa} {algorithm:?}");
            let y = conv.forward(&input, None, false).unwrap();
            assert_eq!(y.shape(), out_shape, "{case}");
            let once = |s| UnpackedConv2d::with_algorithm(isa, params, &weight, s, algorithm);
            let same = once(None).unwrap().forward(&input, None, false).unwrap();
            assert_eq!(same.as_blocked(), y.as_blocked(), "{case}, unpacked");
            let error = relative_error(&y.to_nchw(), &plain);
            assert!(error < tolerance, "{case}: {error:e}");
            let y = conv.forward_nchw(&x, shape, false).unwrap();
            let error = relative_error(&y.to_nchw(), &plain);
            assert!(error < tolerance, "{case}, row-major: {error:e}");
            let conv = pack(Some((&scale, &shift))).unwrap();
            let y = conv.forward(&input, Some(&residual), true).unwrap();
            let once = once(Some((&scale, &shift))).unwrap();
            let same = once.forward(&input, Some(&residual), true).unwrap();
            assert_eq!(same.as_blocked(), y.as_blocked(), "{case}, unpacked, fused");
            let error = relative_error(&y.to_nchw(), &fused);
            assert!(error < tolerance, "{case}, fused: {error:e}");
        }
    }
}

/// Gradients by input, with and without a sum, and by weight.
fn check_gradients(params: &Conv2dParams, shape: [usize; 4], seed: u64) {
    let x = random(shape.iter().product(), seed);
    let weight = random(params.weight_shape().iter().product(), seed + 1);
    let [oh, ow] = params.output_size([shape[2], shape[3]]).unwrap();
    let out_shape = [shape[0], params.out_channels, oh, ow];
    let dy = random(out_shape.iter().product(), seed + 2);
    let add = random(x.len(), seed + 3);
    let (dx, dw) = convolution_gradients(params, &x, shape, &weight, &dy);
    let dx_added: Vec<f64> = dx
        .iter()
        .zip(&add)
        .map(|(d, &a)| d + f64::from(a))
        .collect();
    let input = Activation::from_nchw(&x, shape).unwrap();
    let gradient = Activation::from_nchw(&dy, out_shape).unwrap();
    let add = Activation::from_nchw(&add, shape).unwrap();
    for &isa in Isa::available() {
        for algorithm in ALGORITHMS {
            let case = format!("{params:?} {shape:?} {isa} {algorithm:?}");
            let tolerance = tolerance(algorithm);
            if let Ok(found) = weight_gradient_by(isa, params, &input, &gradient, algorithm) {
                let error = relative_error(&found, &dw);
                assert!(error < tolerance, "{case}, by weight: {error:e}");
            } else {
                assert_ne!(algorithm, Algorithm::Direct, "{case}");
                continue;
            }
            if refuses_input_gradient(params, algorithm) {
                continue;
            }
            for (add, expected) in [(None, &dx), (Some(&add), &dx_added)] {
                let size = [shape[2], shape[3]];
                let found =
                    input_gradient_by(isa, params, &weight, &gradient, size, add, algorithm);
                let found = found.unwrap();
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

/// Direct gradients by the input want a square filter that is wider than its padding.
fn refuses_input_gradient(params: &Conv2dParams, algorithm: Algorithm) -> bool {
    let Padding {
        top,
        left,
        bottom,
        right,
    } = params.padding;
    let [kh, kw] = params.kernel;
    algorithm != Algorithm::Depthwise
        && (kh != kw || [top, left, bottom, right].iter().any(|&side| side >= kh))
}

#[test]
fn tensorflow_padding_and_any_group_width() {
    check_all(&shapes::tensorflow());
    check_all(&shapes::regnets());
}

#[test]
fn depthwise_layers_of_mobile_networks() {
    check_all(&shapes::depthwise());
}

#[test]
fn odd_depthwise_shapes() {
    check_all(&shapes::odd_depthwise());
}

#[test]
fn every_convolution_of_the_ten_resnets() {
    check_all(&shapes::resnets().0);
}

#[test]
#[ignore = "half a minute of plain loops on two cores"]
fn every_heavy_convolution_of_the_ten_resnets() {
    check_all(&shapes::resnets().1);
}

#[test]
fn large_pictures() {
    check_all(&shapes::large());
}

#[test]
fn odd_shapes() {
    check_all(&shapes::odd());
    check_all(&shapes::large_steps());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_depthwise_shape((params, shape) in shapes::any_depthwise(), seed in 0u64..1000) {
        if params.output_size([shape[2], shape[3]]).is_ok() {
            check_forward(&params, shape, seed);
            check_gradients(&params, shape, seed);
        }
    }

    #[test]
    fn any_shape((params, shape) in shapes::any_case(), seed in 0u64..1000) {
        if params.output_size([shape[2], shape[3]]).is_ok() {
            check_forward(&params, shape, seed);
            check_gradients(&params, shape, seed);
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
    let expected: Vec<f64> = convolution(&params, &x, [1, 5, 6, 6], &weight)
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
fn the_number_of_threads_changes_nothing() {
    let isa = Isa::detect();
    for params in [
        Conv2dParams::new(32, 48, 3, 1),
        Conv2dParams::new(32, 48, 3, 2),
        Conv2dParams::new(32, 48, 1, 1),
        Conv2dParams::depthwise(32, 3, 1),
        Conv2dParams::depthwise(32, 5, 2),
    ] {
        let x = random(5 * 32 * 19 * 23, 1);
        let x = Activation::from_nchw(&x, [5, 32, 19, 23]).unwrap();
        let weight = random(params.weight_shape().iter().product(), 2);
        let conv = PackedConv2d::new(isa, &params, &weight, None).unwrap();
        let run = || {
            let y = conv.forward(&x, None, true).unwrap();
            let dx = input_gradient(isa, &params, &weight, &y, [19, 23], None).unwrap();
            let dw = weight_gradient_by(isa, &params, &x, &y, conv.algorithm()).unwrap();
            let dw = dw.to_vec();
            let statistics = Statistics::of_batch(isa, &y).unwrap();
            (y.to_nchw(), dx.to_nchw(), dw, statistics)
        };
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(run)
        };
        let one = on(1);
        assert!([2, 3, 8].into_iter().all(|n| on(n) == one), "{params:?}");
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
