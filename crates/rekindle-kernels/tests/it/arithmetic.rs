//! Products and differences of feature maps against plain loops.

use crate::reference::random;
use rekindle_kernels::{Activation, multiply, subtract};

#[test]
fn numbers_are_combined_one_by_one() {
    for shape in [[2, 17, 3, 5], [1, 64, 40, 40], [0, 3, 2, 2]] {
        let [a, b] = [1, 2].map(|seed| random(shape.iter().product(), seed));
        let [x, y] = [&a, &b].map(|values| Activation::from_nchw(values, shape).unwrap());
        let expected = |function: fn(f32, f32) -> f32| -> Vec<f32> {
            a.iter().zip(&b).map(|(a, b)| function(*a, *b)).collect()
        };
        let product = multiply(&x, &y).unwrap();
        assert_eq!(product.to_nchw(), expected(|a, b| a * b));
        let difference = subtract(&x, &y).unwrap();
        assert_eq!(difference.to_nchw(), expected(|a, b| a - b));
    }
    let [x, y] = [[1, 3, 2, 2], [1, 3, 2, 1]].map(Activation::zeros);
    assert!(multiply(&x, &y).is_err() && subtract(&x, &y).is_err());
}
