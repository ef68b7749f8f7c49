//! One classifier, one optimiser: a step of training, and predictions.

use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use burn::tensor::activation::softmax;
use rekindle_resnet::state_dict;
use rekindle_transfer::backbone::check_channels;
use rekindle_transfer::objective::{DomainAlignment, DomainView};
use rekindle_transfer::tuning::{L2Sp, feature_map_penalty};
use rekindle_transfer::{Backbone, Classifier, FrozenPrefix, Plan, tuning};

use crate::feed::{Batch, Batches};
use crate::loss::{Targets, cross_entropy};
use crate::optimizer::{RateGroups, clip_norm};
use crate::{Recipe, TrainerError};

/// Trains a classifier batch by batch.
///
/// Stages that the [`Plan`] freezes run without gradients, in the backbone's fastest way; the graph of the
/// backward pass begins behind them.
pub struct Learner<B: Backbone> {
    classifier: Classifier<B>,
    optimizer: ModuleOptimizer,
    plan: Plan,
    prefix: FrozenPrefix<B>,
    groups: RateGroups,
    accumulator: GradientsAccumulator<Classifier<B>>,
    accumulated: usize,
    settings: Settings,
    /// The backbone as it came, where the plan measures against it.
    source: Option<B>,
    pull: Option<L2Sp>,
}

struct Settings {
    label_smoothing: f64,
    clip_norm: Option<f64>,
    accumulate: usize,
}

/// What one batch of training gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Images whose class had the largest logit.
    pub correct: usize,
    /// Images in the batch.
    pub images: usize,
}

impl<B: Backbone> Learner<B> {
    /// A learner for `classifier`, moved to `device` with autodiff, under `plan`.
    pub fn new(classifier: Classifier<B>, plan: Plan, recipe: &Recipe, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let classifier = tuning::apply(classifier.to_device(&device).train(), &plan);
        let source = (plan.feature_penalty > 0.0).then(|| separate(&classifier.backbone));
        let pull = (plan.pull_to_source > 0.0)
            .then(|| L2Sp::new(&classifier.backbone, plan.pull_to_source).ok())
            .flatten();
        Self {
            source,
            pull,
            prefix: FrozenPrefix::new(&classifier.backbone, plan.frozen_stages),
            groups: RateGroups::new(&classifier),
            optimizer: recipe.optimizer.init(),
            accumulator: GradientsAccumulator::new(),
            accumulated: 0,
            settings: Settings {
                label_smoothing: recipe.label_smoothing,
                clip_norm: recipe.clip_norm,
                accumulate: recipe.accumulate,
            },
            classifier,
            plan,
        }
    }

    /// Freezes and thaws as `plan` says; nothing happens where it already holds.
    pub fn follow(&mut self, plan: Plan) {
        if plan.frozen_stages != self.plan.frozen_stages {
            self.classifier = tuning::apply(self.classifier.clone(), &plan);
            self.prefix = FrozenPrefix::new(&self.classifier.backbone, plan.frozen_stages);
        }
        self.plan = plan;
    }

    /// The classifier, on a device with autodiff.
    pub fn classifier(&self) -> &Classifier<B> {
        &self.classifier
    }

    /// Replaces the classifier's weights, such as by those of a checkpoint.
    pub fn set_classifier(&mut self, classifier: Classifier<B>) {
        self.classifier = tuning::apply(classifier, &self.plan);
        self.prefix = FrozenPrefix::new(&self.classifier.backbone, self.plan.frozen_stages);
    }

    /// The plan that holds.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The optimiser with its state.
    pub fn optimizer(&self) -> &ModuleOptimizer {
        &self.optimizer
    }

    /// Takes over an optimiser with a saved state.
    pub fn set_optimizer(&mut self, optimizer: ModuleOptimizer) {
        self.optimizer = optimizer;
    }

    /// Logits `[n, classes]` of a batch with the graph of a backward pass behind the frozen part.
    ///
    /// # Errors
    ///
    /// Images that don't fit the network.
    pub fn logits(&self, batch: &Batch) -> Result<Tensor<2>, TrainerError> {
        let (start, x) = self.behind_frozen(batch)?;
        Ok(self.classifier.forward_from(start, x))
    }

    /// Loss and gradients of one batch, without a step.
    ///
    /// # Errors
    ///
    /// As [`logits`](Self::logits).
    pub fn gradients(&self, batch: &Batch) -> Result<(StepOutcome, GradientsParams), TrainerError> {
        let (view, penalty) = self.view(batch)?;
        let mut loss = self.cross_entropy(&view, batch);
        if let Some(penalty) = penalty {
            loss = loss + penalty;
        }
        let grads = loss
            .clone()
            .div_scalar(self.settings.accumulate as f64)
            .backward();
        let grads = GradientsParams::from_grads(grads, &self.classifier);
        Ok((outcome(loss, view, batch), grads))
    }

    /// One step on a batch with labels and one without (`target`, whose labels are not looked at), by cross entropy plus
    /// the loss of `alignment` between the two; `progress` runs from 0 to 1 over the training. The optimiser steps at
    /// once, whatever the recipe accumulates. Both batches go through the network one after the other, so that each
    /// domain is normalised by its own statistics.
    ///
    /// # Errors
    ///
    /// As [`logits`](Self::logits), and a batch too small for the objective.
    pub fn train_batch_towards(
        &mut self,
        batch: &Batch,
        target: &Batch,
        alignment: &mut DomainAlignment,
        progress: f64,
        learning_rate: f64,
    ) -> Result<StepOutcome, TrainerError> {
        let (of_source, penalty) = self.view(batch)?;
        let (of_target, _) = self.view(target)?;
        let mut loss = self.cross_entropy(&of_source, batch)
            + alignment.loss(of_source.clone(), of_target, progress)?;
        if let Some(penalty) = penalty {
            loss = loss + penalty;
        }
        let outcome = outcome(loss.clone(), of_source, batch);
        if outcome.loss.is_finite() {
            let mut grads = loss.backward();
            alignment.step(&mut grads, learning_rate);
            let grads = GradientsParams::from_module(&mut grads, &self.classifier);
            self.step(grads, learning_rate);
        }
        Ok(outcome)
    }

    /// Features and logits of a batch, and what the plan asks of its feature maps.
    fn view(&self, batch: &Batch) -> Result<(DomainView, Option<Tensor<1>>), TrainerError> {
        let (start, x) = self.behind_frozen(batch)?;
        let backbone = &self.classifier.backbone;
        let stages = backbone.stage_names().len();
        let (features, penalty) = match &self.source {
            Some(source) if start < stages => {
                let reference = source.forward_stages(start, stages, x.clone().inner());
                let maps = backbone.forward_stages(start, stages, x);
                let penalty =
                    feature_map_penalty(maps.clone(), Tensor::from_inner(reference), None)?;
                let penalty = penalty.mul_scalar(self.plan.feature_penalty);
                (backbone.pool(maps), Some(penalty))
            }
            _ => (backbone.pool_stages(start, x), None),
        };
        let logits = self.classifier.head.forward(features.clone());
        Ok((DomainView { features, logits }, penalty))
    }

    fn cross_entropy(&self, view: &DomainView, batch: &Batch) -> Tensor<1> {
        let smoothing = self.settings.label_smoothing;
        cross_entropy(view.logits.clone(), &batch.targets, smoothing)
    }

    /// One batch of training at `learning_rate`; the optimiser steps when enough batches are accumulated.
    /// Nothing moves where the loss is no number.
    ///
    /// # Errors
    ///
    /// As [`logits`](Self::logits).
    pub fn train_batch(
        &mut self,
        batch: &Batch,
        learning_rate: f64,
    ) -> Result<StepOutcome, TrainerError> {
        let (outcome, grads) = self.gradients(batch)?;
        if !outcome.loss.is_finite() {
            return Ok(outcome);
        }
        if self.settings.accumulate == 1 {
            self.step(grads, learning_rate);
            return Ok(outcome);
        }
        self.accumulator.accumulate(&self.classifier, grads);
        self.accumulated += 1;
        if self.accumulated == self.settings.accumulate {
            self.flush(learning_rate);
        }
        Ok(outcome)
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
        if let Some(max_norm) = self.settings.clip_norm {
            clip_norm(&self.classifier, &mut grads, max_norm);
        }
        let rates = self.groups.learning_rate(learning_rate, &self.plan);
        self.classifier = self.optimizer.step(rates, self.classifier.clone(), grads);
        if let Some(pull) = &self.pull {
            let names = self.classifier.backbone.clone();
            let rate_of = |path: &str| learning_rate * self.plan.stage_rates[names.stage_of(path)];
            self.classifier.backbone = pull.pull(names.clone(), rate_of);
        }
    }

    fn behind_frozen(&self, batch: &Batch) -> Result<(usize, Tensor<4>), TrainerError> {
        let frozen = self.plan.frozen_stages;
        let x = batch.x.clone();
        if batch.start >= frozen {
            if batch.start == 0 {
                check_channels(&self.classifier.backbone, &x)?;
            }
            return Ok((batch.start, Tensor::from_inner(x)));
        }
        let x = if batch.start == 0 {
            self.prefix.forward(x)?
        } else {
            let backbone = self.classifier.backbone.valid();
            backbone.forward_stages(batch.start, frozen, x)
        };
        Ok((frozen, Tensor::from_inner(x)))
    }

    /// The classifier as it stands, ready to predict.
    pub fn predictor(&self) -> Predictor<B> {
        Predictor::new(&self.classifier)
    }
}

/// A classifier prepared for predicting: no gradients, batch normalisation by running statistics.
pub struct Predictor<B: Backbone> {
    classifier: Classifier<B>,
}

/// What a classifier says of a set of images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Number of classes.
    pub classes: usize,
    /// Probabilities `[n, classes]`, row-major.
    pub probabilities: Vec<f32>,
    /// The true class of each.
    pub labels: Vec<usize>,
    /// Positions in the data set.
    pub indices: Vec<usize>,
    /// Mean cross entropy.
    pub loss: f64,
}

impl<B: Backbone> Predictor<B> {
    /// Prepares `classifier` as it stands.
    pub fn new(classifier: &Classifier<B>) -> Self {
        Self {
            classifier: classifier.valid(),
        }
    }

    /// Logits `[n, classes]` of a batch.
    ///
    /// # Errors
    ///
    /// Images that don't fit the network.
    pub fn logits(&self, batch: &Batch) -> Result<Tensor<2>, TrainerError> {
        if batch.start == 0 {
            check_channels(&self.classifier.backbone, &batch.x)?;
        }
        Ok(self.classifier.forward_from(batch.start, batch.x.clone()))
    }

    /// Probabilities and mean loss over all `batches`; `progress` hears of each batch's size.
    ///
    /// # Errors
    ///
    /// The first error that a batch brings.
    pub fn predict(
        &self,
        batches: Batches<'_>,
        mut progress: impl FnMut(usize),
    ) -> Result<Predictions, TrainerError> {
        let mut found = Predictions {
            classes: self.classifier.num_classes(),
            ..Predictions::default()
        };
        let mut total = 0.0;
        for batch in batches {
            let batch = batch?;
            let count = batch.indices.len();
            if count == 0 {
                continue;
            }
            let logits = self.logits(&batch)?;
            let loss = cross_entropy(logits.clone(), &batch.targets, 0.0);
            total += f64::from(loss.into_scalar::<f32>()) * count as f64;
            found.probabilities.extend(host(softmax(logits, 1)));
            found.labels.extend(batch.targets.labels);
            found.indices.extend(batch.indices);
            progress(count);
        }
        found.loss = total / found.labels.len().max(1) as f64;
        Ok(found)
    }
}

impl Predictions {
    /// The most probable class of each image and its probability.
    pub fn top(&self) -> Vec<(usize, f32)> {
        self.probabilities
            .chunks_exact(self.classes.max(1))
            .map(largest)
            .collect()
    }

    /// Share of images whose most probable class is the true one; NaN without images.
    pub fn accuracy(&self) -> f64 {
        let top = self.top();
        let correct = top
            .iter()
            .zip(&self.labels)
            .filter(|(top, label)| top.0 == **label);
        correct.count() as f64 / self.labels.len() as f64
    }
}

/// A copy for inference whose running statistics don't follow those of `backbone`, as a clone's would.
fn separate<B: Backbone>(backbone: &B) -> B {
    let mut values = state_dict::collect(backbone);
    state_dict::assign(backbone.valid(), |name| {
        values.remove(name).map(|tensor| tensor.values)
    })
}

fn outcome(loss: Tensor<1>, view: DomainView, batch: &Batch) -> StepOutcome {
    StepOutcome {
        loss: f64::from(loss.into_scalar::<f32>()),
        correct: count_correct(&host(view.logits.detach()), &batch.targets),
        images: batch.indices.len(),
    }
}

fn count_correct(logits: &[f32], targets: &Targets) -> usize {
    let classes = logits.len() / targets.labels.len().max(1);
    logits
        .chunks_exact(classes.max(1))
        .zip(&targets.labels)
        .filter(|(row, label)| largest(row).0 == **label)
        .count()
}

/// Position and value of the largest number; the first among equals.
fn largest(row: &[f32]) -> (usize, f32) {
    row.iter()
        .copied()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, next| {
            if next.1 > best.1 { next } else { best }
        })
}

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
