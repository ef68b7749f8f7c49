//! Describes the result of a fit.

use std::path::Path;

use rekindle_models::Preprocess;
use rekindle_nn::Network;
use rekindle_transfer::Classifier;
use rekindle_transfer::features::{FoundProbe, FoundRidge};
use rekindle_weights::ModelInfo;

use crate::checkpoint::weights_of;
use crate::events::{Forecast, RunOutcome, Trial};
use crate::inspect::Inspection;
use crate::run_directory::RunWriter;
use crate::{Predictions, TrainerError, fit};

/// Result of [`Fit`](crate::Fit).
pub struct FineTuned {
    /// Backbone and new head.
    pub classifier: Classifier<Network>,
    /// Names in the order of the logits.
    pub classes: Vec<String>,
    /// Preprocessing of a picture before the network sees it.
    pub preprocess: Preprocess,
    /// The best head on frozen features and how it was found.
    pub probe: FoundProbe,
    /// The probability of each label from which on a picture is said to have it, chosen on training images that the heads
    /// did not see; none for one class a picture.
    pub thresholds: Option<Vec<f64>>,
    /// How the head on frozen features was found where numbers are learned; its alpha is the penalty of
    /// [`probe`](Self::probe).
    pub ridge: Option<FoundRidge>,
    /// The accuracy that was expected before the validation images were looked at; none where nothing could be held out.
    pub forecast: Option<Forecast>,
    /// All that was tried, in order.
    pub trials: Vec<Trial>,
    /// Predictions for the validation images, each seen once, as by
    /// [`Model::predict`](crate::Model::predict); empty where the run was interrupted.
    pub predictions: Predictions,
    /// What that pass over the validation images gave, with features of a thousand of them at most, evenly taken; empty where the
    /// run was interrupted.
    pub inspection: Inspection,
    /// The same over the [test views](crate::Fit::test_views), where these are more than the plain one.
    pub in_views: Option<Predictions>,
    /// Outcome of the run.
    pub outcome: RunOutcome,
    /// Seconds from the call to the result.
    pub seconds: f64,
    pub(super) info: ModelInfo,
    /// The writer keeps the directory's lock as long as the result lives.
    pub(super) writer: Option<RunWriter>,
}

impl FineTuned {
    /// Returns the accuracy on the validation images, 0 to 1: that of the file which [`save`](Self::save) writes, in
    /// the one plain view that [`Model`](crate::Model) takes. NaN for numbers, whose errors are those of
    /// [`Predictions::regression`].
    pub fn accuracy(&self) -> f64 {
        self.predictions.accuracy_at(self.thresholds.as_deref())
    }

    /// Returns the same over the [test views](crate::Fit::test_views), where these are more than the plain one.
    pub fn accuracy_in_views(&self) -> Option<f64> {
        let thresholds = self.thresholds.as_deref();
        let in_views = self.in_views.as_ref();
        in_views.map(|found| found.accuracy_at(thresholds))
    }

    /// Writes the network as safetensors under the published names, with classes, preprocessing, temperature and test
    /// views.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TrainerError> {
        let weights = weights_of(&self.classifier);
        fit::write_weights(path.as_ref(), &self.classifier, &weights, &self.info)
    }

    /// Returns the run directory, where there is one.
    pub fn directory(&self) -> Option<&Path> {
        self.writer.as_ref().map(RunWriter::path)
    }
}
