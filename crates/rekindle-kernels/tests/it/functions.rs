//! Activation functions, alone and fused into layers, against f64.

use crate::reference::{convolution, random, relative_error};
use rekindle_kernels::{
    Activation, ActivationFn, Algorithm, BatchNorm, Conv2dParams, Gate, Isa, PackedConv2d,
    PackedLinear, Statistics, UnpackedConv2d,
};

/// The error function, by its series near zero and its continued fraction beyond.
fn erf(x: f64) -> f64 {
    let scale = 2.0 / std::f64::consts::PI.sqrt();
    if x.abs() < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return scale * sum;
    }
    let size = x.abs();
    let tail = (1..120)
        .rev()
        .fold(size, |below, n| size + f64::from(n) / 2.0 / below);
    x.signum() * (1.0 - scale / 2.0 * (-size * size).exp() / tail)
}

pub fn function(function: ActivationFn, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    let hard_sigmoid = (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match function {
        ActivationFn::Identity => x,
        ActivationFn::Relu => x.max(0.0),
        ActivationFn::Relu6 => x.clamp(0.0, 6.0),
        ActivationFn::Silu => x * sigmoid,
        ActivationFn::HardSwish => x * hard_sigmoid,
        ActivationFn::HardSigmoid => hard_sigmoid,
        ActivationFn::Sigmoid => sigmoid,
        ActivationFn::Gelu => x * (1.0 + erf(x / 2f64.sqrt())) / 2.0,
        ActivationFn::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        ActivationFn::GeluTanh => {
            let root = (2.0 / std::f64::consts::PI).sqrt();
            0.5 * x * (1.0 + (root * (x + 0.044715 * x.powi(3))).tanh())
        }
        ActivationFn::Mish if x > 700.0 => x,
        ActivationFn::Mish => x * x.exp().ln_1p().tanh(),
        ActivationFn::Tanh => x.tanh(),
        ActivationFn::Elu if x > 0.0 => x,
        ActivationFn::Elu => x.exp_m1(),
        ActivationFn::LeakyRelu => x.max(0.01 * x),
        ActivationFn::LeakyReluTenth => x.max(0.1 * x),
    }
}

/// By central differences, whose own error is near 1e-9.
pub fn derivative(of: ActivationFn, x: f64) -> f64 {
    let step = 1e-5;
    (function(of, x + step) - function(of, x - step)) / (2.0 * step)
}

/// Numbers from -range to range that avoid the corners at -3, 0, 3 and 6.
fn arguments(range: f32) -> Vec<f32> {
    let all = random(4003, 1).into_iter().map(|v| v * range);
    all.filter(|v| {
        [-3.0f32, 0.0, 3.0, 6.0]
            .iter()
            .all(|c| (v - c).abs() > 1e-3)
    })
    .collect()
}

#[test]
fn values_and_derivatives() {
    for of in ActivationFn::ALL {
        for range in [0.5, 8.0, 30.0] {
            let x = arguments(range);
            let y: Vec<f64> = x.iter().map(|&v| function(of, v.into())).collect();
            let dy = random(x.len(), 2);
            let back = |(&v, &g): (&f32, &f32)| f64::from(g) * derivative(of, v.into());
            let dx: Vec<f64> = x.iter().zip(&dy).map(back).collect();
            for &isa in Isa::available() {
                let mut values = x.clone();
                of.apply(isa, &mut values).unwrap();
                let error = relative_error(&values, &y);
                assert!(error < 1e-6, "{of} to {range} on {isa}: {error:e}");
                let mut gradient = dy.clone();
                of.apply_gradient(isa, &x, &mut gradient).unwrap();
                let error = relative_error(&gradient, &dx);
                assert!(error < 1e-6, "{of}' to {range} on {isa}: {error:e}");
            }
        }
    }
}

#[test]
fn sigmoid_and_silu_are_accurate_everywhere() {
    let x: Vec<f32> = (-880_000..=880_000).map(|i| i as f32 * 1e-4).collect();
    for &isa in Isa::available() {
        for of in [ActivationFn::Sigmoid, ActivationFn::Silu] {
            let mut values = x.clone();
            of.apply(isa, &mut values).unwrap();
            for (&x, &y) in x.iter().zip(&values) {
                let expected = function(of, x.into());
                let normal = expected.abs() >= f64::from(f32::MIN_POSITIVE);
                if expected != 0.0 && normal {
                    let error = (f64::from(y) - expected).abs() / expected.abs();
                    assert!(error < 2e-7, "{of}({x}) on {isa}: {error:e}");
                }
            }
        }
    }
}

#[test]
fn the_derivative_of_tanh_keeps_its_digits() {
    let x: Vec<f32> = (-20_000..=20_000).map(|i| i as f32 * 1e-3).collect();
    for &isa in Isa::available() {
        let mut slopes = vec![1.0; x.len()];
        let function = ActivationFn::Tanh;
        function.apply_gradient(isa, &x, &mut slopes).unwrap();
        for (&x, &slope) in x.iter().zip(&slopes) {
            let expected = f64::from(x).cosh().powi(-2);
            let error = (f64::from(slope) - expected).abs() / expected;
            assert!(error < 1e-6, "tanh'({x}) on {isa}: {error:e}");
        }
    }
}

#[test]
fn gelu_and_its_derivative_are_accurate_everywhere() {
    let x: Vec<f32> = (-300_000..=300_000).map(|i| i as f32 * 1e-4).collect();
    for &isa in Isa::available() {
        let (mut values, mut slopes) = (x.clone(), vec![1.0; x.len()]);
        ActivationFn::Gelu.apply(isa, &mut values).unwrap();
        ActivationFn::Gelu
            .apply_gradient(isa, &x, &mut slopes)
            .unwrap();
        let [mut worst, mut steepest] = [0.0f64; 2];
        for ((&x, &y), &slope) in x.iter().zip(&values).zip(&slopes) {
            let x = f64::from(x);
            let below = (1.0 + erf(x / 2f64.sqrt())) / 2.0;
            let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            worst = worst.max((f64::from(y) - x * below).abs() / x.abs().max(1.0));
            steepest = steepest.max((f64::from(slope) - below - x * density).abs());
        }
        assert!(worst < 2e-7, "{isa}: {worst:e}");
        assert!(steepest < 4e-7, "{isa}, derivative: {steepest:e}");
    }
}

#[test]
fn the_ends_of_the_range() {
    let x = [
        f32::NEG_INFINITY,
        -1e30,
        -200.0,
        0.0,
        200.0,
        1e30,
        f32::INFINITY,
        f32::NAN,
    ];
    for &isa in Isa::available() {
        for of in ActivationFn::ALL {
            let mut y = x;
            of.apply(isa, &mut y).unwrap();
            assert!(y[7].is_nan(), "{of} of NaN on {isa}");
            let mut slope = [1.0; 8];
            of.apply_gradient(isa, &x, &mut slope).unwrap();
            for i in 1..6 {
                let expected = function(of, x[i].into());
                let close = (f64::from(y[i]) - expected).abs() <= 1e-6 * expected.abs();
                assert!(
                    close || y[i].abs() < 1e-30,
                    "{of}({}) on {isa}: {}",
                    x[i],
                    y[i]
                );
                if i != 3 {
                    let expected = match of {
                        ActivationFn::Identity => 1.0,
                        ActivationFn::Relu
                        | ActivationFn::Silu
                        | ActivationFn::HardSwish
                        | ActivationFn::Gelu
                        | ActivationFn::QuickGelu
                        | ActivationFn::GeluTanh
                        | ActivationFn::Mish
                        | ActivationFn::Elu => f32::from(x[i] > 0.0),
                        ActivationFn::LeakyRelu if x[i] < 0.0 => 0.01,
                        ActivationFn::LeakyReluTenth if x[i] < 0.0 => 0.1,
                        ActivationFn::LeakyRelu | ActivationFn::LeakyReluTenth => 1.0,
                        _ => 0.0,
                    };
                    assert_eq!(slope[i], expected, "{of}'({}) on {isa}", x[i]);
                }
            }
        }
    }
}

/// Every way to compute a convolution, behind which the function comes.
#[test]
fn fused_into_convolutions() {
    let uneven = Conv2dParams::new(33, 21, 3, 2).with_padding(rekindle_kernels::Padding {
        bottom: 1,
        right: 1,
        ..Default::default()
    });
    let cases = [
        (Conv2dParams::new(19, 37, 1, 1), [2, 19, 9, 7]),
        (uneven, [1, 33, 8, 10]),
        (Conv2dParams::new(20, 36, 3, 1), [2, 20, 9, 7]),
        (Conv2dParams::new(3, 17, 7, 2), [1, 3, 15, 18]),
        (Conv2dParams::new(340, 330, 3, 1), [1, 340, 5, 6]),
        (Conv2dParams::depthwise(37, 5, 1), [2, 37, 9, 19]),
    ];
    for (params, shape) in cases {
        let x = random(shape.iter().product(), 1);
        let weight = random(params.weight_shape().iter().product(), 2);
        let [scale, shift] = [3, 4].map(|seed| random(params.out_channels, seed));
        let plain = convolution(&params, &x, shape, &weight);
        let [oh, ow] = params.output_size([shape[2], shape[3]]).unwrap();
        let residual = random(plain.len(), 5);
        let out_shape = [shape[0], params.out_channels, oh, ow];
        let added = Activation::from_nchw(&residual, out_shape).unwrap();
        let input = Activation::from_nchw(&x, shape).unwrap();
        for of in ActivationFn::ALL {
            let expected: Vec<f64> = (0..plain.len())
                .map(|i| {
                    let c = i / (oh * ow) % params.out_channels;
                    let sum = plain[i] * f64::from(scale[c]) + f64::from(shift[c]);
                    function(of, sum + f64::from(residual[i]))
                })
                .collect();
            for &isa in Isa::available() {
                let case = format!("{params}, {of} on {isa}");
                let folded = Some((&scale[..], &shift[..]));
                let conv = PackedConv2d::new(isa, &params, &weight, folded).unwrap();
                let limit = match conv.algorithm() {
                    Algorithm::Winograd => 1e-4,
                    _ => 1e-5,
                };
                let y = conv.forward(&input, Some(&added), of).unwrap();
                let error = relative_error(&y.to_nchw(), &expected);
                assert!(error < limit, "{case}: {error:e}");
                assert_clear(&y, &case);
                let once = UnpackedConv2d::new(isa, &params, &weight, folded).unwrap();
                let same = once.forward(&input, Some(&added), of).unwrap();
                assert_eq!(same.as_blocked(), y.as_blocked(), "{case}");
                assert_clear(&conv.forward_nchw(&x, shape, of).unwrap(), &case);
            }
        }
    }
}

/// Past the last channel all is zero, whatever the function makes of zero.
fn assert_clear(y: &Activation, case: &str) {
    let [n, c, h, w] = y.shape();
    let blocks = c.div_ceil(16);
    for (i, line) in y.as_blocked().chunks_exact(16).enumerate() {
        let block = i / (h * w) % blocks;
        let used = (c - block * 16).min(16);
        assert!(
            line[used..].iter().all(|&v| v == 0.0),
            "{case}, {n} pictures"
        );
    }
}

#[test]
fn fused_into_the_linear_layer() {
    let (batch, inputs, outputs) = (5, 37, 50);
    let [x, weight, bias] = [batch * inputs, outputs * inputs, outputs].map(|n| random(n, 1));
    for of in ActivationFn::ALL {
        let expected: Vec<f64> = (0..batch * outputs)
            .map(|i| {
                let (row, o) = (i / outputs, i % outputs);
                let product =
                    |k| f64::from(x[row * inputs + k]) * f64::from(weight[o * inputs + k]);
                function(
                    of,
                    f64::from(bias[o]) + (0..inputs).map(product).sum::<f64>(),
                )
            })
            .collect();
        for &isa in Isa::available() {
            let layer = PackedLinear::new(isa, [outputs, inputs], &weight, Some(&bias)).unwrap();
            let y = layer.forward_with(&x, batch, of).unwrap();
            let error = relative_error(&y, &expected);
            assert!(error < 1e-5, "{of} on {isa}: {error:e}");
        }
    }
}

/// The gradient of BatchNorm with fixed statistics is the function's, times a factor per channel.
#[test]
fn fused_into_batch_norm() {
    for shape in [[2, 37, 5, 7], [1, 17, 1, 1], [3, 16, 20, 19]] {
        let [n, c, h, w] = shape;
        let len = n * c * h * w;
        let x: Vec<f32> = random(len, 1).iter().map(|v| 4.0 * v).collect();
        let [residual, dy] = [2, 3].map(|seed| random(len, seed));
        let [gamma, beta, mean] = [4, 5, 6].map(|seed| random(c, seed));
        let var: Vec<f32> = random(c, 7).iter().map(|v| v.abs() + 0.1).collect();
        let norm = BatchNorm {
            gamma: &gamma,
            beta: &beta,
            eps: 1e-3,
        };
        let statistics = Statistics::fixed(mean.clone(), var.clone());
        let input = Activation::from_nchw(&x, shape).unwrap();
        let added = Activation::from_nchw(&residual, shape).unwrap();
        for of in ActivationFn::ALL {
            for with_residual in [false, true] {
                let (mut y, mut dx, mut g) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
                let (mut dgamma, mut dbeta) = (vec![0.0; c], vec![0.0; c]);
                for i in 0..len {
                    let channel = i / (h * w) % c;
                    let [gamma, beta, mean, var] =
                        [&gamma, &beta, &mean, &var].map(|v| f64::from(v[channel]));
                    let rstd = 1.0 / (var + f64::from(norm.eps)).sqrt();
                    let hat = (f64::from(x[i]) - mean) * rstd;
                    let more = if with_residual {
                        residual[i].into()
                    } else {
                        0.0
                    };
                    let z: f64 = hat * gamma + beta + more;
                    y[i] = function(of, z);
                    g[i] = f64::from(dy[i]) * derivative(of, z);
                    dx[i] = g[i] * gamma * rstd;
                    dgamma[channel] += g[i] * hat;
                    dbeta[channel] += g[i];
                }
                for &isa in Isa::available() {
                    let case = format!("{shape:?}, {of} on {isa}, residual {with_residual}");
                    let residual = with_residual.then_some(&added);
                    let found = norm
                        .forward(isa, &input, &statistics, residual, of)
                        .unwrap();
                    let error = relative_error(&found.to_nchw(), &y);
                    assert!(error < 1e-5, "{case}: {error:e}");
                    assert_clear(&found, &case);
                    let gate = match residual {
                        None => Gate::Function(of),
                        Some(residual) => Gate::FunctionOfSum(of, residual),
                    };
                    let dy = Activation::from_nchw(&dy, shape).unwrap();
                    let back = norm
                        .backward(isa, &input, &statistics, gate, dy, true)
                        .unwrap();
                    for (what, found, expected) in [
                        ("x", back.x.to_nchw(), &dx),
                        ("the residual", back.residual.unwrap().to_nchw(), &g),
                        ("gamma", back.gamma, &dgamma),
                        ("beta", back.beta, &dbeta),
                    ] {
                        let error = relative_error(&found, expected);
                        assert!(error < 1e-5, "{case}, by {what}: {error:e}");
                    }
                }
            }
        }
    }
}

#[test]
fn on_feature_maps() {
    let shape = [2, 19, 5, 4];
    let (x, dy) = (random(760, 1), random(760, 2));
    for &isa in Isa::available() {
        for of in ActivationFn::ALL {
            let input = Activation::from_nchw(&x, shape).unwrap();
            let back = Activation::from_nchw(&dy, shape).unwrap();
            let back = of.backward(isa, &input, back).unwrap();
            assert_clear(&back, "gradient");
            let y = of.forward(isa, input).unwrap();
            assert_clear(&y, "values");
            let (mut values, mut gradient) = (x.clone(), dy.clone());
            of.apply(isa, &mut values).unwrap();
            of.apply_gradient(isa, &x, &mut gradient).unwrap();
            assert_eq!((y.to_nchw(), back.to_nchw()), (values, gradient));
        }
    }
}
