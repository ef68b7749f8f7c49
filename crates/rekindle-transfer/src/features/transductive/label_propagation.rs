//! Labels that flow along the edges of a neighbour graph.

use super::graph::NeighborGraph;
use crate::TransferError;
use crate::features::table::check_dim;

/// Label propagation with local and global consistency (Zhou et al. 2004, "Learning with Local and Global
/// Consistency"): the scores are `F = (1 - alpha) (I - alpha S)^-1 Y` with `S = D^-1/2 W D^-1/2` of the graph,
/// the fixed point of `F <- alpha S F + (1 - alpha) Y`.
///
/// `Y` holds what is known beforehand: one-hot rows for labelled images, a classifier's probabilities for
/// others, zeros for those that nothing is known of. `alpha` near 0 keeps `Y`, near 1 lets the graph decide.
/// It hurts where neighbours are of different classes, as between domains that lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelPropagation {
    /// Share of the neighbours in an image's score, at least 0 and below 1.
    pub alpha: f64,
}

impl Default for LabelPropagation {
    fn default() -> Self {
        Self { alpha: 0.9 }
    }
}

impl LabelPropagation {
    /// Scores `[n, classes]` from `known` `[n, classes]`, neither normalised. An image that no labelled one can
    /// reach has zeros.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where `known` doesn't fit the graph, [`TransferError::Degenerate`] for an
    /// alpha out of its range, values that are not finite, or nothing known at all.
    pub fn propagate(
        &self,
        graph: &NeighborGraph,
        known: &[f64],
        classes: usize,
    ) -> Result<Vec<f64>, TransferError> {
        let degenerate = |reason: String| {
            Err(TransferError::Degenerate {
                method: "label propagation",
                reason,
            })
        };
        check_dim("known labels", known.len(), graph.len() * classes)?;
        if !(0.0..1.0).contains(&self.alpha) {
            return degenerate(format!("alpha {}; it is in [0, 1)", self.alpha));
        }
        if known.iter().any(|v| !v.is_finite()) || known.iter().all(|v| *v == 0.0) {
            return degenerate("nothing is known of any image, or not in finite numbers".into());
        }
        let smooth = graph.normalized();
        let mut scores = vec![0.0; known.len()];
        for class in 0..classes {
            let column: Vec<f64> = known.iter().skip(class).step_by(classes).copied().collect();
            let solution = self.solve(&smooth, &column);
            for (score, value) in scores.iter_mut().skip(class).step_by(classes).zip(solution) {
                *score = (1.0 - self.alpha) * value;
            }
        }
        Ok(scores)
    }

    /// `(I - alpha S) f = y` by conjugate gradients; the matrix is positive definite with a condition of at
    /// most `(1 + alpha) / (1 - alpha)`.
    fn solve(&self, smooth: &NeighborGraph, y: &[f64]) -> Vec<f64> {
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let apply = |v: &[f64]| -> Vec<f64> {
            let row = |i: usize| {
                let edges = smooth.neighbors(i).iter();
                v[i] - self.alpha * edges.map(|(j, weight)| weight * v[*j]).sum::<f64>()
            };
            (0..v.len()).map(row).collect()
        };
        let mut solution = vec![0.0; y.len()];
        let mut residual = y.to_vec();
        let mut direction = residual.clone();
        let mut square = product(&residual, &residual);
        let goal = 1e-20 * square;
        for _ in 0..10_000 {
            if square <= goal {
                break;
            }
            let image = apply(&direction);
            let step = square / product(&direction, &image);
            for i in 0..y.len() {
                solution[i] += step * direction[i];
                residual[i] -= step * image[i];
            }
            let next = product(&residual, &residual);
            for (direction, residual) in direction.iter_mut().zip(&residual) {
                *direction = residual + next / square * *direction;
            }
            square = next;
        }
        solution
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::table::{Features, argmax_rows};

    fn two_moons() -> (Features, Vec<usize>) {
        let mut values = Vec::new();
        for i in 0..40 {
            let angle = f64::from(i) * std::f64::consts::PI / 39.0;
            let (x, y) = (angle.cos(), angle.sin());
            values.extend([x as f32, y as f32, (1.0 - x) as f32, (0.35 - y) as f32]);
        }
        (
            Features::new(values, 2).unwrap(),
            (0..80).map(|i| i % 2).collect(),
        )
    }

    #[test]
    fn one_label_in_each_of_two_moons_is_enough() {
        let (features, labels) = two_moons();
        let graph = NeighborGraph::new(&features, 3).unwrap();
        let mut known = vec![0.0; 160];
        known[2 * 20] = 1.0;
        known[2 * 41 + 1] = 1.0;
        let method = LabelPropagation { alpha: 0.99 };
        let scores = method.propagate(&graph, &known, 2).unwrap();
        assert_eq!(argmax_rows(&scores, 2), labels);
    }

    #[test]
    fn the_scores_are_the_fixed_point_of_the_iteration() {
        let (features, _) = two_moons();
        let graph = NeighborGraph::new(&features, 4).unwrap();
        let known: Vec<f64> = (0..160).map(|i| f64::from(i % 7) / 7.0).collect();
        let alpha = 0.8;
        let found = LabelPropagation { alpha }
            .propagate(&graph, &known, 2)
            .unwrap();
        let smooth = graph.normalized();
        let mut expected = known.clone();
        for _ in 0..300 {
            let next = |at: usize| {
                let edges = smooth.neighbors(at / 2).iter();
                let sum: f64 = edges.map(|(j, w)| w * expected[2 * j + at % 2]).sum();
                alpha * sum + (1.0 - alpha) * known[at]
            };
            expected = (0..160).map(next).collect();
        }
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-8);
        }
    }

    #[test]
    fn alpha_zero_keeps_what_is_known_and_degenerate_input_is_an_error() {
        let (features, _) = two_moons();
        let graph = NeighborGraph::new(&features, 4).unwrap();
        let known: Vec<f64> = (0..160).map(|i| f64::from(i % 5)).collect();
        let found = LabelPropagation { alpha: 0.0 }
            .propagate(&graph, &known, 2)
            .unwrap();
        assert_eq!(found, known);
        let propagate = |alpha, known: &[f64]| {
            LabelPropagation { alpha }
                .propagate(&graph, known, 2)
                .is_err()
        };
        assert!(propagate(1.0, &known) && propagate(f64::NAN, &known));
        assert!(propagate(0.5, &known[..100]) && propagate(0.5, &[0.0; 160]));
    }

    #[test]
    fn an_image_out_of_reach_has_zeros() {
        let features = Features::new(vec![0.0, 0.1, 100.0, 100.1], 1).unwrap();
        let graph = NeighborGraph::new(&features, 1).unwrap();
        let mut known = vec![0.0; 8];
        known[0] = 1.0;
        let found = LabelPropagation::default()
            .propagate(&graph, &known, 2)
            .unwrap();
        assert!(found[2] > 0.0);
        assert_eq!(found[4..], [0.0; 4]);
    }
}
