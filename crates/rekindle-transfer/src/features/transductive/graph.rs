//! Builds graphs of neighbouring images.

use rayon::prelude::*;

use crate::TransferError;
use crate::features::table::{Features, dot};

/// A symmetric graph of nearest neighbours: `i` and `j` are joined where either is among the `k` nearest of
/// the other, with the weight `exp(-|x_i - x_j|^2 / s)`; `s` is the mean squared distance to the `k`-th
/// neighbour. No image is its own neighbour.
#[derive(Clone, Debug, PartialEq)]
pub struct NeighborGraph {
    /// Neighbours of each image with their weights, by rising index.
    edges: Vec<Vec<(usize, f64)>>,
}

impl NeighborGraph {
    /// Computes the graph of `features` `[n, dim]`; with fewer than `k + 1` images all are joined.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] for no neighbour or fewer than two images.
    pub fn new(features: &Features, neighbors: usize) -> Result<Self, TransferError> {
        let count = features.len();
        if neighbors == 0 || count < 2 {
            return Err(TransferError::Degenerate {
                method: "neighbour graph",
                reason: format!(
                    "{neighbors} neighbours of {count} images; at least 1 of 2 are needed"
                ),
            });
        }
        let neighbors = neighbors.min(count - 1);
        let squares: Vec<f64> = features.rows().map(|row| dot(row, row)).collect();
        let nearest: Vec<Vec<(f64, usize)>> = (0..count)
            .into_par_iter()
            .map(|i| {
                let distance = |j: usize| {
                    let product = dot(features.row(i), features.row(j));
                    ((squares[i] + squares[j] - 2.0 * product).max(0.0), j)
                };
                let others = (0..count).filter(|j| *j != i);
                let mut distances: Vec<(f64, usize)> = others.map(distance).collect();
                let order =
                    |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
                distances.select_nth_unstable_by(neighbors - 1, order);
                distances.truncate(neighbors);
                distances.sort_unstable_by(order);
                distances
            })
            .collect();
        let farthest = nearest.iter().map(|row| row[neighbors - 1].0);
        let scale = farthest.sum::<f64>() / count as f64;
        let mut edges = vec![Vec::new(); count];
        for (i, row) in nearest.iter().enumerate() {
            for (square, j) in row {
                // All images alike: every weight is 1.
                let weight = if scale > 0.0 {
                    (-square / scale).exp()
                } else {
                    1.0
                };
                edges[i].push((*j, weight));
                edges[*j].push((i, weight));
            }
        }
        for row in &mut edges {
            row.sort_unstable_by_key(|(j, _)| *j);
            row.dedup_by_key(|(j, _)| *j);
        }
        Ok(Self { edges })
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Returns true if there is no image; never for a graph that was built from features.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// Returns the neighbours of an image and their weights.
    pub fn neighbors(&self, image: usize) -> &[(usize, f64)] {
        &self.edges[image]
    }

    /// Weights over the square roots of both ends' sums: `D^-1/2 W D^-1/2`, whose eigenvalues lie in [-1, 1].
    pub(super) fn normalized(&self) -> Self {
        let degree = |row: &Vec<(usize, f64)>| row.iter().map(|(_, weight)| weight).sum::<f64>();
        let roots: Vec<f64> = self.edges.iter().map(|row| degree(row).sqrt()).collect();
        let of = |(i, row): (usize, &Vec<(usize, f64)>)| {
            let scaled = |(j, weight): &(usize, f64)| {
                let norm = roots[i] * roots[*j];
                (*j, if norm > 0.0 { weight / norm } else { 0.0 })
            };
            row.iter().map(scaled).collect()
        };
        Self {
            edges: self.edges.iter().enumerate().map(of).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn neighbours_on_a_line_by_hand() {
        let features = Features::new(vec![0.0, 1.0, 3.0, 7.0], 1).unwrap();
        let graph = NeighborGraph::new(&features, 1).unwrap();
        // Squared distances to the nearest: 1, 1, 4, 16; their mean is 5.5.
        let weight = |square: f64| (-square / 5.5).exp();
        assert_eq!(graph.neighbors(0), [(1, weight(1.0))]);
        assert_eq!(graph.neighbors(1), [(0, weight(1.0)), (2, weight(4.0))]);
        assert_eq!(graph.neighbors(2), [(1, weight(4.0)), (3, weight(16.0))]);
        let normal = graph.normalized();
        let (a, b) = (weight(1.0), weight(1.0) + weight(4.0));
        assert!((normal.neighbors(0)[0].1 - weight(1.0) / (a * b).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn equal_images_and_too_many_neighbours_are_no_trouble() {
        let features = Features::new(vec![2.0; 6], 2).unwrap();
        let graph = NeighborGraph::new(&features, 10).unwrap();
        assert_eq!(graph.neighbors(0), [(1, 1.0), (2, 1.0)]);
        assert!(NeighborGraph::new(&features, 0).is_err());
        assert!(NeighborGraph::new(&features.select(&[0]), 3).is_err());
    }
}
