//! Kept numbers as tensors.

use burn::prelude::*;
use burn::tensor::TensorData;
use test_support::Reference;

/// A tensor of a file of numbers.
pub fn tensor<const D: usize>(reference: &Reference, name: &str, device: &Device) -> Tensor<D> {
    let (shape, values) = reference.values(name);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Images by the formula of `tests/reference`.
pub fn images([count, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    let values = test_support::images(count, height, width);
    Tensor::from_data(TensorData::new(values, [count, 3, height, width]), device)
}

/// `|found - expected| / |expected|` in the Euclidean norm, summed in f64.
pub fn relative_error<const D: usize>(reference: &Reference, name: &str, found: Tensor<D>) -> f64 {
    let shape = found.dims();
    let found: Vec<f32> = found.into_data().iter::<f32>().collect();
    reference.relative_error(name, &shape, &found)
}
