//! BatchNorm and its gradients against plain loops in f64.

use crate::reference::{random, relative_error};
use rekindle_kernels::{Activation, BatchNorm, Gate, Isa, Statistics};

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
