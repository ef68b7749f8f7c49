//! Optimisers as data, and learning rates per stage.

use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrSchedulerConfig};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use rekindle_transfer::{Backbone, Classifier, Plan};
use serde::{Deserialize, Serialize};

use crate::TrainerError;
use crate::recipe::require;
use crate::sgd::Sgd;

/// An optimiser with its constants. The learning rate is the recipe's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent, as PyTorch's (no dampening).
    Sgd {
        /// Share of the last step that is kept, in [0, 1).
        momentum: f64,
        /// Nesterov's look ahead.
        nesterov: bool,
        /// Added to the gradient, times the weight; at least 0.
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>).
    AdamW {
        /// Taken off the weight at each step, times the rate; at least 0.
        weight_decay: f64,
    },
}

impl Optimizer {
    pub(crate) fn validate(&self) -> Result<(), TrainerError> {
        let (momentum, weight_decay) = match *self {
            Optimizer::Sgd {
                momentum,
                weight_decay,
                ..
            } => (momentum, weight_decay),
            Optimizer::AdamW { weight_decay } => (0.0, weight_decay),
        };
        require(
            (0.0..1.0).contains(&momentum),
            "momentum",
            momentum,
            "at least 0 and below 1",
        )?;
        require(
            weight_decay.is_finite() && weight_decay >= 0.0,
            "weight_decay",
            weight_decay,
            "a finite number, at least 0",
        )
    }

    /// A fresh optimiser of this kind.
    pub fn init(&self) -> ModuleOptimizer {
        match *self {
            Optimizer::Sgd {
                momentum,
                nesterov,
                weight_decay,
            } => ModuleOptimizer::from(Sgd {
                momentum: momentum as f32,
                nesterov,
                weight_decay: weight_decay as f32,
            }),
            Optimizer::AdamW { weight_decay } => AdamWConfig::new()
                .with_weight_decay(weight_decay as f32)
                .init(),
        }
    }
}

/// The parameters of each stage, found once, so that rates can be told apart at every step.
pub(crate) struct RateGroups {
    stages: Vec<ParamGroup>,
}

impl RateGroups {
    pub(crate) fn new<B: Backbone>(classifier: &Classifier<B>) -> Self {
        let backbone = &classifier.backbone;
        let mut collector = StageIds {
            stage_of: |path: &str| backbone.stage_of(path),
            path: Vec::new(),
            ids: vec![Vec::new(); backbone.stage_names().len()],
        };
        backbone.visit(&mut collector);
        Self {
            stages: collector
                .ids
                .into_iter()
                .map(ParamGroup::from_ids)
                .collect(),
        }
    }

    /// `rate` for the head, `rate` times the plan's factor for each stage.
    pub(crate) fn learning_rate(&self, rate: f64, plan: &Plan) -> ModuleLearningRate {
        if plan.stage_rates.iter().all(|factor| *factor == 1.0) {
            return rate.into();
        }
        let constant = LrSchedulerConfig::Constant;
        let config = self.stages.iter().zip(&plan.stage_rates).fold(
            ModuleLrSchedulerConfig::new(constant(rate)),
            |config, (group, factor)| config.with_group(group.clone(), constant(rate * factor)),
        );
        match config.init() {
            Ok(mut scheduler) => scheduler.step(),
            // Constant schedules have no parameter that could be refused.
            Err(_) => rate.into(),
        }
    }
}

struct StageIds<F> {
    stage_of: F,
    path: Vec<String>,
    ids: Vec<Vec<ParamId>>,
}

impl<F: Fn(&str) -> usize> ModuleVisitor for StageIds<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let stage = (self.stage_of)(&self.path.join("."));
        self.ids[stage].push(param.id);
    }
}

/// Scales all gradients down so that their common Euclidean norm is at most `max_norm`, as PyTorch's
/// `clip_grad_norm_` does; returns the norm before.
pub fn clip_norm<M: Module>(module: &M, grads: &mut GradientsParams, max_norm: f64) -> f64 {
    let mut squares = SumOfSquares { grads, sum: 0.0 };
    module.visit(&mut squares);
    let norm = squares.sum.sqrt();
    if norm > max_norm {
        module.visit(&mut Scale {
            grads,
            factor: max_norm / (norm + 1e-6),
        });
    }
    norm
}

struct SumOfSquares<'a> {
    grads: &'a mut GradientsParams,
    sum: f64,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.sum += f64::from(grad.square().sum().into_scalar::<f32>());
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads.register(param.id, grad.mul_scalar(self.factor));
        }
    }
}
