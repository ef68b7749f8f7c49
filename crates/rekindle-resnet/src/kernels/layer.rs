//! One convolution with its batch normalisation, forward and backward on the kernels.

use std::sync::Arc;

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::prelude::*;
use burn::tensor::DType;
use rekindle_kernels::{
    Activation, AlignedVec, Conv2dParams, Gate, Isa, KernelError, Statistics, UnpackedConv2d,
    fold_batch_norm, input_gradient, weight_gradient, weight_gradient_nchw,
};

use crate::BatchNorm;
use crate::batch_norm::EPSILON;

/// Tensors of one layer: the convolution's weight and the normalisation's weight and bias.
pub(crate) const TENSORS: usize = 3;

/// A convolution without bias and its batch normalisation: all but the weights.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub conv: Conv2dParams,
    /// What to normalise by; the batch's own statistics where there is none.
    pub running: Option<Statistics>,
}

/// A layer's weights.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub conv: &'a [f32],
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
}

/// What a layer reads.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    Blocked(&'a Activation),
    /// Row-major `[batch, channels, height, width]`: the network's images.
    Images(&'a [f32], [usize; 4]),
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    /// Before the normalisation.
    pub conv: Arc<Activation>,
    pub statistics: Statistics,
}

/// What comes back to a layer.
pub(crate) struct Incoming<'a> {
    /// The gradient by the output.
    pub dy: Activation,
    /// The ReLU behind the layer.
    pub gate: Gate<'a>,
    /// What reaches the layer's input by another way, to be added to its gradient.
    pub add: Option<&'a Activation>,
}

/// Which gradients somebody waits for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub input: bool,
    pub weight: bool,
    pub residual: bool,
}

/// Gradients of one layer, those that were wanted.
pub(crate) struct Gradients {
    pub input: Option<Activation>,
    pub residual: Option<Activation>,
    pub weight: Option<AlignedVec>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

impl Layer {
    /// `None` where the layer is not what the kernels know: `f32`, a square filter padded by half its size, a
    /// stride of 1 or 2, neither bias nor dilation.
    pub fn new(conv: &Conv2d, norm: &BatchNorm, running: Option<Statistics>) -> Option<Self> {
        let [out_channels, in_per_group, height, width] = conv.weight.dims();
        let half = height / 2;
        let padding = PaddingConfig2d::Explicit(half, half, half, half);
        let is_known = height == width
            && conv.padding == padding
            && conv.stride[0] == conv.stride[1]
            && (1..=2).contains(&conv.stride[0])
            && conv.dilation == [1, 1]
            && conv.bias.is_none()
            && conv.weight.val().dtype() == DType::F32
            && norm.weight.val().dtype() == DType::F32;
        let params = Conv2dParams::new(
            in_per_group * conv.groups,
            out_channels,
            height,
            conv.stride[0],
        );
        is_known.then(|| Self {
            conv: params.with_groups(conv.groups),
            running,
        })
    }

    /// The batch's statistics, where the layer normalised by them.
    pub fn taken(&self, statistics: &Statistics) -> Option<Statistics> {
        self.running.is_none().then(|| statistics.clone())
    }

    /// `relu(norm(conv(input)) + residual)` without what is not asked for, and what a backward pass needs.
    pub fn forward(
        &self,
        weights: Weights<'_>,
        input: Input<'_>,
        residual: Option<&Activation>,
        relu: bool,
    ) -> Result<(Activation, Saved), KernelError> {
        let isa = Isa::detect();
        let conv = UnpackedConv2d::new(isa, &self.conv, weights.conv, None)?;
        let conv = run(&conv, input, None, false)?;
        let statistics = match &self.running {
            Some(statistics) => statistics.clone(),
            None => Statistics::of_batch(isa, &conv)?,
        };
        let output = weights
            .norm()
            .forward(isa, &conv, &statistics, residual, relu)?;
        let conv = Arc::new(conv);
        Ok((output, Saved { conv, statistics }))
    }

    /// As [`forward`](Self::forward) where no backward pass follows. Running statistics are folded into the
    /// convolution.
    pub fn infer(
        &self,
        weights: Weights<'_>,
        input: Input<'_>,
        residual: Option<&Activation>,
        relu: bool,
    ) -> Result<(Activation, Option<Statistics>), KernelError> {
        let Some(running) = &self.running else {
            let (output, saved) = self.forward(weights, input, residual, relu)?;
            return Ok((output, Some(saved.statistics)));
        };
        let (scale, shift) = fold_batch_norm(
            weights.gamma,
            weights.beta,
            &running.mean,
            &running.var,
            EPSILON as f32,
        )?;
        let affine = Some((&scale[..], &shift[..]));
        let conv = UnpackedConv2d::new(Isa::detect(), &self.conv, weights.conv, affine)?;
        Ok((run(&conv, input, residual, relu)?, None))
    }

    /// The gradients that are wanted.
    pub fn backward(
        &self,
        weights: Weights<'_>,
        input: Input<'_>,
        saved: &Saved,
        incoming: Incoming<'_>,
        wanted: Wanted,
    ) -> Result<Gradients, KernelError> {
        let isa = Isa::detect();
        let norm = weights.norm().backward(
            isa,
            &saved.conv,
            &saved.statistics,
            incoming.gate,
            incoming.dy,
            wanted.residual,
        )?;
        let weight = match input {
            _ if !wanted.weight => None,
            Input::Blocked(x) => Some(weight_gradient(isa, &self.conv, x, &norm.x)?),
            Input::Images(x, shape) => {
                Some(weight_gradient_nchw(isa, &self.conv, x, shape, &norm.x)?)
            }
        };
        let input = if wanted.input {
            let (weight, size) = (weights.conv, input.size());
            let dx = input_gradient(isa, &self.conv, weight, &norm.x, size, incoming.add)?;
            Some(dx)
        } else {
            None
        };
        Ok(Gradients {
            input,
            residual: norm.residual,
            weight,
            gamma: norm.gamma,
            beta: norm.beta,
        })
    }
}

impl Weights<'_> {
    pub fn norm(&self) -> rekindle_kernels::BatchNorm<'_> {
        rekindle_kernels::BatchNorm {
            gamma: self.gamma,
            beta: self.beta,
            eps: EPSILON as f32,
        }
    }
}

impl Input<'_> {
    fn shape(&self) -> [usize; 4] {
        match self {
            Input::Blocked(x) => x.shape(),
            Input::Images(_, shape) => *shape,
        }
    }

    fn size(&self) -> [usize; 2] {
        let [_, _, height, width] = self.shape();
        [height, width]
    }
}

fn run(
    conv: &UnpackedConv2d<'_>,
    input: Input<'_>,
    residual: Option<&Activation>,
    relu: bool,
) -> Result<Activation, KernelError> {
    match input {
        Input::Blocked(x) => conv.forward(x, residual, relu),
        // A stem has no residual.
        Input::Images(x, shape) => conv.forward_nchw(x, shape, relu),
    }
}

/// What a layer in evaluation mode normalises by.
pub(super) fn running_statistics(norm: &BatchNorm) -> Statistics {
    let host = |tensor: Tensor<1>| tensor.into_data().iter::<f32>().collect();
    Statistics::fixed(
        host(norm.running_mean.value()),
        host(norm.running_var.value()),
    )
}
