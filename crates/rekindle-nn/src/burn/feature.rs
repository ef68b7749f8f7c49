//! Values as operations pass them on.

use burn::prelude::*;

#[cfg(feature = "kernels")]
use crate::cpu::layout::Blocked;

/// A value on the device.
#[derive(Clone)]
pub(super) enum Feature {
    /// `[batch, channels, height, width]`.
    Maps(Tensor<4>),
    /// `[batch, channels]`.
    Rows(Tensor<2>),
    /// Feature maps in the kernels' layout.
    #[cfg(feature = "kernels")]
    Blocked(Blocked),
}

impl Feature {
    pub fn maps(self) -> Tensor<4> {
        match self {
            Self::Maps(x) => x,
            Self::Rows(x) => x.unsqueeze_dims(&[2, 3]),
            #[cfg(feature = "kernels")]
            Self::Blocked(x) => x.into_tensor(),
        }
    }

    pub fn rows(self) -> Tensor<2> {
        match self {
            Self::Rows(x) => x,
            x => x.maps().flatten(1, 3),
        }
    }
}

/// Puts values one behind the other along the channels; those in the kernels' layout stay there where they can.
pub(super) fn concatenate(parts: Vec<Feature>) -> Feature {
    #[cfg(feature = "kernels")]
    if let Some(joined) = in_blocks(&parts) {
        return Feature::Blocked(joined);
    }
    match parts.first() {
        Some(Feature::Rows(_)) => {
            let rows = parts.into_iter().map(Feature::rows).collect();
            Feature::Rows(Tensor::cat(rows, 1))
        }
        _ => {
            let maps = parts.into_iter().map(Feature::maps).collect();
            Feature::Maps(Tensor::cat(maps, 1))
        }
    }
}

#[cfg(feature = "kernels")]
fn in_blocks(parts: &[Feature]) -> Option<Blocked> {
    let of = |part: &Feature| match part {
        Feature::Blocked(x) => Some(x.clone()),
        _ => None,
    };
    Blocked::concat(parts.iter().map(of).collect::<Option<_>>()?)
}
