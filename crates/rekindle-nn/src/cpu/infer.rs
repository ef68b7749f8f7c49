//! Units packed for inference: normalisation folded into the convolutions, and bias, sum and function in their
//! epilogues.

use std::sync::Arc;

use rekindle_kernels::{
    Activation, Conv2dParams, Isa, KernelError, PackedConv2d, PackedLinear, Statistics,
    on_pool_thread,
};

use super::error::NoKernel;
use super::forward::{Executor, run};
use super::layer::Affine;
use super::operand::Operand;
use super::parameters::read;
use super::program::{Conv, Kind, Layer, Linear, Pixels, Program, Step};
use super::weights::Weights;
use crate::graph::Graph;
use crate::shape::Shape;
use crate::slot::Slot;

/// A unit's steps with their weights as they stood when it was packed.
pub(super) struct PackedUnit {
    program: Program,
    /// Weights of layers without a convolution.
    weights: Weights,
    steps: Vec<PackedStep>,
    kept: Vec<bool>,
}

enum PackedStep {
    Conv(Box<PackedConv2d>),
    Linear(PackedLinear),
    /// A layer without a convolution, and what it normalises by.
    Plain(Option<Statistics>),
}

impl PackedUnit {
    pub fn new(graph: &Graph, slots: &[Slot], program: Program) -> Result<Self, NoKernel> {
        let (weights, running) = read(graph, slots, &program)?;
        Self::of_steps(program, weights, &running, |_| true)
    }

    /// Packs the steps that `is_packed` names; the others, where they have a convolution, can't run. `running` are the
    /// statistics that each step normalises by.
    pub fn of_steps(
        program: Program,
        mut weights: Weights,
        running: &[Option<Statistics>],
        is_packed: impl Fn(usize) -> bool,
    ) -> Result<Self, NoKernel> {
        let mut steps = Vec::with_capacity(program.steps.len());
        for (index, (step, running)) in program.steps.iter().zip(running).enumerate() {
            steps.push(match &step.kind {
                Kind::Layer(layer) if is_packed(index) => packed(layer, &weights, running.clone())?,
                Kind::Linear(linear) if is_packed(index) => {
                    PackedStep::Linear(linear.packed(&weights)?)
                }
                _ => PackedStep::Plain(None),
            });
        }
        // All else is packed.
        let plain = program.steps.iter().filter(|step| match &step.kind {
            Kind::Layer(layer) => layer.conv.is_none(),
            Kind::Pixels(_) => true,
            _ => false,
        });
        let read: Vec<usize> = plain.flat_map(Step::parameters).collect();
        weights.retain(|position| read.contains(&position));
        let kept = vec![false; program.steps.len() + 1];
        Ok(Self {
            program,
            weights,
            steps,
            kept,
        })
    }

    /// Returns the steps.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Computes the shape of what it gives for an input of this shape.
    pub fn output(&self, input: Shape) -> Result<Shape, KernelError> {
        let Shape::Maps { size, .. } = input else {
            return Ok(input);
        };
        let mut sizes = vec![size];
        for step in &self.program.steps {
            let size = sizes[step.input];
            sizes.push(match &step.kind {
                Kind::Layer(Layer {
                    conv: Some(Conv { params, .. }),
                    ..
                })
                | Kind::AvgPool(params) => params.output_size(size)?,
                Kind::MaxPool(window) => {
                    let params = Conv2dParams::new(1, 1, window.size, window.stride);
                    params.with_padding(window.padding).output_size(size)?
                }
                Kind::Means | Kind::Linear(_) => [1, 1],
                Kind::Layer(_)
                | Kind::Scale
                | Kind::Product
                | Kind::Difference
                | Kind::DropPath(_)
                | Kind::Pixels(_) => size,
            });
        }
        Ok(Shape::Maps {
            channels: self.program.out_channels(),
            size: sizes[self.program.output],
        })
    }

    fn forward(&self, x: Operand) -> Result<Operand, KernelError> {
        let mut values = run(&self.program, &mut &*self, x, &self.kept)?;
        let output = values.swap_remove(self.program.output);
        output.ok_or_else(|| KernelError::InvalidLayer("a unit gives no value".into()))
    }
}

/// Runs units in a row, handed to the pool of threads at once.
pub(super) fn run_all(
    units: &[Arc<PackedUnit>],
    x: Operand,
) -> Result<Arc<Activation>, KernelError> {
    on_pool_thread(|| {
        let mut units = units.iter();
        let y = units.try_fold(x, |x, unit| unit.forward(x))?;
        y.maps()
    })
}

impl Executor for &PackedUnit {
    fn layer(
        &mut self,
        step: usize,
        layer: &Layer,
        x: Operand,
        other: Option<&Activation>,
    ) -> Result<Arc<Activation>, KernelError> {
        match (&self.steps[step], x, other) {
            (PackedStep::Conv(conv), Operand::Images(x), None) => conv
                .forward_nchw(x.values(), x.shape, layer.function)
                .map(Arc::new),
            (PackedStep::Conv(conv), x, other) => conv
                .forward(&*x.maps()?, other, layer.function)
                .map(Arc::new),
            (PackedStep::Plain(running), x, other) => {
                let (y, _) = layer.infer(&self.weights, x, other, running.as_ref())?;
                Ok(y)
            }
            (PackedStep::Linear(_), ..) => Err(KernelError::InvalidLayer(
                "a linear layer stands where feature maps are".into(),
            )),
        }
    }

    fn linear(&mut self, step: usize, linear: &Linear, x: &[f32]) -> Result<Vec<f32>, KernelError> {
        match &self.steps[step] {
            PackedStep::Linear(packed) => linear.by(packed, x, linear.function),
            _ => Err(KernelError::InvalidLayer(
                "a convolution stands where rows are".into(),
            )),
        }
    }

    fn pixels(
        &mut self,
        _step: usize,
        pixels: &Pixels,
        x: Operand,
    ) -> Result<Activation, KernelError> {
        pixels.infer(&self.weights, x)
    }

    fn factors(&self, _step: usize) -> &[f32] {
        // Whole images are dropped in training only.
        &[]
    }
}

fn packed(
    layer: &Layer,
    weights: &Weights,
    running: Option<Statistics>,
) -> Result<PackedStep, NoKernel> {
    let Some(conv) = &layer.conv else {
        return Ok(PackedStep::Plain(running));
    };
    let affine = layer.affine(conv, weights, running.as_ref())?;
    let affine = affine.as_ref().map(Affine::as_slices);
    let weight = weights.kernel(conv)?;
    let packed = PackedConv2d::new(Isa::detect(), &conv.params, &weight, affine)?;
    Ok(PackedStep::Conv(Box::new(packed)))
}
