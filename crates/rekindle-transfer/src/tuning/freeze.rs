//! Freezing a prefix of a classifier's stages, and counting what that leaves to learn.

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;

use super::Plan;
use crate::{Backbone, Classifier};

/// Freezes the stages that `plan` names and thaws all others, parameters and batch statistics alike.
///
/// A frozen parameter takes no gradient; a frozen batch normalisation uses its running statistics and
/// leaves them alone; and since nothing in front of the cut is tracked, no backward pass goes there.
pub fn apply<B: Backbone>(classifier: Classifier<B>, plan: &Plan) -> Classifier<B> {
    let names = classifier.backbone.clone();
    let Classifier { backbone, head } = classifier;
    let backbone = backbone.map(&mut Freezer {
        stage_of: |path: &str| names.stage_of(path),
        plan,
        path: Vec::new(),
    });
    Classifier {
        backbone,
        head: head.unfreeze(),
    }
}

struct Freezer<'a, F> {
    stage_of: F,
    plan: &'a Plan,
    path: Vec<String>,
}

impl<F: Fn(&str) -> usize> Freezer<'_, F> {
    fn is_thawed(&self) -> bool {
        (self.stage_of)(&self.path.join(".")) >= self.plan.frozen_stages
    }
}

impl<F: Fn(&str) -> usize> ModuleMapper for Freezer<'_, F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let is_included = self.plan.filter.includes(&self.path.join("."), D);
        let is_trained = is_included && self.is_thawed();
        param.set_require_grad(is_trained)
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let is_trained = self.plan.filter.updates_statistics() && self.is_thawed();
        flag.with_value(is_trained)
    }
}

/// Number of parameters of a stage or of the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageParameters {
    /// The stage's name; `"head"` for the classifier.
    pub stage: String,
    /// Number of weights and biases; running statistics don't count.
    pub parameters: usize,
    /// Number of them that the plan lets learn: all, none or, under plans for biases or normalisations alone, a few.
    pub trained: usize,
    /// True if the plan lets any of them learn.
    pub is_trained: bool,
}

/// Parameters per stage, in order, the head last.
pub fn stage_parameters<B: Backbone>(
    classifier: &Classifier<B>,
    plan: &Plan,
) -> Vec<StageParameters> {
    let stages = classifier.backbone.stage_names();
    let mut counter = Counter {
        stage_of: |path: &str| classifier.backbone.stage_of(path),
        plan,
        counts: vec![[0; 2]; stages.len()],
        path: Vec::new(),
    };
    classifier.backbone.visit(&mut counter);
    let mut found: Vec<StageParameters> = stages
        .iter()
        .zip(counter.counts)
        .enumerate()
        .map(|(index, (stage, [parameters, trained]))| StageParameters {
            stage: (*stage).to_string(),
            parameters,
            trained,
            is_trained: index >= plan.frozen_stages,
        })
        .collect();
    found.push(StageParameters {
        stage: "head".to_string(),
        parameters: classifier.head.num_params(),
        trained: classifier.head.num_params(),
        is_trained: true,
    });
    found
}

/// Returns the number of parameters of `module` that take gradients, as [`apply`] left them.
pub fn trained_parameters<M: Module>(module: &M) -> usize {
    let mut trained = TrainedParameters::default();
    module.visit(&mut trained);
    trained.count
}

#[derive(Default)]
struct TrainedParameters {
    count: usize,
}

impl ModuleVisitor for TrainedParameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.count += param.lazy_shape().num_elements();
        }
    }
}

struct Counter<'a, F> {
    stage_of: F,
    plan: &'a Plan,
    /// Parameters of each stage, and those that learn.
    counts: Vec<[usize; 2]>,
    path: Vec<String>,
}

impl<F: Fn(&str) -> usize> ModuleVisitor for Counter<'_, F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self
            .path
            .last()
            .is_some_and(|name| name.starts_with("running_"))
        {
            return;
        }
        let path = self.path.join(".");
        let (stage, count) = ((self.stage_of)(&path), param.lazy_shape().num_elements());
        let is_trained = stage >= self.plan.frozen_stages && self.plan.filter.includes(&path, D);
        self.counts[stage][0] += count;
        self.counts[stage][1] += if is_trained { count } else { 0 };
    }
}
