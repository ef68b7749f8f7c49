//! The ranges that bytes are to cover, measured on images.

use std::sync::Arc;

use burn::backend::Flex;
use burn::prelude::*;
use rekindle_kernels::{Activation, KernelError, LANES, Quantization, on_pool_thread};

use super::modes::Modes;
use super::source::{PerSize, Source};
use crate::cpu::error::NoKernel;
use crate::cpu::forward::{Executor, run};
use crate::cpu::infer::PackedUnit;
use crate::cpu::memory::Images;
use crate::cpu::operand::Operand;
use crate::cpu::program::{Layer, Linear, Pixels};

/// The smallest and the largest value seen. Leaving out rare ones costs more in ResNets than finer steps give: without
/// the outermost 0.01 percent, features are off by half as much again.
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

/// Measures by value the ranges that `modes` asks for, on the program in `f32`.
pub(super) fn ranges(
    source: &Source,
    modes: &Modes,
    calibration: &[Tensor<4>],
) -> Result<Vec<Option<Quantization>>, NoKernel> {
    let is_ranged = modes.is_ranged.iter();
    let mut ranges: Vec<_> = is_ranged.map(|is| is.then_some(Range::EMPTY)).collect();
    let mut units = PerSize::EMPTY;
    for images in calibration {
        let images = images.clone().try_into_primitive::<Flex>();
        let images = Images::new(images.map_err(|_| NoKernel::Device)?);
        let [.., height, width] = images.shape;
        let unit = units.of(source, [height, width], |program| {
            let weights = source.weights.clone();
            PackedUnit::of_steps(program, weights, &source.running, |_| true)
        })?;
        let mut observer = Observer {
            unit: &unit,
            ranges: &mut ranges,
        };
        let x = Operand::Images(images);
        observer.observe(0, &x);
        let kept = vec![false; modes.is_ranged.len()];
        on_pool_thread(|| run(unit.program(), &mut observer, x, &kept))?;
    }
    let quantizations = ranges.iter().map(|range| match range {
        Some(range) => range.quantization().map(Some),
        None => Ok(None),
    });
    Ok(quantizations.collect::<Result<_, _>>()?)
}

struct Observer<'a> {
    unit: &'a PackedUnit,
    ranges: &'a mut [Option<Range>],
}

impl Executor for Observer<'_> {
    fn layer(
        &mut self,
        step: usize,
        layer: &Layer,
        x: Operand,
        other: Option<&Activation>,
    ) -> Result<Arc<Activation>, KernelError> {
        self.unit.layer(step, layer, x, other)
    }

    fn linear(&mut self, step: usize, linear: &Linear, x: &[f32]) -> Result<Vec<f32>, KernelError> {
        self.unit.linear(step, linear, x)
    }

    fn pixels(
        &mut self,
        step: usize,
        pixels: &Pixels,
        x: Operand,
    ) -> Result<Activation, KernelError> {
        self.unit.pixels(step, pixels, x)
    }

    fn factors(&self, _step: usize) -> &[f32] {
        &[]
    }

    fn observe(&mut self, value: usize, y: &Operand) {
        if let Some(range) = &mut self.ranges[value] {
            range.observe(match y {
                Operand::Images(images) => images.values(),
                Operand::Maps(maps) => maps.as_blocked(),
                Operand::Rows { values, .. } => values,
            });
        }
    }
}
