//! One tensor of a network, whatever its rank.

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor, Param, ParamId, RunningState};
use burn::prelude::*;
use burn::tensor::TensorData;

use crate::graph::{TensorKind, TensorSpec};
use crate::init::fnv1a;

/// A parameter, or a running statistic.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Vector(Param<Tensor<1>>),
    /// A linear layer's weight in Burn's layout, `[in, out]`.
    Matrix(Param<Tensor<2>>),
    /// A matrix in the layout that it is published in.
    PlainMatrix(Param<Tensor<2>>),
    Table(Param<Tensor<3>>),
    Kernel(Param<Tensor<4>>),
    Statistic(RunningState<Tensor<1>>),
}

/// Runs the same expression on the module inside, and wraps the result again where `=> Self`.
macro_rules! each {
    ($slot:expr, $inside:ident => Self, $body:expr) => {
        match $slot {
            Slot::Vector($inside) => Slot::Vector($body),
            Slot::Matrix($inside) => Slot::Matrix($body),
            Slot::PlainMatrix($inside) => Slot::PlainMatrix($body),
            Slot::Table($inside) => Slot::Table($body),
            Slot::Kernel($inside) => Slot::Kernel($body),
            Slot::Statistic($inside) => Slot::Statistic($body),
        }
    };
    ($slot:expr, $inside:ident, $body:expr) => {
        match $slot {
            Slot::Vector($inside) => $body,
            Slot::Matrix($inside) => $body,
            Slot::PlainMatrix($inside) => $body,
            Slot::Table($inside) => $body,
            Slot::Kernel($inside) => $body,
            Slot::Statistic($inside) => $body,
        }
    };
}

impl Slot {
    /// Makes a tensor that draws its initial values when it is first looked at: a function of seed and name whenever
    /// that is.
    pub fn new(spec: &TensorSpec, seed: u64, device: &Device) -> Self {
        let shape = spec.shape.as_slice();
        match (spec.kind, shape) {
            (TensorKind::Kernel, &[out, inputs, height, width]) => {
                Self::Kernel(lazy(spec, [out, inputs, height, width], seed, device))
            }
            (TensorKind::Matrix, &[out, inputs]) => {
                Self::Matrix(lazy(spec, [inputs, out], seed, device))
            }
            (TensorKind::PlainMatrix, &[rows, columns]) => {
                Self::PlainMatrix(lazy(spec, [rows, columns], seed, device))
            }
            (TensorKind::Table, &[first, second, third]) => {
                Self::Table(lazy(spec, [first, second, third], seed, device))
            }
            (TensorKind::RunningMean | TensorKind::RunningVar, _) => {
                let values = spec.init.values(seed, &spec.name, spec.elements());
                let data = TensorData::new(values, [spec.elements()]);
                Self::Statistic(RunningState::new(Tensor::from_data(data, device)))
            }
            _ => Self::Vector(lazy(spec, [spec.elements()], seed, device)),
        }
    }

    /// Returns a tensor that holds `values`, row-major in PyTorch's layout.
    pub fn of_values(spec: &TensorSpec, values: Vec<f32>, device: &Device) -> Self {
        let data = TensorData::new(values, spec.shape.clone());
        match spec.kind {
            TensorKind::Kernel => Self::Kernel(Param::from_data(data, device)),
            TensorKind::Matrix => {
                let matrix = Tensor::<2>::from_data(data, device).transpose();
                // Rows of the transposed matrix lie one behind the other, as those of a fresh one.
                let [inputs, outputs] = matrix.dims();
                let rows = matrix
                    .reshape([inputs * outputs])
                    .reshape([inputs, outputs]);
                Self::Matrix(Param::from_tensor(rows))
            }
            TensorKind::PlainMatrix => Self::PlainMatrix(Param::from_data(data, device)),
            TensorKind::Table => Self::Table(Param::from_data(data, device)),
            TensorKind::Vector => Self::Vector(Param::from_data(data, device)),
            TensorKind::RunningMean | TensorKind::RunningVar => {
                Self::Statistic(RunningState::new(Tensor::from_data(data, device)))
            }
        }
    }

    /// Gives a parameter an identity made from its name.
    pub fn with_stable_id(mut self, name: &str) -> Self {
        let id = ParamId::from(fnv1a(name));
        match &mut self {
            Self::Vector(param) => param.id = id,
            Self::Matrix(param) | Self::PlainMatrix(param) => param.id = id,
            Self::Table(param) => param.id = id,
            Self::Kernel(param) => param.id = id,
            // No optimiser asks for it.
            Self::Statistic(_) => {}
        }
        self
    }

    /// Returns the vector that it is.
    pub fn vector(&self) -> Tensor<1> {
        match self {
            Self::Vector(param) => param.val(),
            _ => unreachable!("the graph says that it is a vector"),
        }
    }

    /// Returns the matrix `[in, out]` that it is.
    pub fn matrix(&self) -> Tensor<2> {
        match self {
            Self::Matrix(param) | Self::PlainMatrix(param) => param.val(),
            _ => unreachable!("the graph says that it is a matrix"),
        }
    }

    /// Returns the table that it is; a vector or a plain matrix gets the extents of 1 that it lacks.
    pub fn table(&self) -> Tensor<3> {
        match self {
            Self::Table(param) => param.val(),
            Self::Vector(param) => param.val().unsqueeze(),
            Self::PlainMatrix(param) => param.val().unsqueeze(),
            _ => unreachable!("the graph says that it is a table"),
        }
    }

    /// Replaces the table by one that may have other extents.
    pub fn set_table(&mut self, table: Tensor<3>) {
        match self {
            Self::Table(param) => {
                let is_trained = param.is_require_grad();
                *param = Param::from_tensor(table).set_require_grad(is_trained);
            }
            Self::PlainMatrix(param) => {
                let is_trained = param.is_require_grad();
                let table = Param::from_tensor(table.squeeze_dim(0));
                *param = table.set_require_grad(is_trained);
            }
            _ => unreachable!("the graph says that it is a table"),
        }
    }

    /// Returns a number per channel, however it lies.
    pub fn per_channel(&self) -> Tensor<1> {
        match self {
            Self::Table(param) => param.val().flatten(0, 2),
            _ => self.vector(),
        }
    }

    /// Returns the kernel that it is.
    pub fn kernel(&self) -> Tensor<4> {
        match self {
            Self::Kernel(param) => param.val(),
            _ => unreachable!("the graph says that it is a kernel"),
        }
    }

    /// Returns the running statistic that it is.
    pub fn statistic(&self) -> &RunningState<Tensor<1>> {
        match self {
            Self::Statistic(state) => state,
            _ => unreachable!("the graph says that it is a statistic"),
        }
    }

    /// Reads it back to the host, row-major, in PyTorch's layout.
    pub fn values(&self) -> Vec<f32> {
        let data = match self {
            Self::Vector(param) => param.val().into_data(),
            Self::Matrix(param) => param.val().transpose().into_data(),
            Self::PlainMatrix(param) => param.val().into_data(),
            Self::Table(param) => param.val().into_data(),
            Self::Kernel(param) => param.val().into_data(),
            Self::Statistic(state) => state.value_sync().into_data(),
        };
        data.iter::<f32>().collect()
    }

    /// Returns the device that holds it.
    pub fn device(&self) -> Device {
        match self {
            Self::Vector(param) => param.lazy_device(),
            Self::Matrix(param) | Self::PlainMatrix(param) => param.lazy_device(),
            Self::Table(param) => param.lazy_device(),
            Self::Kernel(param) => param.lazy_device(),
            Self::Statistic(state) => state.value().device(),
        }
    }
}

impl Module for Slot {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        each!(self, inside, inside.visit(visitor));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        each!(self, inside => Self, Module::map(inside, mapper))
    }

    fn to_device(self, device: &Device) -> Self {
        each!(self, inside => Self, inside.to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        each!(self, inside => Self, inside.fork(device))
    }

    fn valid(&self) -> Self {
        each!(self, inside => Self, inside.valid())
    }

    fn train(self) -> Self {
        each!(self, inside => Self, inside.train())
    }

    fn materialize(self) -> Self {
        each!(self, inside => Self, inside.materialize())
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        each!(self, inside, inside.collect_devices(devices))
    }
}

/// Takes a batch's statistic, times `correction`, into the running one.
pub(crate) fn update(
    state: &RunningState<Tensor<1>>,
    statistic: Tensor<1>,
    momentum: f64,
    correction: f64,
) {
    let old = state.value_sync().to_device(&statistic.device());
    let new = statistic.detach().mul_scalar(momentum * correction);
    state.update((old.mul_scalar(1.0 - momentum) + new).detach());
    // An update waits per thread until somebody asks; saving the state would otherwise miss the last one.
    state.value_sync();
}

fn lazy<const D: usize>(
    spec: &TensorSpec,
    shape: [usize; D],
    seed: u64,
    device: &Device,
) -> Param<Tensor<D>> {
    let (init, name) = (spec.init, spec.name.clone());
    let draw = move |device: &Device, is_require_grad: bool| {
        let values = init.values(seed, &name, shape.iter().product());
        let data = TensorData::new(values, shape);
        device.memory_persistent_allocations(data, |data| {
            Tensor::from_data(data, device).set_require_grad(is_require_grad)
        })
    };
    Param::uninitialized(ParamId::new(), draw, device.clone(), true, shape.into())
}
