//! The figures of an epoch.

use std::collections::BTreeMap;

use rekindle_imagefolder::Task;

use crate::Predictions;
use crate::events::EpochMetrics;

/// What validation found of an epoch.
pub(super) struct Measured {
    pub loss: f64,
    /// None where numbers are learned.
    pub accuracy: Option<f64>,
    pub figures: BTreeMap<String, f64>,
}

impl Measured {
    pub fn of(predictions: &Predictions) -> Self {
        let is_number = predictions.task == Task::Regression;
        Self {
            loss: predictions.loss,
            accuracy: (!is_number).then(|| predictions.accuracy()),
            figures: predictions.figures(None).unwrap_or_default(),
        }
    }

    /// Puts it in the place of what the epoch had.
    pub fn replace_in(self, metrics: &mut EpochMetrics) {
        metrics.valid_loss = Some(self.loss);
        metrics.valid_accuracy = self.accuracy;
        metrics.figures = self.figures;
    }
}
