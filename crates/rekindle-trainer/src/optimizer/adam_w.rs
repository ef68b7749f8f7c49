//! Adam with decoupled weight decay, in one pass over memory.

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::prelude::*;
#[cfg(feature = "flex")]
use rekindle_transfer::tuning::{supports_in_place, update_in_place};

/// Shares of the last moments that are kept.
const BETAS: [f64; 2] = [0.9, 0.999];
/// Added to the root of the second moment.
const EPSILON: f64 = 1e-8;

/// PyTorch's AdamW with its constants (Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>): with
/// `m = 0.9 m + 0.1 g` and `v = 0.999 v + 0.001 g^2` a weight shrinks by the rate times `weight_decay` of itself, and takes
/// a step of the rate against `m / (1 - 0.9^t)`, divided by `sqrt(v / (1 - 0.999^t)) + 1e-8`.
#[derive(Clone, Debug)]
pub(super) struct AdamW {
    pub weight_decay: f64,
}

/// Kept of a parameter between two steps.
#[derive(Clone)]
pub(super) struct Moments<const D: usize> {
    first: Tensor<D>,
    second: Tensor<D>,
    /// Steps so far.
    time: usize,
}

/// One step's factors.
#[derive(Clone, Copy)]
struct Factors {
    /// Left of a weight.
    kept: f64,
    /// The rate, over the first moment's correction.
    rate: f64,
    /// The root of the second moment's correction, inverted.
    root: f64,
}

impl Optimizer for AdamW {
    type State<const D: usize> = Moments<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Moments<D>>,
    ) -> (Tensor<D>, Option<Moments<D>>) {
        let mut moments = state.unwrap_or_else(|| Moments {
            first: gradient.zeros_like(),
            second: gradient.zeros_like(),
            time: 0,
        });
        moments.time += 1;
        let factors = self.factors(rate, moments.time);
        #[cfg(feature = "flex")]
        if supports_in_place(&weight) && supports_in_place(&gradient) {
            let (weight, moments) = in_place(factors, weight, gradient, moments);
            return (weight, Some(moments));
        }
        let (weight, moments) = by_operations(factors, weight, gradient, moments);
        (weight, Some(moments))
    }

    fn to_device<const D: usize>(state: Moments<D>, device: &Device) -> Moments<D> {
        Moments {
            first: state.first.to_device(device),
            second: state.second.to_device(device),
            time: state.time,
        }
    }
}

impl AdamW {
    fn factors(&self, rate: f64, time: usize) -> Factors {
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powf(time as f64));
        Factors {
            kept: 1.0 - rate * self.weight_decay,
            rate: rate / first,
            root: 1.0 / second.sqrt(),
        }
    }
}

fn by_operations<const D: usize>(
    factors: Factors,
    weight: Tensor<D>,
    gradient: Tensor<D>,
    moments: Moments<D>,
) -> (Tensor<D>, Moments<D>) {
    let Moments {
        first,
        second,
        time,
    } = moments;
    let first = first.mul_scalar(BETAS[0]) + gradient.clone().mul_scalar(1.0 - BETAS[0]);
    let second = second.mul_scalar(BETAS[1]) + gradient.square().mul_scalar(1.0 - BETAS[1]);
    let root = second.clone().sqrt().mul_scalar(factors.root);
    let step = first.clone() / root.add_scalar(EPSILON);
    let weight = weight.mul_scalar(factors.kept) - step.mul_scalar(factors.rate);
    let moments = Moments {
        first,
        second,
        time,
    };
    (weight, moments)
}

/// The same in the memory of weight and moments where nobody else holds it.
#[cfg(feature = "flex")]
fn in_place<const D: usize>(
    factors: Factors,
    weight: Tensor<D>,
    gradient: Tensor<D>,
    moments: Moments<D>,
) -> (Tensor<D>, Moments<D>) {
    let betas = BETAS.map(|beta| beta as f32);
    let shares = BETAS.map(|beta| (1.0 - beta) as f32);
    let [kept, rate, root] = [factors.kept, factors.rate, factors.root].map(|f| f as f32);
    let tensors = [weight, moments.first, moments.second];
    let [weight, first, second] =
        update_in_place(tensors, gradient, |[weight, first, second], gradient| {
            *first = betas[0] * *first + shares[0] * gradient;
            *second = betas[1] * *second + shares[1] * gradient * gradient;
            let step = *first / (second.sqrt() * root + EPSILON as f32);
            *weight = kept * *weight - rate * step;
        });
    let moments = Moments {
        first,
        second,
        time: moments.time,
    };
    (weight, moments)
}

/// The names that Burn's own optimiser gives them.
const NAMES: [&str; 3] = ["momentum.moment_1", "momentum.moment_2", "momentum.time"];

impl<const D: usize> RecordState for Moments<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, NAMES[0], self.first.clone().into_data());
        out.push_tensor(prefix, NAMES[1], self.second.clone().into_data());
        out.push_scalar(prefix, NAMES[2], self.time.into());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let first = source.take_tensor(prefix, NAMES[0])?;
        let second = source.take_tensor(prefix, NAMES[1])?;
        let time = source.take_scalar(prefix, NAMES[2])?;
        Some(Self {
            first: Tensor::from_data(first, device),
            second: Tensor::from_data(second, device),
            time: time.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::AdamWConfig;
    use burn::tensor::TensorData;

    use super::*;

    /// PyTorch 2's `torch.optim.AdamW(lr=0.05, weight_decay=0.1)` in 64 bits: three steps on the weights 1, -0.5, 2 with
    /// the gradients below (`tests/reference/adam_w.py`).
    const GRADIENTS: [[f32; 3]; 3] = [[0.5, -1.0, 0.0], [0.25, 2.0, 1e-6], [-1.0, 0.125, 3.0]];
    const EXPECTED: [f64; 3] = [0.899515541336537, -0.4771615305568024, 1.9017043787422434];

    fn tensor(values: [f32; 3]) -> Tensor<1> {
        Tensor::from_data(TensorData::from(values), &Device::flex())
    }

    fn distance(found: Tensor<1>, expected: impl IntoIterator<Item = f64>) -> f64 {
        let found = found.into_data();
        let pairs = found.iter::<f64>().zip(expected);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn in_one_pass_and_by_operations_it_is_pytorchs() {
        let adam = AdamW { weight_decay: 0.1 };
        let start = tensor([1.0, -0.5, 2.0]);
        let (mut once, mut state) = (start.clone(), None);
        let mut stepwise = start.clone();
        let mut moments = Moments {
            first: start.zeros_like(),
            second: start.zeros_like(),
            time: 0,
        };
        for gradient in GRADIENTS.map(tensor) {
            (once, state) = adam.step(0.05, once, gradient.clone(), state);
            moments.time += 1;
            let factors = adam.factors(0.05, moments.time);
            (stepwise, moments) = by_operations(factors, stepwise, gradient, moments);
        }
        assert!(distance(once, EXPECTED) < 5e-7);
        assert!(distance(stepwise, EXPECTED) < 5e-7);
        start
            .into_data()
            .assert_eq(&tensor([1.0, -0.5, 2.0]).into_data(), true);
    }

    #[test]
    fn its_state_is_read_from_what_burns_own_optimiser_has_saved() {
        let burns = AdamWConfig::new().build();
        let gradient = tensor(GRADIENTS[0]);
        let (_, state) = burns.step(0.05, tensor([1.0, -0.5, 2.0]), gradient.clone(), None);
        let mut sink = StateSink::default();
        state
            .expect("a step has state")
            .state_flatten("p", &mut sink);
        let mut source = StateSource::new(sink.scalars.into_iter().collect());
        for (name, data) in sink.tensors {
            source.insert_tensor(name, data);
        }
        let moments: Moments<1> =
            Moments::state_unflatten("p", &mut source, &Device::flex()).expect("all is there");
        assert_eq!(moments.time, 1);
        let first = GRADIENTS[0].map(|g| 0.1 * f64::from(g));
        assert!(distance(moments.first, first) < 1e-7);
        let second = GRADIENTS[0].map(|g| 0.001 * f64::from(g).powi(2));
        assert!(distance(moments.second, second) < 1e-7);
    }
}
