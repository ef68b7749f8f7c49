//! Functions of one number, however an exporter writes them.
//!
//! A GELU comes as one node or as five, in any order. Instead of all orders, the function is computed at some places and
//! compared with those that networks here have.

use crate::op::Activation;

/// One step of a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Relu,
    Sigmoid,
    Erf,
    Tanh,
    Exp,
    Sqrt,
    Neg,
    Abs,
    Reciprocal,
    Softplus,
    Clip(f64, f64),
    HardSigmoid(f64, f64),
    HardSwish,
    Gelu,
    GeluTanh,
    LeakyRelu(f64),
    Elu(f64),
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
}

impl Step {
    pub fn apply(self, x: f64, y: f64) -> f64 {
        match self {
            Self::Relu => x.max(0.0),
            Self::Sigmoid => sigmoid(x),
            Self::Erf => libm::erf(x),
            Self::Tanh => x.tanh(),
            Self::Exp => x.exp(),
            Self::Sqrt => x.sqrt(),
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Reciprocal => 1.0 / x,
            Self::Softplus => x.exp().ln_1p(),
            Self::Clip(low, high) => x.max(low).min(high),
            Self::HardSigmoid(slope, offset) => (slope * x + offset).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_tanh(x),
            Self::LeakyRelu(slope) => x.max(0.0) + slope * x.min(0.0),
            Self::Elu(alpha) => x.max(0.0) + alpha * x.min(0.0).exp_m1(),
            Self::Add => x + y,
            Self::Sub => x - y,
            Self::Mul => x * y,
            Self::Div => x / y,
            Self::Pow => x.powf(y),
            Self::Max => x.max(y),
            Self::Min => x.min(y),
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

fn gelu_tanh(x: f64) -> f64 {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    0.5 * x * (1.0 + (root * (x + 0.044715 * x.powi(3))).tanh())
}

/// Computes an activation as it is defined.
fn defined(activation: Activation, x: f64) -> f64 {
    let gate = ((x + 3.0) / 6.0).clamp(0.0, 1.0);
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Silu => x * sigmoid(x),
        Activation::HardSwish => x * gate,
        Activation::HardSigmoid => gate,
        Activation::Sigmoid => sigmoid(x),
        Activation::Gelu => gelu(x),
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Mish => x * x.exp().ln_1p().tanh(),
        Activation::Tanh => x.tanh(),
        Activation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
        Activation::LeakyRelu => x.max(0.01 * x),
        Activation::LeakyReluTenth => x.max(0.1 * x),
    }
}

/// Returns the places that functions are compared at: some of them on both sides of every bend.
pub(super) fn places() -> Vec<f64> {
    (-60..=60)
        .map(|at| f64::from(at) * 0.1931 + 0.0137)
        .collect()
}

/// Function that was recognized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Known {
    Identity,
    Activation(Activation),
    /// A multiple of an activation.
    Multiple(Activation, f64),
    /// A multiple of its argument.
    Scale(f64),
    /// A multiple of its argument, and a number more.
    Line(f64, f64),
}

/// Compares numbers at [`places`] with all known functions. Constants of a file are 32-bit numbers.
pub(super) fn recognise(found: &[f64]) -> Option<Known> {
    let places = places();
    let is = |function: &dyn Fn(f64) -> f64| {
        let mut both = places.iter().zip(found);
        both.all(|(x, y)| {
            let expected = function(*x);
            (expected - y).abs() <= 2e-6 * expected.abs().max(1.0)
        })
    };
    if is(&|x| x) {
        return Some(Known::Identity);
    }
    if let Some(known) = Activation::ALL
        .into_iter()
        .find(|known| is(&|x| defined(*known, x)))
    {
        return Some(Known::Activation(known));
    }
    let (end, most) = (*places.last()?, *found.last()?);
    let slope = most / end;
    if slope.is_finite() && is(&|x| slope * x) {
        return Some(Known::Scale(slope));
    }
    let slope = (found.last()? - found.first()?) / (places.last()? - places.first()?);
    let offset = found.first()? - slope * places.first()?;
    if slope.is_finite() && slope != 0.0 && is(&|x| slope * x + offset) {
        return Some(Known::Line(slope, offset));
    }
    // Simplifiers move a factor into the layer behind.
    let factor = |known: Activation| most / defined(known, end);
    let is_multiple = |known: &Activation| {
        let factor = factor(*known);
        factor.is_finite() && factor != 0.0 && is(&|x| factor * defined(*known, x))
    };
    let known = Activation::ALL.into_iter().find(is_multiple)?;
    Some(Known::Multiple(known, factor(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(function: impl Fn(f64) -> f64) -> Option<Known> {
        let found: Vec<f64> = places().into_iter().map(function).collect();
        recognise(&found)
    }

    #[test]
    fn functions_are_told_apart_however_they_are_written() {
        let erf = |x: f64| x / f64::from(std::f32::consts::SQRT_2);
        let gelu = of(|x| x * 0.5 * (libm::erf(erf(x)) + 1.0));
        assert_eq!(gelu, Some(Known::Activation(Activation::Gelu)));
        // As exporters write it before the operator `Gelu`: a power, and constants of 32 bits.
        let [root, cubic] = [0.797_884_6_f32, 0.044715].map(f64::from);
        let inside = |x: f64| root * (x + cubic * Step::Pow.apply(x, 3.0));
        assert_eq!(
            of(|x| 0.5 * x * (1.0 + inside(x).tanh())),
            Some(Known::Activation(Activation::GeluTanh))
        );
        assert_eq!(
            of(|x| x * Step::Softplus.apply(x, 0.0).tanh()),
            Some(Known::Activation(Activation::Mish))
        );
        assert_eq!(
            of(|x| Step::Elu(1.0).apply(x, 0.0)),
            Some(Known::Activation(Activation::Elu))
        );
        assert_eq!(of(|x| Step::Elu(0.9).apply(x, 0.0)), None);
        let swish = of(|x| x * Step::HardSigmoid(f64::from(1.0f32 / 6.0), 0.5).apply(x, 0.0));
        assert_eq!(swish, Some(Known::Activation(Activation::HardSwish)));
        assert_eq!(
            of(|x| x.clamp(0.0, 6.0)),
            Some(Known::Activation(Activation::Relu6))
        );
        assert_eq!(of(|x| x.clamp(0.0, 5.9)), None);
        assert_eq!(of(|x| x / 8.0), Some(Known::Scale(0.125)));
        let Some(Known::Line(slope, offset)) = of(|x| x / 127.5 - 1.0) else {
            panic!("it is a line");
        };
        assert!((slope - 1.0 / 127.5).abs() < 1e-12 && (offset + 1.0).abs() < 1e-12);
        assert_eq!(of(|_| 3.0), None);
        let twice = of(|x| x * (libm::erf(erf(x)) + 1.0));
        let Some(Known::Multiple(Activation::Gelu, factor)) = twice else {
            panic!("{twice:?} is two GELUs");
        };
        assert!((factor - 2.0).abs() < 1e-12);
        assert_eq!(of(|x| x.max(-11.0) + 0.001), None);
        assert_eq!(of(|_| f64::NAN), None);
        let leaky = |slope: f64| of(|x| Step::LeakyRelu(slope).apply(x, 0.0));
        let known = |function| Some(Known::Activation(function));
        assert_eq!(leaky(f64::from(0.01f32)), known(Activation::LeakyRelu));
        assert_eq!(leaky(f64::from(0.1f32)), known(Activation::LeakyReluTenth));
        assert_eq!(leaky(0.3), None);
    }
}
