//! A ResNet on the CPU's own kernels, in training and in inference.
//!
//! Where all tensors are `f32` on Burn's flex device, the stages of a [`ResNet`] run on
//! [`rekindle_kernels`] instead of Burn's operations: each residual block is one operation with a backward pass of
//! its own, and feature maps stay in the kernels' layout from the stem to the pooling. Everything else, the
//! parameters, freezing, autodiff, records, is Burn's as before; on other devices nothing changes.
//! [`ResNet::with_kernels`] turns them off.

mod backward;
mod calibration;
mod execution;
mod layer;
mod operations;
mod packed;
mod quantized;
mod residual;
mod stem;
mod training;
mod weights;

pub(crate) use execution::Execution;
pub use quantized::QuantizedStages;

use std::ops::Range;

use burn::nn::conv::Conv2d;
use burn::prelude::*;
use burn::tensor::DType;
use rekindle_kernels::on_pool_thread;
use rekindle_nn::cpu::layout::Blocked;

use crate::{BatchNorm, ResNet};
use packed::StageInput;

/// Runs `stages` (by their indices in [`STAGES`](crate::STAGES)) on `x`, which is what the first of them takes.
/// `None` where Burn's operations have to do it.
pub(crate) fn forward_stages(
    resnet: &ResNet,
    stages: Range<usize>,
    x: &Tensor<4>,
) -> Option<Blocked> {
    if !resnet.execution.is_enabled() || stages.is_empty() || !is_at_home(resnet, x) {
        return None;
    }
    if x.device().is_autodiff() {
        training::forward_stages(resnet, stages, x.clone())
    } else {
        inference(resnet, stages, x.clone())
    }
}

/// Runs layers with ReLU, each with a max pooling of 2 x 2 behind it. `None` where Burn's operations have to do it.
pub(crate) fn pooled_layers(layers: &[(&Conv2d, &BatchNorm)], x: &Tensor<4>) -> Option<Blocked> {
    let device = x.device();
    let is_at_home = device.clone().without_autodiff() == Device::flex()
        && layers
            .iter()
            .all(|(conv, _)| conv.weight.val().device() == device)
        && x.dtype() == DType::F32
        && x.dims().iter().all(|extent| *extent > 0);
    if !is_at_home {
        return None;
    }
    training::pooled_layers(layers.iter().copied(), x.clone())
}

fn inference(resnet: &ResNet, stages: Range<usize>, x: Tensor<4>) -> Option<Blocked> {
    let packed = stages.map(|stage| resnet.execution.packed(resnet, stage));
    let packed = packed.collect::<Option<Vec<_>>>()?;
    let shape = x.dims();
    let data = x.into_data();
    let input = StageInput::Images(data.as_slice::<f32>().ok()?, shape);
    let (first, others) = packed.split_first()?;
    let x = on_pool_thread(|| {
        let x = first.forward(input)?;
        let mut others = others.iter();
        others.try_fold(x, |x, stage| stage.forward(StageInput::Maps(x)))
    });
    x.ok().map(Blocked::from_activation)
}

fn is_at_home(resnet: &ResNet, x: &Tensor<4>) -> bool {
    let device = x.device();
    device.clone().without_autodiff() == Device::flex()
        && resnet.device() == device
        && x.dtype() == DType::F32
        && x.dims().iter().all(|extent| *extent > 0)
}
