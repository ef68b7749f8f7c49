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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    /// PyTorch 2.15: `interpolate(x, size, mode="bicubic", antialias=True)` of `(i * 7919 % 101) / 50 - 1`.
    #[test]
    fn other_grids_are_those_of_pytorch() {
        let cases: [([usize; 2], [usize; 2], &[f32]); 3] = [
            (
                [3, 2],
                [5, 4],
                &[
                    -1.209578, -0.922337, -0.352757, -0.065516, -0.417599, -0.384666, -0.319364,
                    -0.286431, 0.745882, 0.391429, -0.311429, -0.665882, 0.580579, 0.199409,
                    -0.556424, -0.937594, 0.337203, -0.017251, -0.720108, -1.074562,
                ],
            ),
            (
                [7, 7],
                [4, 4],
                &[
                    -0.257749, -0.009365, -0.172129, -0.222769, 0.086014, 0.051063, -0.011212,
                    0.067647, 0.148746, -0.161135, 0.273986, 0.324685, -0.391998, -0.081144,
                    0.058255, -0.23898,
                ],
            ),
            (
                [4, 4],
                [2, 6],
                &[
                    -0.425537, -0.476378, -0.390896, 0.050813, 0.136296, 0.085455, 0.210537,
                    0.029825, -0.193625, -0.256915, -0.290413, -0.300992,
                ],
            ),
        ];
        for (from, to, expected) in cases {
            let count = from[0] * from[1];
            let values = (0..count).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0);
            let data = TensorData::new(values.collect::<Vec<f32>>(), [1, 1, count]);
            let x = Tensor::<3>::from_data(data, &Device::flex());
            let found: Vec<f32> = resample(x, from, to).into_data().iter().collect();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} of {expected}");
            }
        }
    }
}
