//! Mean and deviation of the numbers to learn, in whose units a network is trained.

use rekindle_imagefolder::{ImageDataset, Task};
use rekindle_transfer::features::LinearHead;
use rekindle_transfer::{Backbone, Classifier};
use serde::{Deserialize, Serialize};

use crate::loss::Targets;
use crate::{Loss, Predictions, TrainerError};

/// Mean and standard deviation of the training images' numbers.
///
/// A network learns numbers less their mean, over their deviation, so that rates and losses mean the same for ages and for
/// grams. What a run leaves answers in the numbers' own units, as both are in its head's weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetScale {
    /// Mean.
    pub mean: f32,
    /// Standard deviation (over `n`), above 0.
    pub deviation: f32,
}

impl TargetScale {
    /// Computes them from numbers.
    ///
    /// # Errors
    ///
    /// [`TrainerError::UnusableData`] without numbers, and where all are the same.
    pub fn of(numbers: &[f32]) -> Result<Self, TrainerError> {
        let count = numbers.len().max(1) as f64;
        let mean = numbers.iter().map(|n| f64::from(*n)).sum::<f64>() / count;
        let squares = numbers.iter().map(|n| (f64::from(*n) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        let scale = Self {
            mean: mean as f32,
            deviation: deviation as f32,
        };
        let first = numbers.first().copied().unwrap_or_default();
        if numbers.is_empty() || numbers.iter().all(|number| *number == first) {
            return Err(TrainerError::UnusableData {
                what: "training images".into(),
                found: match numbers.is_empty() {
                    true => "no number to learn".into(),
                    false => format!("the number of every image is {first}"),
                },
                advice: "give images with different numbers: of one alone nothing can be learned",
            });
        }
        match scale.deviation > 0.0 && scale.deviation.is_finite() && scale.mean.is_finite() {
            true => Ok(scale),
            false => Err(TrainerError::UnusableData {
                what: "training images".into(),
                found: format!("numbers with a mean of {mean} and a deviation of {deviation}"),
                advice: "give them in other units, so that they can be told apart and added up",
            }),
        }
    }

    /// Computes them from the numbers of a data set; none for another task.
    pub(crate) fn of_dataset(dataset: &ImageDataset) -> Result<Option<Self>, TrainerError> {
        match dataset.task() {
            Task::Regression => Self::of(dataset.targets().unwrap_or_default()).map(Some),
            Task::SingleLabel | Task::Ordinal | Task::MultiLabel => Ok(None),
        }
    }

    /// Returns a number less the mean, over the deviation.
    pub fn standardized(&self, number: f32) -> f32 {
        ((f64::from(number) - f64::from(self.mean)) / f64::from(self.deviation)) as f32
    }

    /// Standardises a batch's numbers.
    pub(crate) fn of_targets(&self, targets: &Targets) -> Targets {
        let soft = targets.soft.as_ref();
        Targets {
            soft: soft.map(|all| {
                all.iter()
                    .map(|number| self.standardized(*number))
                    .collect()
            }),
            ..targets.clone()
        }
    }

    /// Takes a classifier that gives standardised numbers, and returns one that gives them in their own units.
    pub(crate) fn in_units<B: Backbone>(
        &self,
        classifier: Classifier<B>,
    ) -> Result<Classifier<B>, TrainerError> {
        let (mean, deviation) = (f64::from(self.mean), f64::from(self.deviation));
        let head = LinearHead::of(&classifier.head);
        let scaled = |weight: &f32| (f64::from(*weight) * deviation) as f32;
        let weight = head.weight.iter().map(scaled).collect();
        let shifted = |bias: &f32| (f64::from(*bias) * deviation + mean) as f32;
        let bias = head.bias.iter().map(shifted).collect();
        Ok(classifier.with_head(weight, bias)?)
    }

    /// Takes a classifier that gives numbers in their own units, and returns one that gives them standardised.
    pub(crate) fn out_of_units<B: Backbone>(
        &self,
        classifier: Classifier<B>,
    ) -> Result<Classifier<B>, TrainerError> {
        let deviation = f64::from(self.deviation);
        let head = LinearHead::of(&classifier.head);
        let scaled = |weight: &f32| (f64::from(*weight) / deviation) as f32;
        let weight = head.weight.iter().map(scaled).collect();
        let bias = head
            .bias
            .iter()
            .map(|bias| self.standardized(*bias))
            .collect();
        Ok(classifier.with_head(weight, bias)?)
    }

    /// Computes the mean loss of answers in their own units as training measures it: of standardised numbers.
    pub(crate) fn loss(&self, loss: Option<Loss>, found: &Predictions) -> f64 {
        let deviation = f64::from(self.deviation);
        let pairs = found.probabilities.iter().zip(&found.targets);
        let of = |(answer, number): (&f32, &f32)| {
            let error = (f64::from(*answer) - f64::from(*number)).abs() / deviation;
            match loss.unwrap_or(Loss::L2) {
                Loss::L1 => error,
                Loss::Huber { delta } => {
                    let near = error.min(delta);
                    0.5 * near * near + (error - near) * delta
                }
                _ => error * error,
            }
        };
        pairs.map(of).sum::<f64>() / found.targets.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_standardised_by_their_own_mean_and_deviation() {
        let numbers = [31.0, 4.5, 77.0, 52.25];
        let scale = TargetScale::of(&numbers).unwrap();
        // numpy: mean 41.1875, std 26.71456473068577.
        assert_eq!(scale.mean, 41.1875);
        assert!((scale.deviation - 26.714_565).abs() < 1e-5, "{scale:?}");
        let standardized = numbers.map(|number| f64::from(scale.standardized(number)));
        assert!(standardized.iter().sum::<f64>().abs() < 1e-6);
        let squares: f64 = standardized.iter().map(|z| z * z).sum();
        assert!((squares / 4.0 - 1.0).abs() < 1e-6);
        for wrong in [&[][..], &[3.0, 3.0]] {
            assert!(TargetScale::of(wrong).is_err());
        }
        let text = serde_json::to_string(&scale).unwrap();
        assert_eq!(serde_json::from_str::<TargetScale>(&text).unwrap(), scale);
    }

    #[test]
    fn a_loss_is_that_of_standardised_numbers() {
        let scale = TargetScale {
            mean: 10.0,
            deviation: 2.0,
        };
        let found = Predictions {
            classes: 1,
            probabilities: vec![11.0, 4.0],
            targets: vec![10.0, 10.0],
            labels: vec![0; 2],
            task: Task::Regression,
            ..Predictions::default()
        };
        // Errors of a half and of three deviations.
        for (loss, expected) in [
            (None, (0.25 + 9.0) / 2.0),
            (Some(Loss::L1), 1.75),
            (Some(Loss::Huber { delta: 1.0 }), (0.125 + 2.5) / 2.0),
        ] {
            assert!((scale.loss(loss, &found) - expected).abs() < 1e-12);
        }
    }
}
