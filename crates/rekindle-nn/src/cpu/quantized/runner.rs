//! A program in bytes, and in `f32` where there are no kernels for bytes.

use std::sync::Arc;

use rekindle_kernels::{
    Activation, ActivationFn, Isa, KernelError, Quantization, QuantizedActivation, QuantizedConv2d,
    Statistics, max_pool_quantized, on_pool_thread,
};

use super::modes::{Mode, Modes, byte_conv, saturates};
use super::source::Source;
use crate::cpu::error::NoKernel;
use crate::cpu::forward::{compute, missing};
use crate::cpu::infer::PackedUnit;
use crate::cpu::layer::Affine;
use crate::cpu::memory::Images;
use crate::cpu::operand::Operand;
use crate::cpu::program::{Kind, Layer, Program, Step};

/// A program with its weights in bytes, for images of any size that gives this program.
pub(super) struct Runner {
    /// The steps, and the weights of those that run in `f32`.
    unit: PackedUnit,
    modes: Vec<Mode>,
    /// Convolution of each step.
    convs: Vec<Option<QuantizedConv2d>>,
    /// Range of each value.
    ranges: Vec<Option<Quantization>>,
}

impl Runner {
    pub fn new(
        source: &Source,
        program: Program,
        ranges: &[Option<Quantization>],
    ) -> Result<Self, NoKernel> {
        let modes = Modes::new(&program).of_steps;
        let steps = program.steps.iter().zip(&source.running);
        let convs = steps.map(|(step, running)| {
            let Kind::Layer(layer) = &step.kind else {
                return Ok(None);
            };
            let Some(conv) = byte_conv(layer) else {
                return Ok(None);
            };
            let affine = layer.affine(conv, &source.weights, running.as_ref())?;
            let affine = affine.as_ref().map(Affine::as_slices);
            let weight = source.weights.kernel(conv)?;
            QuantizedConv2d::new(Isa::detect(), &conv.params, &weight, affine).map(Some)
        });
        let convs: Vec<_> = convs.collect::<Result<_, KernelError>>()?;
        for ((step, running), conv) in program.steps.iter().zip(&source.running).zip(&convs) {
            if conv.is_none() {
                check_finite(source, step, running.as_ref())?;
            }
        }
        let is_packed = |step: usize| convs[step].is_none();
        let weights = source.weights.clone();
        let unit = PackedUnit::of_steps(program, weights, &source.running, is_packed)?;
        Ok(Self {
            unit,
            modes,
            convs,
            ranges: ranges.to_vec(),
        })
    }

    /// Computes the feature maps that the program gives.
    pub fn forward(&self, images: Images) -> Result<Arc<Activation>, KernelError> {
        on_pool_thread(|| self.run(images))
    }

    fn run(&self, images: Images) -> Result<Arc<Activation>, KernelError> {
        let program = self.unit.program();
        let last_readers = program.last_readers();
        let mut values = vec![Value::default(); program.steps.len() + 1];
        values[0] = Operand::Images(images).into();
        for (index, step) in program.steps.iter().enumerate() {
            let y = match (&self.modes[index], &step.kind, &self.convs[index]) {
                (Mode::Floats, ..) => {
                    let other = step.other.map(|other| values[other].floats());
                    let other = other.transpose()?;
                    let x = values[step.input].floats()?;
                    if last_readers[step.input] == Some(index) {
                        // Nobody holds it then, so that its memory can be written to.
                        values[step.input] = Value::default();
                    }
                    compute(program, index, &mut &self.unit, x, other)?.into()
                }
                (_, Kind::MaxPool(window), _) => {
                    let x = self.bytes(&mut values, step.input)?;
                    let isa = Isa::detect();
                    max_pool_quantized(isa, &x, window.size, window.stride, window.padding)?.into()
                }
                (mode, Kind::Layer(layer), Some(conv)) => {
                    self.convolve(&mut values, index, layer, conv, *mode)?
                }
                _ => return Err(missing()),
            };
            values[index + 1] = y;
            for read in step.inputs() {
                if last_readers[read] == Some(index) {
                    values[read] = Value::default();
                }
            }
        }
        values[program.output].floats()?.maps()
    }

    fn convolve(
        &self,
        values: &mut [Value],
        index: usize,
        layer: &Layer,
        conv: &QuantizedConv2d,
        mode: Mode,
    ) -> Result<Value, KernelError> {
        let Step { input, other, .. } = self.unit.program().steps[index];
        let is_cut = layer.function != ActivationFn::Identity && saturates(layer.function);
        let other = other.map(|other| self.bytes(values, other)).transpose()?;
        let images = match &values[input].floats {
            Some(Operand::Images(images)) if other.is_none() => {
                Some((images.clone(), self.range(input)?))
            }
            _ => None,
        };
        if mode == Mode::Bytes {
            let output = self.range(index + 1)?;
            let y = match images {
                Some((x, range)) => {
                    conv.forward_nchw(x.values(), x.shape, range, is_cut, output)?
                }
                None => {
                    let x = self.bytes(values, input)?;
                    conv.forward(&x, other.as_deref(), is_cut, output)?
                }
            };
            return Ok(y.into());
        }
        let y = match images {
            Some((x, range)) => {
                conv.forward_nchw_dequantized(x.values(), x.shape, range, is_cut)?
            }
            None => {
                let x = self.bytes(values, input)?;
                conv.forward_dequantized(&x, other.as_deref(), is_cut)?
            }
        };
        let y = match layer.function {
            ActivationFn::Identity | ActivationFn::Relu => y,
            function => function.forward(Isa::detect(), y)?,
        };
        Ok(Operand::new(y).into())
    }

    /// Returns a value in bytes.
    fn bytes(
        &self,
        values: &mut [Value],
        index: usize,
    ) -> Result<Arc<QuantizedActivation>, KernelError> {
        let value = &mut values[index];
        if let Some(bytes) = &value.bytes {
            return Ok(Arc::clone(bytes));
        }
        let floats = value.floats.as_ref().ok_or_else(missing)?.maps()?;
        let bytes = QuantizedActivation::from_activation(&floats, self.range(index)?);
        Ok(Arc::clone(value.bytes.insert(Arc::new(bytes))))
    }

    fn range(&self, value: usize) -> Result<Quantization, KernelError> {
        self.ranges[value].ok_or_else(missing)
    }
}

/// Refuses a step in `f32` as one in bytes is.
fn check_finite(
    source: &Source,
    step: &Step,
    running: Option<&Statistics>,
) -> Result<(), KernelError> {
    let parameters = step.parameters().into_iter();
    let parameters = parameters.flat_map(|position| source.weights.of(position));
    let running = running.into_iter();
    let running = running.flat_map(|running| running.mean.iter().chain(&running.var));
    match parameters.chain(running).find(|value| !value.is_finite()) {
        Some(value) => Err(KernelError::InvalidLayer(format!(
            "a weight to quantise must be finite, found {value}"
        ))),
        None => Ok(()),
    }
}

/// Output of a step, and its conversions.
#[derive(Clone, Default)]
struct Value {
    floats: Option<Operand>,
    bytes: Option<Arc<QuantizedActivation>>,
}

impl Value {
    fn floats(&mut self) -> Result<Operand, KernelError> {
        if let Some(floats) = &self.floats {
            return Ok(floats.clone());
        }
        let bytes = self.bytes.as_ref().ok_or_else(missing)?;
        let floats = self.floats.insert(Operand::new(bytes.dequantize()));
        Ok(floats.clone())
    }
}

impl From<Operand> for Value {
    fn from(floats: Operand) -> Self {
        Self {
            floats: Some(floats),
            bytes: None,
        }
    }
}

impl From<QuantizedActivation> for Value {
    fn from(bytes: QuantizedActivation) -> Self {
        Self {
            floats: None,
            bytes: Some(Arc::new(bytes)),
        }
    }
}
