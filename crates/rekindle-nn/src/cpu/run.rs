//! Units of a network on tensors, with and without gradients.

use std::sync::Arc;

use burn::backend::{Dispatch, Flex};
use burn::prelude::*;
use burn::tensor::DType;
use rekindle_kernels::Statistics;

use super::error::NoKernel;
use super::infer::run_all;
use super::layout::Blocked;
use super::lower::{Purpose, lower, without_kernel};
use super::operand::Operand;
use super::operations::UnitOperations;
use super::parameters::running_statistics;
use super::plan::Unit;
use super::program::{Kind, Norm, Program, Step};
use super::tensors::Tensors;
use super::train::Training;
use crate::network::Network;
use crate::op::Op;
use crate::shape::Shape;
use crate::slot::{Slot, update};

/// Feature maps in either layout.
#[derive(Clone)]
pub(crate) enum Maps {
    /// `[batch, channels, height, width]`.
    Plain(Tensor<4>),
    Blocked(Blocked),
}

impl Maps {
    fn shape(&self) -> Shape {
        match self {
            Self::Plain(x) => {
                let [_, channels, height, width] = x.dims();
                Shape::Maps {
                    channels,
                    size: [height, width],
                }
            }
            Self::Blocked(x) => {
                let [_, _, height, width, _] = x.tensor.dims();
                Shape::Maps {
                    channels: x.channels,
                    size: [height, width],
                }
            }
        }
    }

    fn batch(&self) -> usize {
        match self {
            Self::Plain(x) => x.dims()[0],
            Self::Blocked(x) => x.tensor.dims()[0],
        }
    }

    fn device(&self) -> Device {
        match self {
            Self::Plain(x) => x.device(),
            Self::Blocked(x) => x.tensor.device(),
        }
    }
}

impl Network {
    /// Returns the same network with the CPU's own kernels on or off; where they are off, or can't run a part, Burn's
    /// operations do.
    ///
    /// By default they are on.
    pub fn with_kernels(mut self, is_enabled: bool) -> Self {
        self.execution.is_enabled = is_enabled;
        self
    }

    /// Lists what the kernels leave to Burn's operations in the stages, for images of `height` by `width` pixels: with
    /// gradients or without.
    ///
    /// # Errors
    ///
    /// Those of [`Graph::shapes`](crate::Graph::shapes).
    pub fn left_to_burn(
        &self,
        height: usize,
        width: usize,
        has_gradients: bool,
    ) -> Result<Vec<NoKernel>, crate::GraphError> {
        let graph = &self.graph;
        let shapes = graph.shapes(height, width)?;
        let units = self.execution.units(graph);
        let mut left = Vec::new();
        for (index, node) in graph.nodes()[..graph.pooling().start].iter().enumerate() {
            let is_inside = units.iter().any(|unit| unit.segment.nodes.contains(&index));
            if !is_inside {
                left.push(NoKernel::Operation {
                    node: node.name.clone(),
                    operation: without_kernel(graph, node).unwrap_or("it on its own"),
                });
            }
        }
        let purpose = Purpose {
            has_gradients,
            is_training: &|_| has_gradients,
        };
        for unit in units {
            let input = shapes[unit.segment.input.index()];
            left.extend(lower(graph, &unit.segment, input, &purpose).err());
        }
        Ok(left)
    }

    /// Lists the units that the kernels may run on `x`, with their indices; none where Burn's operations have to do all.
    pub(crate) fn units_for(&self, x: &Tensor<4>) -> &[Unit] {
        let device = x.device();
        let is_supported = self.execution.is_enabled
            && device.clone().without_autodiff() == Device::flex()
            && self.device() == device
            && x.dtype() == DType::F32
            && x.dims().iter().all(|extent| *extent > 0);
        match is_supported {
            true => self.execution.units(&self.graph),
            false => &[],
        }
    }

    /// Runs as many units as possible, from the unit with this index on, each of which continues the one before; returns
    /// their number with what they give.
    pub(crate) fn run_units(
        &self,
        first: usize,
        count: usize,
        x: Maps,
    ) -> Result<(Blocked, usize), NoKernel> {
        match x.device().is_autodiff() {
            true => Ok((self.train_unit(first, x)?, 1)),
            false => self.infer_units(first, count, x),
        }
    }

    fn infer_units(
        &self,
        first: usize,
        count: usize,
        x: Maps,
    ) -> Result<(Blocked, usize), NoKernel> {
        let mut shape = x.shape();
        let mut packed = Vec::with_capacity(count);
        for index in first..first + count {
            match self
                .execution
                .packed(&self.graph, &self.slots, index, shape)
            {
                Ok(unit) => {
                    shape = unit.output(shape)?;
                    packed.push(unit);
                }
                Err(reason) if packed.is_empty() => return Err(reason),
                Err(_) => break,
            }
        }
        let channels = x.shape().channels();
        let tensor = match x {
            Maps::Plain(x) => x.try_into_primitive::<Flex>(),
            Maps::Blocked(x) => x.tensor.try_into_primitive::<Flex>(),
        };
        let tensor = tensor.map_err(|_| NoKernel::Device)?;
        let y = run_all(&packed, Operand::from_tensor(tensor, channels)?)?;
        Ok((Blocked::from_activation(y), packed.len()))
    }

    fn train_unit(&self, index: usize, x: Maps) -> Result<Blocked, NoKernel> {
        let graph = &self.graph;
        let segment = &self.execution.units(graph)[index].segment;
        let purpose = Purpose {
            has_gradients: true,
            is_training: &|node| self.is_training(node),
        };
        let program = Arc::new(lower(graph, segment, x.shape(), &purpose)?);
        let tensors = program.tensors.iter();
        let tensors = tensors.map(|tensor| match &self.slots[*tensor] {
            Slot::Vector(param) => checked(param.val()),
            Slot::Matrix(param) | Slot::PlainMatrix(param) => checked(param.val()),
            Slot::Table(param) => checked(param.val()),
            Slot::Kernel(param) => checked(param.val()),
            Slot::Statistic(_) => Err(NoKernel::Device),
        });
        let tensors = Tensors(tensors.collect::<Result<Vec<_>, _>>()?);
        let frozen = program.norms().map(|norm| {
            let norm = norm.filter(|norm| !self.is_training(norm.node));
            norm.map(|norm| running_statistics(graph, &self.slots, norm))
        });
        let training = Training {
            running: frozen.collect(),
            factors: self.draw(&program, &x),
            program: Arc::clone(&program),
        };
        let channels = program.out_channels();
        let x = match x {
            Maps::Plain(x) => x.into_dispatch(),
            Maps::Blocked(x) => x.tensor.into_dispatch(),
        };
        let (y, taken) = Dispatch::unit(x, tensors, training);
        let tensor = Tensor::from_dispatch(y);
        for (norm, taken) in program.norms().zip(taken) {
            if let (Some(norm), Some(taken)) = (norm, taken) {
                self.observe(norm, taken, &tensor.device());
            }
        }
        Ok(Blocked { tensor, channels })
    }

    /// Draws a factor for each image and drop path, in the order in which Burn's operations would.
    fn draw(&self, program: &Program, x: &Maps) -> Vec<Vec<f32>> {
        let factors = program.steps.iter().map(|step| {
            let Step {
                kind: Kind::DropPath(node),
                ..
            } = step
            else {
                return Vec::new();
            };
            let Op::DropPath { rate } = self.graph.nodes()[*node].op else {
                return Vec::new();
            };
            let kept = 1.0 - rate;
            if kept <= 0.0 {
                return vec![0.0; x.batch()];
            }
            let shape = [x.batch(), 1, 1, 1];
            let device = x.device().without_autodiff();
            let mask = self.draws.mask(*node, shape, kept, &device);
            mask.into_data().iter().collect()
        });
        factors.collect()
    }

    /// Takes a batch's statistics into the running ones.
    fn observe(&self, norm: &Norm, taken: Statistics, device: &Device) {
        let node = &self.graph.nodes()[norm.node];
        let Op::BatchNorm(sizes) = &node.op else {
            return;
        };
        let Statistics { mean, var, count } = taken;
        let samples = count.unwrap_or(1) as f64;
        // A single value per channel has no unbiased variance; its biased one, zero, is the limit.
        let unbiased = samples / (samples - 1.0).max(1.0);
        for (position, values, correction) in [(2, mean, 1.0), (3, var, unbiased)] {
            let state = self.slots[node.tensors[position]].statistic();
            let statistic = Tensor::from_floats(values.as_slice(), device);
            update(state, statistic, sizes.momentum, correction);
        }
    }
}

fn checked<const D: usize>(tensor: Tensor<D>) -> Result<burn::backend::DispatchTensor, NoKernel> {
    match tensor.dtype() {
        DType::F32 => Ok(tensor.into_dispatch()),
        _ => Err(NoKernel::Device),
    }
}
