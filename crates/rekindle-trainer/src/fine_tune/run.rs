//! Runs the stages of a fit in order, reports them, and writes what it leaves.

use std::time::Instant;

use rekindle_imagefolder::Task;
use rekindle_models::Pretrained;
use rekindle_nn::Network;
use rekindle_transfer::Classifier;
use rekindle_weights::ModelInfo;
use serde_json::{Value, json};

use super::forecast::forecast;
use super::probing::{Probed, predictions};
use super::tuning::Tuned;
use super::{FineTuned, Fit};
use crate::announce::whole_network;
use crate::checkpoint::weights_of;
use crate::data::TransferData;
use crate::events::{
    EndReason, EpochMetrics, Event, Forecast, RunOutcome, RunSummary, StageSummary, Trial,
};
use crate::fit::{not_begun, write_weights};
use crate::metrics::{ConformalResiduals, ConformalScores};
use crate::pace::Clock;
use crate::run_directory::RunWriter;
use crate::trainer::Source;
use crate::{Monitor, Predictions, TrainerError};

/// Images that go through the network together.
const BATCH: usize = 16;

pub(super) struct Run<'a, 'b> {
    pub choices: Fit<'a>,
    /// Networks to choose from; the run is named after the first one until another is better.
    pub networks: Vec<&'b Pretrained>,
    pub data: &'b TransferData,
    writer: Option<RunWriter>,
    trials: Vec<Trial>,
    /// Figures of the last epoch, held back until the validation images are looked at.
    pub last_epoch: Option<EpochMetrics>,
    /// The first failure to log an event from inside of a training.
    pub told: Result<(), TrainerError>,
}

impl<'a, 'b> Run<'a, 'b> {
    pub fn new(
        choices: Fit<'a>,
        networks: Vec<&'b Pretrained>,
        data: &'b TransferData,
        writer: Option<RunWriter>,
    ) -> Self {
        Self {
            choices,
            networks,
            data,
            writer,
            trials: Vec::new(),
            last_epoch: None,
            told: Ok(()),
        }
    }

    pub fn finish(mut self) -> Result<FineTuned, TrainerError> {
        match self.adapt() {
            Ok(tuned) => Ok(FineTuned {
                writer: self.writer,
                ..tuned
            }),
            Err(error) => {
                let seconds = self.clock().seconds();
                let observers = &mut self.choices.observers;
                let error = not_begun(self.writer, error, seconds, |event| {
                    for observer in observers.iter_mut() {
                        observer.on_event(event);
                    }
                });
                let architecture = self.networks.first().map(|first| &first.architecture);
                Err(error.with_architecture(architecture.map_or("", String::as_str)))
            }
        }
    }

    fn adapt(&mut self) -> Result<FineTuned, TrainerError> {
        self.introduce()?;
        let probed = self.probe_all()?;
        self.record_network(&probed)?;
        // What there is so far, should the rest be interrupted.
        if self.choices.budget.is_some() {
            self.keep(&probed, &probed.classifier)?;
        }
        match self.go_on(&probed) {
            Err(TrainerError::Interrupted { .. }) if self.choices.budget.is_some() => {
                self.leave_so_far(probed)
            }
            found => found,
        }
    }

    /// Trains where that pays, then looks at the validation images.
    fn go_on(&mut self, probed: &Probed<'b>) -> Result<FineTuned, TrainerError> {
        let tuned = match (self.choices.budget, probed.data.task()) {
            (Some(_), Task::SingleLabel | Task::Regression) => self.tune(probed)?,
            (Some(_), Task::MultiLabel) => {
                let message =
                    "the network is not trained: that is not done for several labels a picture";
                self.tell(&Event::Note {
                    message: message.into(),
                })?;
                None
            }
            (None, _) => None,
        };
        std::mem::replace(&mut self.told, Ok(()))?;
        let (gain, spread) = tuned
            .as_ref()
            .map_or((0.0, 0.0), |tuned| (tuned.gain, tuned.spread));
        let forecast = forecast(&probed.found.right, gain, spread, probed.data.val.len());
        if let Some(forecast) = forecast.filter(|_| self.choices.budget.is_some()) {
            self.tell(&Event::Forecast(forecast))?;
        }
        let learnt = with_loss(predictions(&probed.found.head, &probed.seen)?, probed);
        let images = learnt.labels.len();
        if self.last_epoch.is_none() {
            self.choices.interrupt.check()?;
            self.tell(&Event::EpochStarted {
                epoch: 1,
                epochs: 1,
                batches: 1,
                images,
            })?;
        }
        let begun = Instant::now();
        let found = match &tuned {
            None => {
                let seen = self.validation_features(probed)?;
                predictions(&probed.found.head, &seen)?
            }
            Some(tuned) => self.answers(&tuned.classifier, &probed.data.val)?,
        };
        let found = with_loss(found, probed);
        if found.labels.is_empty() {
            return Err(TrainerError::UnusableData {
                what: "validation images".into(),
                found: "not one image that can be read".into(),
                advice: "run a scan of the folder: it lists every bad file and its reason",
            });
        }
        let seconds = self.clock().seconds();
        let epoch = self.last_epoch.take().unwrap_or(EpochMetrics {
            epoch: 1,
            epochs: 1,
            train_loss: learnt.loss,
            train_accuracy: learnt.accuracy(),
            train_seconds: seconds,
            images_per_second: images as f64 / seconds.max(1e-9),
            ..EpochMetrics::default()
        });
        let metrics = EpochMetrics {
            valid_loss: Some(found.loss),
            valid_accuracy: Some(found.accuracy()).filter(|accuracy| !accuracy.is_nan()),
            figures: (found.figures(probed.thresholds.as_deref())).unwrap_or_default(),
            valid_seconds: begun.elapsed().as_secs_f64(),
            best: true,
            ..epoch
        };
        self.leave(probed, tuned, found, forecast, metrics)
    }

    fn introduce(&mut self) -> Result<(), TrainerError> {
        let Some(pretrained) = self.networks.first() else {
            return Ok(());
        };
        let classes = self.data.classes.len();
        let untrained = Classifier::new(
            pretrained.model.clone().split_classifier().0,
            classes,
            self.choices.seed,
            &self.choices.device,
        );
        let parts = whole_network(&untrained);
        let data = self.data;
        let of_all = |name: fn(&Pretrained) -> String| {
            let names: Vec<String> = self.networks.iter().map(|network| name(network)).collect();
            names.join(" or ")
        };
        let started = Event::RunStarted(RunSummary {
            title: self.choices.title.clone(),
            strategy: self.choices.name().into(),
            architecture: of_all(|network| network.architecture.clone()),
            weights: of_all(|network| Source::of(network).weights),
            classes: data.classes.clone(),
            task: data.task(),
            train_images: data.train.len(),
            valid_images: data.val.len(),
            parameters: parts.iter().map(|part| part.parameters).sum(),
            trainable_parameters: parts.iter().map(|part| part.trainable).sum(),
            epochs: 1,
            batch_size: BATCH,
            device: crate::text::device(&self.choices.device),
            seed: self.choices.seed,
            directory: self.writer.as_ref().map(|writer| writer.path().into()),
            resumed_after_epoch: None,
            augmented: Some(false),
        });
        self.tell(&started)?;
        if let Some(message) = self.choices.warning.take() {
            self.tell(&Event::Warning { message })?;
        }
        self.tell(&Event::StageStarted(StageSummary {
            name: self.choices.name().into(),
            first_epoch: 1,
            last_epoch: 1,
            parts,
        }))
    }

    /// Names the network that won in the record, where that is not the first.
    fn record_network(&mut self, probed: &Probed<'b>) -> Result<(), TrainerError> {
        let is_first = std::ptr::eq(probed.pretrained, self.networks[0]);
        let record = self.choices.record(probed.pretrained, self.data);
        match &mut self.writer {
            Some(writer) if !is_first => {
                let before = writer.directory().record().clone();
                writer.replace_record(crate::RunRecord {
                    weights: record.weights,
                    architecture: record.architecture,
                    ..before
                })
            }
            _ => Ok(()),
        }
    }

    /// Writes a classifier as the best so far; no validation image was looked at for it, so it has no temperature.
    pub fn keep(
        &mut self,
        probed: &Probed<'b>,
        classifier: &Classifier<Network>,
    ) -> Result<(), TrainerError> {
        let info = self.info(probed, None, Value::Null);
        match &self.writer {
            None => Ok(()),
            Some(writer) => {
                let path = writer.directory().best_weights_path();
                write_weights(&path, classifier, &weights_of(classifier), &info)
            }
        }
    }

    /// Ends an interrupted run with the best so far.
    fn leave_so_far(&mut self, probed: Probed<'b>) -> Result<FineTuned, TrainerError> {
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
            in_views: None,
            seconds: outcome.seconds,
            outcome,
            writer: None,
        })
    }

    /// Writes what was found, and tells of it.
    fn leave(
        &mut self,
        probed: &Probed<'b>,
        tuned: Option<Tuned>,
        found: Predictions,
        forecast: Option<Forecast>,
        metrics: EpochMetrics,
    ) -> Result<FineTuned, TrainerError> {
        let (epoch, accuracy) = (metrics.epoch, found.accuracy());
        let measured = metrics.valid_accuracy;
        let decided = tuned
            .as_ref()
            .map_or(Value::Null, |tuned| tuned.decided.clone());
        let classifier = match tuned {
            Some(tuned) => tuned.classifier,
            None => probed.classifier.clone(),
        };
        let temperature = match found.task {
            Task::SingleLabel => Some(found.temperature()?),
            Task::MultiLabel | Task::Regression => None,
        };
        let scores = ConformalScores::of_predictions(&found);
        let residuals = ConformalResiduals::of_predictions(&found);
        let info = ModelInfo {
            conformal_scores: scores.map(|scores| scores.kept().to_vec()),
            residuals: residuals.map(|residuals| residuals.kept().to_vec()),
            ..self.info(probed, temperature, decided.clone())
        };
        let mut best_weights = None;
        if let Some(writer) = &mut self.writer {
            let path = writer.directory().best_weights_path();
            write_weights(&path, &classifier, &weights_of(&classifier), &info)?;
            writer.keep_temperature(info.temperature)?;
            best_weights = Some(path);
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
        if let Some(figures) = found.figures(probed.thresholds.as_deref()) {
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
        let in_views = test_views.predict_beside(&classifier, &probed.data, interrupt)?;
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
            classes: probed.data.classes.clone(),
            preprocess: probed.data.preprocess.clone(),
            probe: probed.found.clone(),
            thresholds: probed.thresholds.clone(),
            ridge: probed.ridge.clone(),
            forecast,
            trials: std::mem::take(&mut self.trials),
            predictions: found,
            in_views,
            seconds: outcome.seconds,
            outcome,
            info,
            writer: None,
        })
    }

    fn info(&self, probed: &Probed<'b>, temperature: Option<f64>, decided: Value) -> ModelInfo {
        let (pretrained, data) = (probed.pretrained, &probed.data);
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
                    "averaged_with": probed.found.partner.map(|at| probed.found.candidates[at]),
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

    pub fn clock(&self) -> Clock {
        self.choices.clock.clone()
    }

    /// Returns the share of the budget that is over; 0 without a budget.
    pub fn share_of_budget(&self) -> f64 {
        let budget = self.choices.budget.map(|budget| budget.as_secs_f64());
        budget.map_or(0.0, |budget| self.clock().seconds() / budget.max(1e-9))
    }

    pub fn tell(&mut self, event: &Event) -> Result<(), TrainerError> {
        if let Event::Tried(trial) = event {
            self.trials.push(trial.clone());
        }
        for observer in &mut self.choices.observers {
            observer.on_event(event);
        }
        match &mut self.writer {
            Some(writer) => writer.log(event),
            None => Ok(()),
        }
    }
}

/// Makes the loss of numbers that of training: the squared error of standardised ones.
fn with_loss(mut found: Predictions, probed: &Probed<'_>) -> Predictions {
    if let Some(scale) = probed.data.target_scale {
        found.loss = scale.loss(None, &found);
    }
    found
}
