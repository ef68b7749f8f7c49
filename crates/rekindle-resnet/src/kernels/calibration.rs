//! The ranges that bytes are to cover, measured on images.

use burn::prelude::*;
use rekindle_kernels::{Activation, KernelError, LANES, Quantization};

use super::packed::{PackedStage, StageInput};
use crate::ResNet;

/// The smallest and the largest value seen. Leaving out rare ones costs more in these networks than finer steps give:
/// without the outermost 0.01 percent, features are off by half as much again.
#[derive(Clone, Copy)]
struct Range {
    low: [f32; LANES],
    high: [f32; LANES],
}

impl Range {
    const EMPTY: Self = Self {
        low: [f32::INFINITY; LANES],
        high: [f32::NEG_INFINITY; LANES],
    };

    fn observe(&mut self, values: &[f32]) {
        for values in values.chunks(LANES) {
            for ((value, low), high) in values.iter().zip(&mut self.low).zip(&mut self.high) {
                *low = if *value < *low { *value } else { *low };
                *high = if *value > *high { *value } else { *high };
            }
        }
    }

    fn quantization(&self) -> Result<Quantization, KernelError> {
        let low = self.low.iter().copied().fold(f32::INFINITY, f32::min);
        let high = self.high.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Quantization::of_range(low, high)
    }
}

/// The range of the images, and those of all layers' outputs in the order in which a block runs them.
pub(super) fn ranges(
    resnet: &ResNet,
    stages: usize,
    calibration: &[Tensor<4>],
) -> Result<(Quantization, Vec<Quantization>), String> {
    let packed = (0..stages).map(|stage| PackedStage::new(resnet, stage));
    let packed = packed
        .collect::<Option<Vec<_>>>()
        .ok_or("a layer that the kernels don't know")?;
    let (mut of_images, mut of_layers) = (Range::EMPTY, Vec::new());
    for images in calibration {
        let shape = images.dims();
        let data = images.clone().into_data();
        let values = data.as_slice::<f32>().map_err(|error| error.to_string())?;
        of_images.observe(values);
        let mut layer = 0;
        let mut observe = |maps: &Activation| {
            if layer == of_layers.len() {
                of_layers.push(Range::EMPTY);
            }
            of_layers[layer].observe(maps.as_blocked());
            layer += 1;
        };
        let mut input = StageInput::Images(values, shape);
        for stage in &packed {
            let maps = stage.observed(input, &mut observe);
            input = StageInput::Maps(maps.map_err(|error| error.to_string())?);
        }
    }
    let ranges = of_layers.iter().map(Range::quantization);
    let ranges = ranges
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let of_images = of_images.quantization();
    Ok((of_images.map_err(|error| error.to_string())?, ranges))
}
