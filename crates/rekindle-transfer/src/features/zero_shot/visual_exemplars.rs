//! Predicts where the images of a class should lie, from its signature.

use faer::Mat;
use rayon::prelude::*;

use super::eszsl::seen_classes;
use super::evaluation::mean_class_accuracy;
use crate::TransferError;
use crate::error::degenerate;
use crate::features::linalg::{features, matrix, solve_positive_definite};
use crate::features::table::{Features, argmax_rows, check_dim, dot};

const METHOD: &str = "visual exemplars";

/// Predicting visual exemplars (EXEM; Changpinyo, Chao and Sha 2017, "Predicting Visual Exemplars of Unseen Classes for
/// Zero-Shot Learning"), with kernel ridge regression in place of support vectors: a regression from signatures to
/// the mean features of the seen classes predicts the mean of any class, and an image belongs to the class whose
/// predicted mean has the largest cosine with it, both seen from the mean of the seen images.
///
/// `M = (t - s) (s - s)' (K + p tr(K) / c I)^-1 (m - m)` with `K = (s - s) (s - s)'` for signatures `s`
/// `[c, attributes]` less their mean, class means `m` `[c, dim]` less the mean image, and new signatures `t`.
///
/// Nearest neighbours are looked for among images, where they are many, and not among signatures, where a few would be
/// nearest to everything. It hurts where classes look alike whose signatures differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VisualExemplars {
    /// `p`, above 0, in units of the mean squared length of a centred signature.
    pub penalty: f64,
}

impl Default for VisualExemplars {
    fn default() -> Self {
        Self { penalty: 0.1 }
    }
}

/// The regression that was learnt.
#[derive(Clone, Debug)]
pub struct ExemplarMap {
    /// Mean signature of the seen classes `[attributes]`.
    signature_mean: Vec<f64>,
    /// Mean of the seen images `[dim]`.
    image_mean: Vec<f64>,
    /// `[attributes, dim]`.
    map: Mat<f64>,
}

impl VisualExemplars {
    /// Learns from images of seen classes; `labels` are rows of `signatures` `[classes, attributes]`. Rows that no
    /// label names are unseen and take no part.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for a penalty that is not
    /// above 0, a label without a signature, fewer than two seen classes, or signatures that are all alike.
    pub fn fit(
        &self,
        features: &Features,
        labels: &[usize],
        signatures: &Features,
    ) -> Result<ExemplarMap, TransferError> {
        check_dim("labels", labels.len(), features.len())?;
        if !(self.penalty.is_finite() && self.penalty > 0.0) {
            return degenerate(METHOD, format!("penalty {}; it is above 0", self.penalty));
        }
        let seen = seen_classes(labels);
        if let Some(label) = seen.last().filter(|label| **label >= signatures.len()) {
            return degenerate(
                METHOD,
                format!("label {label} with {} signatures", signatures.len()),
            );
        }
        if seen.len() < 2 {
            return degenerate(
                METHOD,
                format!("{} seen class(es); at least two", seen.len()),
            );
        }
        let signature_mean = signatures.select(&seen).mean();
        let s = matrix(&signatures.select(&seen).centered(&signature_mean)?);
        let image_mean = features.mean();
        let means = class_means(features, labels, &seen, &image_mean);
        let gram = &s * s.transpose();
        let unit: f64 = (0..seen.len()).map(|i| gram[(i, i)]).sum::<f64>() / seen.len() as f64;
        if unit == 0.0 {
            return degenerate(
                METHOD,
                "the seen classes have the same signature; check the table".into(),
            );
        }
        let gram = Mat::from_fn(seen.len(), seen.len(), |i, j| {
            gram[(i, j)] + if i == j { self.penalty * unit } else { 0.0 }
        });
        let weights = solve_positive_definite(METHOD, gram.as_ref(), means.as_ref())?;
        Ok(ExemplarMap {
            signature_mean,
            image_mean,
            map: s.transpose() * weights,
        })
    }

    /// Chooses the one among `penalties` that does best on left-out seen classes: these are split into `folds` parts
    /// (class `i` of the seen ones into part `i` modulo `folds`), each part in turn plays the unseen classes, and the
    /// mean class accuracy is averaged.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit), and [`TransferError::Degenerate`] for no penalty, or fewer than four seen classes or two
    /// folds.
    pub fn choose(
        features: &Features,
        labels: &[usize],
        signatures: &Features,
        penalties: &[f64],
        folds: usize,
    ) -> Result<Self, TransferError> {
        check_dim("labels", labels.len(), features.len())?;
        let seen = seen_classes(labels);
        let folds = folds.min(seen.len() / 2);
        if penalties.is_empty() || folds < 2 {
            return degenerate(
                METHOD,
                format!(
                    "{} penalties, {} seen classes in {folds} parts; at least 1, 4 and 2 are needed",
                    penalties.len(),
                    seen.len()
                ),
            );
        }
        let score = |penalty: &f64| -> Result<f64, TransferError> {
            let mut sum = 0.0;
            for fold in 0..folds {
                let left_out: Vec<usize> = seen.iter().copied().skip(fold).step_by(folds).collect();
                let (test, train): (Vec<usize>, Vec<usize>) =
                    (0..labels.len()).partition(|row| left_out.contains(&labels[*row]));
                let of = |rows: &[usize]| rows.iter().map(|row| labels[*row]).collect::<Vec<_>>();
                let map = Self { penalty: *penalty }.fit(
                    &features.select(&train),
                    &of(&train),
                    signatures,
                )?;
                let found = map.predict(&features.select(&test), &signatures.select(&left_out))?;
                let found: Vec<usize> = found.into_iter().map(|at| left_out[at]).collect();
                sum += mean_class_accuracy(&found, &of(&test))?;
            }
            Ok(sum)
        };
        let scores: Vec<f64> = penalties.par_iter().map(score).collect::<Result<_, _>>()?;
        Ok(Self {
            penalty: penalties[argmax_rows(&scores, scores.len())[0]],
        })
    }
}

impl ExemplarMap {
    /// Returns the predicted mean features `[candidates, dim]` of classes with these signatures, less the mean of the
    /// seen images.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for signatures of another length.
    pub fn exemplars(&self, candidates: &Features) -> Result<Features, TransferError> {
        let centred = matrix(&candidates.centered(&self.signature_mean)?);
        features((centred * &self.map).as_ref())
    }

    /// Computes the cosine of each image with each candidate's predicted mean, `[n, candidates]`, in [-1, 1]; 0 for a
    /// candidate that is predicted to be the mean image.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features or signatures of another length.
    pub fn scores(
        &self,
        features: &Features,
        candidates: &Features,
    ) -> Result<Vec<f64>, TransferError> {
        let images = features.centered(&self.image_mean)?.l2_normalized();
        let exemplars = self.exemplars(candidates)?.l2_normalized();
        let of = |image| exemplars.rows().map(move |exemplar| dot(image, exemplar));
        Ok(images.rows().flat_map(of).collect())
    }

    /// Returns the candidate with the largest score, for each image.
    ///
    /// # Errors
    ///
    /// As [`scores`](Self::scores).
    pub fn predict(
        &self,
        features: &Features,
        candidates: &Features,
    ) -> Result<Vec<usize>, TransferError> {
        Ok(argmax_rows(
            &self.scores(features, candidates)?,
            candidates.len(),
        ))
    }
}

/// `[seen, dim]`, less the mean image.
fn class_means(features: &Features, labels: &[usize], seen: &[usize], mean: &[f64]) -> Mat<f64> {
    let mut sums: Mat<f64> = Mat::zeros(seen.len(), features.dim());
    let mut counts = vec![0.0; seen.len()];
    for (row, label) in features.rows().zip(labels) {
        if let Ok(class) = seen.binary_search(label) {
            counts[class] += 1.0;
            for (j, (value, mean)) in row.iter().zip(mean).enumerate() {
                sums[(class, j)] += f64::from(*value) - mean;
            }
        }
    }
    Mat::from_fn(seen.len(), features.dim(), |i, j| sums[(i, j)] / counts[i])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::eszsl::tests::example;
    use super::*;

    #[test]
    fn exemplars_and_scores_of_numpy() {
        let (features, labels, signatures) = example();
        let map = VisualExemplars { penalty: 0.3 }
            .fit(&features, &labels, &signatures)
            .unwrap();
        let new = Features::new(vec![0.2, -0.1, 0.4], 3).unwrap();
        let found = map.exemplars(&new).unwrap();
        for (found, expected) in found.values().iter().zip(EXEMPLAR) {
            assert!((found - expected).abs() < 2e-7, "{found} {expected}");
        }
        let found = map.scores(&features.select(&[0, 5]), &signatures).unwrap();
        for (found, expected) in found.iter().zip(SCORES) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn a_class_that_no_image_showed_is_found_where_signatures_make_images() {
        // Eight classes at the corners of a cube; images are a rotated, noisy copy of the signature.
        let corner = |c: usize| [c & 1, c >> 1 & 1, c >> 2].map(|v| v as f32 - 0.5);
        let signatures = Features::new((0..8).flat_map(corner).collect(), 3).unwrap();
        let labels: Vec<usize> = (0..64).map(|i| i % 8).collect();
        let values = labels.iter().enumerate().flat_map(|(i, label)| {
            let [a, b, c] = corner(*label);
            let noise = move |m: usize| ((i * 37 + m * 11) as f32).sin() * 0.15;
            let image = [a + b, a - b, 2.0 * c, 0.0];
            (0..4).map(move |m| image[m] + noise(m))
        });
        let features = Features::new(values.collect(), 4).unwrap();
        let (unseen, seen): (Vec<usize>, Vec<usize>) = (0..64).partition(|row| labels[*row] >= 6);
        let of = |rows: &[usize]| rows.iter().map(|row| labels[*row]).collect::<Vec<_>>();
        let x = features.select(&seen);
        let chosen =
            VisualExemplars::choose(&x, &of(&seen), &signatures, &[0.01, 0.1, 1.0], 3).unwrap();
        let map = chosen.fit(&x, &of(&seen), &signatures).unwrap();
        let found = map.predict(&features.select(&unseen), &signatures).unwrap();
        assert_eq!(found, of(&unseen));
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let (features, labels, signatures) = example();
        let method = VisualExemplars::default();
        assert!(method.fit(&features, &[0; 6], &signatures).is_err());
        assert!(method.fit(&features, &labels[1..], &signatures).is_err());
        assert!(
            method
                .fit(&features, &[0, 0, 1, 1, 9, 9], &signatures)
                .is_err()
        );
        let zero = VisualExemplars { penalty: 0.0 };
        assert!(zero.fit(&features, &labels, &signatures).is_err());
        let same = Features::new(vec![1.0; 9], 3).unwrap();
        assert!(method.fit(&features, &labels, &same).is_err());
        assert!(VisualExemplars::choose(&features, &labels, &signatures, &[], 2).is_err());
        // Images that are all alike leave nothing to compare, and no NaN.
        let alike = Features::new(vec![1.0; 24], 4).unwrap();
        let map = method.fit(&alike, &labels, &signatures).unwrap();
        assert!(
            map.scores(&alike, &signatures)
                .unwrap()
                .iter()
                .all(|s| *s == 0.0)
        );
    }

    /// Computed with NumPy in double precision from the formula.
    const EXEMPLAR: [f32; 4] = [0.0013811, 0.0020786, 0.0017986, 0.0006726];
    const SCORES: [f64; 6] = [
        -0.804421, 0.7441989, 0.5982403, 0.5568436, 0.7011271, -0.7732672,
    ];
}
