//! Boosting that turns away from source images that the target contradicts.

use super::check_domains;
use crate::TransferError;
use crate::features::LogisticRegression;
use crate::features::table::{Features, LinearHead, argmax_rows, check_dim, check_labels};

const METHOD: &str = "TrAdaBoost";

/// TrAdaBoost (Dai et al. 2007, "Boosting for Transfer Learning") with a weighted logistic regression in each
/// round, for many source images and few labelled target images.
///
/// After each round a source image that was classified wrongly loses weight by the fixed factor
/// `b = 1 / (1 + sqrt(2 ln n_s / rounds))`, a target image gains by `(1 - e) / e` of the round's error `e` on
/// the target; heads of the last half of the rounds vote with `ln((1 - e) / e)`. An error of 0 counts as
/// `1 / (2 n_t)`; from 1/2 on no further round is made.
///
/// It hurts where the source is right everywhere: weights sink without need, and a single regression on both
/// sets does better. A regression with a weak penalty fits all target images in the first round, and nothing
/// is boosted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrAdaBoost {
    /// Rounds at most, at least 1.
    pub rounds: usize,
    /// The learner of each round.
    pub learner: LogisticRegression,
}

impl Default for TrAdaBoost {
    fn default() -> Self {
        Self {
            rounds: 20,
            learner: LogisticRegression::new(1e-2),
        }
    }
}

/// Heads that vote.
#[derive(Clone, Debug, PartialEq)]
pub struct BoostedHeads {
    /// The heads of the rounds that count, each with its vote.
    pub heads: Vec<(LinearHead, f64)>,
    /// Weights of the source images after the last round, in units of the first.
    pub source_weights: Vec<f64>,
    /// The weighted error on the target in each round.
    pub errors: Vec<f64>,
}

impl TrAdaBoost {
    /// Fits labelled source `[n_s, dim]` and target `[n_t, dim]` images; every class needs an image on one of
    /// the sides.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for no round, a
    /// side without an image, a single class, or a class without an image.
    pub fn fit(
        &self,
        source: (&Features, &[usize]),
        target: (&Features, &[usize]),
        classes: usize,
    ) -> Result<BoostedHeads, TransferError> {
        check_domains(METHOD, source.0, target.0)?;
        check_dim("source labels", source.1.len(), source.0.len())?;
        check_dim("target labels", target.1.len(), target.0.len())?;
        let both = source.0.stack(target.0)?;
        let labels = [source.1, target.1].concat();
        check_labels(METHOD, &labels, both.len(), classes)?;
        if self.rounds == 0 {
            return Err(TransferError::Degenerate {
                method: METHOD,
                reason: "no round; make at least one".into(),
            });
        }
        let sides = [source.0.len(), target.0.len()];
        let [n_source, n_target] = sides.map(|count| count as f64);
        let fade = 1.0 / (1.0 + (2.0 * n_source.ln() / self.rounds as f64).sqrt());
        let mut weights = vec![1.0 / n_source; sides[0]];
        weights.extend(vec![1.0 / n_target; sides[1]]);
        let mut rounds = Vec::new();
        let mut errors = Vec::new();
        for _ in 0..self.rounds {
            let head = self
                .learner
                .fit_weighted(&both, &labels, classes, &weights)?;
            let predictions = head.predict(&both)?;
            let is_wrong = |row: usize| predictions[row] != labels[row];
            let of_target = &weights[sides[0]..];
            let total: f64 = of_target.iter().sum();
            let wrong = (0..sides[1]).filter(|row| is_wrong(sides[0] + row));
            let error = wrong.map(|row| of_target[row]).sum::<f64>() / total;
            errors.push(error);
            if error >= 0.5 && !rounds.is_empty() {
                break;
            }
            let bounded = error.max(0.5 / n_target).min(0.499);
            let gain = (1.0 - bounded) / bounded;
            rounds.push((head, gain.ln()));
            if error >= 0.5 {
                break;
            }
            for (row, weight) in weights.iter_mut().enumerate() {
                if is_wrong(row) {
                    *weight *= if row < sides[0] { fade } else { gain };
                }
            }
        }
        let source_weights = weights[..sides[0]].iter().map(|w| w * n_source).collect();
        Ok(BoostedHeads {
            heads: rounds.split_off(rounds.len() / 2),
            source_weights,
            errors,
        })
    }
}

impl BoostedHeads {
    /// Votes `[n, classes]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn votes(&self, features: &Features) -> Result<Vec<f64>, TransferError> {
        let classes = self.heads.first().map_or(0, |(head, _)| head.classes());
        let mut votes = vec![0.0; features.len() * classes];
        for (head, vote) in &self.heads {
            for (row, class) in head.predict(features)?.into_iter().enumerate() {
                votes[row * classes + class] += vote;
            }
        }
        Ok(votes)
    }

    /// Returns the class with the most votes, for each image.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn predict(&self, features: &Features) -> Result<Vec<usize>, TransferError> {
        let classes = self.heads.first().map_or(0, |(head, _)| head.classes());
        Ok(argmax_rows(&self.votes(features)?, classes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::accuracy;

    /// Two classes left and right of 0 on the first axis; half of the source has its labels turned round, and
    /// lies apart on the second axis.
    fn images(count: usize, is_source: bool, phase: usize) -> (Features, Vec<usize>) {
        let mut values = Vec::new();
        let mut labels = Vec::new();
        for i in 0..count {
            let noise = |k: usize| (((i + phase) * 7919 + k * 104_729) as f32 * 0.37).sin();
            let label = i % 2;
            let is_turned = is_source && i % 4 < 2;
            let side = if label == 1 { 1.0 } else { -1.0 };
            let x = if is_turned { -side } else { side };
            values.extend([
                x + 0.9 * noise(0),
                noise(1) + if is_turned { 3.0 } else { 0.0 },
                noise(2),
            ]);
            labels.push(label);
        }
        (Features::new(values, 3).unwrap(), labels)
    }

    #[test]
    fn contradicting_source_images_fade() {
        let (source, source_labels) = images(200, true, 0);
        let (target, target_labels) = images(20, false, 1000);
        let (test, test_labels) = images(400, false, 5000);
        let boosted = TrAdaBoost::default()
            .fit((&source, &source_labels), (&target, &target_labels), 2)
            .unwrap();
        let mean = |turned: bool| {
            let of = |i: &usize| (*i % 4 < 2) == turned;
            let weights = (0..200).filter(of).map(|i| boosted.source_weights[i]);
            weights.sum::<f64>() / 100.0
        };
        assert!(
            mean(true) < 0.7 * mean(false),
            "{} {}",
            mean(true),
            mean(false)
        );
        let found = accuracy(&boosted.predict(&test).unwrap(), &test_labels);
        let both = source.stack(&target).unwrap();
        let labels = [source_labels, target_labels].concat();
        let plain = TrAdaBoost::default()
            .learner
            .fit(&both, &labels, 2)
            .unwrap();
        let plain = accuracy(&plain.predict(&test).unwrap(), &test_labels);
        assert!(found > plain, "{found} against {plain}");
    }

    #[test]
    fn a_source_that_is_right_is_kept_and_one_round_is_the_learner_itself() {
        let (source, source_labels) = images(40, false, 0);
        let (target, target_labels) = images(8, false, 1000);
        let method = TrAdaBoost {
            rounds: 1,
            ..TrAdaBoost::default()
        };
        let boosted = method
            .fit((&source, &source_labels), (&target, &target_labels), 2)
            .unwrap();
        assert_eq!(boosted.heads.len(), 1);
        let votes = boosted.votes(&target).unwrap();
        assert!(votes.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let (source, labels) = images(8, true, 0);
        let none = Features::new(Vec::new(), 3).unwrap();
        let method = TrAdaBoost::default();
        assert!(method.fit((&source, &labels), (&none, &[]), 2).is_err());
        assert!(
            method
                .fit((&source, &labels[1..]), (&source, &labels), 2)
                .is_err()
        );
        assert!(
            method
                .fit((&source, &[0; 8]), (&source, &[0; 8]), 2)
                .is_err()
        );
        assert!(
            method
                .fit((&source, &labels), (&source, &labels), 1)
                .is_err()
        );
    }
}
