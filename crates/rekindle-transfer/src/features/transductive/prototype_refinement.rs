//! Class centroids of the target, found through the source classifier's guesses.

use crate::TransferError;
use crate::features::table::{Features, argmax_rows, check_dim, dot};

/// The source classifier's probabilities weight the target's features into class centroids; each image then
/// belongs to the centroid of the largest cosine, and the centroids are made anew of these images (the
/// pseudo-labelling of SHOT; Liang et al. 2020, "Do We Really Need to Access the Source Data?"):
/// `c_k = sum_i p_ik x_i`, then `y_i = argmax_k cos(x_i, c_k)`, `p_ik = [y_i = k]`, and again.
///
/// It needs no source image. One step helps nearly always where the classifier is above chance on the target;
/// many steps hurt where the target's classes are no compact clusters, and a class that the classifier mixes
/// up with another as a whole stays mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrototypeRefinement {
    /// Number of times that centroids are made, at least 1.
    pub steps: usize,
}

impl Default for PrototypeRefinement {
    fn default() -> Self {
        Self { steps: 1 }
    }
}

/// Centroids of the target's classes and what they say of its images.
#[derive(Clone, Debug, PartialEq)]
pub struct RefinedPrototypes {
    /// `[classes, dim]`, of length 1; zeros for a class that nothing spoke for.
    pub centroids: Features,
    /// Cosine of each target image to each centroid, `[n, classes]`.
    pub cosines: Vec<f64>,
    /// The nearest centroid of each image.
    pub labels: Vec<usize>,
}

impl PrototypeRefinement {
    /// Refines `probabilities` `[n, classes]` on the target's features `[n, dim]`.
    ///
    /// A class that loses all its images keeps the centroid it had.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for no step, no
    /// target image, fewer than two classes, or probabilities that are negative or not finite.
    pub fn refine(
        &self,
        probabilities: &[f64],
        classes: usize,
        target: &Features,
    ) -> Result<RefinedPrototypes, TransferError> {
        self.check(probabilities, classes, target)?;
        let mut shares = probabilities.to_vec();
        let mut centroids = vec![0.0f64; classes * target.dim()];
        let mut cosines = Vec::new();
        let mut labels = Vec::new();
        let units = target.l2_normalized();
        for _ in 0..self.steps {
            update(&mut centroids, &shares, classes, target);
            cosines = products(&units, &centroids);
            labels = argmax_rows(&cosines, classes);
            shares.fill(0.0);
            for (row, label) in labels.iter().enumerate() {
                shares[row * classes + label] = 1.0;
            }
        }
        let centroids = centroids.into_iter().map(|v| v as f32).collect();
        Ok(RefinedPrototypes {
            centroids: Features::new(centroids, target.dim())?,
            cosines,
            labels,
        })
    }

    fn check(
        &self,
        probabilities: &[f64],
        classes: usize,
        target: &Features,
    ) -> Result<(), TransferError> {
        let degenerate = |reason: String| {
            Err(TransferError::Degenerate {
                method: "prototype refinement",
                reason,
            })
        };
        if self.steps == 0 || classes < 2 || target.is_empty() {
            return degenerate(format!(
                "{} steps, {classes} classes, {} target images; at least 1, 2 and 1 are needed",
                self.steps,
                target.len()
            ));
        }
        check_dim("probabilities", probabilities.len(), target.len() * classes)?;
        match probabilities
            .iter()
            .find(|p| !(p.is_finite() && **p >= 0.0))
        {
            Some(p) => degenerate(format!("probability {p}; they are finite and at least 0")),
            None => Ok(()),
        }
    }
}

/// New centroids of length 1 by the images' shares in the classes.
fn update(centroids: &mut [f64], shares: &[f64], classes: usize, target: &Features) {
    let dim = target.dim();
    let mut sums = vec![0.0f64; classes * dim];
    for (row, shares) in target.rows().zip(shares.chunks_exact(classes)) {
        for (sum, share) in sums.chunks_exact_mut(dim).zip(shares) {
            if *share > 0.0 {
                let pairs = sum.iter_mut().zip(row);
                pairs.for_each(|(sum, value)| *sum += share * f64::from(*value));
            }
        }
    }
    for (centroid, sum) in centroids.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)) {
        let norm = sum.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 0.0 {
            let pairs = centroid.iter_mut().zip(sum);
            pairs.for_each(|(centroid, sum)| *centroid = sum / norm);
        }
    }
}

fn products(rows: &Features, centroids: &[f64]) -> Vec<f64> {
    let centroids: Vec<f32> = centroids.iter().map(|v| *v as f32).collect();
    let of = |row: &[f32]| -> Vec<f64> {
        let centroids = centroids.chunks_exact(rows.dim());
        centroids.map(|centroid| dot(row, centroid)).collect()
    };
    rows.rows().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Two clusters along the axes; the classifier is sure of one image of each and wrong on two others.
    fn clusters() -> (Features, Vec<f64>) {
        let values = vec![1.0, 0.1, 2.0, 0.0, 1.0, 0.2, 0.1, 1.0, 0.0, 3.0, 0.3, 1.0];
        let sure = vec![
            0.9, 0.1, 0.45, 0.55, 0.6, 0.4, 0.1, 0.9, 0.52, 0.48, 0.4, 0.6,
        ];
        (Features::new(values, 2).unwrap(), sure)
    }

    #[test]
    fn wrong_guesses_near_the_right_centroid_are_put_right() {
        let (target, probabilities) = clusters();
        for steps in [1, 5] {
            let found = PrototypeRefinement { steps }
                .refine(&probabilities, 2, &target)
                .unwrap();
            assert_eq!(found.labels, [0, 0, 0, 1, 1, 1]);
        }
        let one = PrototypeRefinement::default()
            .refine(&probabilities, 2, &target)
            .unwrap();
        let naive: Vec<f64> = (0..2)
            .map(|j| {
                let of = |i: usize| probabilities[2 * i] * f64::from(target.row(i)[j]);
                (0..6).map(of).sum()
            })
            .collect();
        let norm = (naive[0] * naive[0] + naive[1] * naive[1]).sqrt();
        for (found, naive) in one.centroids.row(0).iter().zip(&naive) {
            assert!((f64::from(*found) - naive / norm).abs() < 1e-6);
        }
    }

    #[test]
    fn a_class_without_any_image_has_no_part_in_it() {
        let (target, _) = clusters();
        let probabilities = [0.5, 0.5, 0.0].repeat(6);
        let found = PrototypeRefinement { steps: 3 }
            .refine(&probabilities, 3, &target)
            .unwrap();
        assert!(found.centroids.row(2).iter().all(|v| *v == 0.0));
        assert!(found.cosines.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let (target, p) = clusters();
        let refine = |p: &[f64], classes| {
            PrototypeRefinement::default()
                .refine(p, classes, &target)
                .is_err()
        };
        assert!(refine(&p[..10], 2) && refine(&p[..6], 1) && refine(&[f64::NAN; 12], 2));
        assert!(
            PrototypeRefinement { steps: 0 }
                .refine(&p, 2, &target)
                .is_err()
        );
        let none = Features::new(Vec::new(), 2).unwrap();
        assert!(
            PrototypeRefinement::default()
                .refine(&[], 2, &none)
                .is_err()
        );
    }
}
