//! Every model against the numbers of `../shared/reference/zoo.json` and `zoo.safetensors`, which PyTorch gave.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::activation::log_softmax;
use rekindle_models::{Model, Options};
use rekindle_nn::Network;
use rekindle_resnet::state_dict;
use serde::Deserialize;
use test_support::{Reference, relative_error, shared};

/// Errors may be this many times those of PyTorch's own f32.
const TIMES: f64 = 5.0;
/// Logits and features may never be farther off.
const MOST: f64 = 1e-5;

#[derive(Deserialize)]
struct Entry {
    input: usize,
    parameters: usize,
    state_dict: serde_json::Map<String, serde_json::Value>,
    f32: BTreeMap<String, f64>,
    gain: f64,
}

struct Zoo {
    entries: BTreeMap<String, Entry>,
    numbers: Reference,
}

/// The zoo; none, recorded, where it isn't there.
fn zoo() -> Option<Zoo> {
    let json = shared("reference/zoo.json")?;
    let numbers = Reference::open(&shared("reference/zoo.safetensors")?);
    let all: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let ours = all
        .into_iter()
        .filter(|(name, _)| Model::named(name).is_ok());
    let entries = ours.map(|(name, entry)| (name, serde_json::from_value(entry).unwrap()));
    Some(Zoo {
        entries: entries.collect(),
        numbers,
    })
}

impl Zoo {
    fn images(&self, entry: &Entry, device: &Device) -> Tensor<4> {
        let (shape, values) = self.numbers.values(&format!("input_{}", entry.input));
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

/// Value number `index` of tensor number `tensor`, uniform in [-1, 1): the zoo's formula.
fn uniform(tensor: u64, index: u64) -> f64 {
    let mut z = ((tensor << 32).wrapping_add(index + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// A model's network with the zoo's weights.
fn filled(name: &str, gain: f64, device: &Device) -> Network {
    let model = Model::named(name).unwrap();
    let graph = (model.describe)(&Options::default()).unwrap();
    let entries = graph.state_dict().into_iter().enumerate();
    let numbers: BTreeMap<String, (u64, Vec<usize>)> = entries
        .map(|(number, (name, shape))| (name, (number as u64, shape)))
        .collect();
    let network = Network::new(graph, 0, device);
    state_dict::assign(network, |name| {
        let (number, shape) = &numbers[name];
        let count: usize = shape.iter().product();
        let scale = (gain / (count / shape[0]) as f64).sqrt();
        let value = |index: usize| {
            let s = uniform(*number, index as u64);
            let value = match name {
                name if name.ends_with("running_var") => 1.0 + 0.5 * s * s,
                name if name.ends_with("running_mean") => 0.1 * s,
                name if shape.len() == 1 && name.ends_with("bias") => 0.1 * s,
                _ if shape.len() == 1 => 1.0 + 0.1 * s,
                _ => s * scale,
            };
            value as f32
        };
        Some((0..count).map(value).collect())
    })
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

#[test]
fn names_shapes_and_order_are_the_published_ones() {
    let Some(zoo) = zoo() else { return };
    assert_eq!(zoo.entries.len(), 19, "models of the zoo that are ours");
    for (name, entry) in &zoo.entries {
        let model = Model::named(name).unwrap();
        let graph = (model.describe)(&Options::default()).unwrap();
        let expected: Vec<(String, Vec<usize>)> = entry
            .state_dict
            .iter()
            .map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
            .collect();
        let found: BTreeMap<_, _> = graph.state_dict().into_iter().collect();
        let sorted: BTreeMap<_, _> = expected.into_iter().collect();
        assert_eq!(found, sorted, "{name}");
        assert_eq!(graph.num_params(), entry.parameters, "{name}");
        let paths = state_dict::shapes(&Network::new(graph.clone(), 0, &Device::flex()));
        let tensors = graph.tensors().iter();
        let tensors: Vec<_> = tensors.map(|t| (t.name.clone(), t.shape.clone())).collect();
        assert_eq!(paths, tensors, "{name}: paths of the module");
    }
}

#[test]
fn logits_and_features_agree() {
    let Some(zoo) = zoo() else { return };
    let device = Device::flex();
    let mut failed = Vec::new();
    for (name, entry) in &zoo.entries {
        let begun = Instant::now();
        let network = filled(name, entry.gain, &device);
        let maps = network.forward_features(zoo.images(entry, &device));
        let features = network.pool(maps);
        let logits = network.classify(features.clone());
        let limit = (TIMES * entry.f32["logits"]).min(MOST);
        let mut errors = Vec::new();
        let cases = [
            (name.clone(), logits),
            (format!("{name}.features"), features),
        ];
        for (key, found) in cases {
            let (shape, found) = (found.dims(), floats(found));
            errors.push(zoo.numbers.relative_error(&key, &shape, &found));
            let (_, expected) = zoo.numbers.values(&key);
            // What tells the two images apart must be right as well.
            let apart = |values: &[f32]| -> Vec<f32> {
                let (one, two) = values.split_at(values.len() / 2);
                one.iter().zip(two).map(|(a, b)| a - b).collect()
            };
            let difference = relative_error(&apart(&found), &apart(&expected));
            if difference > 0.01 {
                failed.push(format!(
                    "{key}: the images' difference is off by {difference:.1e}"
                ));
            }
        }
        println!(
            "{name}: logits {:.1e}, features {:.1e}, limit {limit:.1e}; {:.1} s",
            errors[0],
            errors[1],
            begun.elapsed().as_secs_f64()
        );
        if errors.iter().any(|error| *error > limit) {
            failed.push(format!("{name}: {errors:?} of {limit:.1e}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Switches dropout and drop path off; normalisation stays in training.
struct NoDrop(Vec<String>);

impl ModuleMapper for NoDrop {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.0.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.pop();
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let is_drop = self.0.iter().any(|name| name.contains("drop"));
        if is_drop {
            flag.with_value(false)
        } else {
            flag
        }
    }
}

/// Norms of the gradients by name.
struct Norms<'a> {
    path: Vec<String>,
    gradients: &'a burn::tensor::Gradients,
    found: BTreeMap<String, f64>,
}

impl ModuleVisitor for Norms<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            let values: Vec<f32> = floats(gradient);
            let square: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
            self.found.insert(self.path.join("."), square.sqrt());
        }
    }
}

#[test]
fn a_batch_in_training_agrees() {
    let Some(zoo) = zoo() else { return };
    let device = Device::flex().autodiff();
    let mut failed = Vec::new();
    let trained = zoo
        .entries
        .iter()
        .filter(|(_, entry)| entry.f32.contains_key("loss"));
    for (name, entry) in trained {
        let begun = Instant::now();
        let network = filled(name, entry.gain, &device).map(&mut NoDrop(Vec::new()));
        let logits = network.forward(zoo.images(entry, &device));
        let likelihood = log_softmax(logits, 1);
        let [one, two] = [0, 1].map(|i| likelihood.clone().slice([i..i + 1, i..i + 1]).sum());
        let loss = (one + two).div_scalar(-2.0);
        let gradients = loss.clone().backward();
        let loss = f64::from(loss.into_scalar::<f32>());
        let (_, expected) = zoo.numbers.values(&format!("{name}.train.loss"));
        let loss = (loss - f64::from(expected[0])).abs() / f64::from(expected[0]).abs();

        let mut norms = Norms {
            path: Vec::new(),
            gradients: &gradients,
            found: BTreeMap::new(),
        };
        network.visit(&mut norms);
        let prefix = format!("{name}.train.grad_norm.");
        let names = zoo.numbers.names_behind(&prefix);
        assert_eq!(names.len(), norms.found.len(), "{name}: gradients");
        let expected = |parameter: &String| {
            f64::from(zoo.numbers.values(&format!("{prefix}{parameter}")).1[0])
        };
        let top = names.iter().map(expected).fold(0.0, f64::max);
        let mut off: Vec<f64> = names
            .iter()
            .map(|name| (norms.found[name] - expected(name)).abs() / (expected(name) + 1e-3 * top))
            .collect();
        off.sort_by(f64::total_cmp);
        let (median, worst) = (off[off.len() / 2], off[off.len() - 1]);

        let state = state_dict::collect(&network);
        let prefix = format!("{name}.train.running.");
        let statistics = zoo.numbers.names_behind(&prefix);
        let running = statistics.iter().map(|tensor| {
            let (_, expected) = zoo.numbers.values(&format!("{prefix}{tensor}"));
            relative_error(&state[tensor].values[..expected.len()], &expected)
        });
        let running = running.fold(0.0, f64::max);
        assert!(!statistics.is_empty());

        let limits = ["loss", "gradient_median", "gradient_worst"].map(|k| TIMES * entry.f32[k]);
        let [l, m, w] = limits;
        println!(
            "{name}: loss {loss:.1e} of {l:.1e}, gradients {median:.1e} of {m:.1e} and {worst:.1e} of {w:.1e}, \
             running statistics {running:.1e}; {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        let is_off = [loss, median, worst]
            .iter()
            .zip(limits)
            .any(|(f, limit)| *f > limit);
        if is_off || running > 1e-5 {
            failed.push(name.clone());
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
