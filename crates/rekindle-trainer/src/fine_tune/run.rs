//! Runs the stages of a fit in order, and tells of them.

use std::time::Instant;

use rekindle_models::Pretrained;
use rekindle_transfer::Classifier;

use super::candidate::Candidates;
use super::forecast::forecast;
use super::heads::predictions;
use super::interim::Interim;
use super::leave::thresholds_of;
use super::probing::{Best, Probed};
use super::record::weights_record;
use super::tuning::Tuned;
use super::{FineTuned, Fit};
use crate::announce::whole_network;
use crate::checkpoint::Weights;
use crate::data::TransferData;
use crate::events::{EpochMetrics, Event, RunSummary, StageSummary, Trial};
use crate::fit::not_begun;
use crate::pace::Clock;
use crate::run_directory::RunWriter;
use crate::source::Source;
use crate::{Predictions, TrainerError};

/// Images that go through the network together.
const BATCH: usize = 16;

pub(super) struct Run<'a, 'b> {
    pub choices: Fit<'a>,
    /// Networks to choose from; the run is named after the first one until another is better.
    pub candidates: &'b Candidates,
    pub data: &'b TransferData,
    /// The training images that there is the time for, where that isn't all of them.
    pub chosen: Option<Vec<usize>>,
    /// The best so far of an interrupted search, where this one goes on with it.
    pub before: Option<Trial>,
    /// What it had trained.
    pub interim: Option<Interim>,
    /// The weights of a training that was interrupted.
    pub partial: Option<Weights>,
    pub writer: Option<RunWriter>,
    pub trials: Vec<Trial>,
    /// Seconds of the phases that were told so far.
    pub in_phases: f64,
    /// Figures of the last epoch, held back until the validation images are looked at.
    pub last_epoch: Option<EpochMetrics>,
    /// The first failure to log an event from inside of a training.
    pub told: Result<(), TrainerError>,
}

impl<'a, 'b> Run<'a, 'b> {
    pub fn new(
        choices: Fit<'a>,
        candidates: &'b Candidates,
        data: &'b TransferData,
        writer: Option<RunWriter>,
    ) -> Self {
        Self {
            choices,
            candidates,
            data,
            chosen: None,
            before: None,
            interim: None,
            partial: None,
            writer,
            trials: Vec::new(),
            in_phases: 0.0,
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
                let architecture = self
                    .candidates
                    .single
                    .first()
                    .map(|first| &first.plain.architecture);
                Err(error.with_architecture(architecture.map_or("", String::as_str)))
            }
        }
    }

    fn adapt(&mut self) -> Result<FineTuned, TrainerError> {
        self.introduce()?;
        let best = self.probe_all()?;
        let probed = best.chosen();
        self.record_network(probed)?;
        // What there is so far, should the rest be interrupted; a search that goes on may have left better.
        let has_left = |writer: &RunWriter| writer.directory().best_weights_path().exists();
        if self.choices.budget.is_some() && !self.writer.as_ref().is_some_and(has_left) {
            self.keep(probed, &probed.classifier, probed.thresholds.as_deref())?;
        }
        match self.go_on(&best) {
            Err(TrainerError::Interrupted { .. }) if self.choices.budget.is_some() => {
                self.leave_so_far(best.joined.unwrap_or(best.single))
            }
            found => found,
        }
    }

    /// Trains the best network, or networks side by side, where that pays; returns what the result begins with as well.
    fn tune_best<'p>(
        &mut self,
        best: &'p Best<'b>,
    ) -> Result<(&'p Probed<'b>, Option<Tuned>), TrainerError> {
        let joined = best.joined.as_ref();
        if self.choices.budget.is_none() {
            return Ok((best.chosen(), None));
        }
        match (self.tune(&best.single, joined)?, joined) {
            (None, Some(joined)) => Ok((joined, self.tune(joined, None)?)),
            (tuned, _) => Ok((&best.single, tuned)),
        }
    }

    /// Trains where that pays, then looks at the validation images.
    fn go_on(&mut self, best: &Best<'b>) -> Result<FineTuned, TrainerError> {
        let (probed, tuned) = self.tune_best(best)?;
        let tuned = match tuned {
            None => self.trained_before(probed)?,
            tuned => tuned,
        };
        std::mem::replace(&mut self.told, Ok(()))?;
        let (gain, spread) = tuned
            .as_ref()
            .map_or((0.0, 0.0), |tuned| (tuned.gain, tuned.spread));
        let compared = &best.chosen().found.right;
        let forecast = forecast(compared, gain, spread, probed.data.val.len());
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
        let (begun, phases) = (Instant::now(), self.in_phases);
        let on_heads = (self.clock().seconds() - phases).max(0.0);
        let inspection = match &tuned {
            None => self.inspected(probed)?,
            Some(tuned) => self.inspect(&tuned.classifier, &tuned.data.val)?,
        };
        let data = tuned.as_ref().map_or(&probed.data, |tuned| &tuned.data);
        let found = with_loss(inspection.predictions(&data.val), probed);
        if found.labels.is_empty() {
            return Err(TrainerError::UnusableData {
                what: "validation images".into(),
                found: "not one image that can be read".into(),
                advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
            });
        }
        let thresholds = thresholds_of(probed, tuned.as_ref());
        let seconds = self.clock().seconds();
        let epoch = self.last_epoch.take().unwrap_or(EpochMetrics {
            epoch: 1,
            epochs: 1,
            train_loss: learnt.loss,
            train_accuracy: learnt.accuracy_at(thresholds),
            train_seconds: on_heads,
            images_per_second: images as f64 / seconds.max(1e-9),
            ..EpochMetrics::default()
        });
        let metrics = EpochMetrics {
            valid_loss: Some(found.loss),
            valid_accuracy: Some(found.accuracy_at(thresholds))
                .filter(|accuracy| !accuracy.is_nan()),
            figures: found.figures(thresholds).unwrap_or_default(),
            valid_seconds: (begun.elapsed().as_secs_f64() - (self.in_phases - phases)).max(0.0),
            best: true,
            ..epoch
        };
        let found = (found, inspection);
        self.leave(probed, tuned, found, forecast, metrics)
    }

    fn introduce(&mut self) -> Result<(), TrainerError> {
        let Some(pretrained) = self.candidates.single.first().map(|first| &first.plain) else {
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
            let names = self.candidates.single.iter().map(|one| name(&one.plain));
            let names: Vec<String> = names.collect();
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

    /// Names the network that won in the record.
    pub(super) fn record_network(&mut self, probed: &Probed<'b>) -> Result<(), TrainerError> {
        if self.candidates.single.len() < 2 {
            return Ok(());
        }
        let record = match &probed.candidate.members[..] {
            [] => self.choices.record(&probed.candidate.plain, self.data),
            [first, others @ ..] => crate::RunRecord {
                architecture: probed.candidate.plain.architecture.clone(),
                beside: others.iter().map(weights_record).collect(),
                ..self.choices.record(first, self.data)
            },
        };
        match &mut self.writer {
            Some(writer) => {
                let before = writer.directory().record().clone();
                writer.replace_record(crate::RunRecord {
                    weights: record.weights,
                    architecture: record.architecture,
                    beside: record.beside,
                    ..before
                })
            }
            None => Ok(()),
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

    /// Does `work` as a phase of the run; returns its result and the seconds that it took.
    pub fn phase<R>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<R, TrainerError>,
    ) -> Result<(R, f64), TrainerError> {
        self.tell(&Event::PhaseStarted {
            name: name.to_string(),
            items: None,
        })?;
        let begun = self.clock().seconds();
        let result = work(self)?;
        let seconds = self.clock().seconds() - begun;
        self.tell(&Event::PhaseEnded {
            name: name.to_string(),
            seconds,
        })?;
        Ok((result, seconds))
    }

    pub fn tell(&mut self, event: &Event) -> Result<(), TrainerError> {
        match event {
            Event::Tried(trial) => self.trials.push(trial.clone()),
            Event::PhaseEnded { seconds, .. } => self.in_phases += seconds,
            _ => {}
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
