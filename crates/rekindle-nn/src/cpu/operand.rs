//! Values that are passed from step to step.

use std::borrow::Cow;
use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use rekindle_kernels::{Activation, KernelError};

use super::memory::{Images, to_activation};

/// A value between steps, in whichever order its step gave it.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Images(Images),
    Maps(Arc<Activation>),
    /// Maps of one pixel, row-major `[batch, channels]`.
    Rows {
        values: Arc<Vec<f32>>,
        channels: usize,
    },
}

impl Operand {
    pub fn new(maps: Activation) -> Self {
        Self::Maps(Arc::new(maps))
    }

    pub fn rows(values: Vec<f32>, channels: usize) -> Self {
        let values = Arc::new(values);
        Self::Rows { values, channels }
    }

    /// Takes maps that come into a program, in either order.
    pub fn from_tensor(x: FlexTensor, channels: usize) -> Result<Self, KernelError> {
        match x.layout().shape().num_dims() {
            4 => Ok(Self::Images(Images::new(x))),
            _ => to_activation(x, channels).map(Self::new),
        }
    }

    /// Returns feature maps.
    pub fn maps(&self) -> Result<Arc<Activation>, KernelError> {
        match self {
            Self::Maps(maps) => Ok(Arc::clone(maps)),
            Self::Images(x) => Activation::from_nchw(x.values(), x.shape).map(Arc::new),
            Self::Rows { values, channels } => {
                let shape = [values.len() / (*channels).max(1), *channels, 1, 1];
                Activation::from_nchw(values, shape).map(Arc::new)
            }
        }
    }

    /// Returns feature maps, which nobody else holds where nobody held the value.
    pub fn into_maps(self) -> Result<Arc<Activation>, KernelError> {
        match self {
            Self::Maps(maps) => Ok(maps),
            other => other.maps(),
        }
    }

    /// Returns maps of one pixel as rows.
    pub fn as_rows(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Maps(maps) => Cow::Owned(maps.to_nchw()),
            Self::Images(x) => Cow::Borrowed(x.values()),
            Self::Rows { values, .. } => Cow::Borrowed(values),
        }
    }
}
