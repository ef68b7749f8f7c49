//! Squeeze-excitation and its gradients against plain loops in f64.

use crate::functions::{derivative, function};
use crate::reference::{random, relative_error};
use rekindle_kernels::{
    Activation, ActivationFn, Isa, PackedLinear, add_scaled_channels, channel_means,
    linear_gradients, scale_channels, scale_channels_gradient, scale_channels_in_place,
    squeeze_excitation_gradient,
};

const SHAPES: [[usize; 4]; 6] = [
    [2, 32, 14, 14],
    [1, 17, 1, 1],
    [3, 1, 5, 7],
    [1, 96, 57, 56],
    [4, 24, 7, 7],
    [2, 33, 2, 9],
];

/// Sums over each plane of `[batch, channels, pixels]`.
fn by_plane(shape: [usize; 4], value: impl Fn(usize) -> f64) -> Vec<f64> {
    let [n, c, h, w] = shape;
    let plane = |plane: usize| (plane * h * w..(plane + 1) * h * w).map(&value).sum();
    (0..n * c).map(plane).collect()
}

#[test]
fn each_step() {
    for shape in SHAPES {
        let [n, c, h, w] = shape;
        let (len, pixels) = (n * c * h * w, h * w);
        let [x, dy] = [1, 2].map(|seed| random(len, seed));
        let [scale, dmeans] = [3, 4].map(|seed| random(n * c, seed));
        let f = f64::from;
        let means = by_plane(shape, |i| f(x[i]) / pixels as f64);
        let dscale = by_plane(shape, |i| f(x[i]) * f(dy[i]));
        let of_plane = |values: &[f32], i: usize| f(values[i / pixels]);
        let y: Vec<f64> = (0..len).map(|i| f(x[i]) * of_plane(&scale, i)).collect();
        let sum: Vec<f64> = y.iter().zip(&dy).map(|(y, &s)| y + f(s)).collect();
        let dx: Vec<f64> = (0..len)
            .map(|i| f(dy[i]) * of_plane(&scale, i) + of_plane(&dmeans, i) / pixels as f64)
            .collect();
        let input = Activation::from_nchw(&x, shape).unwrap();
        let gradient = Activation::from_nchw(&dy, shape).unwrap();
        for &isa in Isa::available() {
            let found = [
                ("means", channel_means(isa, &input).unwrap(), &means),
                (
                    "gradient by scale",
                    scale_channels_gradient(isa, &input, &gradient).unwrap(),
                    &dscale,
                ),
                (
                    "scaled",
                    scale_channels(isa, &input, &scale).unwrap().to_nchw(),
                    &y,
                ),
                (
                    "scaled in place",
                    scale_channels_in_place(isa, input.clone(), &scale)
                        .unwrap()
                        .to_nchw(),
                    &y,
                ),
                (
                    "scaled and added",
                    add_scaled_channels(isa, &gradient, &input, &scale)
                        .unwrap()
                        .to_nchw(),
                    &sum,
                ),
                (
                    "gradient by the map",
                    squeeze_excitation_gradient(isa, gradient.clone(), &scale, &dmeans)
                        .unwrap()
                        .to_nchw(),
                    &dx,
                ),
            ];
            for (what, found, expected) in found {
                let error = relative_error(&found, expected);
                assert!(error < 1e-5, "{what} of {shape:?} on {isa}: {error:e}");
            }
        }
    }
}

/// Means, two layers and their functions, and the factors: forward, and the gradient by the map against differences.
#[test]
fn the_whole_block() {
    let (shape, hidden) = ([2, 20, 3, 4], 5);
    let [n, c, h, w] = shape;
    let [x, dy] = [1, 2].map(|seed| random(n * c * h * w, seed));
    let [first, second] = [3, 4].map(|seed| random(c * hidden, seed));
    let [bias, other] = [random(hidden, 5), random(c, 6)];
    let forward = |x: &[f64]| {
        let means = by_plane(shape, |i| x[i] / (h * w) as f64);
        let layer = |x: &[f64], weight: &[f32], bias: &[f32], of| {
            let (ins, outs) = (x.len() / n, bias.len());
            let value = |i: usize| {
                let row = &x[i / outs * ins..][..ins];
                let weights = &weight[i % outs * ins..][..ins];
                let products = row.iter().zip(weights).map(|(x, &w)| x * f64::from(w));
                function(of, products.sum::<f64>() + f64::from(bias[i % outs]))
            };
            (0..n * outs).map(value).collect::<Vec<f64>>()
        };
        let squeezed = layer(&means, &first, &bias, ActivationFn::Silu);
        let scale = layer(&squeezed, &second, &other, ActivationFn::HardSigmoid);
        let scaled = |(i, &x): (usize, &f64)| x * scale[i / (h * w)];
        x.iter().enumerate().map(scaled).collect::<Vec<f64>>()
    };
    let exact: Vec<f64> = x.iter().map(|&v| v.into()).collect();
    let y = forward(&exact);
    let loss = |x: &[f64]| -> f64 {
        let y = forward(x);
        y.iter().zip(&dy).map(|(y, &g)| y * f64::from(g)).sum()
    };
    let dx: Vec<f64> = (0..x.len())
        .map(|i| {
            let [mut above, mut below] = [exact.clone(), exact.clone()];
            above[i] += 1e-5;
            below[i] -= 1e-5;
            (loss(&above) - loss(&below)) / 2e-5
        })
        .collect();
    assert!(derivative(ActivationFn::Silu, 0.0) > 0.49);
    for &isa in Isa::available() {
        let input = Activation::from_nchw(&x, shape).unwrap();
        let squeeze = PackedLinear::new(isa, [hidden, c], &first, Some(&bias)).unwrap();
        let excite = PackedLinear::new(isa, [c, hidden], &second, Some(&other)).unwrap();
        let means = channel_means(isa, &input).unwrap();
        let z1 = squeeze.forward(&means, n).unwrap();
        let mut squeezed = z1.clone();
        ActivationFn::Silu.apply(isa, &mut squeezed).unwrap();
        let z2 = excite.forward(&squeezed, n).unwrap();
        let scale = excite
            .forward_with(&squeezed, n, ActivationFn::HardSigmoid)
            .unwrap();
        let found = scale_channels(isa, &input, &scale).unwrap();
        let error = relative_error(&found.to_nchw(), &y);
        assert!(error < 1e-5, "{isa}: {error:e}");

        let gradient = Activation::from_nchw(&dy, shape).unwrap();
        let mut ds = scale_channels_gradient(isa, &input, &gradient).unwrap();
        ActivationFn::HardSigmoid
            .apply_gradient(isa, &z2, &mut ds)
            .unwrap();
        let mut back = linear_gradients(isa, &squeezed, &second, &ds, [n, c, hidden]).unwrap();
        ActivationFn::Silu
            .apply_gradient(isa, &z1, &mut back.x)
            .unwrap();
        let back = linear_gradients(isa, &means, &first, &back.x, [n, hidden, c]).unwrap();
        let found = squeeze_excitation_gradient(isa, gradient, &scale, &back.x).unwrap();
        let error = relative_error(&found.to_nchw(), &dx);
        assert!(error < 1e-5, "{isa}, gradient: {error:e}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let isa = Isa::detect();
    let x = Activation::zeros([2, 3, 4, 5]);
    assert!(scale_channels(isa, &x, &[1.0; 5]).is_err());
    assert!(add_scaled_channels(isa, &x, &x, &[1.0; 5]).is_err());
    assert!(add_scaled_channels(isa, &Activation::zeros([2, 3, 4, 4]), &x, &[1.0; 6]).is_err());
    assert!(scale_channels_in_place(isa, x.clone(), &[1.0; 7]).is_err());
    assert!(scale_channels_gradient(isa, &x, &Activation::zeros([2, 3, 4, 4])).is_err());
    assert!(squeeze_excitation_gradient(isa, x.clone(), &[1.0; 6], &[1.0; 5]).is_err());
    assert!(channel_means(isa, &Activation::zeros([2, 3, 0, 5])).is_err());
    assert_eq!(
        channel_means(isa, &Activation::zeros([0, 3, 4, 5])),
        Ok(vec![])
    );
    assert_eq!(channel_means(isa, &x), Ok(vec![0.0; 6]));
}
