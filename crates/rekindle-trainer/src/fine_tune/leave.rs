//! What a fit leaves: the file of the best so far or of the result, and the events about it.

use rekindle_imagefolder::Task;
use rekindle_nn::Network;
use rekindle_transfer::Classifier;
use rekindle_weights::ModelInfo;
use serde_json::{Value, json};

use super::interim::Interim;
use super::probing::Probed;
use super::run::Run;
use super::tuning::Tuned;
use super::{FineTuned, Fit};
use crate::checkpoint::weights_of;
use crate::events::{EndReason, EpochMetrics, Event, Forecast, RunOutcome};
use crate::fit::write_weights;
use crate::inspect::Inspection;
use crate::metrics::{ConformalResiduals, ConformalScores};
use crate::source::Source;
use crate::{Monitor, Predictions, TrainerError};

impl<'a, 'b> Run<'a, 'b> {
    /// Writes a classifier as the best so far; no validation image was looked at for it, so it has no temperature.
    pub fn keep(
        &mut self,
        probed: &Probed<'b>,
        classifier: &Classifier<Network>,
        thresholds: Option<&[f64]>,
    ) -> Result<(), TrainerError> {
        let info = ModelInfo {
            thresholds: thresholds.map(<[f64]>::to_vec),
            ..self.info(probed, None, Value::Null)
        };
        match &self.writer {
            None => Ok(()),
            Some(writer) => {
                let path = writer.directory().best_weights_path();
                write_weights(&path, classifier, &weights_of(classifier), &info)?;
                writer.keep_preprocessing(json!(probed.data.preprocess))
            }
        }
    }

    /// Ends an interrupted run with the best so far.
    pub fn leave_so_far(&mut self, probed: Probed<'b>) -> Result<FineTuned, TrainerError> {
        let writer = self.writer.as_ref();
        let outcome = RunOutcome {
            reason: EndReason::Interrupted,
            epochs: 0,
            best_epoch: None,
            best_accuracy: None,
            last_accuracy: None,
            seconds: self.clock().seconds(),
            best_weights: writer.map(|writer| writer.directory().best_weights_path()),
            directory: writer.map(|writer| writer.path().into()),
        };
        self.tell(&Event::RunEnded(outcome.clone()))?;
        Ok(FineTuned {
            info: self.info(&probed, None, Value::Null),
            classifier: probed.classifier,
            classes: probed.data.classes,
            preprocess: probed.data.preprocess,
            probe: probed.found,
            thresholds: probed.thresholds,
            ridge: probed.ridge,
            forecast: None,
            trials: std::mem::take(&mut self.trials),
            predictions: Predictions::default(),
            inspection: Inspection::default(),
            in_views: None,
            seconds: outcome.seconds,
            outcome,
            writer: None,
        })
    }

    /// Writes what was found, and tells of it.
    pub fn leave(
        &mut self,
        probed: &Probed<'b>,
        tuned: Option<Tuned>,
        (found, inspection): (Predictions, Inspection),
        forecast: Option<Forecast>,
        metrics: EpochMetrics,
    ) -> Result<FineTuned, TrainerError> {
        let thresholds = thresholds_of(probed, tuned.as_ref()).map(<[f64]>::to_vec);
        let data = tuned
            .as_ref()
            .map_or(&probed.data, |tuned| &tuned.data)
            .clone();
        let epoch = metrics.epoch;
        let accuracy = found.accuracy_at(thresholds.as_deref());
        let measured = metrics.valid_accuracy;
        let decided = tuned
            .as_ref()
            .map_or(Value::Null, |tuned| tuned.decided.clone());
        let classifier = match tuned {
            Some(tuned) => tuned.classifier,
            None => probed.classifier.clone(),
        };
        let temperature = match found.task {
            Task::SingleLabel | Task::Ordinal => Some(found.temperature()?),
            Task::MultiLabel | Task::Regression => None,
        };
        let scores = ConformalScores::of_predictions(&found);
        let residuals = ConformalResiduals::of_predictions(&found);
        let info = ModelInfo {
            conformal_scores: scores.map(|scores| scores.kept().to_vec()),
            residuals: residuals.map(|residuals| residuals.kept().to_vec()),
            thresholds: thresholds.clone(),
            preprocess: Some(data.preprocess.clone()),
            ..self.info(probed, temperature, decided.clone())
        };
        let mut best_weights = None;
        if let Some(writer) = &mut self.writer {
            let path = writer.directory().best_weights_path();
            write_weights(&path, &classifier, &weights_of(&classifier), &info)?;
            writer.keep_temperature(info.temperature)?;
            writer.keep_preprocessing(json!(data.preprocess))?;
            best_weights = Some(path);
            Interim::remove(writer.path())?;
            if !decided.is_null() {
                let mut record = writer.directory().record().clone();
                record.recipe["decided"] = decided;
                writer.replace_record(record)?;
            }
        }
        self.tell(&Event::Validated {
            epoch,
            loss: found.loss,
            accuracy,
        })?;
        if let Some(figures) = found.figures(thresholds.as_deref()) {
            self.tell(&Event::Measured { epoch, figures })?;
        }
        let monitor = Monitor::of_task(found.task);
        self.tell(&Event::BestImproved {
            epoch,
            monitor,
            value: found.figure(monitor),
            previous: None,
        })?;
        self.tell(&Event::EpochEnded { metrics })?;
        let Fit {
            test_views,
            interrupt,
            ..
        } = &self.choices;
        let in_views = test_views.predict_beside(&classifier, &data, interrupt)?;
        let outcome = RunOutcome {
            reason: EndReason::Finished,
            epochs: epoch,
            best_epoch: Some(epoch),
            best_accuracy: measured,
            last_accuracy: measured,
            seconds: self.clock().seconds(),
            best_weights,
            directory: self.writer.as_ref().map(|writer| writer.path().into()),
        };
        self.tell(&Event::RunEnded(outcome.clone()))?;
        Ok(FineTuned {
            classifier,
            classes: data.classes,
            preprocess: data.preprocess,
            probe: probed.found.clone(),
            thresholds,
            ridge: probed.ridge.clone(),
            forecast,
            trials: std::mem::take(&mut self.trials),
            predictions: found,
            inspection,
            in_views,
            seconds: outcome.seconds,
            outcome,
            info,
            writer: None,
        })
    }

    fn info(&self, probed: &Probed<'b>, temperature: Option<f64>, decided: Value) -> ModelInfo {
        let (pretrained, data) = (probed.pretrained, &probed.data);
        let partners = probed.found.partners.iter();
        let averaged_with: Vec<_> = partners.map(|at| probed.found.candidates[*at]).collect();
        ModelInfo {
            architecture: Some(pretrained.architecture.clone()),
            classes: Some(data.classes.clone()),
            preprocess: Some(data.preprocess.clone()),
            provenance: Some(
                json!({
                    "source": Source::of(pretrained).weights,
                    "sha256": pretrained.sha256,
                    "strategy": self.choices.strategy(),
                    "recipe": self.choices.recipe(),
                    "probe": probed.found.chosen(),
                    "averaged_with": averaged_with,
                    "decided": decided,
                    "data": data.description,
                })
                .to_string(),
            ),
            temperature,
            test_views: self.choices.test_views.in_file(),
            task: data.task_in_file(),
            thresholds: probed.thresholds.clone(),
            conformal_scores: None,
            residuals: None,
            unknown_detector: None,
        }
    }
}

/// The threshold of each label: that of the network which is left.
pub(super) fn thresholds_of<'t>(
    probed: &'t Probed<'_>,
    tuned: Option<&'t Tuned>,
) -> Option<&'t [f64]> {
    match tuned {
        Some(tuned) => tuned.thresholds.as_deref(),
        None => probed.thresholds.as_deref(),
    }
}
