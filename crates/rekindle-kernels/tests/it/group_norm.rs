//! Group normalisation and its gradients against plain loops in f64.

use crate::reference::{
    assert_norm_gradients, dot, norm_differences, random, relative_error, wide,
};
use rekindle_kernels::{Activation, GroupNorm, Isa};

fn forward(
    x: &[f64],
    [_, c, h, w]: [usize; 4],
    groups: usize,
    weight: &[f64],
    bias: &[f64],
) -> Vec<f64> {
    let of_group = c / groups * h * w;
    let normalised = x.chunks_exact(of_group).flat_map(|group| {
        let mean = group.iter().sum::<f64>() / of_group as f64;
        let variance = group.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / of_group as f64;
        let deviation = (variance + 1e-5).sqrt();
        group.iter().map(move |v| (v - mean) / deviation)
    });
    let channel = |at: usize| at / (h * w) % c;
    let normalised = normalised.enumerate();
    normalised
        .map(|(at, value)| value * weight[channel(at)] + bias[channel(at)])
        .collect()
}

#[test]
fn real_shapes() {
    for (shape, groups) in [
        ([2, 64, 28, 28], 32),
        ([1, 192, 14, 14], 1),
        ([3, 24, 5, 7], 24),
        ([2, 18, 3, 3], 3),
        ([1, 40, 1, 1], 8),
    ] {
        let c = shape[1];
        // A mean that is large beside the deviation.
        let x: Vec<f32> = random(shape.iter().product(), 1)
            .iter()
            .map(|v| v + 30.0)
            .collect();
        let [weight, bias] = [2, 3].map(|seed| random(c, seed));
        let norm = GroupNorm {
            groups,
            weight: &weight,
            bias: &bias,
            eps: 1e-5,
        };
        let expected = forward(&wide(&x), shape, groups, &wide(&weight), &wide(&bias));
        let input = Activation::from_nchw(&x, shape).unwrap();
        for &isa in Isa::available() {
            let (y, _) = norm.forward(isa, &input).unwrap();
            let error = relative_error(&y.to_nchw(), &expected);
            assert!(error < 1e-5, "{shape:?} on {isa}: {error:e}");
            let same = norm.infer(isa, input.clone()).unwrap();
            assert_eq!(same.as_blocked(), y.as_blocked());
            // Channels that there aren't stay at zero.
            let clear = Activation::from_nchw(&y.to_nchw(), shape).unwrap();
            assert_eq!(clear.as_blocked(), y.as_blocked());
        }
    }
}

#[test]
fn gradients_are_those_of_the_plain_loop() {
    for (shape, groups) in [
        ([2, 18, 3, 2], 3),
        ([1, 5, 4, 5], 1),
        ([3, 4, 2, 2], 4),
        ([1, 20, 1, 1], 2),
    ] {
        let [n, c, h, w] = shape;
        let [x, dy] = [1, 2].map(|seed| random(n * c * h * w, seed));
        let [weight, bias] = [3, 4].map(|seed| random(c, seed));
        let norm = GroupNorm {
            groups,
            weight: &weight,
            bias: &bias,
            eps: 1e-5,
        };
        let expected = norm_differences([&x, &weight, &bias], |x, w, b| {
            dot(&forward(x, shape, groups, w, b), &dy)
        });
        let [input, gradient] = [&x, &dy].map(|v| Activation::from_nchw(v, shape).unwrap());
        for &isa in Isa::available() {
            let (_, statistics) = norm.forward(isa, &input).unwrap();
            let back = norm
                .backward(isa, &input, &statistics, gradient.clone())
                .unwrap();
            assert_norm_gradients(back, &expected, &format!("{shape:?} on {isa}"));
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let isa = Isa::detect();
    let norm = GroupNorm {
        groups: 2,
        weight: &[1.0; 4],
        bias: &[0.5; 4],
        eps: 1e-5,
    };
    let x = Activation::zeros([1, 4, 2, 2]);
    let (y, statistics) = norm.forward(isa, &x).unwrap();
    assert_eq!(y.to_nchw(), [0.5; 16]);
    assert!(norm.infer(isa, Activation::zeros([1, 5, 2, 2])).is_err());
    let other = Activation::zeros([1, 4, 2, 3]);
    assert!(norm.backward(isa, &x, &statistics, other).is_err());
    let two = Activation::zeros([2, 4, 2, 2]);
    assert!(norm.backward(isa, &two, &statistics, two.clone()).is_err());
    for groups in [0, 3] {
        let error = GroupNorm { groups, ..norm }.forward(isa, &x).unwrap_err();
        let wanted = format!("found {groups} of 4");
        assert!(error.to_string().contains(&wanted), "{error}");
    }
    let empty = Activation::zeros([0, 4, 2, 2]);
    let (y, statistics) = norm.forward(isa, &empty).unwrap();
    assert!(norm.backward(isa, &empty, &statistics, y).is_ok());
}
