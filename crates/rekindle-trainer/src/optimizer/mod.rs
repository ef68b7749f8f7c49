//! Optimisers as data.

mod adam_w;
mod clip;
mod rates;
mod sgd;

pub use clip::clip_norm;
pub(crate) use rates::RateGroups;

use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, LionConfig, ModuleOptimizer, RmsPropConfig};
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
    /// Adam (Kingma and Ba 2015, <https://arxiv.org/abs/1412.6980>), with PyTorch's constants and its weight decay, which
    /// passes through the moments.
    Adam {
        /// Added to the gradient, times the weight; at least 0.
        weight_decay: f64,
    },
    /// RMSProp (Hinton 2012), as PyTorch's without centring: the mean square keeps 0.99 of a step before, and 1e-8 is added
    /// to its root.
    #[serde(rename = "rmsprop")]
    RmsProp {
        /// Share of the last step that is kept, in [0, 1).
        momentum: f64,
        /// Added to the gradient, times the weight; at least 0.
        weight_decay: f64,
    },
    /// Lion (Chen et al. 2023, <https://arxiv.org/abs/2302.06675>), with the paper's constants 0.9 and 0.99: every weight
    /// takes a step of the same length, so that a rate is 3 to 10 times smaller than AdamW's.
    Lion {
        /// Taken off the weight at each step, times the rate; at least 0.
        weight_decay: f64,
    },
}

/// Added to the root of a mean square, where PyTorch has 1e-8 and Burn 1e-5.
const EPSILON: f32 = 1e-8;

impl Optimizer {
    pub(crate) fn validate(&self) -> Result<(), TrainerError> {
        let momentum = match *self {
            Optimizer::Sgd { momentum, .. } | Optimizer::RmsProp { momentum, .. } => momentum,
            Optimizer::AdamW { .. } | Optimizer::Adam { .. } | Optimizer::Lion { .. } => 0.0,
        };
        let weight_decay = self.weight_decay();
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

    /// Returns the share of each weight that a step at rate 1 takes away, or that is added to its gradient.
    pub fn weight_decay(&self) -> f64 {
        match *self {
            Optimizer::Sgd { weight_decay, .. }
            | Optimizer::AdamW { weight_decay }
            | Optimizer::Adam { weight_decay }
            | Optimizer::RmsProp { weight_decay, .. }
            | Optimizer::Lion { weight_decay } => weight_decay,
        }
    }

    /// Returns the same optimiser with another weight decay.
    pub fn with_weight_decay(mut self, given: f64) -> Self {
        match &mut self {
            Optimizer::Sgd { weight_decay, .. }
            | Optimizer::AdamW { weight_decay }
            | Optimizer::Adam { weight_decay }
            | Optimizer::RmsProp { weight_decay, .. }
            | Optimizer::Lion { weight_decay } => *weight_decay = given,
        }
        self
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
            Optimizer::Adam { weight_decay } => AdamConfig::new()
                .with_epsilon(EPSILON)
                .with_weight_decay(penalty(weight_decay))
                .init(),
            Optimizer::RmsProp {
                momentum,
                weight_decay,
            } => RmsPropConfig::new()
                .with_momentum(momentum as f32)
                .with_epsilon(EPSILON)
                .with_weight_decay(penalty(weight_decay))
                .init(),
            Optimizer::Lion { weight_decay } => LionConfig::new()
                .with_weight_decay(weight_decay as f32)
                .init(),
        }
    }
}

fn penalty(weight_decay: f64) -> Option<WeightDecayConfig> {
    (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay as f32))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::module::Param;
    use burn::optim::GradientsParams;
    use burn::prelude::*;
    use burn::tensor::TensorData;

    use super::*;

    #[derive(Module, Debug)]
    struct Weight {
        weight: Param<Tensor<1>>,
    }

    /// Three steps at a rate of 0.05 and a weight decay of 0.1 on the weights 1, -0.5, 2, as
    /// `tests/reference/optimizers.py` has them from PyTorch and, for Lion, from the paper's lines, in 64 bits.
    const EXPECTED: [(Optimizer, [f64; 3]); 4] = [
        (
            Optimizer::Adam { weight_decay: 0.1 },
            [0.9055719337392415, -0.48114648842270646, 1.8648514371289568],
        ),
        (
            Optimizer::RmsProp {
                momentum: 0.0,
                weight_decay: 0.1,
            },
            [0.6882614420655733, -0.46113478941937425, 0.7006060182377645],
        ),
        (
            Optimizer::RmsProp {
                momentum: 0.9,
                weight_decay: 0.1,
            },
            [
                -0.3629883365138556,
                -0.014984626938796711,
                -0.42521668436378357,
            ],
        ),
        (
            Optimizer::Lion { weight_decay: 0.1 },
            [0.9358236249999999, -0.5427861875, 1.87039975],
        ),
    ];
    const GRADIENTS: [[f32; 3]; 3] = [[0.5, -1.0, 0.0], [0.25, 2.0, 1e-6], [-1.0, 0.125, 3.0]];

    #[test]
    fn burns_optimisers_take_pytorchs_steps() {
        let device = Device::flex().autodiff();
        for (optimizer, expected) in EXPECTED {
            let start = Tensor::from_data(TensorData::from([1.0f32, -0.5, 2.0]), &device);
            let mut module = Weight {
                weight: Param::from_tensor(start),
            };
            let mut steps = optimizer.init();
            for gradient in GRADIENTS {
                let gradient = Tensor::<1>::from_data(TensorData::from(gradient), &device);
                let loss = (module.weight.val() * gradient).sum();
                let gradients = GradientsParams::from_grads(loss.backward(), &module);
                module = steps.step(0.05, module, gradients);
            }
            let found = module.weight.val().into_data();
            for (found, expected) in found.iter::<f64>().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{optimizer:?}: {found} {expected}"
                );
            }
        }
    }
}
