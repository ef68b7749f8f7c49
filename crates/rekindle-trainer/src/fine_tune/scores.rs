//! Scores answers to held-out images beside other answers to the same images.

use rekindle_imagefolder::Task;

use crate::{Predictions, Temperature, TrainerError};

/// Scores of a classifier on held-out images, one number per image.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scored {
    /// 1 for a right answer, 0 for a wrong one; the share of right ones of several labels; of numbers, 0 throughout.
    pub right: Vec<f64>,
    /// Log loss, of several labels its mean; of numbers, the squared error.
    pub losses: Vec<f64>,
    /// Absolute errors, where numbers are learned.
    pub errors: Vec<f64>,
    /// Probabilities `[n, labels]`, where pictures have several.
    pub answers: Vec<f32>,
    /// Whether pictures have these labels, 1 or 0.
    pub targets: Vec<f32>,
}

/// Difference between two classifiers' scores on the same images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lead {
    /// Share of right answers above the other's, and its standard error.
    pub accuracy: (f64, f64),
    /// Log loss below the other's, and its standard error.
    pub loss: (f64, f64),
}

impl Scored {
    /// Scores answers at the temperature that suits all of them, so that the order of the classes alone counts.
    pub fn of(found: &Predictions) -> Result<Self, TrainerError> {
        match found.task {
            Task::SingleLabel | Task::Ordinal => {
                Self::of_classes(&found.probabilities, &found.labels, found.classes)
            }
            Task::MultiLabel => Self::of_labels(found),
            Task::Regression => Ok(Self::of_numbers(found)),
        }
    }

    fn of_classes(
        probabilities: &[f32],
        labels: &[usize],
        classes: usize,
    ) -> Result<Self, TrainerError> {
        let temperature = Temperature::fit(probabilities, labels, classes)?;
        let mut scored = Self::default();
        let rows = probabilities.chunks_exact(classes);
        for (row, label) in rows.zip(labels) {
            let logit = |p: &f32| f64::from(p.max(f32::MIN_POSITIVE)).ln() / temperature.value;
            let logits: Vec<f64> = row.iter().map(logit).collect();
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            scored.losses.push(largest + sum.ln() - logits[*label]);
            scored
                .right
                .push(f64::from(u8::from(logits[*label] >= largest)));
        }
        Ok(scored)
    }

    /// Each label is a choice between no and yes, all at one temperature.
    fn of_labels(found: &Predictions) -> Result<Self, TrainerError> {
        let choices = found.probabilities.iter();
        let choices: Vec<f32> = choices.flat_map(|yes| [1.0 - yes, *yes]).collect();
        let truths = found.targets.iter();
        let truths: Vec<usize> = truths.map(|truth| usize::from(*truth > 0.5)).collect();
        let each = Self::of_classes(&choices, &truths, 2)?;
        let of_image =
            |values: &[f64]| -> Vec<f64> { values.chunks_exact(found.classes).map(mean).collect() };
        Ok(Self {
            right: of_image(&each.right),
            losses: of_image(&each.losses),
            answers: found.probabilities.clone(),
            targets: found.targets.clone(),
            ..Self::default()
        })
    }

    fn of_numbers(found: &Predictions) -> Self {
        let pairs = found.probabilities.iter().zip(&found.targets);
        let errors: Vec<f64> = pairs
            .map(|(answer, number)| (f64::from(*answer) - f64::from(*number)).abs())
            .collect();
        Self {
            right: vec![0.0; errors.len()],
            losses: errors.iter().map(|error| error * error).collect(),
            errors,
            ..Self::default()
        }
    }

    /// Adds answers to other images.
    pub fn extend(&mut self, other: &Self) {
        self.right.extend(&other.right);
        self.losses.extend(&other.losses);
        self.errors.extend(&other.errors);
        self.answers.extend(&other.answers);
        self.targets.extend(&other.targets);
    }

    /// Returns the share of right answers; none of numbers.
    pub fn accuracy(&self) -> Option<f64> {
        self.errors.is_empty().then(|| mean(&self.right))
    }

    /// Returns the mean absolute error of numbers; none otherwise.
    pub fn mae(&self) -> Option<f64> {
        (!self.errors.is_empty()).then(|| mean(&self.errors))
    }

    pub fn loss(&self) -> f64 {
        mean(&self.losses)
    }

    /// Compares with answers to the same images.
    pub fn lead_over(&self, other: &Self) -> Lead {
        Lead {
            accuracy: difference(&self.right, &other.right),
            loss: difference(&other.losses, &self.losses),
        }
    }
}

impl Lead {
    /// Returns a lower bound of the gain in log loss: the gain less one standard error.
    pub fn bound(&self) -> f64 {
        self.loss.0 - self.loss.1
    }

    /// Returns true if these answers are better: the log loss is lower by more than a standard error, as is
    /// asked of heads on frozen features, and the accuracy is not lower as far as so few images can tell.
    pub fn is_ahead(&self) -> bool {
        let (accuracy, error) = self.accuracy;
        // A single answer among any number is one standard error.
        self.bound() > 0.0 && accuracy >= -1.001 * error
    }

    /// Returns true if they are worse by more than a standard error.
    pub fn is_far_behind(&self) -> bool {
        self.loss.0 < -self.loss.1
    }

    /// The gain in accuracy, drawn towards none: on few images it is luck as much as anything.
    pub fn expected_gain(&self, images: usize) -> f64 {
        self.accuracy.0 * images as f64 / (images as f64 + 20.0)
    }
}

/// Mean and standard error of `a - b`.
fn difference(a: &[f64], b: &[f64]) -> (f64, f64) {
    let n = a.len().max(2) as f64;
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let mean = mean(&differences);
    let squares: f64 = differences.iter().map(|d| (d - mean) * (d - mean)).sum();
    (mean, (squares / (n - 1.0) / n).sqrt())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scored(right: &[f64], losses: &[f64]) -> Scored {
        Scored {
            right: right.to_vec(),
            losses: losses.to_vec(),
            ..Scored::default()
        }
    }

    #[test]
    fn a_lower_loss_wins_unless_clearly_fewer_answers_are_right() {
        let base = scored(&[1.0; 20], &[0.5; 20]);
        let mut surer = scored(&[1.0; 20], &[0.4; 20]);
        assert!(surer.lead_over(&base).is_ahead() && !base.lead_over(&surer).is_ahead());
        assert!(base.lead_over(&surer).is_far_behind());
        surer.right[0] = 0.0;
        assert!(surer.lead_over(&base).is_ahead());
        surer.right[..8].fill(0.0);
        assert!(!surer.lead_over(&base).is_ahead());
        let mut lucky = scored(&[1.0; 20], &[0.5; 20]);
        lucky.losses[0] = 0.0;
        let lead = lucky.lead_over(&base);
        assert!(lead.loss.0 > 0.0 && lead.bound() < 1e-9);
    }

    #[test]
    fn the_difference_is_of_pairs() {
        let a = scored(&[1.0, 1.0, 0.0, 0.0], &[1.0, 2.0, 3.0, 4.0]);
        let b = scored(&[1.0, 0.0, 0.0, 0.0], &[1.5, 2.5, 3.5, 4.5]);
        let lead = a.lead_over(&b);
        assert_eq!(lead.loss, (0.5, 0.0));
        assert_eq!(lead.accuracy, (0.25, 0.25));
        assert!(lead.expected_gain(4) < 0.25 && lead.expected_gain(4) > 0.0);
    }

    #[test]
    fn numbers_are_compared_by_their_squared_errors() {
        let answers = |probabilities: &[f32]| Predictions {
            classes: 1,
            probabilities: probabilities.to_vec(),
            targets: vec![1.0, 2.0, 3.0],
            labels: vec![0; 3],
            task: Task::Regression,
            ..Predictions::default()
        };
        let near = Scored::of(&answers(&[1.5, 2.0, 2.5])).unwrap();
        let far = Scored::of(&answers(&[3.0, 4.5, 5.0])).unwrap();
        assert_eq!((near.loss(), near.mae()), (0.5 / 3.0, Some(1.0 / 3.0)));
        assert_eq!(near.accuracy(), None);
        assert!(near.lead_over(&far).is_ahead() && far.lead_over(&near).is_far_behind());
    }

    /// Binary log losses at the temperature of the lowest one, found by trying many.
    #[test]
    fn several_labels_are_scored_by_their_mean_at_the_best_temperature() {
        let logits: [[f64; 2]; 4] = [[3.0, -1.0], [-2.0, 4.0], [1.0, 1.0], [-0.5, -6.0]];
        let truths: [[f32; 2]; 4] = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]];
        let found = Predictions {
            classes: 2,
            probabilities: (logits.iter().flatten())
                .map(|logit| (1.0 / (1.0 + (-logit).exp())) as f32)
                .collect(),
            targets: truths.concat(),
            labels: vec![0; 4],
            task: Task::MultiLabel,
            ..Predictions::default()
        };
        let loss = |inverse: f64| -> Vec<f64> {
            let rows = logits.iter().zip(&truths);
            let of = |(row, truths): (&[f64; 2], &[f32; 2])| {
                let pairs = row.iter().zip(truths);
                let signed = pairs.map(|(z, y)| if *y > 0.5 { -z } else { *z });
                signed.map(|z| (inverse * z).exp().ln_1p()).sum::<f64>() / 2.0
            };
            rows.map(of).collect()
        };
        let tried = (1..400).map(|step| loss(0.01 * f64::from(step)));
        let best = tried.min_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap();
        let scored = Scored::of(&found).unwrap();
        for (found, expected) in scored.losses.iter().zip(&best) {
            assert!((found - expected).abs() < 5e-3, "{found} {expected}");
        }
        assert_eq!(scored.right, [1.0, 1.0, 0.5, 0.5]);
        assert_eq!(scored.targets, truths.concat());
    }

    #[test]
    fn how_sure_answers_are_on_the_whole_changes_no_score() {
        let softmax = |sharpness: f32| {
            let rows = [[0.0, 1.0], [2.0, 0.0], [0.5, 0.0], [0.0, 3.0]];
            let probabilities = rows.iter().flat_map(|row: &[f32; 2]| {
                let powers = row.map(|z| (sharpness * z).exp());
                let sum: f32 = powers.iter().sum();
                powers.map(|p| p / sum)
            });
            Predictions {
                classes: 2,
                probabilities: probabilities.collect(),
                labels: vec![1, 0, 1, 1],
                ..Predictions::default()
            }
        };
        let [plain, sharp] = [1.0, 2.0].map(|s| Scored::of(&softmax(s)).unwrap());
        assert_eq!(plain.right, [1.0, 1.0, 0.0, 1.0]);
        assert_eq!(plain.right, sharp.right);
        assert!((plain.loss() - sharp.loss()).abs() < 1e-3);
    }
}
