//! Computes a classifier's predictions for images.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use rekindle_transfer::backbone::check_channels;
use rekindle_transfer::{Backbone, Classifier};

use crate::feed::{Batch, Batches};
use crate::loss::cross_entropy;
use crate::metrics::{ConfusionMatrix, Temperature};
use crate::shortage::{contained, host, scalar};
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
    /// Probabilities `[n, classes]`, row-major.
    pub probabilities: Vec<f32>,
    /// The true class of each.
    pub labels: Vec<usize>,
    /// Positions in the data set.
    pub indices: Vec<usize>,
    /// Mean cross entropy.
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
                let loss = cross_entropy(logits.clone(), &batch.targets, 0.0);
                Ok((scalar(loss)?, host(softmax(logits, 1))?))
            })?;
            total += loss * count as f64;
            found.probabilities.extend(probabilities);
            found.labels.extend(batch.targets.labels);
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

    /// Share of images whose most probable class is the true one; NaN without images.
    pub fn accuracy(&self) -> f64 {
        let top = self.top();
        let correct = top
            .iter()
            .zip(&self.labels)
            .filter(|(top, label)| top.0 == **label);
        correct.count() as f64 / self.labels.len() as f64
    }

    /// Returns the mean of every class's F1; NaN without images.
    pub fn macro_f1(&self) -> f64 {
        let top: Vec<usize> = self.top().into_iter().map(|(class, _)| class).collect();
        match ConfusionMatrix::from_labels(&self.labels, &top, self.classes) {
            Ok(confusion) if !self.labels.is_empty() => confusion.macro_f1(),
            _ => f64::NAN,
        }
    }

    /// Returns the [temperature to keep](Temperature::to_keep) for new images, fitted on these.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] without images, or for probabilities that are none.
    pub fn temperature(&self) -> Result<f64, TrainerError> {
        let fitted = Temperature::fit(&self.probabilities, &self.labels, self.classes)?;
        Ok(fitted.to_keep())
    }

    /// Returns the figure that `monitor` watches.
    pub fn figure(&self, monitor: Monitor) -> f64 {
        match monitor {
            Monitor::Accuracy => self.accuracy(),
            Monitor::Loss => self.loss,
            Monitor::MacroF1 => self.macro_f1(),
        }
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
