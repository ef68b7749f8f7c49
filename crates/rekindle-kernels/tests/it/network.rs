//! Rounding through a whole network, and buffers that come back used.

use crate::reference::{random, relative_error};
use rekindle_kernels::{
    Activation, Algorithm, Conv2dParams, Isa, PackedConv2d, global_average_pool, max_pool,
    release_buffers,
};

/// The trunk of a ResNet-18 with random weights, variance kept from layer to layer as He et al. (2015) do.
fn trunk(isa: Isa, pictures: &[f32], shape: [usize; 4], algorithm: Algorithm) -> Vec<f32> {
    let mut seed = 0;
    let mut conv = |in_channels, out_channels, kernel, stride, gain: f32| {
        let params = Conv2dParams::new(in_channels, out_channels, kernel, stride);
        seed += 1;
        let weight = random(params.weight_shape().iter().product(), seed);
        let fan_in = (in_channels * kernel * kernel) as f32;
        let scale = vec![gain * (6.0 / fan_in).sqrt(); out_channels];
        let shift: Vec<f32> = random(out_channels, seed + 1000)
            .iter()
            .map(|b| b * 0.1)
            .collect();
        let affine = Some((&scale[..], &shift[..]));
        PackedConv2d::with_algorithm(isa, &params, &weight, affine, algorithm)
            .unwrap_or_else(|_| PackedConv2d::new(isa, &params, &weight, affine).unwrap())
    };
    let x = conv(3, 64, 7, 2, 1.0)
        .forward_nchw(pictures, shape, true)
        .unwrap();
    let mut x = max_pool(isa, &x, 3, 2, 1).unwrap();
    let mut channels = 64;
    for planes in [64, 64, 128, 128, 256, 256, 512, 512] {
        let stride = planes / channels;
        let y = conv(channels, planes, 3, stride, 1.0)
            .forward(&x, None, true)
            .unwrap();
        let identity = if stride == 2 {
            conv(channels, planes, 1, 2, 0.5)
                .forward(&x, None, false)
                .unwrap()
        } else {
            x
        };
        x = conv(planes, planes, 3, 1, 0.5)
            .forward(&y, Some(&identity), true)
            .unwrap();
        channels = planes;
    }
    global_average_pool(&x).unwrap()
}

#[test]
fn winograd_stays_within_tolerance_through_a_whole_network() {
    let shape = [1, 3, 96, 96];
    let pictures = random(3 * 96 * 96, 77);
    let direct = trunk(Isa::Portable, &pictures, shape, Algorithm::Direct);
    let expected: Vec<f64> = direct.iter().map(|&v| f64::from(v)).collect();
    for &isa in Isa::available() {
        let found = trunk(isa, &pictures, shape, Algorithm::Winograd);
        let error = relative_error(&found, &expected);
        println!("{isa}: {error:.1e} of the largest feature");
        assert!(error < 2e-5, "{isa}: {error:e}");
    }
}

#[test]
fn used_buffers_leak_nothing_into_results() {
    let params = Conv2dParams::new(20, 24, 3, 1);
    let weight = random(24 * 20 * 9, 1);
    let x = random(2 * 20 * 9 * 11, 2);
    let run = |algorithm| {
        let isa = Isa::detect();
        let conv = PackedConv2d::with_algorithm(isa, &params, &weight, None, algorithm).unwrap();
        let x = Activation::from_nchw(&x, [2, 20, 9, 11]).unwrap();
        conv.forward(&x, None, false).unwrap().to_nchw()
    };
    for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
        release_buffers();
        let fresh = run(algorithm);
        // Same sizes, all NaN, handed back to be used again: activations, and the linear layer's lines.
        for _ in 0..3 {
            drop(Activation::from_nchw(&[f32::NAN; 2 * 32 * 99], [2, 32, 9, 11]).unwrap());
            drop(Activation::from_nchw(&[f32::NAN; 32 * 1000], [1, 32, 10, 100]).unwrap());
        }
        assert_eq!(run(algorithm), fresh, "{algorithm:?}");
    }
}
