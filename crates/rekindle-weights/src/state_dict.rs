//! A module's floating-point tensors under PyTorch's names and in PyTorch's layout.
//!
//! Works for any Burn module whose field names are those of its PyTorch counterpart: enum variants leave
//! no trace in a name, and a linear layer's weight turns from Burn's `[in, out]` to PyTorch's `[out, in]`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::prelude::*;
use burn::tensor::TensorData;

/// One tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Extent of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// Lists names and shapes, in the module's order and PyTorch's layout.
pub fn shapes<M: Module>(module: &M) -> Vec<(String, Vec<usize>)> {
    let mut visitor = Shapes::default();
    module.visit(&mut visitor);
    visitor.found
}

/// Reads every floating-point tensor back to the host.
pub fn collect<M: Module>(module: &M) -> BTreeMap<String, HostTensor> {
    let mut visitor = Collect::default();
    module.visit(&mut visitor);
    visitor.found
}

/// Replaces every tensor for which `source` has one under its name; the rest stay.
///
/// Values that `source` returns must have the shape that [`shapes`] lists, row-major: callers check that
/// before, so that all mismatches can be reported at once. Parameters keep their identity and whether they
/// are trained.
///
/// # Panics
///
/// For values that are not as many as the tensor's shape needs.
pub fn assign<M: Module>(module: M, source: impl FnMut(&str) -> Option<Vec<f32>>) -> M {
    module.map(&mut Assign {
        path: Path::default(),
        source,
    })
}

/// Replaces every tensor for which `source` has one under its name, as [`assign`] does, where reading it may fail.
///
/// # Errors
///
/// The first one that `source` returns; nothing is read after it.
///
/// # Panics
///
/// As [`assign`].
pub fn try_assign<M: Module, E>(
    module: M,
    mut source: impl FnMut(&str) -> Option<Result<Vec<f32>, E>>,
) -> Result<M, E> {
    let mut failure = None;
    let module = assign(module, |name| {
        if failure.is_some() {
            return None;
        }
        source(name)?.map_err(|error| failure = Some(error)).ok()
    });
    failure.map_or(Ok(module), Err)
}

#[derive(Default)]
struct Path {
    names: Vec<String>,
    containers: Vec<String>,
}

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_string());
        self.containers.push(container.to_string());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    fn key(&self) -> String {
        let visible: Vec<&str> = self
            .names
            .iter()
            .zip(&self.containers)
            .filter(|(_, container)| !container.starts_with("Enum:"))
            .map(|(name, _)| name.as_str())
            .collect();
        visible.join(".")
    }

    fn is_transposed(&self, rank: usize) -> bool {
        rank == 2 && self.containers.last().is_some_and(|c| c == "Struct:Linear")
    }
}

#[derive(Default)]
struct Shapes {
    path: Path,
    found: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut shape = param.lazy_shape().to_vec();
        if self.path.is_transposed(D) {
            shape.reverse();
        }
        self.found.push((self.path.key(), shape));
    }
}

#[derive(Default)]
struct Collect {
    path: Path,
    found: BTreeMap<String, HostTensor>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut tensor = param.val();
        if self.path.is_transposed(D) {
            tensor = tensor.swap_dims(0, 1);
        }
        let shape = tensor.dims().to_vec();
        let values = tensor.into_data().iter::<f32>().collect();
        self.found
            .insert(self.path.key(), HostTensor { shape, values });
    }
}

struct Assign<F> {
    path: Path,
    source: F,
}

impl<F: FnMut(&str) -> Option<Vec<f32>>> ModuleMapper for Assign<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = (self.source)(&self.path.key()) else {
            return param;
        };
        let shape = param.lazy_shape().to_vec();
        let (needed, given) = (shape.iter().product::<usize>(), values.len());
        assert_eq!(
            given,
            needed,
            "tensor `{}` of shape {shape:?} needs {needed} values, got {given}",
            self.path.key()
        );
        // Transposed on the host: a view would be multiplied in another order than the same weights after
        // a step of training, and a resumed run would differ in the last bit.
        let values = if self.path.is_transposed(D) {
            transpose(&values, shape[0])
        } else {
            values
        };
        let data = TensorData::new(values, shape);
        let tensor = Tensor::<D>::from_data(data, &param.lazy_device());
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

/// `[columns, rows]` to `[rows, columns]`, row-major.
fn transpose(values: &[f32], rows: usize) -> Vec<f32> {
    (0..rows)
        .flat_map(|row| values[row..].iter().step_by(rows).copied())
        .collect()
}

/// Gives every parameter an identity made from its name alone, so that an optimiser's state saved by one
/// process finds its parameters in another.
pub fn with_stable_ids<M: Module>(module: M) -> M {
    module.map(&mut StableIds::default())
}

#[derive(Default)]
struct StableIds {
    path: Path,
}

impl ModuleMapper for StableIds {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, mut param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.id = ParamId::from(fnv1a(&self.path.key()));
        param
    }
}

/// 64-bit FNV-1a hash (Fowler, Noll, Vo), stable across processes and versions.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
