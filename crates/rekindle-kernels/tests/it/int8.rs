//! Kernels on bytes: every byte, for every instruction set of this machine, is what a plain loop gives.
//!
//! The plain loop is the one of the `f32` kernels: in `f64` it adds integers without rounding.

use crate::reference::{convolution, random, relative_error};
use crate::shapes::{self, Case};
use proptest::prelude::*;
use rekindle_kernels::{
    Activation, Conv2dParams, Isa, KernelError, Padding, Quantization, QuantizedActivation,
    QuantizedConv2d, max_pool, max_pool_quantized,
};

const INPUT: f32 = 1.0 / 64.0;
const RESIDUAL: f32 = 1.0 / 16.0;

/// A layer in powers of two, so that no scale is rounded on the way to the sums.
struct Layer {
    params: Conv2dParams,
    shape: [usize; 4],
    x: Vec<u8>,
    input: Quantization,
    weight: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    residual: Vec<u8>,
    residual_quantization: Quantization,
    /// Without rounding, in integers and before scale and shift.
    sums: Vec<i32>,
    /// Of the weights, by output channel.
    steps: Vec<f32>,
}

impl Layer {
    fn new(params: Conv2dParams, shape: [usize; 4], zero_points: [u8; 2], seed: u64) -> Self {
        let x = bytes(shape.iter().product(), seed);
        let len: usize = params.weight_shape().iter().product();
        let filter = len / params.out_channels;
        let mut weight: Vec<f32> = random(len, seed + 1);
        weight.iter_mut().for_each(|w| *w = (*w * 127.0).round());
        let steps: Vec<f32> = (0..params.out_channels)
            .map(|c| 0.5f32.powi(5 + (c % 3) as i32))
            .collect();
        // The largest of each channel, on either side.
        for (c, filter) in weight.chunks_exact_mut(filter).enumerate() {
            filter[c % filter.len()] = if c % 2 == 0 { 127.0 } else { -127.0 };
        }
        let centred: Vec<f32> = x
            .iter()
            .map(|&x| f32::from(x) - f32::from(zero_points[0]))
            .collect();
        let sums: Vec<i32> = convolution(&params, &centred, shape, &weight)
            .into_iter()
            .map(|sum| sum as i32)
            .collect();
        for (filter, step) in weight.chunks_exact_mut(filter).zip(&steps) {
            filter.iter_mut().for_each(|w| *w *= step);
        }
        let channels = params.out_channels;
        Self {
            params,
            shape,
            x,
            input: Quantization::new(INPUT, zero_points[0]).unwrap(),
            weight,
            scale: (0..channels)
                .map(|c| if c % 4 == 3 { -0.5 } else { 1.0 })
                .collect(),
            shift: (0..channels).map(|c| c as f32 * 0.125 - 2.0).collect(),
            residual: bytes(sums.len(), seed + 2),
            residual_quantization: Quantization::new(RESIDUAL, zero_points[1]).unwrap(),
            sums,
            steps,
        }
    }

    fn out_shape(&self) -> [usize; 4] {
        let [n, _, h, w] = self.shape;
        let [oh, ow] = self.params.output_size([h, w]).unwrap();
        [n, self.params.out_channels, oh, ow]
    }

    /// In steps of the output, before ReLU and rounding.
    fn expected(&self, residual: bool, output: Quantization) -> Vec<f32> {
        let [_, channels, oh, ow] = self.out_shape();
        let step = output.scale();
        let values = self.sums.iter().zip(&self.residual).enumerate();
        values
            .map(|(i, (&sum, &r))| {
                let c = i / (oh * ow) % channels;
                let scale = self.scale[c] * INPUT * self.steps[c] / step;
                let mut shift = self.shift[c] / step + f32::from(output.zero_point());
                if !residual {
                    return sum as f32 * scale + shift;
                }
                let r_scale = RESIDUAL / step;
                shift -= r_scale * f32::from(self.residual_quantization.zero_point());
                sum as f32 * scale + shift + f32::from(r) * r_scale
            })
            .collect()
    }
}

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let values = random(len, seed).into_iter();
    values.map(|v| (v * 128.0 + 128.0) as u8).collect()
}

fn rounded(values: &[f32], floor: f32) -> Vec<u8> {
    let byte = |v: &f32| v.max(floor).round_ties_even() as u8;
    values.iter().map(byte).collect()
}

fn check_all(cases: &[Case]) {
    assert!(!cases.is_empty());
    for (i, &(params, shape)) in cases.iter().enumerate() {
        check(params, shape, i as u64);
    }
}

fn check(params: Conv2dParams, shape: [usize; 4], seed: u64) {
    let zero_points = [seed as u8 % 3 * 101, seed as u8 % 2 * 128];
    let layer = Layer::new(params, shape, zero_points, seed);
    let x = QuantizedActivation::from_nchw(&layer.x, shape, layer.input).unwrap();
    let residual = QuantizedActivation::from_nchw(
        &layer.residual,
        layer.out_shape(),
        layer.residual_quantization,
    );
    let residual = residual.unwrap();
    // Wide enough for most sums, and narrow enough for some to be cut.
    let spread = (params.weight_shape()[1..].iter().product::<usize>() as f32).sqrt();
    let output = Quantization::new(2.0f32.powi(spread.log2() as i32 - 3), 100).unwrap();
    let behind_relu = Quantization::new(output.scale(), 0).unwrap();
    let plain = layer.expected(false, output);
    let fused = layer.expected(true, behind_relu);
    let exact = Quantization::new(1.0, 0).unwrap();
    let dequantized: Vec<f64> = layer
        .expected(true, exact)
        .iter()
        .map(|&y| f64::from(y.max(0.0)))
        .collect();
    for &isa in Isa::available() {
        let case = format!("{params:?} {shape:?} {isa}");
        let scale_shift = Some((&layer.scale[..], &layer.shift[..]));
        let conv = QuantizedConv2d::new(isa, &params, &layer.weight, scale_shift).unwrap();
        let y = conv.forward(&x, None, false, output).unwrap();
        assert_eq!(y.shape(), layer.out_shape(), "{case}");
        assert!(y.to_nchw() == rounded(&plain, 0.0), "{case}");
        let y = conv.forward(&x, None, true, output).unwrap();
        assert!(y.to_nchw() == rounded(&plain, 100.0), "{case}, ReLU");
        let y = conv
            .forward(&x, Some(&residual), true, behind_relu)
            .unwrap();
        assert!(y.to_nchw() == rounded(&fused, 0.0), "{case}, fused");
        let y = conv.forward_dequantized(&x, Some(&residual), true).unwrap();
        let error = relative_error(&y.to_nchw(), &dequantized);
        assert!(error < 1e-6, "{case}, not rounded: {error:e}");
        let padding = y
            .as_blocked()
            .chunks_exact(16)
            .skip((y.as_blocked().len() / 16).saturating_sub(1));
        let used = params.out_channels % 16;
        for line in padding.filter(|_| used > 0) {
            assert!(line[used..].iter().all(|&v| v == 0.0), "{case}");
        }
        // Pictures in `f32`, rounded on the way.
        let pictures: Vec<f32> = layer.x.iter().map(|&b| layer.input.dequantize(b)).collect();
        let y = conv
            .forward_nchw(&pictures, shape, layer.input, false, output)
            .unwrap();
        assert!(y.to_nchw() == rounded(&plain, 0.0), "{case}, row-major");
        let y = conv
            .forward_nchw_dequantized(&pictures, shape, layer.input, true)
            .unwrap();
        let z = conv.forward_dequantized(&x, None, true).unwrap();
        assert!(
            y.as_blocked() == z.as_blocked(),
            "{case}, row-major, not rounded"
        );
    }
}

#[test]
fn every_quantized_convolution_of_the_ten_resnets() {
    check_all(&shapes::resnets().0);
}

#[test]
#[ignore = "half a minute of plain loops on two cores"]
fn every_heavy_quantized_convolution_of_the_ten_resnets() {
    check_all(&shapes::resnets().1);
}

#[test]
fn large_pictures_in_bytes() {
    check_all(&shapes::large());
}

#[test]
fn odd_shapes_in_bytes() {
    check_all(&shapes::odd());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_in_bytes((params, shape) in shapes::any_case(), seed in 0u64..1000) {
        if params.output_size([shape[2], shape[3]]).is_ok() {
            check(params, shape, seed);
        }
    }
}

#[test]
fn quantized_layers_are_near_those_in_f32() {
    let params = Conv2dParams::new(64, 48, 3, 1);
    let weight = random(params.weight_shape().iter().product(), 1);
    let shape = [2, 64, 9, 11];
    let mut x = random(shape.iter().product(), 2);
    x.iter_mut().for_each(|x| *x = x.max(0.0));
    let expected = convolution(&params, &x, shape, &weight);
    let x = Activation::from_nchw(&x, shape).unwrap();
    let x = QuantizedActivation::from_activation(&x, Quantization::of_range(0.0, 1.0).unwrap());
    let largest = expected.iter().fold(0.0f64, |m, y| m.max(y.abs())) as f32;
    let output = Quantization::of_range(-largest, largest).unwrap();
    let conv = QuantizedConv2d::new(Isa::detect(), &params, &weight, None).unwrap();
    let y = conv.forward(&x, None, false, output).unwrap();
    let y: Vec<f32> = y.to_nchw().iter().map(|&b| output.dequantize(b)).collect();
    let error = relative_error(&y, &expected);
    // Half a step of the output is 1/510 of its range, twice that of the largest value.
    assert!(error > 1e-3 && error < 1e-2, "{error}");
}

#[test]
fn pooled_bytes_stand_for_pooled_values() {
    let quantization = Quantization::new(0.25, 7).unwrap();
    let hanging = Padding {
        bottom: 1,
        right: 1,
        ..Padding::default()
    };
    for (shape, kernel, stride, padding) in [
        ([2, 70, 13, 9], 3, 2, 1.into()),
        ([1, 64, 8, 8], 2, 2, 0.into()),
        ([3, 5, 1, 1], 3, 2, 1.into()),
        ([1, 130, 7, 12], 5, 1, 2.into()),
        ([1, 70, 6, 10], 3, 2, hanging),
    ] {
        let x = bytes(shape.iter().product(), 3);
        let values: Vec<f32> = x.iter().map(|&b| quantization.dequantize(b)).collect();
        let values = Activation::from_nchw(&values, shape).unwrap();
        let x = QuantizedActivation::from_nchw(&x, shape, quantization).unwrap();
        for &isa in Isa::available() {
            let y = max_pool_quantized(isa, &x, kernel, stride, padding).unwrap();
            let expected = max_pool(isa, &values, kernel, stride, padding).unwrap();
            assert_eq!(y.shape(), expected.shape());
            let y: Vec<f32> = y
                .to_nchw()
                .iter()
                .map(|&b| quantization.dequantize(b))
                .collect();
            assert_eq!(y, expected.to_nchw());
        }
    }
}

#[test]
fn maps_stand_for_the_nearest_values() {
    for shape in [[2, 70, 3, 5], [1, 16, 1, 1], [3, 5, 2, 2]] {
        let x = random(shape.iter().product(), 9);
        let q = Quantization::of_range(-1.0, 1.0).unwrap();
        let maps = Activation::from_nchw(&x, shape).unwrap();
        let maps = QuantizedActivation::from_activation(&maps, q);
        let nearest: Vec<u8> = x.iter().map(|&x| q.quantize(x)).collect();
        assert_eq!(maps.to_nchw(), nearest);
        let values: Vec<f32> = nearest.iter().map(|&b| q.dequantize(b)).collect();
        let back = maps.dequantize();
        assert_eq!(back.to_nchw(), values);
        let used = shape[1] % 16;
        if let Some(line) = back.as_blocked().chunks_exact(16).next_back() {
            assert!(used == 0 || line[used..].iter().all(|&v| v == 0.0));
        }
        let largest = x.iter().zip(&values).map(|(a, b)| (a - b).abs());
        assert!(largest.fold(0.0, f32::max) <= 0.51 * q.scale());
    }
}

#[test]
fn a_range_has_an_exact_zero_and_both_ends() {
    for (min, max) in [
        (0.0, 6.0),
        (-2.1, 2.6),
        (-3.0, 0.0),
        (1.0, 2.0),
        (-1e-3, 1e3),
    ] {
        let q = Quantization::of_range(min, max).unwrap();
        assert_eq!(q.dequantize(q.quantize(0.0)), 0.0, "{min} {max}");
        for end in [min, max] {
            let error = (q.dequantize(q.quantize(end)) - end).abs();
            assert!(error <= 0.51 * q.scale(), "{min} {max}: {error}");
        }
        assert_eq!([q.quantize(-1e9), q.quantize(1e9)], [0, 255]);
    }
    assert_eq!(Quantization::of_range(0.0, 0.0).unwrap().quantize(0.0), 0);
    for (min, max) in [(f32::NAN, 1.0), (0.0, f32::INFINITY), (1.0, 0.0)] {
        let found = Quantization::of_range(min, max);
        assert!(
            matches!(found, Err(KernelError::InvalidLayer(_))),
            "{min} {max}"
        );
    }
    assert!(Quantization::new(0.0, 0).is_err());
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let params = Conv2dParams::new(80, 48, 3, 2);
    let layer = Layer::new(params, [5, 80, 19, 23], [3, 0], 1);
    let x = QuantizedActivation::from_nchw(&layer.x, layer.shape, layer.input).unwrap();
    let conv = QuantizedConv2d::new(Isa::detect(), &params, &layer.weight, None).unwrap();
    let output = Quantization::new(2.0, 0).unwrap();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let run = || conv.forward(&x, None, true, output).unwrap().to_nchw();
        pool.build().unwrap().install(run)
    };
    let one = on(1);
    assert!([2, 3, 8].into_iter().all(|n| on(n) == one));
}

#[test]
fn what_does_not_fit_is_refused() {
    let params = Conv2dParams::new(64, 32, 3, 1);
    let (isa, len) = (Isa::detect(), 64 * 32 * 9);
    let mut weight = vec![0.1; len];
    let conv = QuantizedConv2d::new(isa, &params, &weight, None).unwrap();
    let q = Quantization::new(1.0, 0).unwrap();
    let maps = |shape: [usize; 4]| {
        QuantizedActivation::from_nchw(&vec![1; shape.iter().product()], shape, q).unwrap()
    };
    let x = maps([1, 64, 4, 4]);
    assert!(matches!(
        conv.forward(&maps([1, 3, 4, 4]), None, true, q),
        Err(KernelError::WrongChannels {
            found: 3,
            expected: 64
        })
    ));
    assert!(matches!(
        conv.forward(&x, Some(&maps([1, 32, 4, 5])), true, q),
        Err(KernelError::WrongShape { .. })
    ));
    assert!(matches!(
        conv.forward_nchw(&[0.0; 7], [1, 64, 4, 4], q, true, q),
        Err(KernelError::WrongLength { .. })
    ));
    assert!(matches!(
        conv.forward_nchw_dequantized(&[0.0; 7], [1, 64, 4, 4], q, true),
        Err(KernelError::WrongLength { .. })
    ));
    weight[17] = f32::NAN;
    let found = QuantizedConv2d::new(isa, &params, &weight, None);
    assert!(matches!(found, Err(KernelError::InvalidLayer(_))));
    let found = QuantizedConv2d::new(isa, &params, &weight[1..], None);
    assert!(matches!(found, Err(KernelError::WrongLength { .. })));
}
