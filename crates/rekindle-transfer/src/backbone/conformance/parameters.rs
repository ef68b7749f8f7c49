//! Names of parameters, and the stages that they belong to.

use std::collections::BTreeSet;

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use rekindle_weights::state_dict;

use super::{ConformanceError, distance};
use crate::Backbone;

/// Checks that every parameter has a name of its own, and a stage.
pub(super) fn names<B: Backbone>(backbone: &B) -> Result<(), ConformanceError> {
    let wrong = |name: &str, reason: String| {
        Err(ConformanceError::ParameterName {
            name: name.to_string(),
            reason,
        })
    };
    let head = format!("{}.", backbone.head_name());
    let mut seen = BTreeSet::new();
    for (name, _) in state_dict::shapes(backbone) {
        if name.starts_with(&head) {
            return wrong(
                &name,
                format!("stands under the name of the head, {head}*; take the head off"),
            );
        }
        if !seen.insert(name.clone()) {
            return wrong(&name, "two tensors have that name in the state dict".into());
        }
    }
    let stages = backbone.stage_names().len();
    for path in paths(backbone) {
        let stage = backbone.stage_of(&path);
        if stage >= stages {
            return wrong(&path, format!("`stage_of` is {stage} of {stages} stages"));
        }
    }
    Ok(())
}

/// Checks that a stage depends on no other stage's parameters. `maps` are the inputs of each stage.
pub(super) fn stages<B: Backbone>(
    backbone: &B,
    maps: &[Tensor<4>],
) -> Result<(), ConformanceError> {
    let paths = paths(backbone);
    for stage in 0..backbone.stage_names().len() {
        let Some(name) = paths.iter().find(|path| backbone.stage_of(path) == stage) else {
            continue;
        };
        let names = backbone.clone();
        // A clone shares its running statistics with the original.
        let mut values = state_dict::collect(backbone);
        let copy = state_dict::assign(backbone.clone(), |name| {
            values.remove(name).map(|tensor| tensor.values)
        });
        let changed = copy.map(&mut Shift {
            is_shifted: |path: &str| names.stage_of(path) == stage,
            path: Vec::new(),
        });
        for other in (0..maps.len() - 1).filter(|other| *other != stage) {
            let x = || maps[other].clone();
            let (found, expected) = (
                changed.forward_stage(other, x()),
                backbone.forward_stage(other, x()),
            );
            if distance(found, expected) != Some(0.0) {
                return Err(ConformanceError::StageOf {
                    name: name.clone(),
                    stage,
                    moved: other,
                });
            }
        }
    }
    Ok(())
}

fn paths<B: Backbone>(backbone: &B) -> Vec<String> {
    let mut paths = Paths::default();
    backbone.visit(&mut paths);
    paths.found
}

#[derive(Default)]
struct Paths {
    path: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        self.found.push(self.path.join("."));
    }
}

/// Moves some parameters; variances stay positive.
struct Shift<F> {
    is_shifted: F,
    path: Vec<String>,
}

impl<F: Fn(&str) -> bool> ModuleMapper for Shift<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !(self.is_shifted)(&self.path.join(".")) {
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        Param::from_mapped_value(id, tensor.mul_scalar(1.5).add_scalar(0.01), mapper)
    }
}
