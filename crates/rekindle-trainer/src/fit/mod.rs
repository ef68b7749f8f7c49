//! The loop over epochs.

mod epoch;
mod keep;
mod measured;
mod validation;
mod weighing;

pub(crate) use keep::{not_begun, write_weights};

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use burn::prelude::*;
use rekindle_imagefolder::Task;
use rekindle_transfer::{Backbone, Plan};
use rekindle_weights::ModelInfo;

use crate::announce::{announce, emit, stage_summary};
use crate::calibration::calibration;
use crate::checkpoint::{LoopState, Partial, Weights};
use crate::data::eval_pipeline;
use crate::events::{EndReason, EpochMetrics, Event};
use crate::feed::Feed;
use crate::fitted::Fitted;
use crate::learner::Learner;
use crate::out_of_memory::contained_run;
use crate::predictor::Predictions;
use crate::run_directory::{Checkpoint, Position, RunWriter};
use crate::run_feeds::feeds;
use crate::trainer::Trainer;
use crate::{BestEpoch, EarlyStopping, Loss, TrainerError};
use measured::Measured;
use weighing::{class_shares, class_weights};

/// Trains, from the beginning or from a checkpoint.
pub(crate) fn run<B: Backbone>(
    trainer: Trainer<'_, B>,
    writer: Option<RunWriter>,
    from: Option<Checkpoint>,
) -> Result<Fitted<B>, TrainerError> {
    let architecture = trainer.source.architecture.clone();
    let fitted = (|| {
        let mut run = Run::prepare(trainer, writer, from.as_ref())?;
        if let Some(checkpoint) = from {
            run.restore(&checkpoint)?;
        }
        match contained_run(|| run.epochs()) {
            Ok(reason) => run.finish(reason),
            Err(error) => Err(run.fail(error)),
        }
    })();
    fitted.map_err(|error: TrainerError| error.with_architecture(&architecture))
}

/// Returns the images to measure ranges on, where the recipe wants frozen stages in eight bits.
fn calibrate<B: Backbone>(
    trainer: &Trainer<'_, B>,
) -> Result<Option<Vec<Tensor<4>>>, TrainerError> {
    if !trainer.recipe.quantize_frozen {
        return Ok(None);
    }
    let (data, device) = (&trainer.data, trainer.device.clone().without_autodiff());
    let pipeline = eval_pipeline(&data.preprocess);
    calibration(&data.train, pipeline, trainer.recipe.workers, &device).map(Some)
}

struct Run<'a, B: Backbone> {
    trainer: Trainer<'a, B>,
    writer: Option<RunWriter>,
    learner: Learner<B>,
    train: Rc<Feed>,
    val: Feed,
    info: ModelInfo,
    state: LoopState,
    position: Position,
    best_weights: Option<Weights>,
    best_predictions: Predictions,
    is_best_written: bool,
    class_weights: Option<Arc<[f32]>>,
    class_shares: Option<Arc<[f32]>>,
    clock: Clock,
}

/// Time when this process began, and when it last saved.
struct Clock {
    started: Instant,
    before: f64,
    saved: Instant,
}

impl Clock {
    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }
}

/// Parts that a run needs beside its trainer, made before the first batch.
struct Parts<B: Backbone> {
    learner: Learner<B>,
    train: Feed,
    val: Feed,
    seconds_train: f64,
    class_weights: Option<Arc<[f32]>>,
    class_shares: Option<Arc<[f32]>>,
}

impl<B: Backbone> Parts<B> {
    fn make(
        trainer: &mut Trainer<'_, B>,
        writer: &mut Option<RunWriter>,
        from: Option<&Checkpoint>,
    ) -> Result<Self, TrainerError> {
        let plan = trainer
            .strategy
            .plan(&trainer.classifier.backbone.stage_names(), 0)?;
        let class_weights = class_weights(&trainer.recipe, &trainer.data.train)?;
        announce(trainer, &plan, writer, from)?;
        let calibration = calibrate(trainer)?;
        let (train, val, seconds_train) = feeds(trainer, writer, calibration.as_deref())?;
        let adjusts = matches!(trainer.recipe.loss, Some(Loss::LogitAdjusted { .. }));
        let class_shares = adjusts.then(|| class_shares(&trainer.data.train.class_counts()));
        let classifier = trainer.classifier.clone();
        let mut learner = Learner::new(classifier, plan, &trainer.recipe, &trainer.device)?
            .with_target_scale(trainer.data.target_scale)
            .with_devices(&trainer.more_devices)?;
        if let Some(criterion) = &trainer.criterion {
            learner = learner.with_criterion(Arc::clone(criterion));
        }
        if needs_source(trainer)? {
            learner.keep_source()?;
        }
        // Kept activations have been through the frozen stages already.
        if let (Some(images), Feed::Images(_)) = (calibration, &train) {
            learner.quantize_frozen(images)?;
        }
        Ok(Self {
            learner,
            train,
            val,
            seconds_train,
            class_weights,
            class_shares,
        })
    }
}

impl<'a, B: Backbone> Run<'a, B> {
    fn prepare(
        mut trainer: Trainer<'a, B>,
        mut writer: Option<RunWriter>,
        from: Option<&Checkpoint>,
    ) -> Result<Self, TrainerError> {
        let clock = Clock {
            started: Instant::now(),
            before: 0.0,
            saved: Instant::now(),
        };
        let Parts {
            learner,
            train,
            val,
            seconds_train,
            class_weights,
            class_shares,
        } = match Parts::make(&mut trainer, &mut writer, from) {
            Ok(parts) => parts,
            Err(error) => {
                let seconds = clock.seconds();
                let emit = |event: &Event| emit(&mut trainer, event);
                return Err(not_begun(writer, error, seconds, emit));
            }
        };
        let recipe = &trainer.recipe;
        Ok(Self {
            info: trainer.model_info(),
            state: LoopState {
                best: BestEpoch::new(recipe.monitor, 0.0),
                stopping: recipe.early_stopping.as_ref().map(watch),
                history: Vec::new(),
                partial: Partial::default(),
                seconds_train,
                seconds_total: 0.0,
            },
            trainer,
            writer,
            learner,
            train: Rc::new(train),
            val,
            position: Position::default(),
            best_weights: None,
            best_predictions: Predictions::default(),
            is_best_written: true,
            class_weights,
            class_shares,
            clock,
        })
    }

    fn epochs(&mut self) -> Result<EndReason, TrainerError> {
        self.follow_pace();
        // A run that had stopped early is resumed to the same end.
        if self.position.batches == 0 && self.is_out_of_patience() {
            return Ok(EndReason::EarlyStopping);
        }
        while self.position.epochs < self.trainer.recipe.epochs {
            let plan = self.plan(self.position.epochs)?;
            self.start_stage(&plan)?;
            self.learner.follow(plan)?;
            if self.train_epoch()? || self.measure()? {
                self.save()?;
                return Ok(EndReason::Interrupted);
            }
            self.position = Position::after_epoch(self.position.epochs + 1);
            if self.clock.saved.elapsed() >= self.trainer.checkpoint_interval {
                self.save()?;
            }
            if self.is_out_of_patience() {
                return Ok(EndReason::EarlyStopping);
            }
            let is_last = self.position.epochs == self.trainer.recipe.epochs;
            if self.trainer.interrupt.requested() && !is_last {
                self.save()?;
                return Ok(EndReason::Interrupted);
            }
        }
        Ok(EndReason::Finished)
    }

    fn is_out_of_patience(&self) -> bool {
        let watched = self.state.stopping.as_ref();
        let rule = self.trainer.recipe.early_stopping.as_ref();
        watched
            .zip(rule)
            .is_some_and(|(watched, rule)| watched.should_stop(rule))
    }

    fn end_epoch(
        &mut self,
        epoch: usize,
        measured: Option<Measured>,
        valid_seconds: f64,
        best: bool,
    ) -> Result<(), TrainerError> {
        let partial = std::mem::take(&mut self.state.partial);
        self.state.seconds_train += partial.seconds;
        let images = partial.images.max(1) as f64;
        let last_batch = self.train.batches().saturating_sub(1);
        let is_number = self.trainer.data.task() == Task::Regression;
        let metrics = EpochMetrics {
            epoch,
            epochs: self.trainer.recipe.epochs,
            train_loss: partial.loss / images,
            train_accuracy: match is_number {
                true => f64::NAN,
                false => partial.correct / images,
            },
            valid_loss: measured.as_ref().map(|measured| measured.loss),
            valid_accuracy: measured.as_ref().and_then(|measured| measured.accuracy),
            figures: measured
                .map(|measured| measured.figures)
                .unwrap_or_default(),
            learning_rate: self.rate(last_batch),
            train_seconds: partial.seconds,
            valid_seconds,
            images_per_second: partial.images as f64 / partial.seconds.max(1e-9),
            best,
        };
        self.state.history.push(metrics.clone());
        self.emit(Event::EpochEnded { metrics })
    }

    fn plan(&self, epoch: usize) -> Result<Plan, TrainerError> {
        let stages = self.learner.classifier().backbone.stage_names();
        Ok(self.trainer.strategy.plan(&stages, epoch)?)
    }

    fn rate(&self, batch: usize) -> f64 {
        let recipe = &self.trainer.recipe;
        let batches = self.train.batches().max(1);
        let step = self.position.epochs * batches + batch;
        if let Some(pace) = &self.trainer.pace {
            // A schedule by the share of it that is over, in steps fine enough.
            const STEPS: usize = 100_000;
            let step = (pace.share(step) * STEPS as f64) as usize;
            return recipe.learning_rate * recipe.schedule.factor(step.min(STEPS - 1), STEPS, 1);
        }
        recipe.learning_rate * recipe.schedule.factor(step, batches, recipe.epochs)
    }

    /// Says what is frozen and what learns, where that differs from the epoch before.
    fn start_stage(&mut self, plan: &Plan) -> Result<(), TrainerError> {
        let epoch = self.position.epochs;
        if epoch > 0 && self.plan(epoch - 1)? == *plan {
            return Ok(());
        }
        let epochs = self.trainer.recipe.epochs;
        let mut last = epoch;
        while last + 1 < epochs && self.plan(last + 1)? == *plan {
            last += 1;
        }
        let summary = stage_summary(&self.trainer, plan, epoch + 1, last + 1);
        self.emit(Event::StageStarted(summary))
    }

    fn emit(&mut self, event: Event) -> Result<(), TrainerError> {
        emit(&mut self.trainer, &event);
        match &mut self.writer {
            Some(writer) => writer.log(&event),
            None => Ok(()),
        }
    }
}

/// Returns true if a later epoch penalises the distance from the source's weights and the first one doesn't.
fn needs_source<B: Backbone>(trainer: &Trainer<'_, B>) -> Result<bool, TrainerError> {
    let stages = trainer.classifier.backbone.stage_names();
    let holds = |epoch| {
        let plan = trainer.strategy.plan(&stages, epoch)?;
        Ok::<_, TrainerError>(plan.l2_sp > 0.0 || plan.feature_penalty > 0.0)
    };
    let last = trainer.recipe.epochs.saturating_sub(1);
    Ok(!holds(0)? && holds(last)?)
}

fn watch(rule: &EarlyStopping) -> BestEpoch {
    BestEpoch::new(rule.monitor, rule.min_delta)
}
