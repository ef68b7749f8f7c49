use serde::{Deserialize, Serialize};

use super::check_labels;
use crate::error::TrainerError;

/// Counts of true class (row) against predicted class (column).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    classes: usize,
    /// Row-major, `[true, predicted]`.
    counts: Vec<u64>,
}

/// Precision, recall and F1 of one class. A ratio without a denominator (a class that was never predicted, or
/// has no samples) is 0, as in scikit-learn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Share of the samples taken for this class that belong to it.
    pub precision: f64,
    /// Share of this class's samples that were recognised.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Samples of this class.
    pub support: u64,
}

impl ConfusionMatrix {
    /// Begins without samples.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// Counts pairs of true and predicted class.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] where the lengths differ or an index is no class.
    pub fn from_labels(
        truth: &[usize],
        predicted: &[usize],
        classes: usize,
    ) -> Result<Self, TrainerError> {
        if truth.len() != predicted.len() {
            return Err(TrainerError::InvalidPredictions {
                found: format!("{} predictions", predicted.len()),
                expected: format!("{}, one for each label", truth.len()),
            });
        }
        check_labels(truth, classes)?;
        check_labels(predicted, classes)?;
        let mut matrix = Self::new(classes);
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            matrix.counts[truth * classes + predicted] += 1;
        }
        Ok(matrix)
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Samples of class `truth` taken for class `predicted`; 0 for classes that don't exist.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        if truth >= self.classes || predicted >= self.classes {
            return 0;
        }
        self.counts
            .get(truth * self.classes + predicted)
            .copied()
            .unwrap_or(0)
    }

    /// Returns the number of all samples.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Samples of class `truth`.
    pub fn support(&self, truth: usize) -> u64 {
        (0..self.classes).map(|p| self.count(truth, p)).sum()
    }

    /// Returns the share of right answers; 0 without samples.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.classes)
            .map(|class| self.count(class, class))
            .sum();
        ratio(right, self.total())
    }

    /// Returns the mean recall of the classes that have samples; 0 without samples.
    pub fn balanced_accuracy(&self) -> f64 {
        let recalls: Vec<f64> = self
            .class_scores()
            .iter()
            .filter(|class| class.support > 0)
            .map(|class| class.recall)
            .collect();
        recalls.iter().sum::<f64>() / recalls.len().max(1) as f64
    }

    /// Returns precision, recall and F1 of every class.
    pub fn class_scores(&self) -> Vec<ClassScores> {
        (0..self.classes)
            .map(|class| {
                let right = self.count(class, class);
                let support = self.support(class);
                let predicted: u64 = (0..self.classes).map(|t| self.count(t, class)).sum();
                ClassScores {
                    precision: ratio(right, predicted),
                    recall: ratio(right, support),
                    f1: ratio(2 * right, predicted + support),
                    support,
                }
            })
            .collect()
    }

    /// Returns the mean of every class's F1; 0 without classes.
    pub fn macro_f1(&self) -> f64 {
        let total: f64 = self.class_scores().iter().map(|class| class.f1).sum();
        total / self.classes.max(1) as f64
    }

    /// Returns the most frequent mistakes as (true, predicted, count), at most `n`, most frequent first.
    pub fn worst_confusions(&self, n: usize) -> Vec<(usize, usize, u64)> {
        let mut mistakes: Vec<_> = (0..self.classes)
            .flat_map(|truth| (0..self.classes).map(move |predicted| (truth, predicted)))
            .filter(|(truth, predicted)| truth != predicted)
            .map(|(truth, predicted)| (truth, predicted, self.count(truth, predicted)))
            .filter(|&(_, _, count)| count > 0)
            .collect();
        mistakes
            .sort_by_key(|&(truth, predicted, count)| (std::cmp::Reverse(count), truth, predicted));
        mistakes.truncate(n);
        mistakes
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
