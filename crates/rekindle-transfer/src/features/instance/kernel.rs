//! Gaussian kernels between images.

use rayon::prelude::*;

use crate::features::table::{Features, dot};

/// Computes the squared distances `[a, b]` between the rows of two sets.
pub(super) fn squared_distances(a: &Features, b: &Features) -> Vec<f64> {
    let squares: Vec<f64> = b.rows().map(|row| dot(row, row)).collect();
    (0..a.len())
        .into_par_iter()
        .flat_map_iter(|i| {
            let row = a.row(i);
            let square = dot(row, row);
            let pairs = b.rows().zip(&squares);
            pairs.map(move |(other, length)| (square + length - 2.0 * dot(row, other)).max(0.0))
        })
        .collect()
}

/// Computes the median of the squared distances between different rows: the usual first guess at `2 width^2` of a
/// Gaussian kernel (the median heuristic). 0 where at least half of all pairs are equal, or there is a single row.
pub fn median_squared_distance(features: &Features) -> f64 {
    let count = features.len();
    let all = squared_distances(features, features);
    let mut pairs: Vec<f64> = (0..count)
        .flat_map(|i| &all[i * count + i + 1..(i + 1) * count])
        .copied()
        .collect();
    if pairs.is_empty() {
        return 0.0;
    }
    let middle = pairs.len() / 2;
    *pairs.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// `exp(-d / scale)` of squared distances.
pub(super) fn gaussian(mut distances: Vec<f64>, scale: f64) -> Vec<f64> {
    distances.iter_mut().for_each(|d| *d = (-*d / scale).exp());
    distances
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn distances_and_their_median_by_hand() {
        let points = Features::new(vec![0.0, 0.0, 3.0, 4.0, 0.0, 1.0], 2).unwrap();
        let found = squared_distances(&points, &points);
        assert_eq!(found, [0.0, 25.0, 1.0, 25.0, 0.0, 18.0, 1.0, 18.0, 0.0]);
        assert_eq!(median_squared_distance(&points), 18.0);
        assert_eq!(median_squared_distance(&points.select(&[0])), 0.0);
        assert_eq!(gaussian(vec![0.0, 2.0], 2.0), [1.0, (-1f64).exp()]);
    }
}
