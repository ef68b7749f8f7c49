//! The linear layer and its gradients against plain loops in f64.

use crate::reference::{random, relative_error};
use rekindle_kernels::{Isa, PackedLinear, linear_gradients};

#[test]
fn forward() {
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
fn gradients() {
    for (batch, inputs, outputs) in [(1, 1, 1), (4, 512, 1000), (33, 37, 50), (7, 130, 2)] {
        let [x, weight, dy] =
            [batch * inputs, outputs * inputs, batch * outputs].map(|len| random(len, len as u64));
        let product = |rows: usize, columns: usize, f: &dyn Fn(usize, usize) -> f64| {
            (0..rows * columns)
                .map(|i| f(i / columns, i % columns))
                .collect::<Vec<f64>>()
        };
        let f = f64::from;
        let dx = product(batch, inputs, &|b, i| {
            (0..outputs)
                .map(|o| f(dy[b * outputs + o]) * f(weight[o * inputs + i]))
                .sum()
        });
        let dw = product(outputs, inputs, &|o, i| {
            (0..batch)
                .map(|b| f(dy[b * outputs + o]) * f(x[b * inputs + i]))
                .sum()
        });
        let db = product(1, outputs, &|_, o| {
            (0..batch).map(|b| f(dy[b * outputs + o])).sum()
        });
        for &isa in Isa::available() {
            let found = linear_gradients(isa, &x, &weight, &dy, [batch, outputs, inputs]).unwrap();
            assert!(relative_error(&found.x, &dx) < 1e-5, "{isa}");
            assert!(relative_error(&found.weight, &dw) < 1e-5, "{isa}");
            assert!(relative_error(&found.bias, &db) < 1e-5, "{isa}");
        }
    }
}
