//! Checks whether stages can be quantised, and on which device.

use burn::prelude::*;
use burn::tensor::DType;
use rekindle_kernels::Isa;

use crate::network::Network;

/// Returns the first images' height and width, or why these stages can't be quantised.
pub(super) fn check(
    network: &Network,
    stages: usize,
    calibration: &[Tensor<4>],
) -> Result<[usize; 2], String> {
    let most = network.graph.stages().len();
    if !(1..=most).contains(&stages) {
        return Err(format!("a network has 1 to {most} stages"));
    }
    if network.device().is_autodiff() {
        return Err(
            "the network is in training; freeze the stages and quantise `valid()` of it".into(),
        );
    }
    if network.device() != Device::flex() || !network.execution.is_enabled {
        return Err("that needs the kernels of the CPU: weights on the flex device, and kernels switched on".into());
    }
    if !Isa::detect().has_byte_products() {
        return Err(
            "this machine does not multiply bytes faster than f32 (no AVX-512 VNNI, no AVX-VNNI)"
                .into(),
        );
    }
    let expected = network.graph.in_channels();
    for images in calibration {
        check_images(images)?;
        let found = images.dims()[1];
        if found != expected {
            return Err(format!(
                "images to measure on have {found} channels, the network takes {expected}"
            ));
        }
    }
    match calibration {
        [images, ..] => {
            let [.., height, width] = images.dims();
            Ok([height, width])
        }
        [] => Err(
            "no images to measure the ranges of activations on; give some batches of your own"
                .into(),
        ),
    }
}

/// Returns why stages in bytes don't take these images, if they don't.
pub(super) fn check_images(images: &Tensor<4>) -> Result<(), String> {
    let device = images.device();
    let is_supported =
        device == Device::flex() && !device.is_autodiff() && images.dtype() == DType::F32;
    if is_supported && images.dims().iter().all(|extent| *extent > 0) {
        return Ok(());
    }
    Err(format!(
        "images must be f32, on the CPU device (flex) without autodiff, and not empty; found {} of shape {:?}{}",
        images.dtype().name(),
        images.dims(),
        if device == Device::flex() {
            ""
        } else {
            " on another device"
        }
    ))
}
