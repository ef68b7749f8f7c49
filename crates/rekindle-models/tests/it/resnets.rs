//! torchvision's ten ResNets against torchvision's parameter counts, keys, shapes, activations and logits.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle_models::resnet::ResNetConfig;
use rekindle_nn::Network;
use rekindle_weights::state_dict;
use serde::Deserialize;
use test_support::{Reference, StateDict, reference, reference_path};

/// Relative error of activations and logits, on every instruction set, that the README announces.
const WITHIN: f64 = 2e-6;

#[derive(Deserialize)]
struct Facts {
    parameters: usize,
    state_dict: BTreeMap<String, Vec<usize>>,
}

#[test]
fn parameter_counts_keys_and_shapes_are_torchvisions() {
    let text = std::fs::read_to_string(reference_path("architectures.json")).unwrap();
    let facts: BTreeMap<String, Facts> = serde_json::from_str(&text).unwrap();
    for (architecture, config) in ResNetConfig::ALL {
        let facts = &facts[architecture];
        let model = config.network(0, &Device::flex()).unwrap();
        let shapes = state_dict::shapes(&model);
        let trained: usize = shapes
            .iter()
            .filter(|(name, _)| !name.contains("running_"))
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        assert_eq!(trained, facts.parameters, "{architecture}");
        let expected: BTreeMap<_, _> = facts
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

/// A network whose weights are the formula's.
fn network(config: &ResNetConfig) -> Network {
    let model = config.network(0, &Device::flex()).unwrap();
    let mut weights = StateDict::new(state_dict::shapes(&model));
    state_dict::assign(model, |name| Some(weights.next(name)))
}

/// Every block of the architecture with few channels.
fn narrow(config: ResNetConfig) -> ResNetConfig {
    let width = if config.groups > 1 { 16 } else { 8 };
    config.with_stem_width(width).with_num_classes(5)
}

/// The network as it is, and by Burn's own operations where it has kernels.
fn both_ways(model: Network) -> Vec<(&'static str, Network)> {
    #[cfg(feature = "kernels")]
    return vec![
        ("", model.clone()),
        (" without kernels", model.with_kernels(false)),
    ];
    #[cfg(not(feature = "kernels"))]
    vec![("", model)]
}

#[test]
fn logits_of_all_ten_agree_with_pytorch() {
    let logits = reference("logits.safetensors");
    let images = crate::common::images([2, 64, 64], &Device::flex());
    for (architecture, config) in ResNetConfig::ALL {
        let model = network(&config);
        let error =
            crate::common::relative_error(&logits, architecture, model.forward(images.clone()));
        println!("{architecture}: relative error {error:.1e}");
        assert!(error < WITHIN, "{architecture}: {error:e}");
    }
}

#[test]
fn activations_of_narrow_networks_agree_with_pytorch() {
    let kept = reference("stages.safetensors");
    let image = crate::common::images([1, 40, 32], &Device::flex());
    for (architecture, config) in ResNetConfig::ALL {
        for (way, model) in both_ways(network(&narrow(config))) {
            let name = format!("{architecture}{way}");
            agree(&name, architecture, &model, image.clone(), &kept);
        }
    }
}

fn agree(name: &str, architecture: &str, model: &Network, image: Tensor<4>, kept: &Reference) {
    let stages = model.forward_intermediates(image.clone());
    let last = stages[4].clone();
    let mut errors: Vec<(&str, f64)> = model
        .graph()
        .stage_names()
        .into_iter()
        .zip(stages)
        .map(|(stage, maps)| {
            let key = format!("{architecture}.{stage}");
            (stage, crate::common::relative_error(kept, &key, maps))
        })
        .collect();
    let [features, logits] = ["features", "logits"].map(|what| format!("{architecture}.{what}"));
    for (what, key, found) in [
        ("features", &features, model.pool(last.clone())),
        ("logits", &logits, model.forward_head(last)),
        ("at once", &logits, model.forward(image)),
    ] {
        errors.push((what, crate::common::relative_error(kept, key, found)));
    }
    let worst = errors.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    println!(
        "{name}: relative error at most {:.1e} ({})",
        worst.1, worst.0
    );
    assert!(worst.1 < WITHIN, "{name}: {errors:?}");
}

#[cfg(feature = "kernels")]
#[test]
fn every_instruction_set_agrees_with_pytorch() {
    // The best one is what the tests themselves run on.
    let best = rekindle_kernels::Isa::detect();
    let others = rekindle_kernels::Isa::available().iter();
    for isa in others.filter(|isa| **isa != best) {
        for test in [
            "resnets::activations_of_narrow_networks_agree_with_pytorch",
            "resnets::logits_of_all_ten_agree_with_pytorch",
        ] {
            test_support::rerun(test, "REKINDLE_ISA", &isa.to_string());
        }
    }
}

/// Basic blocks, bottlenecks, groups.
const SINES: [&str; 3] = ["resnet18", "resnet50", "resnext50_32x4d"];

/// The same formula in the larger file of another author, whose sines no integer gives.
#[test]
fn logits_of_sines_agree_with_pytorch() {
    let Some(path) = test_support::shared("reference/variants.safetensors") else {
        return;
    };
    let logits = Reference::open(&path);
    let device = Device::flex();
    let input = crate::common::tensor::<4>(&logits, "input", &device);
    // The others are held to the numbers of the formula in integers.
    let all = ResNetConfig::ALL.into_iter();
    for (architecture, config) in all.filter(|(name, _)| SINES.contains(name)) {
        let model = config.network(0, &device).unwrap();
        let mut weights = sines(&state_dict::shapes(&model));
        let model = state_dict::assign(model, |name| weights.remove(name));
        let found = model.forward(input.clone());
        let error = crate::common::relative_error(&logits, architecture, found);
        println!("{architecture}: relative error {error:.2e}");
        assert!(error < WITHIN, "{architecture}: {error:e}");
    }
}

/// The formula of `variants.safetensors`: tensor number `t` of the state dict, flat index `i`. Behind every
/// running variance PyTorch's state dict has a counter of batches, which takes a number too.
fn sines(shapes: &[(String, Vec<usize>)]) -> BTreeMap<String, Vec<f32>> {
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
