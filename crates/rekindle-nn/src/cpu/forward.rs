//! A program's steps in order, each value dropped after its last use.

use std::sync::Arc;

use rekindle_kernels::{
    Activation, ActivationFn, Conv2dParams, Isa, KernelError, PackedConv2d, PackedLinear,
    channel_means, leave_out_padding, max_pool, multiply, scale_channels, scale_channels_in_place,
    subtract,
};

use super::operand::Operand;
use super::program::{Kind, Layer, Linear, Pixels, Program, Window};
use super::weights::Weights;

/// Computes the steps that have parameters.
pub(super) trait Executor {
    /// Computes a layer's output.
    fn layer(
        &mut self,
        step: usize,
        layer: &Layer,
        x: Operand,
        other: Option<&Activation>,
    ) -> Result<Arc<Activation>, KernelError>;

    /// Computes rows `[batch, outputs]` of rows `[batch, inputs]`.
    fn linear(&mut self, step: usize, linear: &Linear, x: &[f32]) -> Result<Vec<f32>, KernelError>;

    /// Computes a step on all pixels. `x` is written to where nobody else holds it and no backward pass follows.
    fn pixels(
        &mut self,
        step: usize,
        pixels: &Pixels,
        x: Operand,
    ) -> Result<Activation, KernelError>;

    /// Returns a factor for each image, drawn beforehand.
    fn factors(&self, step: usize) -> &[f32];

    /// Is shown each value, by its number, as soon as it is computed.
    fn observe(&mut self, _value: usize, _y: &Operand) {}
}

/// Runs the program on `x` and returns all values that are in `kept`, and the output.
pub(super) fn run(
    program: &Program,
    executor: &mut impl Executor,
    x: Operand,
    kept: &[bool],
) -> Result<Vec<Option<Operand>>, KernelError> {
    let last_readers = program.last_readers();
    let mut values: Vec<Option<Operand>> = vec![None; program.steps.len() + 1];
    values[0] = Some(prepared(program, x)?);
    for (index, step) in program.steps.iter().enumerate() {
        let other = step.other.and_then(|other| values[other].clone());
        // Taken out where nobody reads it later, so that its memory can be written to.
        let is_last = last_readers[step.input] == Some(index) && !kept[step.input];
        let x = match is_last {
            true => values[step.input].take(),
            false => values[step.input].clone(),
        };
        let x = x.ok_or_else(missing)?;
        let y = compute(program, index, executor, x, other)?;
        executor.observe(index + 1, &y);
        values[index + 1] = Some(y);
        for read in step.inputs() {
            if last_readers[read] == Some(index) && !kept[read] {
                values[read] = None;
            }
        }
    }
    Ok(values)
}

/// Computes one step of the program. `x` is written to where nobody else holds it.
pub(super) fn compute(
    program: &Program,
    index: usize,
    executor: &mut impl Executor,
    x: Operand,
    other: Option<Operand>,
) -> Result<Operand, KernelError> {
    let channels = program.shapes[index + 1][0];
    Ok(match &program.steps[index].kind {
        Kind::Layer(layer) => {
            let other = other.map(|other| other.maps()).transpose()?;
            Operand::Maps(executor.layer(index, layer, x, other.as_deref())?)
        }
        Kind::Linear(linear) => {
            Operand::rows(executor.linear(index, linear, &x.as_rows())?, channels)
        }
        Kind::Means => Operand::rows(channel_means(Isa::detect(), &*x.maps()?)?, channels),
        Kind::Scale => Operand::new(scale(x, &other.ok_or_else(missing)?.as_rows())?),
        Kind::Product => {
            let other = other.ok_or_else(missing)?;
            Operand::new(multiply(&*x.maps()?, &*other.maps()?)?)
        }
        Kind::Difference => {
            let other = other.ok_or_else(missing)?;
            Operand::new(subtract(&*x.maps()?, &*other.maps()?)?)
        }
        Kind::MaxPool(window) => Operand::new(pool(&*x.maps()?, *window)?),
        Kind::AvgPool(params) => Operand::new(averages(params, &*x.maps()?)?),
        Kind::DropPath(_) => {
            Operand::new(scale(x, &per_channel(executor.factors(index), channels))?)
        }
        Kind::Pixels(pixels) => Operand::new(executor.pixels(index, pixels, x)?),
    })
}

/// Turns images into the kernels' order where not only one convolution reads them.
fn prepared(program: &Program, x: Operand) -> Result<Operand, KernelError> {
    let readers = program.steps.iter().flat_map(|step| step.inputs());
    let is_read_once = readers.filter(|value| *value == 0).count() == 1;
    let is_layer = program.steps.iter().any(|step| {
        let Kind::Layer(layer) = &step.kind else {
            return false;
        };
        step.input == 0 && step.other.is_none() && layer.conv.is_some()
    });
    match x {
        Operand::Images(_) if !(is_read_once && is_layer) => x.maps().map(Operand::Maps),
        x => Ok(x),
    }
}

pub(super) fn missing() -> KernelError {
    KernelError::InvalidLayer("a step reads a value that no step before it gave".into())
}

fn scale(x: Operand, factors: &[f32]) -> Result<Activation, KernelError> {
    let isa = Isa::detect();
    match Arc::try_unwrap(x.into_maps()?) {
        Ok(x) => scale_channels_in_place(isa, x, factors),
        Err(x) => scale_channels(isa, &x, factors),
    }
}

/// Repeats a factor of each image for its channels.
pub(super) fn per_channel(factors: &[f32], channels: usize) -> Vec<f32> {
    let factors = factors.iter();
    factors
        .flat_map(|factor| std::iter::repeat_n(*factor, channels))
        .collect()
}

pub(super) fn pool(x: &Activation, window: Window) -> Result<Activation, KernelError> {
    let Window {
        size,
        stride,
        padding,
    } = window;
    max_pool(Isa::detect(), x, size, stride, padding)
}

/// Returns the equal weights of an average.
pub(super) fn equal_weights(params: &Conv2dParams) -> Vec<f32> {
    let [height, width] = params.kernel;
    let count = height * width;
    vec![1.0 / count as f32; params.out_channels * count]
}

/// Averages windows, padding not counted.
fn averages(params: &Conv2dParams, x: &Activation) -> Result<Activation, KernelError> {
    let packed = PackedConv2d::new(Isa::detect(), params, &equal_weights(params), None)?;
    let mut y = packed.forward(x, None, false)?;
    let [.., height, width] = x.shape();
    uncounted(params, &mut y, [height, width])?;
    Ok(y)
}

/// Scales averages, or their gradient, so that padding isn't counted.
pub(super) fn uncounted(
    params: &Conv2dParams,
    y: &mut Activation,
    size: [usize; 2],
) -> Result<(), KernelError> {
    let [kernel, _] = params.kernel;
    match params.padding.uniform() {
        Some(0) => Ok(()),
        _ => leave_out_padding(y, kernel, params.stride, params.padding, size),
    }
}

impl Linear {
    pub fn packed(&self, weights: &Weights) -> Result<PackedLinear, KernelError> {
        let bias = self.bias.map(|bias| weights.of(bias));
        let shape = [self.outputs, self.inputs];
        PackedLinear::new(Isa::detect(), shape, weights.of(self.weight), bias)
    }

    /// Computes rows by packed weights and `function`.
    pub fn by(
        &self,
        packed: &PackedLinear,
        x: &[f32],
        function: ActivationFn,
    ) -> Result<Vec<f32>, KernelError> {
        packed.forward_with(x, x.len() / self.inputs.max(1), function)
    }
}
