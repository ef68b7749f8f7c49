//! Weights without a file: a formula of number and index.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use rekindle_models::{Model, Options};
use rekindle_nn::Network;
use rekindle_weights::state_dict;

/// Value number `index` of tensor number `tensor`, uniform in [-1, 1): the zoo's formula.
fn uniform(tensor: u64, index: u64) -> f64 {
    let mut z = ((tensor << 32).wrapping_add(index + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// The zoo's value of a tensor.
pub fn values(name: &str, number: u64, shape: &[usize], gain: f64) -> Vec<f64> {
    let count: usize = shape.iter().product();
    let scale = (gain / (count / shape[0]) as f64).sqrt();
    let value = |index: usize| {
        let s = uniform(number, index as u64);
        match name {
            name if name.ends_with("running_var") => 1.0 + 0.5 * s * s,
            name if name.ends_with("running_mean") => 0.1 * s,
            name if shape.len() == 1 && name.ends_with("bias") => 0.1 * s,
            _ if shape.len() == 1 => 1.0 + 0.1 * s,
            _ => s * scale,
        }
    };
    (0..count).map(value).collect()
}

/// Number in the state dict, counters of batches counted, and shape of every tensor.
pub fn numbered(network: &Network) -> BTreeMap<String, (u64, Vec<usize>)> {
    let entries = network.graph().state_dict().into_iter().enumerate();
    entries
        .map(|(number, (name, shape))| (name, (number as u64, shape)))
        .collect()
}

/// A model's network with the zoo's weights, through the state dict.
pub fn filled(name: &str, gain: f64, device: &Device) -> Network {
    let model = Model::named(name).unwrap();
    let graph = (model.describe)(&Options::default()).unwrap();
    let network = Network::new(graph, 0, device);
    let tensors = numbered(&network);
    state_dict::assign(network, |name| {
        let (number, shape) = &tensors[name];
        let values = values(name, *number, shape, gain);
        Some(values.into_iter().map(|value| value as f32).collect())
    })
}

/// Puts the zoo's weights in place in double precision.
pub struct InF64<'a> {
    pub path: Vec<String>,
    pub tensors: &'a BTreeMap<String, (u64, Vec<usize>)>,
    pub gain: f64,
}

impl ModuleMapper for InF64<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let (number, shape) = &self.tensors[&name];
        let data = TensorData::new(values(&name, *number, shape, self.gain), shape.clone());
        let device = param.lazy_device();
        let tensor = Tensor::<D>::from_data(data, (&device, DType::F64));
        // A linear layer's weight is `[in, out]` here.
        let tensor = if D == 2 {
            tensor.swap_dims(0, 1)
        } else {
            tensor
        };
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}
