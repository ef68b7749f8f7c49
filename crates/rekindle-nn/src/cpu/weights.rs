//! Parameters as the kernels read them.

use std::borrow::Cow;

use burn::backend::flex::FlexTensor;
use rekindle_kernels::{AlignedVec, BatchNorm, Isa, KernelError, transpose};

use super::memory::{contiguous, from_values, values};
use super::program::{Conv, Norm};

/// Parameters where they lie, in the order of [`Program::tensors`](super::program::Program::tensors).
#[derive(Clone, Debug, Default)]
pub(super) struct Weights(Vec<FlexTensor>);

impl Weights {
    pub fn new(tensors: impl IntoIterator<Item = FlexTensor>) -> Self {
        Self(tensors.into_iter().map(contiguous).collect())
    }

    pub fn of(&self, position: usize) -> &[f32] {
        values(&self.0[position])
    }

    /// Lets go of those that nobody reads.
    pub fn retain(&mut self, is_read: impl Fn(usize) -> bool) {
        for (position, tensor) in self.0.iter_mut().enumerate() {
            if !is_read(position) {
                *tensor = from_values(Vec::new(), [0]);
            }
        }
    }

    pub fn shape(&self, position: usize) -> Vec<usize> {
        self.0[position].layout().shape().to_vec()
    }

    pub fn norm(&self, norm: &Norm) -> Normalisation<'_> {
        let gamma = self.of(norm.gamma);
        Normalisation {
            gamma,
            beta: match norm.beta {
                Some(beta) => Cow::Borrowed(self.of(beta)),
                None => Cow::Owned(vec![0.0; gamma.len()]),
            },
            epsilon: norm.epsilon,
        }
    }

    /// Returns a convolution's weight `[out, in / groups, height, width]`.
    pub fn kernel(&self, conv: &Conv) -> Result<Kernel<'_>, KernelError> {
        let values = self.of(conv.weight);
        Ok(match conv.is_matrix {
            false => Kernel::Here(values),
            true => {
                let shape = [conv.params.in_channels, conv.params.out_channels];
                Kernel::Turned(transpose(Isa::detect(), values, shape)?)
            }
        })
    }
}

/// A convolution's weight as kernels read it.
pub(super) enum Kernel<'a> {
    Here(&'a [f32]),
    Turned(AlignedVec),
}

impl std::ops::Deref for Kernel<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Here(values) => values,
            Self::Turned(values) => values,
        }
    }
}

/// A normalisation's parameters, whether there is a summand or not.
pub(super) struct Normalisation<'a> {
    pub gamma: &'a [f32],
    pub beta: Cow<'a, [f32]>,
    pub epsilon: f32,
}

impl Normalisation<'_> {
    pub fn as_batch_norm(&self) -> BatchNorm<'_> {
        BatchNorm {
            gamma: self.gamma,
            beta: &self.beta,
            eps: self.epsilon,
        }
    }
}
