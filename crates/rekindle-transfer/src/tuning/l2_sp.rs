//! L2-SP: weights that are pulled back to where they started.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::prelude::*;

use super::flat::{flat, step_towards};
use crate::TransferError;

/// The penalty `strength / 2 * |w - w0|^2` on the distance from the pretrained weights `w0` (L2-SP; Li et al. 2018,
/// <https://arxiv.org/abs/1802.01483>), in place of weight decay, which pulls to 0.
///
/// Applied after each step of the optimiser as the penalty's proximal map,
/// `w <- (w + rate * strength * w0) / (1 + rate * strength)`, which has the minima of the penalised loss, is stable for
/// every strength and exact at both ends: 0 leaves fine-tuning as it is to the last bit, and an infinite strength
/// leaves the weights where they were. A new head has no `w0` and is left out.
///
/// The paper's strengths lie between 0.01 and 1. It hurts where the target is large or far from the source: the optimum
/// is then far from `w0`.
#[derive(Clone, Debug)]
pub struct L2Sp {
    strength: f64,
    source: HashMap<ParamId, Tensor<1>>,
}

impl L2Sp {
    /// Creates the penalty on the distance from the parameters of `source` as they are now; running statistics are left out.
    ///
    /// # Errors
    ///
    /// [`TransferError::InvalidStrategy`] for a strength that is negative or NaN.
    pub fn new<M: Module>(source: &M, strength: f64) -> Result<Self, TransferError> {
        check(strength)?;
        let mut snapshot = Snapshot::default();
        source.visit(&mut snapshot);
        Ok(Self {
            strength,
            source: snapshot.found,
        })
    }

    /// Returns the penalty on the distance from the same weights with another strength.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_strength(self, strength: f64) -> Result<Self, TransferError> {
        check(strength)?;
        Ok(Self { strength, ..self })
    }

    /// Computes `strength / 2 * |w - w0|^2` over all parameters of `module` that the source has.
    pub fn penalty<M: Module>(&self, module: &M) -> f64 {
        let mut distance = Distance {
            source: &self.source,
            sum: 0.0,
        };
        module.visit(&mut distance);
        if distance.sum == 0.0 {
            return 0.0;
        }
        self.strength / 2.0 * distance.sum
    }

    /// Returns `module` after the proximal step that goes with a step of the optimiser, at the learning rate
    /// `rate_of(path)` of each parameter.
    pub fn apply<M: Module>(&self, module: M, rate_of: impl Fn(&str) -> f64) -> M {
        if self.strength == 0.0 {
            return module;
        }
        module.map(&mut ProximalStep {
            l2_sp: self,
            rate_of,
            path: Vec::new(),
        })
    }
}

fn check(strength: f64) -> Result<(), TransferError> {
    if strength >= 0.0 {
        return Ok(());
    }
    Err(TransferError::InvalidStrategy {
        strategy: "l2-sp",
        parameter: "strength".into(),
        found: strength.to_string(),
        expected: "at least 0",
    })
}

fn is_running(path: &[String]) -> bool {
    path.last().is_some_and(|name| name.starts_with("running_"))
}

#[derive(Default)]
struct Snapshot {
    path: Vec<String>,
    found: HashMap<ParamId, Tensor<1>>,
}

impl ModuleVisitor for Snapshot {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !is_running(&self.path) {
            self.found.insert(param.id, flat(param.val()));
        }
    }
}

struct Distance<'a> {
    source: &'a HashMap<ParamId, Tensor<1>>,
    sum: f64,
}

impl ModuleVisitor for Distance<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(source) = self.source.get(&param.id) {
            let distance = flat(param.val()) - source.clone();
            self.sum += f64::from(distance.square().sum().into_scalar::<f32>());
        }
    }
}

struct ProximalStep<'a, F> {
    l2_sp: &'a L2Sp,
    rate_of: F,
    path: Vec<String>,
}

impl<F: Fn(&str) -> f64> ModuleMapper for ProximalStep<'_, F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(source) = self.l2_sp.source.get(&param.id) else {
            return param;
        };
        let rate = (self.rate_of)(&self.path.join("."));
        // The share of the way back; 1 where the strength is infinite.
        let share = if rate == 0.0 {
            0.0
        } else {
            1.0 - 1.0 / (1.0 + rate * self.l2_sp.strength)
        };
        if share == 0.0 {
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        let (is_autodiff, is_trained) = (tensor.is_autodiff(), tensor.is_require_grad());
        let shape = tensor.shape();
        let weights = flat(tensor);
        let pulled = match share {
            1.0 => source.clone(),
            share => step_towards(weights, source.clone(), share),
        };
        let pulled: Tensor<D> = pulled.reshape(shape);
        let pulled = if is_autodiff {
            Tensor::from_inner(pulled).set_require_grad(is_trained)
        } else {
            pulled
        };
        Param::from_mapped_value(id, pulled, mapper)
    }
}
