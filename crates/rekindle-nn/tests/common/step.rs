//! A step of training as numbers, and networks in double precision; for the tests of `rekindle-models` as well.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::{DType, Gradients};
use rekindle_nn::Network;

/// Results of a step, by name.
pub type Found = BTreeMap<String, Vec<f64>>;

struct Collect<'a> {
    path: Vec<String>,
    gradients: &'a Gradients,
    found: Found,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        if name.contains("running_") {
            self.found.insert(name, floats(param.val()));
        } else if let Some(gradient) = param.val().grad(self.gradients) {
            self.found.insert(name, floats(gradient));
        }
    }
}

/// Reads all gradients by a network's parameters, and its running statistics.
pub fn collect(network: &Network, gradients: &Gradients) -> Found {
    let mut collect = Collect {
        path: Vec::new(),
        gradients,
        found: Found::new(),
    };
    network.visit(&mut collect);
    collect.found
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter().collect()
}

/// Runs a batch forward and backward: the logits, the loss, and the gradients by the images and all parameters, with the
/// running statistics behind it.
pub fn step(
    network: &Network,
    images: Tensor<4>,
    loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
) -> Found {
    let images = images.require_grad();
    let logits = network.forward(images.clone());
    let loss = loss(logits.clone());
    let gradients = loss.clone().backward();
    let mut found = collect(network, &gradients);
    found.insert("logits".into(), floats(logits));
    found.insert("loss".into(), floats(loss));
    let by_images = floats(images.grad(&gradients).unwrap());
    found.insert("images".into(), by_images);
    found
}

/// Maps a network to the same numbers in double precision.
pub struct ToF64;

impl ModuleMapper for ToF64 {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, device) = (param.id, param.lazy_device());
        let data = param.val().into_data();
        let tensor = Tensor::from_data(data, (&device, DType::F64));
        param.transform_for_load(tensor, id)
    }
}
