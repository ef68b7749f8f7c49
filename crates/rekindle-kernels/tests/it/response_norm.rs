//! Global response normalisation and its gradients against plain loops in f64.

use crate::reference::{
    assert_norm_gradients, dot, norm_differences, random, relative_error, wide,
};
use rekindle_kernels::{Activation, Isa, ResponseNorm, bias_gradient};

fn forward(x: &[f64], [n, c, h, w]: [usize; 4], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    let pixels = h * w;
    for picture in 0..n {
        let plane = |channel: usize| &x[(picture * c + channel) * pixels..][..pixels];
        let norm = |channel: usize| plane(channel).iter().map(|v| v * v).sum::<f64>().sqrt();
        let mean = (0..c).map(norm).sum::<f64>() / c as f64;
        for channel in 0..c {
            let factor = 1.0 + weight[channel] * norm(channel) / (mean + 1e-6);
            let y = &mut y[(picture * c + channel) * pixels..][..pixels];
            for (y, x) in y.iter_mut().zip(plane(channel)) {
                *y = x * factor + bias[channel];
            }
        }
    }
    y
}

#[test]
fn real_shapes() {
    for shape in [
        [2, 160, 14, 14],
        [1, 384, 28, 28],
        [3, 1, 5, 7],
        [2, 17, 3, 3],
        [1, 33, 1, 1],
    ] {
        let c = shape[1];
        let x = random(shape.iter().product(), 1);
        let [weight, bias] = [2, 3].map(|seed| random(c, seed));
        let norm = ResponseNorm {
            weight: &weight,
            bias: &bias,
            eps: 1e-6,
        };
        let expected = forward(&wide(&x), shape, &wide(&weight), &wide(&bias));
        let input = Activation::from_nchw(&x, shape).unwrap();
        for &isa in Isa::available() {
            let (y, norms) = norm.forward(isa, &input).unwrap();
            let error = relative_error(&y.to_nchw(), &expected);
            assert!(error < 1e-5, "{shape:?} on {isa}: {error:e}");
            let same = norm.infer(isa, input.clone()).unwrap();
            assert_eq!(same.as_blocked(), y.as_blocked());
            let clear = Activation::from_nchw(&y.to_nchw(), shape).unwrap();
            assert_eq!(clear.as_blocked(), y.as_blocked());
            assert_eq!(norms.values().len(), shape[0] * c);
        }
    }
}

#[test]
fn gradients_are_those_of_the_plain_loop() {
    for shape in [[2, 17, 3, 2], [1, 5, 4, 5], [3, 1, 2, 2], [1, 20, 1, 1]] {
        let [n, c, h, w] = shape;
        let [x, dy] = [1, 2].map(|seed| random(n * c * h * w, seed));
        let [weight, bias] = [3, 4].map(|seed| random(c, seed));
        let norm = ResponseNorm {
            weight: &weight,
            bias: &bias,
            eps: 1e-6,
        };
        let expected = norm_differences([&x, &weight, &bias], |x, w, b| {
            dot(&forward(x, shape, w, b), &dy)
        });
        let [input, gradient] = [&x, &dy].map(|v| Activation::from_nchw(v, shape).unwrap());
        for &isa in Isa::available() {
            let (_, norms) = norm.forward(isa, &input).unwrap();
            let summed = bias_gradient(isa, &gradient).unwrap();
            let back = norm
                .backward(isa, &input, &norms, gradient.clone())
                .unwrap();
            assert_norm_gradients(back, &expected, &format!("{shape:?} on {isa}"));
            let error = relative_error(&summed, &expected[2]);
            assert!(
                error < 1e-5,
                "{shape:?}, by a layer's bias on {isa}: {error:e}"
            );
        }
    }
}

#[test]
fn zeros_and_what_does_not_fit() {
    let isa = Isa::detect();
    let norm = ResponseNorm {
        weight: &[1.0; 3],
        bias: &[0.5; 3],
        eps: 1e-6,
    };
    let x = Activation::zeros([1, 3, 2, 2]);
    let (y, norms) = norm.forward(isa, &x).unwrap();
    assert_eq!(y.to_nchw(), [0.5; 12]);
    let back = norm.backward(isa, &x, &norms, y.clone()).unwrap();
    assert_eq!(back.x.to_nchw(), [0.5; 12]);
    assert!(norm.forward(isa, &Activation::zeros([1, 4, 2, 2])).is_err());
    assert!(norm.infer(isa, Activation::zeros([1, 2, 2, 2])).is_err());
    let other = Activation::zeros([1, 3, 2, 3]);
    assert!(norm.backward(isa, &x, &norms, other).is_err());
    let two = Activation::zeros([2, 3, 2, 2]);
    assert!(norm.backward(isa, &two, &norms, two.clone()).is_err());
    let empty = Activation::zeros([0, 3, 2, 2]);
    let (y, norms) = norm.forward(isa, &empty).unwrap();
    assert!(norm.backward(isa, &empty, &norms, y).is_ok());
}
