//! Initial values of parameters, as functions of a seed and a name.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// Distribution of a tensor's initial values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Init {
    /// The same number everywhere.
    Constant(f32),
    /// Normal around zero.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Normal around zero, drawn again beyond two standard deviations.
    TruncatedNormal {
        /// Standard deviation before it is cut off.
        std: f64,
    },
    /// Uniform around zero.
    Uniform {
        /// The largest absolute value.
        bound: f64,
    },
}

/// Rules for the weights of convolutions; biases start at zero, but for PyTorch's default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ConvInit {
    /// Normal with variance `2 / fan_out`, groups not counted (He et al. 2015, <https://arxiv.org/abs/1502.01852>).
    KaimingFanOut,
    /// The same with the fan-out of a group: TensorFlow's EfficientNets.
    KaimingFanOutOfGroup,
    /// Normal with variance `2 / fan_in`.
    KaimingFanIn,
    /// Normal with this standard deviation, drawn again beyond two of them; biases are zero.
    TruncatedNormal(f64),
    /// Uniform within `1 / sqrt(fan_in)`, biases too: PyTorch's default.
    PyTorch,
}

impl ConvInit {
    /// Chooses distributions of weight and bias for a weight `[out, in / groups, height, width]`.
    pub(crate) fn choose(self, shape: [usize; 4], groups: usize) -> [Init; 2] {
        let [out, inputs, height, width] = shape.map(|extent| extent as f64);
        let (fan_in, fan_out) = (inputs * height * width, out * height * width);
        let normal = |fan: f64| Init::Normal {
            std: (2.0 / fan).sqrt(),
        };
        let zero = Init::Constant(0.0);
        match self {
            Self::KaimingFanOut => [normal(fan_out), zero],
            Self::KaimingFanOutOfGroup => [normal(fan_out / groups as f64), zero],
            Self::KaimingFanIn => [normal(fan_in), zero],
            Self::TruncatedNormal(std) => [Init::TruncatedNormal { std }, zero],
            Self::PyTorch => {
                [Init::Uniform {
                    bound: 1.0 / fan_in.sqrt(),
                }; 2]
            }
        }
    }
}

/// Rules for the weights of linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LinearInit {
    /// Uniform within `1 / sqrt(in)`, bias too: PyTorch's default.
    PyTorch,
    /// The same for the weight, and a bias of zero.
    PyTorchZeroBias,
    /// Normal with this standard deviation, bias zero.
    Normal(f64),
    /// The same, drawn again beyond two standard deviations.
    TruncatedNormal(f64),
    /// Uniform within `1 / sqrt(out)`, bias zero.
    UniformFanOut,
}

impl LinearInit {
    /// Chooses distributions of weight and bias.
    pub(crate) fn choose(self, in_features: usize, out_features: usize) -> [Init; 2] {
        let within = |fan: usize| Init::Uniform {
            bound: 1.0 / (fan.max(1) as f64).sqrt(),
        };
        let zero = Init::Constant(0.0);
        match self {
            Self::PyTorch => [within(in_features); 2],
            Self::PyTorchZeroBias => [within(in_features), zero],
            Self::Normal(std) => [Init::Normal { std }, zero],
            Self::TruncatedNormal(std) => [Init::TruncatedNormal { std }, zero],
            Self::UniformFanOut => [within(out_features), zero],
        }
    }
}

impl Init {
    /// Draws `count` numbers for the tensor called `name`: a function of the arguments alone.
    pub(crate) fn values(self, seed: u64, name: &str, count: usize) -> Vec<f32> {
        let mut random = Random::new(seed ^ fnv1a(name));
        let values = 0..count;
        match self {
            Self::Constant(value) => vec![value; count],
            Self::Normal { std } => values.map(|_| (std * random.normal()) as f32).collect(),
            Self::TruncatedNormal { std } => values
                .map(|_| {
                    let mut z = random.normal();
                    while z.abs() > 2.0 {
                        z = random.normal();
                    }
                    (std * z) as f32
                })
                .collect(),
            Self::Uniform { bound } => values
                .map(|_| (bound * (2.0 * random.unit() - 1.0)) as f32)
                .collect(),
        }
    }
}

/// Hashes a text by 64-bit FNV-1a, the same in every process.
pub(crate) fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_moments_of_their_distribution_and_follow_from_seed_and_name() {
        let moments = |values: &[f32]| {
            let count = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
            let square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / count;
            (mean, square.sqrt())
        };
        // Standard deviations of the truncated normal and the uniform distribution.
        let cases = [
            (Init::Normal { std: 0.5 }, 0.5),
            (Init::TruncatedNormal { std: 0.5 }, 0.5 * 0.8796),
            (Init::Uniform { bound: 0.5 }, 0.5 / 3f64.sqrt()),
        ];
        for (init, expected) in cases {
            let values = init.values(3, "conv1.weight", 100_000);
            let (mean, deviation) = moments(&values);
            assert!(mean.abs() < 0.01, "{init:?}: {mean}");
            assert!((deviation / expected - 1.0).abs() < 0.01, "{init:?}");
            assert_eq!(values, init.values(3, "conv1.weight", 100_000));
            assert_ne!(values[..9], init.values(4, "conv1.weight", 9)[..]);
            assert_ne!(values[..9], init.values(3, "conv2.weight", 9)[..]);
        }
    }

    #[test]
    fn a_depthwise_kernel_s_fan_out_is_its_area_where_groups_count() {
        let shape = [32, 1, 3, 3];
        let std = |init: ConvInit| match init.choose(shape, 32)[0] {
            Init::Normal { std } => std,
            other => panic!("{other:?}"),
        };
        assert!((std(ConvInit::KaimingFanOut) - (2.0 / 288f64).sqrt()).abs() < 1e-12);
        assert!((std(ConvInit::KaimingFanOutOfGroup) - (2.0 / 9f64).sqrt()).abs() < 1e-12);
        assert!((std(ConvInit::KaimingFanIn) - (2.0 / 9f64).sqrt()).abs() < 1e-12);
    }
}
