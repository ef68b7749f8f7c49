//! Computes one hash of everything that a network computes with.

use burn::module::{ModuleVisitor, Param};
use burn::prelude::*;
use sha2::{Digest, Sha256};

use super::Backbone;

/// Computes the SHA-256 over the tensors of the first `stages` stages of `backbone` as they stand: name, shape and
/// bits of every weight and running statistic, and the backbone's [identity](Backbone::identity). 64 hexadecimal
/// digits.
///
/// A network that was changed by one bit has another hash; one that was read from another file, format or device has the
/// same. Costs one reading of the weights.
pub fn weights_digest<B: Backbone>(backbone: &B, stages: usize) -> String {
    let mut hasher = Sha256::new();
    text(&mut hasher, &backbone.identity());
    let mut visitor = Tensors {
        stage_of: |path: &str| backbone.stage_of(path),
        stages,
        path: Vec::new(),
        hasher,
    };
    backbone.visit(&mut visitor);
    hexadecimal(visitor.hasher)
}

/// Feeds a text and its length.
pub(crate) fn text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
}

pub(crate) fn hexadecimal(hasher: Sha256) -> String {
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Feeds numbers by their bits.
pub(crate) fn numbers(hasher: &mut Sha256, numbers: impl Iterator<Item = f32>) {
    let mut bytes = Vec::with_capacity(1 << 16);
    for number in numbers {
        bytes.extend(number.to_bits().to_le_bytes());
        if bytes.len() == 1 << 16 {
            hasher.update(&bytes);
            bytes.clear();
        }
    }
    hasher.update(&bytes);
}

struct Tensors<F> {
    stage_of: F,
    stages: usize,
    path: Vec<String>,
    hasher: Sha256,
}

impl<F: Fn(&str) -> usize> ModuleVisitor for Tensors<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if (self.stage_of)(&path) >= self.stages {
            return;
        }
        text(&mut self.hasher, &path);
        let tensor = param.val();
        for extent in tensor.dims() {
            self.hasher.update((extent as u64).to_le_bytes());
        }
        numbers(&mut self.hasher, tensor.into_data().iter::<f32>());
    }
}
