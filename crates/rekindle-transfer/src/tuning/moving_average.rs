//! The exponential moving average of a network's weights while it trains.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::prelude::*;

use super::flat::{flat, step_towards};
use crate::TransferError;

/// A network whose weights follow those of one in training: after each step `a <- d * a + (1 - d) * w` (Polyak and Juditsky
/// 1992; Tarvainen and Valpola 2017, <https://arxiv.org/abs/1703.01780>), with
/// `d = min(decay, (1 + n) / (10 + n))` at update `n`, so that the first weights, which are random, are soon forgotten.
///
/// It stands where a small learning rate would have led, costs one pass over the weights per step and nothing in use. Running
/// statistics are averaged alike.
#[derive(Clone, Debug)]
pub struct MovingAverage<M> {
    module: Option<M>,
    decay: f64,
    updates: u64,
}

impl<M: Module> MovingAverage<M> {
    /// Starts at the weights of `module`, without their gradients. A `decay` of 0.999 is the mean over about the last
    /// thousand steps.
    ///
    /// # Errors
    ///
    /// [`TransferError::InvalidStrategy`] for a decay outside of `[0, 1)`.
    pub fn new(module: &M, decay: f64) -> Result<Self, TransferError> {
        if !(0.0..1.0).contains(&decay) {
            return Err(TransferError::InvalidStrategy {
                strategy: "moving average",
                parameter: "decay".into(),
                found: decay.to_string(),
                expected: "at least 0 and below 1",
            });
        }
        Ok(Self {
            // Clones share their running statistics, this has its own.
            module: Some(module.valid()),
            decay,
            updates: 0,
        })
    }

    /// Goes on from an average that was saved after `updates` updates.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn resume(module: &M, decay: f64, updates: u64) -> Result<Self, TransferError> {
        let begun = Self::new(module, decay)?;
        Ok(Self { updates, ..begun })
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Follows the weights of `module`, the same network after another step. Parameters that only one of the two has
    /// stay as they are.
    pub fn update(&mut self, module: &M) {
        let count = self.updates as f64;
        let decay = self.decay.min((1.0 + count) / (10.0 + count));
        self.updates += 1;
        let mut weights = Weights::default();
        module.visit(&mut weights);
        let weights = weights.found;
        // Taken, so that nobody else holds the averages and they can change where they lie.
        let averages = self.module.take();
        self.module = averages.map(|module| module.map(&mut Follow { weights, decay }));
    }

    /// Returns the network of the averaged weights.
    pub fn module(&self) -> &M {
        self.module.as_ref().expect(THERE)
    }
}

/// Only an update that panicked leaves none.
const THERE: &str = "the averages are taken only while they are updated";

#[derive(Default)]
struct Weights {
    found: HashMap<ParamId, Tensor<1>>,
}

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.insert(param.id, flat(param.val()));
    }
}

struct Follow {
    weights: HashMap<ParamId, Tensor<1>>,
    decay: f64,
}

impl ModuleMapper for Follow {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weights) = self.weights.remove(&param.id) else {
            return param;
        };
        let (id, average, mapper) = param.consume();
        let shape = average.shape();
        let average = step_towards(flat(average), weights, 1.0 - self.decay);
        Param::from_mapped_value(id, average.reshape(shape), mapper)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};

    use super::*;

    #[derive(Module, Debug)]
    struct Net {
        layer: Linear,
        norm: BatchNorm,
    }

    fn net(device: &Device) -> Net {
        Net {
            layer: LinearConfig::new(2, 3).init(device),
            norm: BatchNormConfig::new(3).init(device),
        }
    }

    fn filled(net: &Net, value: f32) -> Net {
        let mut out = net.valid();
        out.layer.weight = out.layer.weight.map(|weight| weight.full_like(value));
        let mean = &out.norm.running_mean;
        mean.update(mean.value().full_like(value));
        mean.value_sync();
        out
    }

    /// Averages `0` and then `1` at every step, with the decay of the first updates.
    #[test]
    fn follows_the_closed_form() {
        let device = Device::flex();
        let start = filled(&net(&device), 0.0);
        let mut average = MovingAverage::new(&start, 0.5).unwrap();
        let mut expected = 0.0;
        for step in 0..20 {
            average.update(&filled(&start, 1.0));
            let decay = (f64::from(step + 1) / f64::from(step + 10)).min(0.5);
            expected = decay * expected + (1.0 - decay);
            let found = average.module().layer.weight.val().into_data();
            let statistics = average.module().norm.running_mean.value().into_data();
            for found in found.iter::<f64>().chain(statistics.iter::<f64>()) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    #[test]
    fn a_decay_of_one_is_refused() {
        let found = MovingAverage::new(&net(&Device::flex()), 1.0);
        assert!(matches!(found, Err(TransferError::InvalidStrategy { .. })));
    }
}
