//! Fresh parameters as functions of a seed.

use burn::module::{Initializer, Param};
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::TensorData;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Draws uniform numbers in `[-bound, bound)`.
pub(crate) fn uniform(count: usize, bound: f32, seed: u64) -> Vec<f32> {
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..count)
        .map(|_| generator.random_range(-bound..bound))
        .collect()
}

/// Draws standard normal numbers (Box and Muller).
pub(crate) fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut unit = || f64::EPSILON + generator.random::<f64>() * (1.0 - f64::EPSILON);
    (0..count)
        .map(|_| {
            let radius = (-2.0 * unit().ln()).sqrt();
            (radius * (std::f64::consts::TAU * unit()).cos()) as f32
        })
        .collect()
}

/// Creates a linear layer with weight and bias uniform within `1 / sqrt(inputs)`, as PyTorch starts one.
pub(crate) fn linear(inputs: usize, outputs: usize, seed: u64, device: &Device) -> Linear {
    let bound = 1.0 / (inputs.max(1) as f32).sqrt();
    let weight = TensorData::new(uniform(inputs * outputs, bound, seed), [inputs, outputs]);
    let bias = TensorData::new(uniform(outputs, bound, seed ^ 0x5bd1_e995), [outputs]);
    let mut layer = LinearConfig::new(inputs, outputs)
        .with_initializer(Initializer::Zeros)
        .init(device);
    layer.weight = Param::from_data(weight, device);
    layer.bias = Some(Param::from_data(bias, device));
    layer
}

/// Returns the order in which an epoch takes `count` rows: a permutation, a function of seed and epoch.
pub(crate) fn permutation(count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mixed = seed ^ (epoch as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(mixed);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, generator.random_range(0..=last));
    }
    order
}
