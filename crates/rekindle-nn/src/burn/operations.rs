//! Operations of convolutional networks, as Burn's.

use burn::prelude::*;
use burn::tensor::activation::{gelu, hard_sigmoid, hard_swish, leaky_relu, relu, sigmoid, silu};
use burn::tensor::module::{batch_norm, batch_norm_train, conv2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};

use crate::op::{Activation, BatchNorm, Conv2d, Pool2d};
use crate::slot::{Slot, update};

pub(super) fn convolve(
    conv: &Conv2d,
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let padding = conv
        .padding
        .pairs([height, width], conv.window(), conv.stride);
    let padding = padding.map(|[before, behind]| (before, behind));
    let options = ConvOptions::new_with_padding(conv.stride, padding, conv.dilation, conv.groups);
    conv2d(x, weight, bias, options)
}

/// Normalises `x` by its own statistics where it is trained, as PyTorch does: the running variance takes a batch's
/// unbiased one.
pub(super) fn normalise(
    norm: &BatchNorm,
    x: Tensor<4>,
    slots: [&Slot; 4],
    is_training: bool,
) -> Tensor<4> {
    let [weight, bias] = [slots[0].vector(), slots[1].vector()];
    let (mean, variance) = (slots[2].statistic(), slots[3].statistic());
    let device = x.device();
    if !(is_training && device.is_autodiff()) {
        let mean = mean.value().to_device(&device);
        let variance = variance.value().to_device(&device);
        return batch_norm(x, weight, bias, mean, variance, norm.epsilon);
    }
    let [batch, _, height, width] = x.dims();
    let samples = (batch * height * width) as f64;
    let result = batch_norm_train(x, weight, bias, norm.epsilon);
    // A single value per channel has no unbiased variance; its biased one, zero, is the limit.
    let unbiased = samples / (samples - 1.0).max(1.0);
    update(mean, result.mean, norm.momentum, 1.0);
    update(variance, result.variance, norm.momentum, unbiased);
    result.output
}

pub(super) fn activate<const D: usize>(activation: Activation, x: Tensor<D>) -> Tensor<D> {
    match activation {
        Activation::Relu => relu(x),
        // At zero, where whole maps may lie, the derivative is 0 as in PyTorch; that of `clamp(0, 6)` would be 1.
        Activation::Relu6 => relu(x).clamp_max(6.0),
        Activation::Silu => silu(x),
        Activation::HardSwish => hard_swish(x),
        Activation::HardSigmoid => hard_sigmoid(x, 1.0 / 6.0, 0.5),
        Activation::Sigmoid => sigmoid(x),
        Activation::Gelu => gelu(x),
        Activation::QuickGelu => x.clone() * sigmoid(x * 1.702),
        Activation::GeluTanh => {
            let square = x.clone() * x.clone();
            let factor = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::SQRT_2;
            x.clone() * sigmoid(x * (square * (0.044715 * factor) + factor))
        }
        Activation::Mish => {
            // tanh(ln(1 + e)) with e = exp(x), which above this is 1.
            let e = x.clone().clamp_max(20.0).exp();
            let n = e.clone() * (e + 2.0);
            x * (n.clone() / (n + 2.0))
        }
        Activation::Tanh => x.tanh(),
        Activation::Elu => relu(x.clone()) + x.clamp_max(0.0).exp() - 1.0,
        Activation::LeakyRelu => leaky_relu(x, 0.01),
        Activation::LeakyReluTenth => leaky_relu(x, 0.1),
    }
}

pub(super) fn max_pooling(pool: &Pool2d) -> MaxPoolOptions<2> {
    MaxPoolOptions::new(pool.kernel)
        .with_stride(pool.stride)
        .with_padding(pool.padding)
        .with_ceil_mode(pool.ceil_mode)
}

pub(super) fn avg_pooling(pool: &Pool2d) -> AvgPoolOptions<2> {
    AvgPoolOptions::new(pool.kernel)
        .with_stride(pool.stride)
        .with_padding(pool.padding)
        .with_count_include_pad(false)
        .with_ceil_mode(pool.ceil_mode)
}
