//! One classifier, one optimiser: a step of training, and predictions.

use std::sync::Arc;

use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use rekindle_transfer::objective::DomainAlignment;
use rekindle_transfer::tuning::{L2Sp, MovingAverage};
use rekindle_transfer::{Backbone, Classifier, Plan, TransferError};

use crate::feed::Batch;
use crate::loss::Criterion;
use crate::optimizer::{RateGroups, clip_norm};
use crate::out_of_memory::contained;
use crate::predictor::Predictor;
use crate::recipe::require;
use crate::replica::{Objective, Replica, outcome};
use crate::slot::Slot;
use crate::{Recipe, TargetScale, TrainerError, data_parallel};

/// Trains a classifier batch by batch.
///
/// Stages that the [`Plan`] freezes run without gradients, in the backbone's fastest way; the graph of the
/// backward pass begins behind them.
pub struct Learner<B: Backbone> {
    /// Device with autodiff.
    device: Device,
    replica: Replica<B>,
    /// Devices that the other shares of each batch go to.
    others: Vec<Device>,
    optimizer: ModuleOptimizer,
    groups: RateGroups,
    accumulator: GradientsAccumulator<Classifier<B>>,
    accumulated: usize,
    clip_norm: Option<f64>,
    accumulate: usize,
    /// The penalty on the distance from the weights as they came, where the plan has one.
    l2_sp: Option<L2Sp>,
    /// True if the backbone's weights may differ from those that it came with.
    has_moved: bool,
    average: Option<MovingAverage<Classifier<B>>>,
}

/// Result of training on one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Images whose class had the largest logit; of several labels the share of right answers, summed over the images; 0
    /// where numbers are learned.
    pub correct: f64,
    /// Images in the batch.
    pub images: usize,
}

impl<B: Backbone> Learner<B> {
    /// Creates a learner for `classifier`, moved to `device` with autodiff, under `plan`.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidRecipe`] for a recipe out of range, and
    /// [`TransferError::InvalidPlan`](rekindle_transfer::TransferError::InvalidPlan) for a plan that doesn't fit the backbone.
    pub fn new(
        classifier: Classifier<B>,
        plan: Plan,
        recipe: &Recipe,
        device: &Device,
    ) -> Result<Self, TrainerError> {
        recipe.validate()?;
        plan.check(classifier.backbone.stage_names().len())?;
        let device = device.clone().autodiff();
        let classifier = classifier.to_device(&device).train();
        let average = recipe
            .moving_average
            .map(|decay| MovingAverage::new(&classifier, decay))
            .transpose()?;
        let mut learner = Self {
            l2_sp: None,
            has_moved: false,
            average,
            device,
            others: Vec::new(),
            groups: RateGroups::new(&classifier, recipe.head_rate),
            optimizer: recipe.optimizer.init(),
            accumulator: GradientsAccumulator::new(),
            accumulated: 0,
            clip_norm: recipe.clip_norm,
            accumulate: recipe.accumulate,
            replica: Replica::new(classifier, plan.clone(), Objective::of(recipe)),
        };
        learner.hold_to_source(&plan)?;
        Ok(learner)
    }

    /// Shares each batch with `devices`: every one of them, and the learner's own first, takes an equal part of the images,
    /// and the optimiser steps on the mean gradient, as PyTorch's `DistributedDataParallel` does. Batch normalisation
    /// takes the statistics of each part by itself; the running ones are those of the first part.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidRecipe`] where frozen stages run in eight bits, which they do on one device alone.
    pub fn with_devices(mut self, devices: &[Device]) -> Result<Self, TrainerError> {
        require(
            devices.is_empty() || !self.replica.is_quantized(),
            "quantize_frozen",
            "set for several devices",
            "unset, or a single device",
        )?;
        self.others = devices
            .iter()
            .map(|device| device.clone().autodiff())
            .collect();
        Ok(self)
    }

    /// Learns numbers less a mean, over a deviation, and gives them so; by default as they are. [`TransferData::target_scale`](crate::TransferData::target_scale)
    /// is that of the training images.
    pub fn with_target_scale(mut self, scale: Option<TargetScale>) -> Self {
        self.replica.objective.scale = scale;
        self
    }

    /// Minimises a loss of your own in place of the recipe's.
    pub fn with_criterion(mut self, criterion: Arc<dyn Criterion>) -> Self {
        self.replica.objective.criterion = Some(criterion);
        self
    }

    /// Runs frozen stages in eight bits from now on; ranges of activations are measured on the images in `calibration`,
    /// batches on a device without autodiff, and measured again where other stages are frozen.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidRecipe`] where the plan freezes nothing or batches are shared with other devices, and
    /// those of [`Backbone::quantize`].
    pub fn quantize_frozen(&mut self, calibration: Vec<Tensor<4>>) -> Result<(), TrainerError> {
        let refuse = |found: &str, expected| require(false, "quantize_frozen", found, expected);
        if self.replica.plan.frozen_stages == 0 {
            return refuse(
                "set with a strategy that trains every stage",
                "unset, or a strategy that freezes stages: weights that move can't be rounded once",
            );
        }
        if !self.others.is_empty() {
            return refuse("set for several devices", "unset, or a single device");
        }
        self.replica.quantize(calibration)
    }

    /// Goes on under `plan`, as if the learner had been made with it: what is frozen, what learns in the rest and how
    /// fast, and how strongly it is held to the weights as they came. Nothing happens where it already holds.
    ///
    /// # Errors
    ///
    /// [`TransferError::InvalidPlan`](rekindle_transfer::TransferError::InvalidPlan) for a plan that doesn't fit the
    /// backbone, or that begins to hold a backbone to weights that have moved already; call
    /// [`keep_source`](Self::keep_source) before the first batch where that is to come.
    pub fn follow(&mut self, plan: Plan) -> Result<(), TrainerError> {
        plan.check(self.classifier().backbone.stage_names().len())?;
        self.hold_to_source(&plan)?;
        self.replica.follow(plan);
        Ok(())
    }

    /// Keeps the backbone's weights as they stand, for a later plan that pulls back to them. Costs their memory once more.
    ///
    /// # Errors
    ///
    /// As [`follow`](Self::follow), where the weights have moved already.
    pub fn keep_source(&mut self) -> Result<(), TrainerError> {
        self.keep_l2_sp(0.0)?;
        self.keep_reference()
    }

    /// Keeps what `plan` measures against.
    fn hold_to_source(&mut self, plan: &Plan) -> Result<(), TrainerError> {
        if plan.l2_sp > 0.0 || self.l2_sp.is_some() {
            self.keep_l2_sp(plan.l2_sp)?;
        }
        if plan.feature_penalty > 0.0 {
            self.keep_reference()?;
        }
        Ok(())
    }

    fn keep_l2_sp(&mut self, strength: f64) -> Result<(), TrainerError> {
        self.l2_sp = Some(match self.l2_sp.take() {
            Some(l2_sp) => l2_sp.with_strength(strength)?,
            None => {
                self.refuse_moved("l2_sp")?;
                L2Sp::new(&self.classifier().backbone, strength)?
            }
        });
        Ok(())
    }

    fn keep_reference(&mut self) -> Result<(), TrainerError> {
        if !self.replica.has_source() {
            self.refuse_moved("feature_penalty")?;
            self.replica.keep_source();
        }
        Ok(())
    }

    fn refuse_moved(&self, parameter: &'static str) -> Result<(), TrainerError> {
        if !self.has_moved {
            return Ok(());
        }
        Err(TransferError::InvalidPlan {
            parameter,
            found: "above 0 after the weights have moved".into(),
            expected: "to hold from the first batch on, or a call of `keep_source` before it"
                .into(),
        }
        .into())
    }

    /// Returns the classifier, on a device with autodiff.
    pub fn classifier(&self) -> &Classifier<B> {
        &self.replica.classifier
    }

    /// Replaces the classifier's weights, such as by those of a checkpoint. A moving average stays as it is.
    pub fn set_classifier(&mut self, classifier: Classifier<B>) {
        self.groups = RateGroups::new(&classifier, self.groups.head_rate());
        self.has_moved = true;
        self.replica.set_classifier(classifier);
    }

    /// Returns the classifier that is worth keeping, without autodiff: the moving average where the recipe has one,
    /// else the weights as they stand.
    pub fn averaged(&self) -> Classifier<B> {
        match &self.average {
            Some(average) => average.module().valid(),
            None => self.classifier().valid(),
        }
    }

    /// Returns the moving average, where the recipe has one.
    pub fn moving_average(&self) -> Option<&MovingAverage<Classifier<B>>> {
        self.average.as_ref()
    }

    /// Takes over a moving average, such as that of a checkpoint.
    pub fn set_moving_average(&mut self, average: MovingAverage<Classifier<B>>) {
        self.average = Some(average);
    }

    /// Returns the plan that holds.
    pub fn plan(&self) -> &Plan {
        &self.replica.plan
    }

    /// Returns the optimiser with its state.
    pub fn optimizer(&self) -> &ModuleOptimizer {
        &self.optimizer
    }

    /// Takes over an optimiser with a saved state.
    pub fn set_optimizer(&mut self, optimizer: ModuleOptimizer) {
        self.optimizer = optimizer;
    }

    /// Makes what the network draws in the next batches (dropout, drop path) a function of `seed`.
    pub fn seed_draws(&self, seed: u64) {
        self.classifier().backbone.seed_draws(seed);
    }

    /// Logits `[n, classes]` of a batch with the graph of a backward pass behind the frozen part.
    ///
    /// # Errors
    ///
    /// Images that don't fit the network.
    pub fn logits(&self, batch: &Batch) -> Result<Tensor<2>, TrainerError> {
        self.replica.logits(batch)
    }

    /// Loss and gradients of one batch, without a step.
    ///
    /// # Errors
    ///
    /// As [`logits`](Self::logits).
    pub fn gradients(&self, batch: &Batch) -> Result<(StepOutcome, GradientsParams), TrainerError> {
        let share = 1.0 / self.accumulate as f64;
        if self.others.is_empty() {
            return self.replica.gradients(batch, share);
        }
        data_parallel::gradients(&self.replica, &self.others, batch, share)
    }

    /// Makes one step on a batch with labels and one without (`target`, whose labels are not looked at), by cross
    /// entropy plus the loss of `alignment` between the two; `progress` runs from 0 to 1 over the training. The
    /// optimiser steps at once, whatever the recipe accumulates. Both batches go through the network one after the
    /// other, so that each domain is normalised by its own statistics.
    ///
    /// # Errors
    ///
    /// As [`train_batch`](Self::train_batch), a batch too small for the objective, and [`TrainerError::InvalidRecipe`] for
    /// a learner that shares its batches.
    pub fn train_batch_towards(
        &mut self,
        batch: &Batch,
        target: &Batch,
        alignment: &mut DomainAlignment,
        progress: f64,
        learning_rate: f64,
    ) -> Result<StepOutcome, TrainerError> {
        require(
            self.others.is_empty(),
            "more_devices",
            format!("{} with an alignment", self.others.len()),
            "none: both domains go through one device",
        )?;
        let device = self.device.clone();
        contained_step(&device, batch, || {
            let (of_source, penalty) = self.replica.view(batch)?;
            let (of_target, _) = self.replica.view(target)?;
            let mut loss = self.replica.loss(&of_source, batch)
                + alignment.loss(of_source.clone(), of_target, progress)?;
            if let Some(penalty) = penalty {
                loss = loss + penalty;
            }
            let outcome = outcome(loss.clone(), of_source, batch)?;
            if outcome.loss.is_finite() {
                let mut grads = loss.backward();
                alignment.step(&mut grads, learning_rate);
                let grads = GradientsParams::from_module(&mut grads, &*self.replica.classifier);
                self.step(grads, learning_rate);
            }
            Ok(outcome)
        })
    }

    /// Returns true if every gradient so far has gone into a step.
    pub fn is_between_steps(&self) -> bool {
        self.accumulated == 0
    }

    /// Trains on one batch at `learning_rate`; the optimiser steps when enough batches are accumulated. Nothing moves
    /// where the loss is no number.
    ///
    /// # Errors
    ///
    /// As [`logits`](Self::logits), [`TrainerError::OutOfDeviceMemory`] and [`TrainerError::Device`]. A device works ahead:
    /// what went wrong in one step may be told by the next.
    pub fn train_batch(
        &mut self,
        batch: &Batch,
        learning_rate: f64,
    ) -> Result<StepOutcome, TrainerError> {
        let device = self.device.clone();
        contained_step(&device, batch, || self.one_step(batch, learning_rate))
    }

    fn one_step(&mut self, batch: &Batch, learning_rate: f64) -> Result<StepOutcome, TrainerError> {
        let (outcome, grads) = self.gradients(batch)?;
        if !outcome.loss.is_finite() {
            return Ok(outcome);
        }
        self.apply(grads, learning_rate);
        Ok(outcome)
    }

    /// Applies gradients of any loss of [`classifier`](Self::classifier) at `learning_rate`, as
    /// [`train_batch`](Self::train_batch) applies those of its own: clipped, accumulated, at the plan's rates, into the
    /// moving average.
    ///
    /// Divide a loss of your own by the recipe's `accumulate` first. Gradients of frozen stages must not be among them:
    /// [`logits`](Self::logits) has none.
    ///
    /// ```
    /// # use rekindle_trainer::{Learner, TrainerError, feed::Batch};
    /// # use rekindle_transfer::Backbone;
    /// use rekindle_trainer::burn::optim::GradientsParams;
    ///
    /// /// Trains by the mean square of the logits.
    /// fn step<B: Backbone>(learner: &mut Learner<B>, batch: &Batch) -> Result<(), TrainerError> {
    ///     let loss = learner.logits(batch)?.square().mean();
    ///     let gradients = GradientsParams::from_grads(loss.backward(), learner.classifier());
    ///     learner.apply(gradients, 1e-3);
    ///     Ok(())
    /// }
    /// ```
    pub fn apply(&mut self, gradients: GradientsParams, learning_rate: f64) {
        if self.accumulate == 1 {
            return self.step(gradients, learning_rate);
        }
        self.accumulator
            .accumulate(&*self.replica.classifier, gradients);
        self.accumulated += 1;
        if self.accumulated == self.accumulate {
            self.flush(learning_rate);
        }
    }

    /// Steps with whatever gradients are accumulated: at the end of an epoch.
    pub fn flush(&mut self, learning_rate: f64) {
        if self.accumulated > 0 {
            self.accumulated = 0;
            let grads = self.accumulator.grads();
            self.step(grads, learning_rate);
        }
    }

    fn step(&mut self, mut grads: GradientsParams, learning_rate: f64) {
        if let Some(max_norm) = self.clip_norm {
            clip_norm(&*self.replica.classifier, &mut grads, max_norm);
        }
        let Replica {
            classifier, plan, ..
        } = &mut self.replica;
        let rates = self.groups.learning_rate(learning_rate, plan);
        self.has_moved |= plan.frozen_stages < plan.stage_rates.len();
        let optimizer = &mut self.optimizer;
        if is_cpu(&self.device) {
            classifier.change(|classifier| optimizer.step(rates, classifier, grads));
        } else {
            // A step that runs out of the device's memory leaves the classifier as it was.
            *classifier = Slot::new(optimizer.step(rates, classifier.clone(), grads));
        }
        if let Some(l2_sp) = self.l2_sp.as_ref().filter(|_| plan.l2_sp > 0.0) {
            let names = classifier.backbone.clone();
            let rate_of = |path: &str| learning_rate * plan.stage_rates[names.stage_of(path)];
            classifier.backbone = l2_sp.apply(names.clone(), rate_of);
        }
        if let Some(average) = &mut self.average {
            average.update(&**classifier);
        }
    }

    /// Returns the [averaged](Self::averaged) classifier as it is to be used: numbers that were learned standardised are given in
    /// their own units.
    pub(crate) fn in_units(&self) -> Result<Classifier<B>, TrainerError> {
        match self.replica.objective.scale {
            Some(scale) => scale.in_units(self.averaged()),
            None => Ok(self.averaged()),
        }
    }

    /// Returns the [averaged](Self::averaged) classifier, ready to predict.
    pub fn predictor(&self) -> Predictor<B> {
        Predictor::new(&self.averaged())
    }
}

/// Runs a step. On the CPU it runs on one of rayon's own threads, which then hands no kernel over and waits for none.
fn contained_step<T: Send>(
    device: &Device,
    batch: &Batch,
    step: impl FnOnce() -> Result<T, TrainerError> + Send,
) -> Result<T, TrainerError> {
    contained(true, &batch.x, || match is_cpu(device) {
        true => rayon::scope(|_| step()),
        false => step(),
    })
}

/// Returns true if steps run on rayon's threads.
#[cfg(feature = "flex")]
fn is_cpu(device: &Device) -> bool {
    device.clone().without_autodiff() == Device::flex()
}

#[cfg(not(feature = "flex"))]
fn is_cpu(_: &Device) -> bool {
    false
}
