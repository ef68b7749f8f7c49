//! Result of a training run.

use std::path::Path;

use rekindle_transfer::{Backbone, Classifier};
use rekindle_weights::ModelInfo;

use crate::checkpoint::Weights;
use crate::events::{EpochMetrics, RunOutcome};
use crate::fit;
use crate::pace::Pace;
use crate::run_directory::RunWriter;
use crate::{Predictions, TrainerError};

/// Result of a training run.
pub struct Fitted<B: Backbone> {
    /// The best classifier by the recipe's monitor, on a device without autodiff.
    pub classifier: Classifier<B>,
    /// Metrics of every epoch.
    pub history: Vec<EpochMetrics>,
    /// Predictions of the best classifier for the validation images.
    pub predictions: Predictions,
    /// Its predictions over the recipe's [test views](crate::Recipe::test_views), if these are more than the plain one.
    pub in_views: Option<Predictions>,
    /// Outcome of the run.
    pub outcome: RunOutcome,
    /// Seconds in training batches and in computing kept activations, validation left out.
    pub seconds_train: f64,
    /// Seconds from the start of the run to its end.
    pub seconds_total: f64,
    pub(crate) best_weights: Weights,
    pub(crate) info: ModelInfo,
    /// Decisions of the clock, if the training was to end at a given time.
    pub(crate) pace: Option<Pace>,
    /// The writer keeps the directory's lock as long as the result lives.
    pub(crate) writer: Option<RunWriter>,
}

impl<B: Backbone> Fitted<B> {
    /// Returns the validation accuracy of the best epoch, 0 to 1: that of the weights that [`save`](Self::save) writes, with their
    /// [thresholds](Self::thresholds) where images have several labels.
    pub fn best_accuracy(&self) -> f64 {
        self.predictions.accuracy_at(self.thresholds().as_deref())
    }

    /// Returns the same over the recipe's [test views](crate::Recipe::test_views), where these are more than the plain one.
    pub fn accuracy_in_views(&self) -> Option<f64> {
        let in_views = self.in_views.as_ref()?;
        Some(in_views.accuracy_at(self.thresholds().as_deref()))
    }

    /// Returns the validation accuracy of the last epoch, 0 to 1; NaN where none was finished.
    pub fn last_accuracy(&self) -> f64 {
        self.outcome.last_accuracy.unwrap_or(f64::NAN)
    }

    /// Returns the thresholds of labels that [`save`](Self::save) leaves in a run directory's file: those of the highest F1 on the
    /// validation images, where images have several labels and [cross-fitting](crate::LabelThresholds) shows that they are worth it.
    pub fn thresholds(&self) -> Option<Vec<f64>> {
        self.predictions.thresholds_to_keep()
    }

    /// Writes the best weights as safetensors under the published names, with classes and preprocessing.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TrainerError> {
        fit::write_weights(
            path.as_ref(),
            &self.classifier,
            &self.best_weights,
            &self.info,
        )
    }

    /// Returns the run directory, where there is one.
    pub fn directory(&self) -> Option<&Path> {
        self.writer.as_ref().map(RunWriter::path)
    }
}
