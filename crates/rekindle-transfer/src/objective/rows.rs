//! Prepares cached features for a small network: scaled, and in batches without end.

use burn::prelude::*;
use burn::tensor::{Int, TensorData};

use super::Scaling;
use crate::features::Features;
use crate::initialise::permutation;

/// Shift and factor that bring features into the network's range.
pub(super) struct Scaler {
    mean: Option<Vec<f64>>,
    pub dim: usize,
}

impl Scaler {
    pub fn new(scaling: Scaling, features: &Features) -> Self {
        let dim = features.dim();
        let mean = (scaling == Scaling::CentredByDomain).then(|| {
            let mut mean = vec![0.0; dim];
            for row in features.rows() {
                let length = length_of(row.iter().map(|v| f64::from(*v)));
                for (sum, value) in mean.iter_mut().zip(row) {
                    *sum += f64::from(*value) / length;
                }
            }
            mean.iter().map(|sum| sum / features.len() as f64).collect()
        });
        Self { mean, dim }
    }

    pub fn tensor(&self, features: &Features, device: &Device) -> Tensor<2> {
        let scale = (self.dim as f64).sqrt() / 2.0;
        let mut values = Vec::with_capacity(features.len() * self.dim);
        for row in features.rows() {
            let length = length_of(row.iter().map(|v| f64::from(*v)));
            let mut row: Vec<f64> = row.iter().map(|v| f64::from(*v) / length).collect();
            if let Some(mean) = &self.mean {
                row.iter_mut().zip(mean).for_each(|(v, mean)| *v -= mean);
                let length = length_of(row.iter().copied());
                row.iter_mut().for_each(|v| *v /= length);
            }
            values.extend(row.into_iter().map(|v| (v * scale) as f32));
        }
        let data = TensorData::new(values, [features.len(), self.dim]);
        Tensor::from_data(data, device)
    }
}

/// Computes the Euclidean length; 1 for a row that is all but zero, which so stays as it is.
fn length_of(row: impl Iterator<Item = f64>) -> f64 {
    let length = row.map(|v| v * v).sum::<f64>().sqrt();
    if length > 1e-7 { length } else { 1.0 }
}

/// Returns these rows of `x`.
pub(super) fn select(x: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let indices: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [rows.len()]), &x.device());
    x.clone().select(0, indices)
}

/// Batches of rows without end: each epoch a new order, a remainder that fills no batch left out.
pub(super) struct Rows {
    count: usize,
    size: usize,
    seed: u64,
    epoch: usize,
    order: Vec<usize>,
}

impl Rows {
    pub fn new(count: usize, size: usize, seed: u64) -> Self {
        Self {
            count,
            size: size.min(count),
            seed,
            epoch: 0,
            order: Vec::new(),
        }
    }

    pub fn next_batch(&mut self) -> Vec<usize> {
        if self.order.len() < self.size {
            self.order = permutation(self.count, self.seed, self.epoch);
            self.epoch += 1;
        }
        self.order.split_off(self.order.len() - self.size)
    }
}
