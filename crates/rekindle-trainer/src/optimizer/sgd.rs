//! Stochastic gradient descent in one pass over memory.

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::prelude::*;
#[cfg(feature = "flex")]
use rekindle_transfer::tuning::{supports_in_place, update_in_place};

/// PyTorch's SGD without dampening: `v = momentum * v + g` with `g` the gradient plus `weight_decay` times the weight,
/// and a step of the rate against `v`, or against `g + momentum * v` with Nesterov's look ahead.
#[derive(Clone, Debug)]
pub(super) struct Sgd {
    pub momentum: f32,
    pub nesterov: bool,
    pub weight_decay: f32,
}

/// State of a parameter between two steps; empty without momentum.
#[derive(Clone)]
pub(super) struct Velocity<const D: usize>(Option<Tensor<D>>);

impl Optimizer for Sgd {
    type State<const D: usize> = Velocity<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Velocity<D>>,
    ) -> (Tensor<D>, Option<Velocity<D>>) {
        let velocity = state.and_then(|state| state.0);
        #[cfg(feature = "flex")]
        if supports_in_place(&weight) && supports_in_place(&gradient) {
            let (weight, velocity) = self.in_place(rate as f32, weight, gradient, velocity);
            return (weight, Some(Velocity(velocity)));
        }
        let (weight, velocity) = self.by_operations(rate, weight, gradient, velocity);
        (weight, Some(Velocity(velocity)))
    }

    fn to_device<const D: usize>(state: Velocity<D>, device: &Device) -> Velocity<D> {
        Velocity(state.0.map(|velocity| velocity.to_device(device)))
    }
}

impl Sgd {
    fn by_operations<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        let gradient = match self.weight_decay {
            0.0 => gradient,
            decay => gradient + weight.clone().mul_scalar(decay),
        };
        if self.momentum == 0.0 {
            return (weight - gradient.mul_scalar(rate), None);
        }
        let velocity = match velocity {
            Some(velocity) => velocity.mul_scalar(self.momentum) + gradient.clone(),
            None => gradient.clone(),
        };
        let direction = match self.nesterov {
            true => gradient + velocity.clone().mul_scalar(self.momentum),
            false => velocity.clone(),
        };
        (weight - direction.mul_scalar(rate), Some(velocity))
    }
}

/// The name that Burn's own optimiser gives it.
const VELOCITY: &str = "momentum.velocity";

impl<const D: usize> RecordState for Velocity<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(velocity) = &self.0 {
            out.push_tensor(prefix, VELOCITY, velocity.clone().into_data());
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let velocity = source.take_tensor(prefix, VELOCITY);
        Some(Self(velocity.map(|data| Tensor::from_data(data, device))))
    }
}

#[cfg(feature = "flex")]
impl Sgd {
    /// Computes the new weight and the new velocity in the memory of the old ones where nobody else holds it.
    fn in_place<const D: usize>(
        &self,
        rate: f32,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        let decay = self.weight_decay;
        if self.momentum == 0.0 {
            let [weight] = update_in_place([weight], gradient, |[weight], gradient| {
                *weight -= rate * (gradient + decay * *weight);
            });
            return (weight, None);
        }
        let velocity = velocity.unwrap_or_else(|| gradient.zeros_like());
        let [weight, velocity] = update_in_place(
            [weight, velocity],
            gradient,
            |[weight, velocity], gradient| {
                let gradient = gradient + decay * *weight;
                *velocity = self.momentum * *velocity + gradient;
                let direction = match self.nesterov {
                    true => gradient + self.momentum * *velocity,
                    false => *velocity,
                };
                *weight -= rate * direction;
            },
        );
        (weight, Some(velocity))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    /// Five steps in 64 bits, number by number, as PyTorch's documentation writes them.
    fn expected(sgd: &Sgd, rate: f64, mut weights: Vec<f64>, gradients: &[Vec<f64>]) -> Vec<f64> {
        let (momentum, decay) = (f64::from(sgd.momentum), f64::from(sgd.weight_decay));
        let mut velocity: Option<Vec<f64>> = None;
        for gradient in gradients {
            let decayed: Vec<f64> = gradient
                .iter()
                .zip(&weights)
                .map(|(g, w)| g + decay * w)
                .collect();
            let next: Vec<f64> = match velocity {
                None => decayed.clone(),
                Some(old) => old
                    .iter()
                    .zip(&decayed)
                    .map(|(v, g)| momentum * v + g)
                    .collect(),
            };
            for ((weight, v), g) in weights.iter_mut().zip(&next).zip(&decayed) {
                *weight -= rate * if sgd.nesterov { g + momentum * v } else { *v };
            }
            velocity = Some(next);
        }
        weights
    }

    fn wave(phase: usize) -> Vec<f64> {
        (0..6)
            .map(|i| ((i * 7 + phase * 5) as f64 * 0.61).sin())
            .collect()
    }

    fn tensor(values: &[f64]) -> Tensor<2> {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        Tensor::from_data(TensorData::new(values, [2, 3]), &Device::flex())
    }

    #[test]
    fn in_one_pass_and_by_operations_it_is_pytorchs() {
        let gradients: Vec<Vec<f64>> = (1..6).map(wave).collect();
        for (momentum, nesterov, weight_decay) in [
            (0.0, false, 0.0),
            (0.0, false, 0.1),
            (0.9, false, 0.0),
            (0.9, false, 0.1),
            (0.9, true, 0.1),
        ] {
            let sgd = Sgd {
                momentum,
                nesterov,
                weight_decay,
            };
            let expected = expected(&sgd, 0.1, wave(0), &gradients);
            let (mut once, mut state) = (tensor(&wave(0)), None);
            let (mut stepwise, mut velocity) = (once.clone(), None);
            for gradient in &gradients {
                let kept = once.clone();
                let before = kept.clone().into_data();
                (once, state) = sgd.step(0.1, once, tensor(gradient), state);
                kept.into_data().assert_eq(&before, true);
                // A transposed gradient lies in memory in another order.
                let gradient = tensor(gradient).transpose().clone().transpose();
                (stepwise, velocity) = sgd.by_operations(0.1, stepwise, gradient, velocity);
            }
            for found in [once, stepwise] {
                for (found, expected) in found.into_data().iter::<f64>().zip(&expected) {
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{sgd:?}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn gradients_that_lie_in_another_order_are_read_in_theirs() {
        let sgd = Sgd {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
        };
        let gradient = tensor(&wave(1));
        let turned = gradient.clone().transpose();
        let (straight, _) = sgd.step(0.5, tensor(&wave(0)), gradient, None);
        let (found, _) = sgd.step(0.5, tensor(&wave(0)).transpose(), turned, None);
        found
            .transpose()
            .into_data()
            .assert_eq(&straight.into_data(), true);
    }
}
