//! Layer normalisation and its gradients against plain loops in f64.

use crate::reference::{
    assert_norm_gradients, dot, norm_differences, random, relative_error, wide,
};
use rekindle_kernels::{Activation, Isa, KernelError, LayerNorm};

/// Real shapes of transformers and ConvNeXt, and odd ones.
const SHAPES: [[usize; 4]; 12] = [
    [2, 192, 1, 197],
    [1, 384, 1, 50],
    [1, 768, 1, 257],
    [1, 40, 56, 56],
    [2, 96, 28, 28],
    [1, 768, 7, 7],
    [3, 1, 5, 7],
    [2, 17, 3, 3],
    [1, 33, 1, 1],
    [1, 16, 1, 17],
    [5, 100, 1, 1],
    [1, 1537, 1, 31],
];

/// Values at `[batch, channel, pixel]` as `[channel]` of each pixel.
fn pixels([n, c, h, w]: [usize; 4]) -> impl Iterator<Item = Vec<usize>> {
    let pixels = h * w;
    (0..n * pixels).map(move |i| {
        let first = i / pixels * c * pixels + i % pixels;
        (0..c).map(|channel| first + channel * pixels).collect()
    })
}

struct Reference {
    mean: Vec<f64>,
    rstd: Vec<f64>,
    y: Vec<f64>,
}

fn forward(x: &[f64], shape: [usize; 4], weight: &[f64], bias: &[f64], eps: f64) -> Reference {
    let mut r = Reference {
        mean: vec![],
        rstd: vec![],
        y: vec![0.0; x.len()],
    };
    for indices in pixels(shape) {
        let count = indices.len() as f64;
        let mean = indices.iter().map(|&i| x[i]).sum::<f64>() / count;
        let square = indices.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>();
        let rstd = 1.0 / (square / count + eps).sqrt();
        for (channel, &i) in indices.iter().enumerate() {
            r.y[i] = (x[i] - mean) * rstd * weight[channel] + bias[channel];
        }
        r.mean.push(mean);
        r.rstd.push(rstd);
    }
    r
}

/// Gradients by input, weight and bias.
fn backward(x: &[f64], shape: [usize; 4], weight: &[f64], dy: &[f32], eps: f64) -> [Vec<f64>; 3] {
    let statistics = forward(x, shape, weight, weight, eps);
    let (mut dx, mut dw, mut db) = (
        vec![0.0; x.len()],
        vec![0.0; weight.len()],
        vec![0.0; weight.len()],
    );
    for (pixel, indices) in pixels(shape).enumerate() {
        let (mean, rstd) = (statistics.mean[pixel], statistics.rstd[pixel]);
        let hat = |i: usize| (x[i] - mean) * rstd;
        let (mut plain, mut product) = (0.0, 0.0);
        for (channel, &i) in indices.iter().enumerate() {
            let dy = f64::from(dy[i]);
            dw[channel] += dy * hat(i);
            db[channel] += dy;
            plain += dy * weight[channel] / indices.len() as f64;
            product += dy * weight[channel] * hat(i) / indices.len() as f64;
        }
        for (channel, &i) in indices.iter().enumerate() {
            let g = f64::from(dy[i]) * weight[channel];
            dx[i] = rstd * (g - plain - hat(i) * product);
        }
    }
    [dx, dw, db]
}

#[test]
fn forward_and_gradients() {
    for shape in SHAPES {
        let [_, c, ..] = shape;
        let len = shape.iter().product();
        let [x, dy, more] = [1, 2, 3].map(|seed| random(len, seed));
        let [weight, bias] = [4, 5].map(|seed| random(c, seed));
        // With one channel the deviation is that of epsilon alone.
        let eps = if c == 1 { 1e-2 } else { 1e-6 };
        let norm = LayerNorm {
            weight: &weight,
            bias: &bias,
            eps,
        };
        let (exact, eps) = (wide(&x), f64::from(eps));
        let r = forward(&exact, shape, &wide(&weight), &wide(&bias), eps);
        let [mut dx, dw, db] = backward(&exact, shape, &wide(&weight), &dy, eps);
        let alone = dx.clone();
        dx.iter_mut()
            .zip(&more)
            .for_each(|(d, &m)| *d += f64::from(m));
        let [input, gradient, more] =
            [&x, &dy, &more].map(|v| Activation::from_nchw(v, shape).unwrap());
        for &isa in Isa::available() {
            let (y, statistics) = norm.forward(isa, &input).unwrap();
            let same = norm.infer(isa, input.clone()).unwrap();
            assert_eq!(same.as_blocked(), y.as_blocked(), "{shape:?} on {isa}");
            let back = norm.backward(isa, &input, &statistics, gradient.clone(), None);
            let back = back.unwrap();
            let added = norm.backward(isa, &input, &statistics, gradient.clone(), Some(&more));
            let added = added.unwrap();
            for map in [&y, &back.x, &added.x] {
                let clear = Activation::from_nchw(&map.to_nchw(), shape).unwrap();
                assert_eq!(clear.as_blocked(), map.as_blocked(), "{shape:?} on {isa}");
            }
            for (what, found, expected) in [
                ("output", y.to_nchw(), &r.y),
                ("mean", statistics.mean().to_vec(), &r.mean),
                ("deviation", statistics.rstd().to_vec(), &r.rstd),
                ("by x", back.x.to_nchw(), &alone),
                ("by x, added", added.x.to_nchw(), &dx),
                ("by weight", back.weight, &dw),
                ("by bias", back.bias, &db),
            ] {
                let error = relative_error(&found, expected);
                assert!(error < 1e-5, "{shape:?}, {what} on {isa}: {error:e}");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_the_plain_loop() {
    for shape in [[2, 17, 1, 3], [1, 5, 3, 2], [1, 20, 1, 1]] {
        let c = shape[1];
        let len = shape.iter().product();
        let [x, dy] = [1, 2].map(|seed| random(len, seed));
        let [weight, bias] = [3, 4].map(|seed| random(c, seed));
        let eps = 1e-5;
        let norm = LayerNorm {
            weight: &weight,
            bias: &bias,
            eps: eps as f32,
        };
        let expected = norm_differences([&x, &weight, &bias], |x, w, b| {
            dot(&forward(x, shape, w, b, eps).y, &dy)
        });
        let [input, gradient] = [&x, &dy].map(|v| Activation::from_nchw(v, shape).unwrap());
        for &isa in Isa::available() {
            let (_, statistics) = norm.forward(isa, &input).unwrap();
            let back = norm.backward(isa, &input, &statistics, gradient.clone(), None);
            assert_norm_gradients(back.unwrap(), &expected, &format!("{shape:?} on {isa}"));
        }
    }
}

/// A plain sum of squares would lose all digits.
#[test]
fn a_large_mean_costs_no_digits() {
    let shape = [1, 70, 1, 19];
    // Whole numbers over 1024, so that the mean added is exact.
    let values = random(70 * 19, 1);
    let x: Vec<f32> = values
        .iter()
        .map(|v| 1000.0 + (v * 1024.0).round() / 1024.0)
        .collect();
    let [weight, bias] = [vec![1.0; 70], vec![0.0; 70]];
    let norm = LayerNorm {
        weight: &weight,
        bias: &bias,
        eps: 1e-6,
    };
    let expected = forward(&wide(&x), shape, &wide(&weight), &wide(&bias), 1e-6);
    for &isa in Isa::available() {
        let input = Activation::from_nchw(&x, shape).unwrap();
        let (y, _) = norm.forward(isa, &input).unwrap();
        // The mean itself is rounded to 6e-5.
        let error = relative_error(&y.to_nchw(), &expected.y);
        assert!(error < 2e-4, "{isa}: {error:e}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let isa = Isa::detect();
    let norm = LayerNorm {
        weight: &[1.0; 3],
        bias: &[0.0; 3],
        eps: 1e-6,
    };
    let x = Activation::zeros([2, 3, 4, 5]);
    let other = Activation::zeros([2, 3, 5, 4]);
    let (y, statistics) = norm.forward(isa, &x).unwrap();
    assert_eq!(y.to_nchw(), [0.0; 120]);
    let wide = Activation::zeros([2, 4, 4, 5]);
    assert!(matches!(
        norm.forward(isa, &wide),
        Err(KernelError::WrongLength { .. })
    ));
    assert!(norm.infer(isa, wide).is_err());
    let back = |x: &Activation, dy: &Activation, add| {
        norm.backward(isa, x, &statistics, dy.clone(), add)
            .map(|_| ())
    };
    assert!(matches!(
        back(&x, &other, None),
        Err(KernelError::WrongShape { .. })
    ));
    assert!(back(&x, &x, Some(&other)).is_err());
    let longer = Activation::zeros([3, 3, 4, 5]);
    assert!(back(&longer, &longer, None).is_err());
    assert!(back(&x, &x, None).is_ok());
    for shape in [[0, 3, 4, 5], [2, 3, 0, 5]] {
        let x = Activation::zeros(shape);
        let (y, statistics) = norm.forward(isa, &x).unwrap();
        let back = norm.backward(isa, &x, &statistics, y, None).unwrap();
        assert_eq!((back.weight, back.bias), (vec![0.0; 3], vec![0.0; 3]));
    }
}
