//! Writes what a run keeps: checkpoints, the best weights, and the usable part of a run that fails.

use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use rekindle_imagefolder::Task;
use rekindle_models::files::metadata;
use rekindle_transfer::{Backbone, Classifier};
use rekindle_weights::state_dict::HostTensor;
use rekindle_weights::{ModelInfo, TensorOut, named_tensors, write_safetensors};

use super::measured::Measured;
use super::{Run, watch};
use crate::announce::emit;
use crate::checkpoint::{self, Weights};
use crate::events::{EndReason, EpochMetrics, Event, RunOutcome};
use crate::fitted::Fitted;
use crate::metrics::{ConformalResiduals, ConformalScores};
use crate::run_directory::{Checkpoint, RunWriter};
use crate::trainer::Trainer;
use crate::{Predictor, TrainerError};

impl<B: Backbone> Run<'_, B> {
    pub(super) fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainerError> {
        self.position = checkpoint.position();
        let plan = self.plan(self.position.epochs)?;
        self.learner.follow(plan)?;
        let optimizer = self.trainer.recipe.optimizer.clone();
        self.state = checkpoint::restore(checkpoint.path(), &mut self.learner, &optimizer)?;
        if let Some(decay) = self.trainer.recipe.moving_average {
            checkpoint::restore_average(checkpoint.path(), &mut self.learner, decay)?;
        }
        if self.state.stopping.is_none() {
            self.state.stopping = self.trainer.recipe.early_stopping.as_ref().map(watch);
        }
        self.clock.before = self.state.seconds_total;
        let best = match &self.writer {
            Some(writer) => writer.directory().best_weights_path(),
            None => return Ok(()),
        };
        if self.state.best.epoch().is_some() && best.exists() {
            let weights = checkpoint::read_plain(&best, self.learner.classifier())?;
            let classifier = checkpoint::with_weights(self.learner.classifier().valid(), &weights);
            let predictor = Predictor::new(&classifier);
            let batches = self.val.epoch(0, &self.trainer.device);
            let found = predictor.predict(batches, |_| ())?;
            self.best_predictions = self.with_loss(found);
            self.best_weights = Some(weights);
            if self.trainer.is_val_changed {
                self.measure_best_again();
            }
        }
        Ok(())
    }

    /// Puts what the best weights get on the present images in the place of what they got on those before.
    fn measure_best_again(&mut self) {
        let loss = self.best_predictions.loss;
        let state = &mut self.state;
        for watched in std::iter::once(&mut state.best).chain(&mut state.stopping) {
            let value = self.best_predictions.figure(watched.monitor());
            watched.measured_again(value, loss);
        }
        let best = self
            .state
            .best
            .epoch()
            .and_then(|epoch| epoch.checked_sub(1));
        if let Some(metrics) = best.and_then(|at| self.state.history.get_mut(at)) {
            Measured::of(&self.best_predictions).replace_in(metrics);
        }
    }

    /// Writes a checkpoint, and the best weights where they are newer than the file.
    pub(super) fn save(&mut self) -> Result<(), TrainerError> {
        let weights = checkpoint::weights_of(self.learner.classifier());
        self.refuse_broken(&weights)?;
        self.state.seconds_total = self.clock.seconds();
        self.clock.saved = Instant::now();
        self.write_best()?;
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let (learner, state) = (&self.learner, &self.state);
        let saved = writer.save_checkpoint(self.position, state.best.epoch(), |folder| {
            checkpoint::save(folder, weights, learner, state)
        })?;
        let path = saved.path().to_path_buf();
        self.emit(Event::CheckpointSaved {
            epoch: self.position.epochs,
            path,
        })
    }

    /// A step may end in weights that are no numbers after a loss that was one; a checkpoint of these would replace the
    /// last that is worth something.
    fn refuse_broken(&self, weights: &Weights) -> Result<(), TrainerError> {
        let broken = |(name, tensor): (&String, &HostTensor)| {
            let value = tensor.values.iter().find(|value| !value.is_finite())?;
            Some((name.clone(), *value))
        };
        match weights.iter().find_map(broken) {
            None => Ok(()),
            Some((tensor, value)) => Err(TrainerError::BrokenWeights {
                epoch: self.position.epochs,
                tensor,
                value,
                kept: self.kept(),
            }),
        }
    }

    /// Returns what is left of a run that fails, as the end of a sentence.
    pub(super) fn kept(&self) -> String {
        let Some(writer) = &self.writer else {
            return String::new();
        };
        let best = self.state.best.epoch().map(|epoch| {
            let path = writer.directory().best_weights_path();
            format!(
                "; the best weights, of epoch {epoch}, are in {}",
                rekindle_files::names::show(path)
            )
        });
        let last = writer.directory().latest_checkpoint().ok().flatten();
        let last = last.map(|last| {
            format!(
                "; the last checkpoint is {}",
                rekindle_files::names::show(last.path())
            )
        });
        best.unwrap_or_default() + &last.unwrap_or_default()
    }

    /// Saves what is good of a run that fails. The error that ended it is the one to report, so those on the way out
    /// are not.
    pub(super) fn fail(mut self, error: TrainerError) -> TrainerError {
        let diverged = matches!(
            error,
            TrainerError::Diverged { .. } | TrainerError::BrokenWeights { .. }
        );
        if self.is_without_a_step() && !diverged {
            let (seconds, trainer) = (self.clock.seconds(), &mut self.trainer);
            return not_begun(self.writer, error, seconds, |event| emit(trainer, event));
        }
        let _ = self.write_best();
        let _ = self.end(if diverged {
            EndReason::Diverged
        } else {
            EndReason::Failed
        });
        match error {
            TrainerError::OutOfDeviceMemory { cause, .. } => TrainerError::OutOfDeviceMemory {
                cause,
                kept: self.kept(),
            },
            error => error,
        }
    }

    /// Returns true if nothing was learnt yet that would be worth keeping a run directory for.
    fn is_without_a_step(&self) -> bool {
        self.state.history.is_empty() && self.state.partial.images == 0
    }

    fn write_best(&mut self) -> Result<(), TrainerError> {
        if let (Some(writer), Some(weights), false) =
            (&self.writer, &self.best_weights, self.is_best_written)
        {
            let path = writer.directory().best_weights_path();
            // Probabilities that are no numbers have none.
            self.info.temperature = self.best_predictions.temperature().ok();
            let scores = ConformalScores::of_predictions(&self.best_predictions);
            self.info.conformal_scores = scores.map(|scores| scores.kept().to_vec());
            let residuals = ConformalResiduals::of_predictions(&self.best_predictions);
            self.info.residuals = residuals.map(|residuals| residuals.kept().to_vec());
            self.info.thresholds = self.best_predictions.thresholds_to_keep();
            write_weights(&path, self.learner.classifier(), weights, &self.info)?;
            writer.keep_temperature(self.info.temperature)?;
            self.is_best_written = true;
        }
        Ok(())
    }

    pub(super) fn finish(mut self, reason: EndReason) -> Result<Fitted<B>, TrainerError> {
        if reason != EndReason::Interrupted {
            self.save()?;
        }
        let outcome = self.end(reason)?;
        let weights = match self.best_weights {
            Some(weights) => weights,
            None => checkpoint::weights_of(&self.learner.in_units()?),
        };
        let classifier = checkpoint::with_weights(self.learner.classifier().valid(), &weights);
        let Trainer {
            data,
            interrupt,
            recipe,
            ..
        } = &self.trainer;
        let in_views = match self.state.best.epoch() {
            None => None,
            Some(_) => recipe
                .test_views
                .predict_beside(&classifier, data, interrupt)?,
        };
        Ok(Fitted {
            classifier,
            in_views,
            history: self.state.history,
            predictions: self.best_predictions,
            seconds_train: self.state.seconds_train,
            seconds_total: outcome.seconds,
            outcome,
            best_weights: weights,
            info: self.info,
            pace: self.trainer.pace,
            writer: self.writer,
        })
    }

    fn end(&mut self, reason: EndReason) -> Result<RunOutcome, TrainerError> {
        let accuracy = |metrics: Option<&EpochMetrics>| metrics.and_then(|m| m.valid_accuracy);
        let history = &self.state.history;
        let best_epoch = self.state.best.epoch();
        let best_accuracy = match self.trainer.data.task() {
            // By the thresholds of the file, where epochs are told by one half.
            Task::MultiLabel => best_epoch.map(|_| {
                let found = &self.best_predictions;
                found.accuracy_at(found.thresholds_to_keep().as_deref())
            }),
            _ => accuracy(best_epoch.and_then(|epoch| history.get(epoch - 1))),
        };
        let last_accuracy = match best_epoch == Some(history.len()) {
            true => best_accuracy,
            false => accuracy(history.last()),
        };
        let outcome = RunOutcome {
            reason,
            epochs: history.len(),
            best_epoch,
            best_accuracy,
            last_accuracy,
            seconds: self.clock.seconds(),
            best_weights: self
                .writer
                .as_ref()
                .map(|writer| writer.directory().best_weights_path())
                .filter(|path| path.exists()),
            directory: self
                .writer
                .as_ref()
                .map(|writer| writer.path().to_path_buf()),
        };
        self.emit(Event::RunEnded(outcome.clone()))?;
        Ok(outcome)
    }
}

/// Ends a run that has not trained a batch: tells `emit` so, and says by its error what is left. Its directory is kept
/// where it was interrupted, so that it can be resumed, and where it is older than this process; otherwise it goes, as
/// nothing is in it.
pub(crate) fn not_begun(
    writer: Option<RunWriter>,
    error: TrainerError,
    seconds: f64,
    mut emit: impl FnMut(&Event),
) -> TrainerError {
    let directory = writer.as_ref().map(|writer| writer.path().to_path_buf());
    let is_interrupted = matches!(error, TrainerError::Interrupted { .. });
    let ended = Event::RunEnded(RunOutcome {
        reason: match is_interrupted {
            true => EndReason::Interrupted,
            false => EndReason::Failed,
        },
        epochs: 0,
        best_epoch: None,
        best_accuracy: None,
        last_accuracy: None,
        seconds,
        best_weights: None,
        directory: directory.filter(|_| is_interrupted),
    });
    emit(&ended);
    let Some(mut writer) = writer else {
        return error;
    };
    // The error on the way in is the one to report.
    let _ = writer.log(&ended);
    if !is_interrupted {
        let _ = writer.discard();
        return error;
    }
    TrainerError::Interrupted {
        kept: format!(
            " before the first batch of training; {} can be resumed",
            rekindle_files::names::show(writer.path())
        ),
    }
}

/// Writes a classifier's weights under the names of a plain network.
pub(crate) fn write_weights<B: Backbone>(
    path: &Path,
    classifier: &Classifier<B>,
    weights: &Weights,
    info: &ModelInfo,
) -> Result<(), TrainerError> {
    let plain = checkpoint::plain_names(classifier, weights.clone());
    let tensors = named_tensors(plain, TensorOut::f32);
    let metadata = metadata(info, |size| classifier.backbone.description(size));
    write_safetensors(path, tensors, &metadata).map_err(TrainerError::of_writing)
}
