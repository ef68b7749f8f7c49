//! Computes a classifier's predictions for images.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::activation::{sigmoid, softmax};
use rekindle_imagefolder::Task;
use rekindle_transfer::backbone::check_channels;
use rekindle_transfer::{Backbone, Classifier};

use crate::feed::{Batch, Batches};
use crate::loss::Loss;
use crate::metrics::{
    ConfusionMatrix, LabelThresholds, MultiLabelEvaluation, OrdinalEvaluation,
    RegressionEvaluation, Temperature,
};
use crate::out_of_memory::{contained, host, scalar};
use crate::{Interrupt, Monitor, TrainerError};

/// A classifier prepared for predicting: no gradients, batch normalisation by running statistics.
pub struct Predictor<B: Backbone> {
    classifier: Classifier<B>,
}

/// Predictions of a classifier for a set of images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Number of classes.
    pub classes: usize,
    /// Probabilities `[n, classes]`, row-major; of several labels, each by itself; or the numbers that were answered.
    pub probabilities: Vec<f32>,
    /// The true class of each; of no meaning where images have several labels or numbers.
    pub labels: Vec<usize>,
    /// What was to be learned.
    pub task: Task,
    /// Whether each image has each label, 1 or 0, `[n, classes]`, or the true numbers; empty where images have one class.
    pub targets: Vec<f32>,
    /// Positions in the data set.
    pub indices: Vec<usize>,
    /// Mean cross entropy; of several labels, summed over these. Of classes in an order the mean squared earth mover's distance. Of
    /// numbers the mean squared error; from a run, the loss that
    /// it minimises, of standardised numbers.
    pub loss: f64,
}

impl<B: Backbone> Predictor<B> {
    /// Prepares `classifier` as it stands.
    pub fn new(classifier: &Classifier<B>) -> Self {
        Self {
            classifier: classifier.valid(),
        }
    }

    /// Logits `[n, classes]` of a batch.
    ///
    /// # Errors
    ///
    /// Images that don't fit the network.
    pub fn logits(&self, batch: &Batch) -> Result<Tensor<2>, TrainerError> {
        if batch.start.takes_images() {
            check_channels(&self.classifier.backbone, &batch.x)?;
        }
        let x = batch.x.clone();
        Ok(self.classifier.forward_from(batch.start, x)?)
    }

    /// Returns the values of [`logits`](Self::logits), row-major.
    ///
    /// # Errors
    ///
    /// Images that don't fit the network; [`TrainerError::OutOfDeviceMemory`] and [`TrainerError::Device`].
    pub fn logit_values(&self, batch: &Batch) -> Result<Vec<f32>, TrainerError> {
        contained(false, &batch.x, || host(self.logits(batch)?))
    }

    /// Returns the values of [`logits`](Self::logits) and those of the features that the head makes them of,
    /// `[n, num_features]`, row-major.
    ///
    /// # Errors
    ///
    /// As [`logit_values`](Self::logit_values).
    pub fn logit_and_feature_values(
        &self,
        batch: &Batch,
    ) -> Result<(Vec<f32>, Vec<f32>), TrainerError> {
        contained(false, &batch.x, || {
            if batch.start.takes_images() {
                check_channels(&self.classifier.backbone, &batch.x)?;
            }
            let x = batch.x.clone();
            let features = self.classifier.features_from(batch.start, x)?;
            let logits = self.classifier.head.forward(features.clone());
            Ok((host(logits)?, host(features)?))
        })
    }

    /// Probabilities and mean loss over all `batches`; `progress` hears of each batch's size.
    ///
    /// # Errors
    ///
    /// The first error that a batch brings; [`TrainerError::OutOfDeviceMemory`].
    pub fn predict(
        &self,
        batches: Batches<'_>,
        progress: impl FnMut(usize),
    ) -> Result<Predictions, TrainerError> {
        self.predict_until(batches, &Interrupt::new(), progress)
    }

    /// Predicts like [`predict`](Self::predict), unless `interrupt` is requested between two batches.
    ///
    /// # Errors
    ///
    /// As [`predict`](Self::predict), and [`TrainerError::Interrupted`].
    pub fn predict_until(
        &self,
        batches: Batches<'_>,
        interrupt: &Interrupt,
        mut progress: impl FnMut(usize),
    ) -> Result<Predictions, TrainerError> {
        let mut found = Predictions {
            classes: self.classifier.num_classes(),
            ..Predictions::default()
        };
        let mut total = 0.0;
        for batch in batches {
            interrupt.check()?;
            let batch = batch?;
            let count = batch.indices.len();
            if count == 0 {
                continue;
            }
            let (loss, probabilities) = contained(false, &batch.x, || {
                let logits = self.logits(&batch)?;
                let task = batch.targets.task;
                let loss = Loss::of_task(task).value(logits.clone(), &batch.targets, 0.0);
                let answers = match task {
                    Task::SingleLabel | Task::Ordinal => softmax(logits, 1),
                    Task::MultiLabel => sigmoid(logits),
                    Task::Regression => logits,
                };
                Ok((scalar(loss)?, host(answers)?))
            })?;
            total += loss * count as f64;
            found.probabilities.extend(probabilities);
            found.labels.extend(batch.targets.labels);
            found.task = batch.targets.task;
            if !found.task.is_single_label() {
                found
                    .targets
                    .extend(batch.targets.soft.into_iter().flatten());
            }
            found.indices.extend(batch.indices);
            progress(count);
        }
        found.loss = total / found.labels.len().max(1) as f64;
        Ok(found)
    }
}

impl Predictions {
    /// Returns the most probable class of each image and its probability.
    pub fn top(&self) -> Vec<(usize, f32)> {
        self.probabilities
            .chunks_exact(self.classes.max(1))
            .map(largest)
            .collect()
    }

    /// Share of images whose most probable class is the true one; of several labels, share of right answers, each label
    /// of each image being one. NaN without images and for numbers.
    pub fn accuracy(&self) -> f64 {
        self.accuracy_at(None)
    }

    /// Returns the same with the threshold of each label, where images have several; without thresholds it is 0.5.
    pub fn accuracy_at(&self, thresholds: Option<&[f64]>) -> f64 {
        match self.task {
            Task::SingleLabel | Task::Ordinal => {}
            Task::MultiLabel => {
                let found = self.multi_label(thresholds);
                return found.map_or(f64::NAN, |found| found.accuracy);
            }
            Task::Regression => return f64::NAN,
        }
        let top = self.top();
        let correct = top
            .iter()
            .zip(&self.labels)
            .filter(|(top, label)| top.0 == **label);
        correct.count() as f64 / self.labels.len() as f64
    }

    /// Returns the mean of every class's F1; NaN without images and for numbers.
    pub fn macro_f1(&self) -> f64 {
        match self.task {
            Task::SingleLabel | Task::Ordinal => {}
            Task::MultiLabel => {
                let found = self.multi_label(None);
                return found.map_or(f64::NAN, |found| found.macro_f1);
            }
            Task::Regression => return f64::NAN,
        }
        self.confusion()
            .map_or(f64::NAN, |confusion| confusion.macro_f1())
    }

    /// Returns the mean recall of the classes that have images, 0 to 1; NaN without images or for several labels.
    pub fn balanced_accuracy(&self) -> f64 {
        let found = match self.task {
            Task::SingleLabel | Task::Ordinal => self.confusion(),
            _ => None,
        };
        found.map_or(f64::NAN, |confusion| confusion.balanced_accuracy())
    }

    /// None without images.
    fn confusion(&self) -> Option<ConfusionMatrix> {
        let top: Vec<usize> = self.top().into_iter().map(|(class, _)| class).collect();
        let confusion = ConfusionMatrix::from_labels(&self.labels, &top, self.classes);
        confusion.ok().filter(|_| !self.labels.is_empty())
    }

    /// Returns the [temperature to keep](Temperature::to_keep) for new images, fitted on these.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] without images, or for probabilities that are none.
    pub fn temperature(&self) -> Result<f64, TrainerError> {
        if !self.task.is_single_label() {
            return Err(TrainerError::InvalidPredictions {
                found: format!("answers of the task {}", self.task),
                expected: "one class an image: other answers have no temperature".into(),
            });
        }
        let fitted = Temperature::fit(&self.probabilities, &self.labels, self.classes)?;
        Ok(fitted.to_keep())
    }

    /// Returns the figure that `monitor` watches.
    pub fn figure(&self, monitor: Monitor) -> f64 {
        match monitor {
            Monitor::Accuracy => self.accuracy(),
            Monitor::Loss => self.loss,
            Monitor::MacroF1 => self.macro_f1(),
            Monitor::BalancedAccuracy => self.balanced_accuracy(),
            Monitor::MeanAveragePrecision => self.mean_average_precision(),
            Monitor::QuadraticWeightedKappa => {
                let found = self.ordinal().ok();
                let kappa = found.and_then(|found| found.quadratic_weighted_kappa);
                kappa.unwrap_or(f64::NAN)
            }
            Monitor::Mae if self.task == Task::Ordinal => {
                self.ordinal().map_or(f64::NAN, |found| found.mae)
            }
            Monitor::Mae => self.regression().map_or(f64::NAN, |found| found.mae),
            Monitor::Rmse => self.regression().map_or(f64::NAN, |found| found.rmse),
        }
    }

    /// What the answers are worth where numbers are learned.
    ///
    /// # Errors
    ///
    /// As [`RegressionEvaluation::from_numbers`], and [`TrainerError::InvalidPredictions`] for another task.
    pub fn regression(&self) -> Result<RegressionEvaluation, TrainerError> {
        match self.task {
            Task::Regression => {
                RegressionEvaluation::from_numbers(&self.probabilities, &self.targets)
            }
            task => Err(TrainerError::InvalidPredictions {
                found: format!("answers of the task {task}"),
                expected: "numbers".into(),
            }),
        }
    }

    /// Returns how far the most probable classes are from the true ones, where the classes are in an order.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] for another task and without images.
    pub fn ordinal(&self) -> Result<OrdinalEvaluation, TrainerError> {
        let refuse = |found: String, expected: &str| {
            Err(TrainerError::InvalidPredictions {
                found,
                expected: expected.into(),
            })
        };
        match (self.task, self.confusion()) {
            (Task::Ordinal, Some(confusion)) => OrdinalEvaluation::from_confusion(&confusion),
            (Task::Ordinal, None) => refuse("no images".into(), "one at least"),
            (task, _) => refuse(format!("answers of the task {task}"), "classes in an order"),
        }
    }

    /// What the answers are worth where images have several labels.
    ///
    /// # Errors
    ///
    /// As [`MultiLabelEvaluation::from_probabilities`]; for one class an image, there are no targets.
    pub fn multi_label(
        &self,
        thresholds: Option<&[f64]>,
    ) -> Result<MultiLabelEvaluation, TrainerError> {
        let (probabilities, targets) = (&self.probabilities, &self.targets);
        MultiLabelEvaluation::from_probabilities(probabilities, targets, self.classes, thresholds)
    }

    /// Chooses the threshold of each label by these answers, where images have several labels.
    ///
    /// # Errors
    ///
    /// As [`LabelThresholds::fit`], and [`TrainerError::InvalidPredictions`] for another task.
    pub fn label_thresholds(&self) -> Result<LabelThresholds, TrainerError> {
        match self.task {
            Task::MultiLabel => {
                LabelThresholds::fit(&self.probabilities, &self.targets, self.classes)
            }
            task => Err(TrainerError::InvalidPredictions {
                found: format!("answers of the task {task}"),
                expected: "several labels an image".into(),
            }),
        }
    }

    /// Returns the thresholds of labels that these answers leave in a file: none where images don't have several labels, or where
    /// [cross-fitting](LabelThresholds::to_keep) shows no gain.
    pub(crate) fn thresholds_to_keep(&self) -> Option<Vec<f64>> {
        let chosen = self.label_thresholds().ok()?;
        chosen.to_keep().map(<[f64]>::to_vec)
    }

    /// Mean of every label's average precision; NaN for one class an image.
    pub fn mean_average_precision(&self) -> f64 {
        let found = self.multi_label(None);
        found.map_or(f64::NAN, |found| found.mean_average_precision)
    }

    /// The figures of [`Event::Measured`](crate::Event::Measured); none for one class an image, unless classes are in an order.
    pub(crate) fn figures(&self, thresholds: Option<&[f64]>) -> Option<BTreeMap<String, f64>> {
        let figures = match self.task {
            Task::SingleLabel => return None,
            Task::Ordinal => {
                let found = self.ordinal().ok()?;
                let kappa = found.quadratic_weighted_kappa.unwrap_or(f64::NAN);
                vec![("mae", found.mae), ("quadratic_weighted_kappa", kappa)]
            }
            Task::MultiLabel => {
                let found = self.multi_label(thresholds).ok()?;
                vec![
                    ("mean_average_precision", found.mean_average_precision),
                    ("micro_f1", found.micro_f1),
                    ("macro_f1", found.macro_f1),
                ]
            }
            Task::Regression => {
                let found = self.regression().ok()?;
                vec![
                    ("mae", found.mae),
                    ("rmse", found.rmse),
                    ("r2", found.r2.unwrap_or(f64::NAN)),
                ]
            }
        };
        // JSON has no NaN.
        let known = figures.into_iter().filter(|(_, value)| value.is_finite());
        Some(
            known
                .map(|(name, value)| (name.to_string(), value))
                .collect(),
        )
    }
}

/// Returns the position and value of the largest number; the first among equals.
pub(crate) fn largest(row: &[f32]) -> (usize, f32) {
    row.iter()
        .copied()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, next| {
            if next.1 > best.1 { next } else { best }
        })
}

/// Returns classes with their probabilities, the most probable first; of equal ones the first.
pub(crate) fn ranked(probabilities: &[f32]) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}
