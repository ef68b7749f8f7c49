//! Batch normalisation that keeps PyTorch's running statistics.

use burn::module::{Flag, Module, Param, RunningState};
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::module::{batch_norm, batch_norm_train};

/// Added to the variance before the square root, as in torchvision.
pub const EPSILON: f64 = 1e-5;
/// Share of a batch's statistics that enters the running statistics, as in torchvision.
pub const MOMENTUM: f64 = 0.1;

/// Batch normalisation over `[batch, channels, height, width]`
/// (Ioffe and Szegedy 2015, <https://arxiv.org/abs/1502.03167>).
///
/// Burn's own layer feeds the *biased* variance of a batch into the running variance; PyTorch feeds the
/// unbiased one, `n / (n - 1)` larger, and fine-tuning from PyTorch's weights has to do the same.
/// Fields carry PyTorch's names, so the module's paths are a state dict's keys.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale per channel, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift per channel, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Running mean, `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running (unbiased) variance, `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
    /// Off in a frozen layer: it then normalises by its running statistics and leaves them alone.
    pub training: Param<Flag>,
}

impl BatchNorm {
    /// A layer that starts as the identity: scale 1, shift 0, mean 0, variance 1.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([channels], device),
            bias: Initializer::Zeros.init([channels], device),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
            training: Param::from_bool(true),
        }
    }

    /// Normalises `[batch, channels, height, width]`.
    ///
    /// By the batch's statistics on an autodiff device while [`training`](Self::training) is on, by the
    /// running ones otherwise.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        if input.device().is_autodiff() && self.training.is_enabled() {
            self.forward_train(input)
        } else {
            self.forward_inference(input)
        }
    }

    fn forward_inference(&self, input: Tensor<4>) -> Tensor<4> {
        let device = input.device();
        batch_norm(
            input,
            self.weight.val(),
            self.bias.val(),
            self.running_mean.value().to_device(&device),
            self.running_var.value().to_device(&device),
            EPSILON,
        )
    }

    fn forward_train(&self, input: Tensor<4>) -> Tensor<4> {
        let [batch, _, height, width] = input.dims();
        let result = batch_norm_train(input, self.weight.val(), self.bias.val(), EPSILON);
        self.observe(result.mean, result.variance, batch * height * width);
        result.output
    }

    /// Takes a batch's mean and biased variance, each of `samples` values a channel, into the running statistics.
    pub(crate) fn observe(&self, mean: Tensor<1>, variance: Tensor<1>, samples: usize) {
        // A single value per channel has no unbiased variance; its biased one, zero, is the limit.
        let unbiased = samples as f64 / (samples as f64 - 1.0).max(1.0);
        update(&self.running_mean, mean, 1.0);
        update(&self.running_var, variance, unbiased);
    }
}

fn update(running: &RunningState<Tensor<1>>, statistic: Tensor<1>, correction: f64) {
    let old = running.value_sync().to_device(&statistic.device());
    let new = old.mul_scalar(1.0 - MOMENTUM) + statistic.detach().mul_scalar(MOMENTUM * correction);
    running.update(new.detach());
    // An update waits per thread until somebody asks; saving the state would otherwise miss the last one.
    running.value_sync();
}
