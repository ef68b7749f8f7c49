//! A bilinear map from images to class signatures in closed form.

use faer::Mat;
use rayon::prelude::*;

use super::evaluation::mean_class_accuracy;
use crate::TransferError;
use crate::error::degenerate;
use crate::features::linalg::{matrix, solve_positive_definite};
use crate::features::table::{Features, argmax_rows, check_dim};

const METHOD: &str = "ESZSL";

/// Embarrassingly simple zero-shot learning (Romera-Paredes and Torr 2015): `V = (X'X + g I)^-1 X' Y S
/// (S'S + l I)^-1` for features `X` `[n, dim]`, labels `Y` `[n, seen]` of 1 and -1, and signatures `S`
/// `[seen, attributes]`; an image belongs to the class that maximises `x V s`.
///
/// Signatures of length 1 work best, and features with the seen images' mean taken off. Both regularisers matter
/// much; [`choose`](Self::choose) takes them by leaving out seen classes. In the generalised setting seen classes
/// win nearly always.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eszsl {
    /// `g`, above 0, in units of squared feature length.
    pub feature_penalty: f64,
    /// `l`, above 0, in units of squared signature length.
    pub signature_penalty: f64,
}

impl Default for Eszsl {
    fn default() -> Self {
        Self {
            feature_penalty: 1.0,
            signature_penalty: 1.0,
        }
    }
}

/// The map that was learnt.
#[derive(Clone, Debug)]
pub struct EszslMap {
    /// `[dim, attributes]`.
    map: Mat<f64>,
}

impl Eszsl {
    /// Learns from images of seen classes; `labels` are rows of `signatures` `[classes, attributes]`. Rows that
    /// no label names are unseen and take no part.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for penalties that
    /// are not above 0, a label without a signature, or fewer than two seen classes.
    pub fn fit(
        &self,
        features: &Features,
        labels: &[usize],
        signatures: &Features,
    ) -> Result<EszslMap, TransferError> {
        check_dim("labels", labels.len(), features.len())?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.feature_penalty) || !positive(self.signature_penalty) {
            return degenerate(
                METHOD,
                format!(
                    "penalties {} and {}; both are above 0",
                    self.feature_penalty, self.signature_penalty
                ),
            );
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
        let x = matrix(features);
        let s = matrix(&signatures.select(&seen));
        let y = Mat::from_fn(features.len(), seen.len(), |i, j| {
            if labels[i] == seen[j] { 1.0 } else { -1.0 }
        });
        let ys = &y * &s;
        let penalty = self.feature_penalty;
        let plus = |gram: &Mat<f64>, penalty: f64| {
            Mat::from_fn(gram.nrows(), gram.nrows(), |i, j| {
                gram[(i, j)] + if i == j { penalty } else { 0.0 }
            })
        };
        // With fewer images than dimensions, (X'X + g)^-1 X' = X' (XX' + g)^-1 is the smaller problem.
        let left = if features.len() < features.dim() {
            let gram = plus(&(&x * x.transpose()), penalty);
            x.transpose() * solve_positive_definite(METHOD, gram.as_ref(), ys.as_ref())?
        } else {
            let gram = plus(&(x.transpose() * &x), penalty);
            solve_positive_definite(METHOD, gram.as_ref(), (x.transpose() * &ys).as_ref())?
        };
        let gram = plus(&(s.transpose() * &s), self.signature_penalty);
        let right = solve_positive_definite(METHOD, gram.as_ref(), left.transpose())?;
        Ok(EszslMap {
            map: right.transpose().to_owned(),
        })
    }

    /// Chooses the penalties among `powers` of ten that do best on left-out seen classes: these are split into
    /// `folds` parts (class `i` of the seen ones into part `i` modulo `folds`), each part in turn plays the unseen
    /// classes, and the mean class accuracy is averaged.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit), and [`TransferError::Degenerate`] for no power, or fewer than four seen classes or
    /// two folds.
    pub fn choose(
        features: &Features,
        labels: &[usize],
        signatures: &Features,
        powers: &[i32],
        folds: usize,
    ) -> Result<Self, TransferError> {
        check_dim("labels", labels.len(), features.len())?;
        let seen = seen_classes(labels);
        let folds = folds.min(seen.len() / 2);
        if powers.is_empty() || folds < 2 {
            return degenerate(
                METHOD,
                format!(
                    "{} powers, {} seen classes in {folds} parts; at least 1, 4 and 2 are needed",
                    powers.len(),
                    seen.len()
                ),
            );
        }
        let candidates: Vec<Self> = powers
            .iter()
            .flat_map(|a| powers.iter().map(move |b| (a, b)))
            .map(|(a, b)| Self {
                feature_penalty: 10f64.powi(*a),
                signature_penalty: 10f64.powi(*b),
            })
            .collect();
        let score = |candidate: &Self| -> Result<f64, TransferError> {
            let mut sum = 0.0;
            for fold in 0..folds {
                let part = seen.iter().copied().skip(fold).step_by(folds);
                let left_out: Vec<usize> = part.collect();
                let (test, train): (Vec<usize>, Vec<usize>) =
                    (0..labels.len()).partition(|row| left_out.contains(&labels[*row]));
                let of = |rows: &[usize]| rows.iter().map(|row| labels[*row]).collect::<Vec<_>>();
                let map = candidate.fit(&features.select(&train), &of(&train), signatures)?;
                let found = map.predict(&features.select(&test), &signatures.select(&left_out))?;
                let found: Vec<usize> = found.into_iter().map(|at| left_out[at]).collect();
                sum += mean_class_accuracy(&found, &of(&test))?;
            }
            Ok(sum)
        };
        let scores: Vec<f64> = candidates.par_iter().map(score).collect::<Result<_, _>>()?;
        let best = argmax_rows(&scores, scores.len())[0];
        Ok(candidates[best])
    }
}

impl EszslMap {
    /// Computes `x V s` of each image with each of the candidates' signatures, `[n, candidates]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features or signatures of another length.
    pub fn scores(
        &self,
        features: &Features,
        candidates: &Features,
    ) -> Result<Vec<f64>, TransferError> {
        check_dim("features", features.dim(), self.map.nrows())?;
        check_dim("signatures", candidates.dim(), self.map.ncols())?;
        let scores = matrix(features) * (&self.map * matrix(candidates).transpose());
        let row = |i: usize| (0..candidates.len()).map(move |j| (i, j));
        let cells = (0..features.len()).flat_map(row);
        Ok(cells.map(|cell| scores[cell]).collect())
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

/// Returns the classes that occur, sorted.
pub(super) fn seen_classes(labels: &[usize]) -> Vec<usize> {
    let mut seen = labels.to_vec();
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(in super::super) fn example() -> (Features, Vec<usize>, Features) {
        let wave = |i: usize| (i as f32 * 0.7).sin();
        let features = Features::new((0..24).map(wave).collect(), 4).unwrap();
        let signatures = Features::new((0..9).map(|i| wave(2 * i + 1)).collect(), 3).unwrap();
        (features, vec![0, 0, 1, 1, 2, 2], signatures)
    }

    #[test]
    fn the_map_of_numpy_in_both_forms() {
        let (features, labels, signatures) = example();
        let method = Eszsl {
            feature_penalty: 0.5,
            signature_penalty: 0.2,
        };
        let map = method.fit(&features, &labels, &signatures).unwrap();
        let found = map.scores(&features.select(&[0, 5]), &signatures).unwrap();
        let expected = [
            -0.072853, 0.036736, 0.0368325, 0.0360898, 0.0364472, -0.0718271,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        // Four images, six dimensions: the other way round.
        let wide = Features::new(features.values().to_vec(), 6).unwrap();
        let map = method.fit(&wide, &[0, 1, 1, 2], &signatures).unwrap();
        let found = map.scores(&wide.select(&[0, 3]), &signatures).unwrap();
        let expected = [
            0.4557309, -0.9277491, 0.4539476, 0.4552558, -0.9280383, 0.4547063,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn left_out_classes_choose_the_penalties() {
        let table: Vec<f32> = (0..8)
            .flat_map(|c| [c & 1, c >> 1 & 1, c >> 2])
            .map(|v| v as f32 - 0.5)
            .collect();
        let signatures = Features::new(table, 3).unwrap();
        let labels: Vec<usize> = (0..64).map(|i| i % 8).collect();
        let values = labels.iter().enumerate().flat_map(|(i, label)| {
            let noise = move |m: usize| ((i * 37 + m * 11) as f32).sin() * 0.2;
            let row = signatures.row(*label).to_vec();
            row.into_iter().enumerate().map(move |(m, v)| v + noise(m))
        });
        let features = Features::new(values.collect(), 3).unwrap();
        let chosen = Eszsl::choose(&features, &labels, &signatures, &[-1, 0, 1, 2], 4).unwrap();
        let map = chosen.fit(&features, &labels, &signatures).unwrap();
        let found = map.predict(&features, &signatures).unwrap();
        assert!(mean_class_accuracy(&found, &labels).unwrap() > 0.9);
    }

    #[test]
    fn degenerate_input_is_an_error_and_equal_signatures_are_none() {
        let (features, labels, signatures) = example();
        let method = Eszsl::default();
        assert!(method.fit(&features, &[0; 6], &signatures).is_err());
        assert!(method.fit(&features, &labels[1..], &signatures).is_err());
        assert!(
            method
                .fit(&features, &[0, 0, 1, 1, 9, 9], &signatures)
                .is_err()
        );
        assert!(Eszsl::choose(&features, &labels, &signatures, &[0], 3).is_err());
        let zero = Eszsl {
            feature_penalty: 0.0,
            ..method
        };
        assert!(zero.fit(&features, &labels, &signatures).is_err());
        let same = Features::new(vec![1.0; 9], 3).unwrap();
        let map = method.fit(&features, &labels, &same).unwrap();
        let scores = map.scores(&features, &same).unwrap();
        assert!(scores.iter().all(|s| s.is_finite()));
    }
}
