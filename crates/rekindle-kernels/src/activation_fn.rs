//! Activation functions by name.

use std::fmt;

/// A function that a layer applies to each of its output values.
///
/// A `bool` converts to one, `true` to ReLU and `false` to none, so that layers which know only these can be asked for by
/// `true` and `false`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ActivationFn {
    /// `x`.
    #[default]
    Identity,
    /// `max(0, x)`.
    Relu,
    /// `min(6, max(0, x))`.
    Relu6,
    /// `x * sigmoid(x)`, also called swish (Elfwing, Uchibe and Doya, 2017).
    Silu,
    /// `x * min(6, max(0, x + 3)) / 6` (Howard et al., "Searching for MobileNetV3", 2019).
    HardSwish,
    /// `min(6, max(0, x + 3)) / 6`.
    HardSigmoid,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x * (1 + erf(x / sqrt(2))) / 2` (Hendrycks and Gimpel, 2016).
    Gelu,
    /// `x * sigmoid(1.702 x)`, the approximation of GELU that OpenAI's CLIP was trained with.
    QuickGelu,
    /// `x * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))) / 2`, the approximation of GELU by its authors.
    GeluTanh,
    /// `x * tanh(ln(1 + exp(x)))` (Misra, 2019).
    Mish,
    /// The hyperbolic tangent.
    Tanh,
    /// `x` above zero and `exp(x) - 1` below (Clevert, Unterthiner and Hochreiter, 2015).
    Elu,
    /// `x` above zero and `0.01 x` below, PyTorch's leaky ReLU (Maas, Hannun and Ng, 2013).
    LeakyRelu,
    /// `x` above zero and `0.1 x` below, the leaky ReLU of Darknet.
    LeakyReluTenth,
}

impl ActivationFn {
    /// All functions.
    pub const ALL: [Self; 15] = [
        Self::Identity,
        Self::Relu,
        Self::Relu6,
        Self::Silu,
        Self::HardSwish,
        Self::HardSigmoid,
        Self::Sigmoid,
        Self::Gelu,
        Self::QuickGelu,
        Self::GeluTanh,
        Self::Mish,
        Self::Tanh,
        Self::Elu,
        Self::LeakyRelu,
        Self::LeakyReluTenth,
    ];

    /// Returns true where the function of zero is not zero.
    pub(crate) fn moves_zero(self) -> bool {
        matches!(self, Self::Sigmoid | Self::HardSigmoid)
    }
}

impl From<bool> for ActivationFn {
    /// ReLU or nothing.
    fn from(relu: bool) -> Self {
        if relu { Self::Relu } else { Self::Identity }
    }
}

impl fmt::Display for ActivationFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::Relu => "ReLU",
            Self::Relu6 => "ReLU6",
            Self::Silu => "SiLU",
            Self::HardSwish => "hard swish",
            Self::HardSigmoid => "hard sigmoid",
            Self::Sigmoid => "sigmoid",
            Self::Gelu => "GELU",
            Self::QuickGelu => "QuickGELU",
            Self::GeluTanh => "GELU by tanh",
            Self::Mish => "Mish",
            Self::Tanh => "tanh",
            Self::Elu => "ELU",
            Self::LeakyRelu => "leaky ReLU",
            Self::LeakyReluTenth => "leaky ReLU of a tenth",
        })
    }
}
