//! The ten architectures against torchvision's parameter counts, keys, shapes and logits.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle_resnet::{Architecture, state_dict};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    parameters: usize,
    state_dict: BTreeMap<String, Vec<usize>>,
}

#[test]
fn parameter_counts_keys_and_shapes_are_torchvisions() {
    let Some(path) = common::shared("reference/architectures.json") else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let references: BTreeMap<String, Reference> = serde_json::from_str(&text).unwrap();
    for architecture in Architecture::ALL {
        let reference = &references[architecture.name()];
        let model = architecture.config().init(&Device::flex());
        let shapes = state_dict::shapes(&model);
        let trained: usize = shapes
            .iter()
            .filter(|(name, _)| !name.contains("running_"))
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        assert_eq!(trained, reference.parameters, "{architecture}");
        let expected: BTreeMap<_, _> = reference
            .state_dict
            .iter()
            .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
            .map(|(name, shape)| (name.clone(), shape.clone()))
            .collect();
        assert_eq!(
            shapes.into_iter().collect::<BTreeMap<_, _>>(),
            expected,
            "{architecture}"
        );
    }
}

/// The formula of `variants.safetensors`: tensor number `t` of the state dict, flat index `i`. Behind every
/// running variance PyTorch's state dict has a counter of batches, which takes a number too.
fn formula_weights(shapes: &[(String, Vec<usize>)]) -> BTreeMap<String, Vec<f32>> {
    let mut weights = BTreeMap::new();
    let mut t = 0;
    for (name, shape) in shapes {
        let count: usize = shape.iter().product();
        let fan_in = shape.iter().skip(1).product::<usize>() as f64;
        let value = |i: usize| {
            let s = (0.1 * i as f64 + f64::from(t)).sin();
            let value = match name {
                name if name.ends_with("running_var") => 1.0 + 0.5 * s * s,
                name if name.ends_with("running_mean") => 0.1 * s,
                name if shape.len() == 1 && name.ends_with("weight") => 1.0 + 0.1 * s,
                _ if shape.len() == 1 => 0.1 * s,
                _ => s * (2.0 / fan_in).sqrt(),
            };
            value as f32
        };
        weights.insert(name.clone(), (0..count).map(value).collect());
        t += if name.ends_with("running_var") { 2 } else { 1 };
    }
    weights
}

#[test]
fn formula_logits_of_all_ten_agree_with_pytorch() {
    let Some(path) = common::shared("reference/variants.safetensors") else {
        return;
    };
    let logits = common::Reference::open(&path);
    let device = Device::flex();
    let input = logits.tensor::<4>("input", &device);
    for architecture in Architecture::ALL {
        let model = architecture.config().init(&device);
        let mut weights = formula_weights(&state_dict::shapes(&model));
        let model = state_dict::assign(model, |name| weights.remove(name));
        let error = logits.relative_error(architecture.name(), model.forward(input.clone()));
        println!("{architecture}: relative error {error:.2e}");
        assert!(error < 1e-4, "{architecture}: {error:e}");
    }
}
