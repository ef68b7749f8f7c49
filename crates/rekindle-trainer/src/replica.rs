//! A classifier on one device: its forward pass and its gradients under a plan.

use std::sync::{Arc, OnceLock};

use burn::optim::GradientsParams;
use burn::prelude::*;
use rekindle_imagefolder::Task;
use rekindle_transfer::backbone::check_channels;
use rekindle_transfer::objective::DomainView;
use rekindle_transfer::tuning::feature_map_penalty;
use rekindle_transfer::{Backbone, Classifier, Entry, FrozenPrefix, Plan, tuning};
use rekindle_weights::state_dict;

use crate::calibration::prefix;
use crate::feed::Batch;
use crate::learner::StepOutcome;
use crate::loss::{Criterion, Loss, Targets};
use crate::out_of_memory::{host, scalar};
use crate::predictor::largest;
use crate::slot::Slot;
use crate::{Recipe, TargetScale, TrainerError};

/// Stages that the plan freezes run without gradients, in the backbone's fastest way; the graph of the backward pass
/// begins behind them.
pub(crate) struct Replica<B: Backbone> {
    pub classifier: Slot<Classifier<B>>,
    pub plan: Plan,
    /// Made when it is first needed, and anew when other stages are frozen.
    prefix: OnceLock<FrozenPrefix<B>>,
    /// Images to measure ranges on, where frozen stages run in eight bits.
    calibration: Option<Vec<Tensor<4>>>,
    /// The backbone as it came, where the plan measures against it.
    source: Option<B>,
    pub objective: Objective,
}

/// What is minimised.
#[derive(Clone)]
pub(crate) struct Objective {
    /// In place of the loss.
    pub criterion: Option<Arc<dyn Criterion>>,
    /// None for the loss of the batches' task.
    pub loss: Option<Loss>,
    pub label_smoothing: f64,
    /// What numbers are standardised by; none where they are learned as they are.
    pub scale: Option<TargetScale>,
}

impl Objective {
    pub fn of(recipe: &Recipe) -> Self {
        Self {
            criterion: None,
            loss: recipe.loss,
            label_smoothing: recipe.label_smoothing,
            scale: None,
        }
    }
}

impl<B: Backbone> Replica<B> {
    pub fn new(classifier: Classifier<B>, plan: Plan, objective: Objective) -> Self {
        Self {
            source: None,
            prefix: OnceLock::new(),
            calibration: None,
            classifier: Slot::new(tuning::apply(classifier, &plan)),
            plan,
            objective,
        }
    }

    /// The same on another device (with autodiff), or once more on the same: its running statistics go their own way.
    pub fn on(&self, device: &Device) -> Self {
        let plain = device.clone().without_autodiff();
        let source = self.source.clone();
        Self {
            source: source.map(|source| source.to_device(&plain)),
            ..Self::new(
                self.classifier.valid().to_device(device).train(),
                self.plan.clone(),
                self.objective.clone(),
            )
        }
    }

    /// Keeps the backbone as it stands, for plans that measure against it.
    pub fn keep_source(&mut self) {
        self.source
            .get_or_insert_with(|| separate(&self.classifier.backbone));
    }

    pub fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Freezes and thaws as `plan` says, and takes over all else that it holds.
    pub fn follow(&mut self, plan: Plan) {
        if plan == self.plan {
            return;
        }
        self.classifier
            .change(|classifier| tuning::apply(classifier, &plan));
        // The weights of stages that were thawed have moved.
        if plan.frozen_stages != self.plan.frozen_stages {
            self.prefix = OnceLock::new();
        }
        self.plan = plan;
    }

    pub fn set_classifier(&mut self, classifier: Classifier<B>) {
        self.classifier = Slot::new(tuning::apply(classifier, &self.plan));
        self.prefix = OnceLock::new();
    }

    /// Runs frozen stages in eight bits from now on.
    pub fn quantize(&mut self, calibration: Vec<Tensor<4>>) -> Result<(), TrainerError> {
        self.calibration = Some(calibration);
        self.prefix = OnceLock::new();
        self.prefix().map(drop)
    }

    pub fn is_quantized(&self) -> bool {
        self.calibration.is_some()
    }

    fn prefix(&self) -> Result<&FrozenPrefix<B>, TrainerError> {
        if let Some(prefix) = self.prefix.get() {
            return Ok(prefix);
        }
        let (backbone, stages) = (&self.classifier.backbone, self.plan.frozen_stages);
        let prefix = prefix(backbone, stages, self.calibration.as_deref())?;
        Ok(self.prefix.get_or_init(|| prefix))
    }

    /// Logits `[n, classes]` with the graph of a backward pass behind the frozen part.
    pub fn logits(&self, batch: &Batch) -> Result<Tensor<2>, TrainerError> {
        let (entry, x) = self.behind_frozen(batch)?;
        Ok(self.classifier.forward_from(entry, x)?)
    }

    /// The loss of a batch, and the gradients of `share` times it.
    pub fn gradients(
        &self,
        batch: &Batch,
        share: f64,
    ) -> Result<(StepOutcome, GradientsParams), TrainerError> {
        let (view, penalty) = self.view(batch)?;
        let mut loss = self.loss(&view, batch);
        if let Some(penalty) = penalty {
            loss = loss + penalty;
        }
        let grads = loss.clone().mul_scalar(share).backward();
        let grads = GradientsParams::from_grads(grads, &*self.classifier);
        Ok((outcome(loss, view, batch)?, grads))
    }

    /// Features and logits of a batch, and what the plan asks of its feature maps.
    pub fn view(&self, batch: &Batch) -> Result<(DomainView, Option<Tensor<1>>), TrainerError> {
        let (entry, x) = self.behind_frozen(batch)?;
        let backbone = &self.classifier.backbone;
        let stages = backbone.stage_names().len();
        let source = match self.plan.feature_penalty > 0.0 {
            true => self.source.as_ref(),
            false => None,
        };
        let (features, penalty) = match (source, entry) {
            (Some(source), Entry::Stage(start)) if start < stages => {
                let reference = source.forward_stages(start, stages, x.clone().inner());
                let maps = backbone.forward_stages(start, stages, x);
                let penalty =
                    feature_map_penalty(maps.clone(), Tensor::from_inner(reference), None)?;
                let penalty = penalty.mul_scalar(self.plan.feature_penalty);
                (backbone.pool(maps), Some(penalty))
            }
            _ => (self.classifier.features_from(entry, x)?, None),
        };
        let logits = self.classifier.head.forward(features.clone());
        Ok((DomainView { features, logits }, penalty))
    }

    pub fn loss(&self, view: &DomainView, batch: &Batch) -> Tensor<1> {
        let Objective {
            criterion,
            loss,
            label_smoothing,
            scale,
        } = &self.objective;
        let loss = loss.unwrap_or_else(|| Loss::of_task(batch.targets.task));
        let criterion = criterion.as_deref().unwrap_or(&loss);
        let logits = view.logits.clone();
        match scale {
            Some(scale) => {
                criterion.value(logits, &scale.of_targets(&batch.targets), *label_smoothing)
            }
            None => criterion.value(logits, &batch.targets, *label_smoothing),
        }
    }

    /// Sends a batch through what is frozen, without gradients; where it goes on, and with what.
    fn behind_frozen(&self, batch: &Batch) -> Result<(Entry, Tensor<4>), TrainerError> {
        let frozen = self.plan.frozen_stages;
        let x = batch.x.clone();
        if batch.start.takes_images() {
            check_channels(&self.classifier.backbone, &x)?;
        }
        let (entry, x) = match batch.start {
            Entry::IMAGES if frozen > 0 => {
                let prefix = self.prefix()?;
                (prefix.exit(), prefix.forward(x)?)
            }
            Entry::Stage(start) if start < frozen => {
                let backbone = self.classifier.backbone.valid();
                (
                    Entry::Stage(frozen),
                    backbone.forward_stages(start, frozen, x),
                )
            }
            entry => (entry, x),
        };
        Ok((entry, Tensor::from_inner(x)))
    }
}

/// A copy for inference whose running statistics don't follow those of `backbone`, as a clone's would.
fn separate<B: Backbone>(backbone: &B) -> B {
    let mut values = state_dict::collect(backbone);
    state_dict::assign(backbone.valid(), |name| {
        values.remove(name).map(|tensor| tensor.values)
    })
}

pub(crate) fn outcome(
    loss: Tensor<1>,
    view: DomainView,
    batch: &Batch,
) -> Result<StepOutcome, TrainerError> {
    Ok(StepOutcome {
        loss: scalar(loss)?,
        correct: count_correct(&host(view.logits.detach())?, &batch.targets),
        images: batch.indices.len(),
    })
}

fn count_correct(logits: &[f32], targets: &Targets) -> f64 {
    let classes = logits.len() / targets.labels.len().max(1);
    match (&targets.soft, targets.task) {
        (Some(soft), Task::MultiLabel) => {
            let pairs = logits.iter().zip(soft);
            let right = pairs.filter(|(logit, target)| (**logit >= 0.0) == (**target > 0.5));
            return right.count() as f64 / classes.max(1) as f64;
        }
        (_, Task::Regression) => return 0.0,
        _ => {}
    }
    logits
        .chunks_exact(classes.max(1))
        .zip(&targets.labels)
        .filter(|(row, label)| largest(row).0 == **label)
        .count() as f64
}
