//! Images as convex mixtures of the classes that a classifier knows.

use crate::TransferError;
use crate::features::table::{Features, argmax_rows, check_dim, dot};

const METHOD: &str = "ConSE";

/// Convex combination of semantic embeddings (Norouzi et al. 2014, "Zero-Shot Learning by Convex Combination of
/// Semantic Embeddings"): the signatures of the `top` most probable known classes, weighted by their
/// probabilities, are the image's signature, and the candidate of the largest cosine with it wins.
///
/// Nothing is learnt: any classifier will do whose classes have signatures. It hurts where the new classes lie
/// outside of what mixtures of known ones can be, and a classifier that is too sure of one class hides the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conse {
    /// Number of classes that are mixed, at least 1.
    pub top: usize,
}

impl Default for Conse {
    fn default() -> Self {
        Self { top: 10 }
    }
}

impl Conse {
    /// Signatures `[n, attributes]` of images from probabilities `[n, known]` and the known classes' signatures
    /// `[known, attributes]`. An image whose probabilities are all 0 has zeros.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for no class to mix
    /// or probabilities that are negative or not finite.
    pub fn embed(
        &self,
        probabilities: &[f64],
        known: &Features,
    ) -> Result<Features, TransferError> {
        let degenerate = |reason: String| {
            Err(TransferError::Degenerate {
                method: METHOD,
                reason,
            })
        };
        if self.top == 0 || known.is_empty() {
            return degenerate(format!(
                "top {} of {} classes; at least 1",
                self.top,
                known.len()
            ));
        }
        if !probabilities.len().is_multiple_of(known.len()) {
            check_dim("probabilities", probabilities.len(), known.len())?;
        }
        if let Some(p) = probabilities
            .iter()
            .find(|p| !(p.is_finite() && **p >= 0.0))
        {
            return degenerate(format!("probability {p}; they are finite and at least 0"));
        }
        let mut values = Vec::new();
        for row in probabilities.chunks_exact(known.len()) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            order.truncate(self.top);
            let total: f64 = order.iter().map(|class| row[*class]).sum();
            let mut sum = vec![0.0f64; known.dim()];
            if total > 0.0 {
                for class in order {
                    let share = row[class] / total;
                    let pairs = sum.iter_mut().zip(known.row(class));
                    pairs.for_each(|(sum, value)| *sum += share * f64::from(*value));
                }
            }
            values.extend(sum.into_iter().map(|v| v as f32));
        }
        Features::new(values, known.dim())
    }

    /// Cosines `[n, candidates]` of the images' signatures with the candidates' `[candidates, attributes]`.
    ///
    /// # Errors
    ///
    /// As [`embed`](Self::embed).
    pub fn scores(
        &self,
        probabilities: &[f64],
        known: &Features,
        candidates: &Features,
    ) -> Result<Vec<f64>, TransferError> {
        check_dim("signatures of candidates", candidates.dim(), known.dim())?;
        let images = self.embed(probabilities, known)?.l2_normalized();
        let candidates = candidates.l2_normalized();
        let row = |image: &[f32]| {
            candidates
                .rows()
                .map(|c| dot(image, c))
                .collect::<Vec<f64>>()
        };
        Ok(images.rows().flat_map(row).collect())
    }

    /// Returns the candidate of the largest cosine, for each image.
    ///
    /// # Errors
    ///
    /// As [`embed`](Self::embed).
    pub fn predict(
        &self,
        probabilities: &[f64],
        known: &Features,
        candidates: &Features,
    ) -> Result<Vec<usize>, TransferError> {
        let scores = self.scores(probabilities, known, candidates)?;
        Ok(argmax_rows(&scores, candidates.len()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mixture_by_hand() {
        let known = Features::new(vec![1.0, 0.0, 0.0, 1.0, -1.0, -1.0], 2).unwrap();
        let found = Conse { top: 2 }.embed(&[0.6, 0.3, 0.1], &known).unwrap();
        assert!((found.values()[0] - 2.0 / 3.0).abs() < 1e-6);
        assert!((found.values()[1] - 1.0 / 3.0).abs() < 1e-6);
        let candidates = Features::new(vec![0.0, 5.0, 2.0, 1.0], 2).unwrap();
        let scores = Conse { top: 2 }
            .scores(&[0.6, 0.3, 0.1], &known, &candidates)
            .unwrap();
        assert!((scores[1] - 1.0).abs() < 1e-6 && (scores[0] - 1.0 / 5f64.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn degenerate_input_is_an_error_and_no_probability_gives_zeros() {
        let known = Features::new(vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
        let conse = Conse::default();
        assert_eq!(conse.predict(&[0.0, 0.0], &known, &known).unwrap(), [0]);
        assert!(conse.embed(&[0.5, 0.5, 0.1], &known).is_err());
        assert!(conse.embed(&[f64::NAN, 0.5], &known).is_err());
        assert!(Conse { top: 0 }.embed(&[0.5, 0.5], &known).is_err());
    }
}
