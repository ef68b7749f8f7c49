//! Positions of patches on another grid than the one they were learnt on.

use burn::prelude::*;

/// Resamples positions `[1, channels, rows * columns]` from one grid to another by a cubic filter with antialiasing
/// (`a = -0.5`), along rows and along columns: timm's `resample_abs_pos_embed`.
pub(crate) fn resample(positions: Tensor<3>, from: [usize; 2], to: [usize; 2]) -> Tensor<3> {
    if from == to {
        return positions;
    }
    let [_, channels, _] = positions.dims();
    let (device, kind) = (positions.device(), positions.dtype());
    let [rows, columns] = [0, 1].map(|axis| {
        let data = TensorData::new(weights(from[axis], to[axis]), [to[axis], from[axis]]);
        Tensor::<2>::from_data(data, (&device, kind)).unsqueeze::<3>()
    });
    let grid = positions.reshape([channels, from[0], from[1]]);
    let resampled = rows.matmul(grid).matmul(columns.swap_dims(1, 2));
    resampled.reshape([1, channels, to[0] * to[1]])
}

/// Computes how much each of `from` samples gives to each of `to`, row-major `[to, from]`.
fn weights(from: usize, to: usize) -> Vec<f64> {
    let scale = from as f64 / to as f64;
    let wider = scale.max(1.0);
    let reach = 2.0 * wider;
    let mut all = Vec::with_capacity(from * to);
    for place in 0..to {
        let centre = scale * (place as f64 + 0.5);
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let row = (0..from).map(|sample| match (first..end).contains(&sample) {
            true => cubic((sample as f64 - centre + 0.5) / wider),
            false => 0.0,
        });
        let row: Vec<f64> = row.collect();
        let sum: f64 = row.iter().sum();
        all.extend(row.iter().map(|weight| weight / sum));
    }
    all
}

/// Keys' cubic convolution with `a = -0.5` (1981).
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    match x {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    }
}
