//! Optimisers as data.

mod adam_w;
mod clip;
mod rates;
mod sgd;

pub use clip::clip_norm;
pub(crate) use rates::RateGroups;

use burn::optim::ModuleOptimizer;
use serde::{Deserialize, Serialize};

use crate::TrainerError;
use crate::recipe::require;
use adam_w::AdamW;
use sgd::Sgd;

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
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>), with PyTorch's
    /// constants: moments keep 0.9 and 0.999 of a step before, and 1e-8 is added to the root.
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

    /// Creates a fresh optimiser of this kind.
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
            Optimizer::AdamW { weight_decay } => ModuleOptimizer::from(AdamW { weight_decay }),
        }
    }
}
