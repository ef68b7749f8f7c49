//! Learning rates per stage.

use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrSchedulerConfig};
use burn::module::{ModuleVisitor, Param, ParamGroup, ParamId};
use burn::prelude::*;
use rekindle_transfer::{Backbone, Classifier, Plan};

/// The parameters of each stage, found once, so that rates can be told apart at every step.
pub(crate) struct RateGroups {
    stages: Vec<ParamGroup>,
    /// The head's rate over the base rate.
    head: f64,
}

impl RateGroups {
    pub(crate) fn new<B: Backbone>(classifier: &Classifier<B>, head: f64) -> Self {
        let backbone = &classifier.backbone;
        let mut collector = StageIds {
            stage_of: |path: &str| backbone.stage_of(path),
            path: Vec::new(),
            ids: vec![Vec::new(); backbone.stage_names().len()],
        };
        backbone.visit(&mut collector);
        Self {
            head,
            stages: collector
                .ids
                .into_iter()
                .map(ParamGroup::from_ids)
                .collect(),
        }
    }

    /// Returns the head's rate over the base rate.
    pub(crate) fn head_rate(&self) -> f64 {
        self.head
    }

    /// Returns `rate` times the head's factor for the head, and times the plan's factor for each stage.
    pub(crate) fn learning_rate(&self, rate: f64, plan: &Plan) -> ModuleLearningRate {
        let head = rate * self.head;
        if plan.stage_rates.iter().all(|factor| *factor == self.head) {
            return head.into();
        }
        let constant = LrSchedulerConfig::Constant;
        let config = self.stages.iter().zip(&plan.stage_rates).fold(
            ModuleLrSchedulerConfig::new(constant(head)),
            |config, (group, factor)| config.with_group(group.clone(), constant(rate * factor)),
        );
        match config.init() {
            Ok(mut scheduler) => scheduler.step(),
            // Constant schedules have no parameter that could be refused.
            Err(_) => head.into(),
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
