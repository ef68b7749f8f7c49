//! Balances the scores of seen classes against those of unseen ones.

use super::evaluation::{GeneralizedAccuracy, mean_class_accuracy};
use crate::TransferError;
use crate::error::degenerate;
use crate::features::table::{argmax_rows, check_dim};

const METHOD: &str = "calibrated stacking";

/// Calibrated stacking (Chao et al. 2016, "An Empirical Study and Analysis of Generalized Zero-Shot Learning for Object
/// Recognition in the Wild"): takes `offset` off the scores of the seen classes, which otherwise win nearly always.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CalibratedStacking {
    /// Offset of the seen classes, in units of the scores.
    pub offset: f64,
}

/// Scores of images of seen and unseen classes, with all of them as candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneralizedScores {
    /// `[n, classes]`.
    pub scores: Vec<f64>,
    /// `[n]`, each below the number of classes.
    pub labels: Vec<usize>,
    /// `[classes]`: whether a class was seen.
    pub is_seen: Vec<bool>,
}

impl CalibratedStacking {
    /// Chooses the offset with the largest harmonic mean on average over `tasks`, among a hundred from 0 to the
    /// largest range of scores within an image. To stay fair the tasks are made of seen classes, some of which play
    /// the unseen ones.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] and [`TransferError::Degenerate`] for tasks that don't hold together, none at
    /// all, or one without images of both kinds.
    pub fn choose(tasks: &[GeneralizedScores]) -> Result<Self, TransferError> {
        const STEPS: usize = 100;
        if tasks.is_empty() {
            return degenerate(METHOD, "no task to choose the offset by".into());
        }
        let mut range = 0.0f64;
        for task in tasks {
            task.check()?;
            for row in task.scores.chunks_exact(task.is_seen.len()) {
                let (low, high) = row
                    .iter()
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |at, s| {
                        (at.0.min(*s), at.1.max(*s))
                    });
                range = range.max(high - low);
            }
        }
        let mut best = (Self::default(), f64::NEG_INFINITY);
        for step in 0..=STEPS {
            let offset = range * step as f64 / STEPS as f64;
            let mut sum = 0.0;
            for task in tasks {
                sum += Self { offset }.accuracy(task)?.harmonic_mean();
            }
            if sum > best.1 {
                best = (Self { offset }, sum);
            }
        }
        Ok(best.0)
    }

    /// Returns the class of each image.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where the scores are no whole number of rows, [`TransferError::Degenerate`]
    /// without a class.
    pub fn predict(&self, scores: &[f64], is_seen: &[bool]) -> Result<Vec<usize>, TransferError> {
        let classes = is_seen.len();
        if classes == 0 || !scores.len().is_multiple_of(classes) {
            return degenerate(
                METHOD,
                format!("{} scores of {classes} classes", scores.len()),
            );
        }
        let shifted: Vec<f64> = scores
            .iter()
            .zip(is_seen.iter().cycle())
            .map(|(score, is_seen)| {
                if *is_seen {
                    score - self.offset
                } else {
                    *score
                }
            })
            .collect();
        Ok(argmax_rows(&shifted, classes))
    }

    /// Accuracies on a task's images of seen and unseen classes.
    ///
    /// # Errors
    ///
    /// As [`choose`](Self::choose).
    pub fn accuracy(&self, task: &GeneralizedScores) -> Result<GeneralizedAccuracy, TransferError> {
        task.check()?;
        let found = self.predict(&task.scores, &task.is_seen)?;
        let of = |kind: bool| -> Result<f64, TransferError> {
            let rows = found.iter().zip(&task.labels);
            let (found, labels): (Vec<usize>, Vec<usize>) = rows
                .filter(|(_, label)| task.is_seen[**label] == kind)
                .unzip();
            mean_class_accuracy(&found, &labels)
        };
        Ok(GeneralizedAccuracy {
            seen: of(true)?,
            unseen: of(false)?,
        })
    }
}

impl GeneralizedScores {
    fn check(&self) -> Result<(), TransferError> {
        let classes = self.is_seen.len();
        check_dim("scores", self.scores.len(), self.labels.len() * classes)?;
        if let Some(score) = self.scores.iter().find(|score| !score.is_finite()) {
            return degenerate(METHOD, format!("a score is {score}"));
        }
        if let Some(label) = self.labels.iter().find(|label| **label >= classes) {
            return degenerate(METHOD, format!("label {label} with {classes} classes"));
        }
        let has = |kind| self.labels.iter().any(|label| self.is_seen[*label] == kind);
        match has(true) && has(false) {
            true => Ok(()),
            false => degenerate(
                METHOD,
                "images of seen and of unseen classes are both needed".into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Classes 0 and 1 are seen and score 0.5 too much.
    fn task() -> GeneralizedScores {
        let labels: Vec<usize> = (0..30).map(|i| i % 3).collect();
        let scores = labels.iter().flat_map(|label| {
            (0..3).map(move |class| {
                let bias = if class < 2 { 0.5 } else { 0.0 };
                bias + if class == *label { 0.3 } else { 0.0 }
            })
        });
        GeneralizedScores {
            scores: scores.collect(),
            labels,
            is_seen: vec![true, true, false],
        }
    }

    #[test]
    fn an_offset_chosen_on_scores_undoes_their_bias() {
        let task = task();
        let plain = CalibratedStacking::default().accuracy(&task).unwrap();
        assert_eq!((plain.seen, plain.unseen), (1.0, 0.0));
        let chosen = CalibratedStacking::choose(std::slice::from_ref(&task)).unwrap();
        assert!(chosen.offset > 0.2 && chosen.offset < 0.8, "{chosen:?}");
        assert_eq!(chosen.accuracy(&task).unwrap().harmonic_mean(), 1.0);
    }

    #[test]
    fn tasks_that_do_not_hold_together_are_errors() {
        assert!(CalibratedStacking::choose(&[]).is_err());
        let broken = |change: fn(&mut GeneralizedScores)| {
            let mut task = task();
            change(&mut task);
            CalibratedStacking::choose(&[task]).is_err()
        };
        assert!(broken(|task| task.is_seen = vec![true; 3]));
        assert!(broken(|task| task.labels[0] = 3));
        assert!(broken(|task| task.scores[0] = f64::NAN));
        assert!(broken(|task| task.scores.truncate(5)));
        assert!(CalibratedStacking::default().predict(&[1.0], &[]).is_err());
    }
}
