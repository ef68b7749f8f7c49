//! Measures an epoch on the validation images, and keeps the best.

use std::time::Instant;

use rekindle_transfer::Backbone;

use super::Run;
use super::measured::Measured;
use crate::checkpoint::{self};
use crate::events::Event;
use crate::predictor::{Predictions, Predictor};
use crate::trainer::Trainer;
use crate::{Observer, TrainerError};

impl<B: Backbone> Run<'_, B> {
    /// Validates where the trainer is to; true where it was interrupted.
    pub(super) fn measure(&mut self) -> Result<bool, TrainerError> {
        if self.trainer.validates {
            return self.validate();
        }
        let epoch = self.position.epochs + 1;
        self.end_epoch(epoch, None, 0.0, false)?;
        Ok(false)
    }

    /// Makes one pass over the validation images; true where it was interrupted: it is then repeated on resuming.
    pub(super) fn validate(&mut self) -> Result<bool, TrainerError> {
        let epoch = self.position.epochs + 1;
        let begun = Instant::now();
        let images = self.val.images();
        self.emit(Event::ValidationStarted {
            epoch,
            batches: self.val.batches(),
            images,
        })?;
        let predictor = Predictor::new(&self.learner.in_units()?);
        let Trainer {
            observers,
            interrupt,
            device,
            ..
        } = &mut self.trainer;
        let mut number = 0;
        let mut skipped = Vec::new();
        let batches = self.val.epoch(0, device).inspect(|batch| {
            if let Ok(batch) = batch {
                skipped.extend_from_slice(&batch.skipped);
            }
        });
        let found = predictor.predict_until(Box::new(batches), interrupt, |count| {
            number += 1;
            let event = Event::ValidationBatchEnded {
                epoch,
                batch: number,
                images: count,
            };
            for observer in observers.iter_mut() {
                observer.on_event(&event);
            }
        });
        let predictions = match found {
            Err(TrainerError::Interrupted { .. }) => return Ok(true),
            found => self.with_loss(found?),
        };
        for file in skipped {
            let (path, reason) = (file.path, file.reason);
            self.emit(Event::SkippedFile { path, reason })?;
        }
        self.refuse_nothing("validation images", predictions.labels.len(), images)?;
        let seconds = begun.elapsed().as_secs_f64();
        let measured = Measured::of(&predictions);
        self.emit(Event::Validated {
            epoch,
            loss: measured.loss,
            accuracy: predictions.accuracy(),
        })?;
        if let Some(figures) = predictions.figures(None) {
            self.emit(Event::Measured { epoch, figures })?;
        }
        let is_best = self.observe(epoch, predictions)?;
        self.end_epoch(epoch, Some(measured), seconds, is_best)?;
        Ok(false)
    }

    /// Makes the loss of numbers the one that is minimised.
    pub(super) fn with_loss(&self, mut predictions: Predictions) -> Predictions {
        if let Some(scale) = self.trainer.data.target_scale {
            predictions.loss = scale.loss(self.trainer.recipe.loss, &predictions);
        }
        predictions
    }

    /// Keeps the weights of a new best epoch.
    pub(super) fn observe(
        &mut self,
        epoch: usize,
        predictions: Predictions,
    ) -> Result<bool, TrainerError> {
        if let Some(watched) = &mut self.state.stopping {
            let value = predictions.figure(watched.monitor());
            watched.observe(epoch, value, predictions.loss);
        }
        let monitor = self.trainer.recipe.monitor;
        let value = predictions.figure(monitor);
        let previous = self.state.best.value();
        if !self.state.best.observe(epoch, value, predictions.loss) {
            return Ok(false);
        }
        self.best_weights = Some(checkpoint::weights_of(&self.learner.in_units()?));
        self.best_predictions = predictions;
        self.is_best_written = false;
        self.emit(Event::BestImproved {
            epoch,
            monitor,
            value,
            previous,
        })?;
        Ok(true)
    }
}
