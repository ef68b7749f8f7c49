//! Images that are like no other.

use super::nearest::Neighbor;

/// Computes how far each image is from those that are most like it: 1 minus the mean cosine of its `neighbors` nearest, 0 to
/// 2, the higher the stranger (Kuan and Mueller 2022, "Back to the Basics: Revisiting Out-of-Distribution Detection
/// Baselines"). `nearest` are neighbours of each image among all ([`nearest_neighbors`](super::nearest_neighbors)), one
/// more than are to count, since the image itself is among them; of fewer, all count, and an image without any is at 0.
pub fn outlier_scores(nearest: &[Vec<Neighbor>], neighbors: usize) -> Vec<f64> {
    let score = |(own, found): (usize, &Vec<Neighbor>)| {
        // Where many are equal, the image itself may not be among them.
        let others = found
            .iter()
            .filter(|other| other.index != own)
            .take(neighbors);
        let others: Vec<f64> = others.map(|other| f64::from(other.similarity)).collect();
        match others.len() {
            0 => 0.0,
            count => (1.0 - others.iter().sum::<f64>() / count as f64).max(0.0),
        }
    };
    nearest.iter().enumerate().map(score).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::{Features, nearest_neighbors};

    #[test]
    fn what_points_elsewhere_is_strange() {
        let values = vec![1.0, 0.0, 1.0, 0.1, 1.0, -0.1, -0.2, 1.0];
        let features = Features::new(values, 2).unwrap();
        let scores = outlier_scores(&nearest_neighbors(&features, &features, 3).unwrap(), 2);
        assert!(
            scores[3] > 0.9 && scores[..3].iter().all(|score| *score < 0.02),
            "{scores:?}"
        );
        let one = Features::new(vec![1.0, 2.0], 2).unwrap();
        assert_eq!(
            outlier_scores(&nearest_neighbors(&one, &one, 6).unwrap(), 5),
            [0.0]
        );
    }
}
