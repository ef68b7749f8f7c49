//! Numbers as files of half precision round them.

use crate::onnx::proto::{BFLOAT16, FLOAT16, GraphProto, TensorProto};

/// Constants of functions that networks have.
const KNOWN: [f64; 8] = [
    std::f64::consts::SQRT_2,
    std::f64::consts::FRAC_1_SQRT_2,
    // The root of 2 / pi.
    0.797_884_560_802_865_4,
    0.044_715,
    1.702,
    1.0 / 6.0,
    0.1,
    0.01,
];

/// The widest rounding of a file's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precision {
    #[default]
    Single,
    Half,
    Brain,
}

impl Precision {
    /// Finds the precision of a graph's weights and constants.
    pub fn of(graph: &GraphProto) -> Self {
        let constants = graph.node.iter().flat_map(|node| &node.attribute);
        let constants = constants.filter_map(|attribute| attribute.t.as_ref());
        let of = |tensor: &TensorProto| match tensor.data_type {
            Some(FLOAT16) => Self::Half,
            Some(BFLOAT16) => Self::Brain,
            _ => Self::Single,
        };
        let all = graph.initializer.iter().chain(constants).map(of);
        all.max().unwrap_or_default()
    }

    /// Returns the constant that a number is the rounding of, or the number itself.
    pub fn meant(self, number: f64) -> f64 {
        let rounded = |known: f64| match self {
            Self::Single => known,
            Self::Half => half::f16::from_f64(known).to_f64(),
            Self::Brain => half::bf16::from_f64(known).to_f64(),
        };
        let mut known = KNOWN.into_iter();
        let found = known.find(|known| rounded(*known) == number.abs());
        found.map_or(number, |known| known.copysign(number))
    }

    /// How far a scale of attention may be from its value, as a part of it.
    pub fn tolerance(self) -> f64 {
        match self {
            Self::Single => 1e-5,
            Self::Half => 2e-3,
            Self::Brain => 1.5e-2,
        }
    }

    /// Names the format of a file's numbers, where it isn't `f32`.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Single => None,
            Self::Half => Some("half precision (float16)"),
            Self::Brain => Some("half precision (bfloat16)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_constants_are_known_again() {
        let root = f64::from(half::f16::from_f64(std::f64::consts::SQRT_2).to_f32());
        assert_eq!(Precision::Half.meant(root), std::f64::consts::SQRT_2);
        assert_eq!(Precision::Half.meant(-root), -std::f64::consts::SQRT_2);
        assert_eq!(Precision::Single.meant(root), root);
        assert_eq!(Precision::Brain.meant(1.703_125), 1.702);
        assert_eq!(Precision::Half.meant(0.5), 0.5);
    }
}
