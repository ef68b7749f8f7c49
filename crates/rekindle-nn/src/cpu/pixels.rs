//! One step on all pixels with statistics of its own, forward and backward.

use std::sync::Arc;

use rekindle_kernels::{
    Activation, ChannelNorms, GroupNorm, GroupStatistics, Isa, KernelError, LayerNorm, LogSumExp,
    PixelStatistics, ResponseNorm,
};

use super::layer::sum;
use super::operand::Operand;
use super::program::{PixelNorm, Pixels};
use super::weights::Weights;

/// Values that a step keeps for its backward pass.
#[derive(Clone, Debug)]
pub(super) enum SavedPixels {
    LayerNorm(PixelStatistics),
    ResponseNorm(ChannelNorms),
    GroupNorm(GroupStatistics),
    Attention(LogSumExp),
}

/// Gradients that a step gives.
pub(super) struct PixelGradients {
    pub input: Activation,
    /// Gradients by a normalisation's weight and bias, with their positions.
    pub parameters: Option<(PixelNorm, [Vec<f32>; 2])>,
}

impl Pixels {
    /// Computes the output where no backward pass follows, in the memory of `x` where nobody else holds it.
    pub fn infer(&self, weights: &Weights, x: Operand) -> Result<Activation, KernelError> {
        let isa = Isa::detect();
        let x = x.into_maps()?;
        match self {
            Self::LayerNorm(norm) => layer_norm(weights, norm).infer(isa, Arc::unwrap_or_clone(x)),
            Self::ResponseNorm(norm) => {
                response_norm(weights, norm).infer(isa, Arc::unwrap_or_clone(x))
            }
            Self::GroupNorm(norm, groups) => {
                group_norm(weights, norm, *groups).infer(isa, Arc::unwrap_or_clone(x))
            }
            Self::Attention(attention) => attention.forward(isa, &x).map(|(y, _)| y),
        }
    }

    /// Computes the output and what a backward pass needs.
    pub fn forward(
        &self,
        weights: &Weights,
        x: &Activation,
    ) -> Result<(Activation, SavedPixels), KernelError> {
        let isa = Isa::detect();
        Ok(match self {
            Self::LayerNorm(norm) => {
                let (y, statistics) = layer_norm(weights, norm).forward(isa, x)?;
                (y, SavedPixels::LayerNorm(statistics))
            }
            Self::ResponseNorm(norm) => {
                let (y, norms) = response_norm(weights, norm).forward(isa, x)?;
                (y, SavedPixels::ResponseNorm(norms))
            }
            Self::GroupNorm(norm, groups) => {
                let (y, statistics) = group_norm(weights, norm, *groups).forward(isa, x)?;
                (y, SavedPixels::GroupNorm(statistics))
            }
            Self::Attention(attention) => {
                let (y, logarithms) = attention.forward(isa, x)?;
                (y, SavedPixels::Attention(logarithms))
            }
        })
    }

    /// Computes the gradients for `dy`, the gradient by the output `y`; `add` is what reaches the input by another way.
    /// None where what was saved is not this step's, or `y` is missing.
    pub fn backward(
        &self,
        weights: &Weights,
        saved: &SavedPixels,
        [x, y]: [Option<Arc<Activation>>; 2],
        dy: Arc<Activation>,
        add: Option<Arc<Activation>>,
    ) -> Result<Option<PixelGradients>, KernelError> {
        let isa = Isa::detect();
        let Some(x) = x else {
            return Ok(None);
        };
        let joined = |dx: Activation| match &add {
            Some(add) => sum(add, &dx, false),
            None => Ok(dx),
        };
        Ok(Some(match (self, saved, y) {
            (Self::LayerNorm(norm), SavedPixels::LayerNorm(statistics), _) => {
                let (dy, add) = (Arc::unwrap_or_clone(dy), add.as_deref());
                let found = layer_norm(weights, norm).backward(isa, &x, statistics, dy, add)?;
                PixelGradients {
                    input: found.x,
                    parameters: Some((*norm, [found.weight, found.bias])),
                }
            }
            (Self::ResponseNorm(norm), SavedPixels::ResponseNorm(norms), _) => {
                let dy = Arc::unwrap_or_clone(dy);
                let found = response_norm(weights, norm).backward(isa, &x, norms, dy)?;
                PixelGradients {
                    input: joined(found.x)?,
                    parameters: Some((*norm, [found.weight, found.bias])),
                }
            }
            (Self::GroupNorm(norm, groups), SavedPixels::GroupNorm(statistics), _) => {
                let dy = Arc::unwrap_or_clone(dy);
                let found = group_norm(weights, norm, *groups).backward(isa, &x, statistics, dy)?;
                PixelGradients {
                    input: joined(found.x)?,
                    parameters: Some((*norm, [found.weight, found.bias])),
                }
            }
            (Self::Attention(attention), SavedPixels::Attention(logarithms), Some(y)) => {
                PixelGradients {
                    input: joined(attention.backward(isa, &x, &y, logarithms, &dy)?)?,
                    parameters: None,
                }
            }
            _ => return Ok(None),
        }))
    }
}

fn layer_norm<'a>(weights: &'a Weights, norm: &PixelNorm) -> LayerNorm<'a> {
    LayerNorm {
        weight: weights.of(norm.weight),
        bias: weights.of(norm.bias),
        eps: norm.epsilon,
    }
}

fn response_norm<'a>(weights: &'a Weights, norm: &PixelNorm) -> ResponseNorm<'a> {
    ResponseNorm {
        weight: weights.of(norm.weight),
        bias: weights.of(norm.bias),
        eps: norm.epsilon,
    }
}

fn group_norm<'a>(weights: &'a Weights, norm: &PixelNorm, groups: usize) -> GroupNorm<'a> {
    GroupNorm {
        groups,
        weight: weights.of(norm.weight),
        bias: weights.of(norm.bias),
        eps: norm.epsilon,
    }
}
