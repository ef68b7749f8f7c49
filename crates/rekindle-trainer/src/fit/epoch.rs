//! Trains one epoch, batch by batch.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rekindle_files::names::show;
use rekindle_imagefolder::Task;
use rekindle_imagefolder::rng::{SampleRng, Stream};
use rekindle_transfer::Backbone;

use super::Run;
use crate::TrainerError;
use crate::events::Event;
use crate::feed::{Batch, Feed};

impl<B: Backbone> Run<'_, B> {
    /// Makes one pass over the training images; true where it was interrupted.
    pub(super) fn train_epoch(&mut self) -> Result<bool, TrainerError> {
        let epoch = self.position.epochs;
        let (batches, images) = (self.train.batches(), self.train.images());
        self.emit(Event::EpochStarted {
            epoch: epoch + 1,
            epochs: self.trainer.recipe.epochs,
            batches,
            images,
        })?;
        let begun = Instant::now();
        let before = self.state.partial.seconds;
        let feed = Rc::clone(&self.train);
        let interrupted = self.train_batches(&feed, begun, before)?;
        self.refuse_nothing("training images", self.state.partial.images, images)?;
        self.state.partial.seconds = before + begun.elapsed().as_secs_f64();
        if !interrupted {
            let rate = self.rate(batches.saturating_sub(1));
            self.learner.flush(rate);
        }
        Ok(interrupted)
    }

    fn train_batches(
        &mut self,
        feed: &Feed,
        begun: Instant,
        before: f64,
    ) -> Result<bool, TrainerError> {
        let epoch = self.position.epochs;
        let device = self.trainer.device.clone();
        if self.position.batches >= feed.batches() {
            return Ok(false); // Interrupted in validation.
        }
        for batch in feed.epoch_from(epoch, self.position.batches, &device) {
            let mut batch = batch?;
            self.balance(&mut batch);
            for skipped in &batch.skipped {
                self.emit(Event::SkippedFile {
                    path: skipped.path.clone(),
                    reason: skipped.reason.clone(),
                })?;
            }
            if batch.indices.is_empty() {
                continue;
            }
            let rate = self.rate(batch.number);
            self.position.batches = batch.number + 1;
            let key = [epoch as u64, batch.number as u64];
            let mut drawn = SampleRng::keyed(self.trainer.recipe.seed, Stream::Network, &key);
            self.learner.seed_draws(drawn.bits());
            let outcome = self.learner.train_batch(&batch, rate)?;
            if !outcome.loss.is_finite() {
                return Err(TrainerError::Diverged {
                    epoch: epoch + 1,
                    batch: self.position.batches,
                    loss: outcome.loss,
                    files: files(feed, &batch.indices),
                    kept: self.kept(),
                });
            }
            let partial = &mut self.state.partial;
            partial.loss += outcome.loss * outcome.images as f64;
            partial.correct += outcome.correct;
            partial.images += outcome.images;
            partial.seconds = before + begun.elapsed().as_secs_f64();
            self.emit(Event::BatchEnded {
                epoch: epoch + 1,
                batch: self.position.batches,
                images: outcome.images,
                loss: outcome.loss,
                learning_rate: rate,
            })?;
            if self.is_time_over() {
                return Ok(false);
            }
            // After the last batch, validation stops at once.
            if self.trainer.interrupt.requested()
                && self.learner.is_between_steps()
                && self.position.batches < feed.batches()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Bad files are left out; an epoch of none but these taught nothing.
    pub(super) fn refuse_nothing(
        &self,
        what: &str,
        seen: usize,
        of: usize,
    ) -> Result<(), TrainerError> {
        if seen > 0 {
            return Ok(());
        }
        Err(TrainerError::UnusableData {
            what: what.to_string(),
            found: format!(
                "none of {of} could be read in epoch {}",
                self.position.epochs + 1
            ),
            advice: "see that the folder is still there, then resume the run",
        })
    }

    /// Weighs each image by its class, where the recipe asks for it.
    pub(super) fn balance(&self, batch: &mut Batch) {
        batch.targets.class_shares = self.class_shares.clone();
        if let Some(by_class) = &self.class_weights {
            let targets = &mut batch.targets;
            if targets.task == Task::MultiLabel {
                targets.positive_weights = Some(Arc::clone(by_class));
                return;
            }
            let own = targets.weights.take();
            let weight = |(position, label): (usize, &usize)| {
                by_class[*label] * own.as_ref().map_or(1.0, |own| own[position])
            };
            targets.weights = Some(targets.labels.iter().enumerate().map(weight).collect());
        }
    }

    /// Steps that are done.
    pub(super) fn steps(&self) -> usize {
        self.position.epochs * self.train.batches() + self.position.batches
    }

    /// Makes the epochs those that the pace plans.
    pub(super) fn follow_pace(&mut self) {
        let batches = self.train.batches().max(1);
        if let Some(pace) = &self.trainer.pace {
            self.trainer.recipe.epochs = pace.steps().div_ceil(batches);
        }
    }

    /// Returns true if the step just made is the last that the clock allows.
    pub(super) fn is_time_over(&mut self) -> bool {
        let done = self.steps();
        let Some(pace) = &mut self.trainer.pace else {
            return false;
        };
        pace.advance(done);
        let is_over = done >= pace.steps();
        self.follow_pace();
        is_over
    }
}

/// Returns the files of a batch, for an error message.
fn files(feed: &Feed, indices: &[usize]) -> String {
    let dataset = feed.dataset();
    let names: Vec<String> = indices
        .iter()
        .map(|index| match dataset.path(*index) {
            Some(path) => show(path),
            None => format!("image {index}"),
        })
        .collect();
    names.join(", ")
}
