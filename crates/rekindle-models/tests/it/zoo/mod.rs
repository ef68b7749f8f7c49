//! Every model against the numbers of `../shared/reference` and `tests/reference`, which PyTorch gave.

pub mod formula;
mod kept;

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::DType;
use burn::tensor::activation::log_softmax;
use rekindle_models::Preprocess;
use rekindle_models::{Model, Options, Source};
use rekindle_nn::Network;
use rekindle_weights::state_dict;
use test_support::relative_error;

use self::formula::{InF64, filled, numbered};
use self::kept::{Zoo, zoos};

/// Errors may be this many times those of PyTorch's own f32.
const TIMES: f64 = 5.0;
/// Logits and features may never be farther off.
const MOST: f64 = 1e-5;

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

#[test]
fn names_shapes_and_order_are_the_published_ones() {
    let zoos = zoos();
    let counts: Vec<usize> = zoos.iter().map(|zoo| zoo.entries.len()).collect();
    assert!([5, 35].starts_with(&counts), "{counts:?} models");
    for (name, entry) in zoos.iter().flat_map(|zoo| &zoo.entries) {
        let model = Model::named(name).unwrap();
        let graph = (model.describe)(&Options::default()).unwrap();
        assert_eq!(graph.state_dict(), entry.state_dict, "{name}");
        assert_eq!(graph.num_params(), entry.parameters, "{name}");
        let paths = state_dict::shapes(&Network::new(graph.clone(), 0, &Device::flex()));
        let tensors = graph.tensors().iter();
        let tensors: Vec<_> = tensors.map(|t| (t.name.clone(), t.shape.clone())).collect();
        assert_eq!(paths, tensors, "{name}: paths of the module");
    }
}

#[test]
fn published_weights_are_known_with_their_preprocessing() {
    for (name, entry) in zoos().iter().flat_map(|zoo| &zoo.entries) {
        let model = Model::named(name).unwrap();
        let facts = entry.weights.iter().filter(|(weights, facts)| {
            // The registry has weights for ImageNet's 1000 classes.
            *weights != "DEFAULT" && facts.num_classes.is_none_or(|classes| classes == 1000)
        });
        let mut count = 0;
        for (weights, facts) in facts {
            let known = model.weights(weights);
            let known = known.unwrap_or_else(|error| panic!("{name}: {error}"));
            let source = match known.source {
                Source::Torchvision { file } => (Some(file), None),
                Source::HuggingFace { repository } => (None, Some(repository)),
            };
            assert_eq!(
                source,
                (facts.file.as_deref(), facts.hf_hub.as_deref()),
                "{name}"
            );
            let crop = facts.crop.or(facts.input).unwrap();
            let share = facts
                .crop_pct
                .map(|share| (crop as f64 / share).floor() as usize);
            let expected = Preprocess {
                resize: facts.resize.or(share).unwrap(),
                crop,
                mean: facts.mean,
                std: facts.std,
                interpolation: facts.interpolation,
                mode: Default::default(),
                channels: None,
            };
            assert_eq!(known.preprocess, expected, "{name} {weights}");
            let licence = match facts.license.as_deref() {
                Some("apache-2.0") => Some("Apache-2.0"),
                Some("cc-by-nc-4.0") => Some("CC-BY-NC-4.0"),
                Some(other) => panic!("{name} {weights}: {other}"),
                // torchvision names one for a few weights, in a place of its own.
                None => known.licence,
            };
            assert_eq!(
                (known.top1, known.classes, known.licence),
                (facts.top1, 1000, licence),
                "{name} {weights}"
            );
            count += 1;
        }
        if count > 0 {
            assert_eq!(count, model.weights.len(), "{name}");
        }
        if let Some(default) = entry.weights.get("DEFAULT") {
            let best = default.file.as_deref().unwrap();
            let found = model.weights("DEFAULT").unwrap().source;
            assert!(
                matches!(found, Source::Torchvision { file } if file == best),
                "{name}"
            );
        }
    }
}

#[test]
fn logits_and_features_agree() {
    let (zoos, device) = (zoos(), Device::flex());
    let mut failed = Vec::new();
    let all = zoos
        .iter()
        .flat_map(|zoo| zoo.entries.iter().map(move |entry| (zoo, entry)));
    for (zoo, (name, entry)) in all {
        let begun = Instant::now();
        let network = filled(name, entry.gain, &device);
        let images = zoo.images(entry, &device);
        let limit = (TIMES * entry.f32["logits"]).min(MOST);
        let mut errors = Vec::new();
        let mut cases = Vec::new();
        for has_kernels in [true, false] {
            let network = network.clone().with_kernels(has_kernels);
            let features = network.pool(network.forward_features(images.clone()));
            cases.push((name.clone(), network.classify(features.clone())));
            cases.push((format!("{name}.features"), features));
            // Burn's operations are the same ones in the same order either way.
            if has_kernels {
                cases.push((name.clone(), network.forward(images.clone())));
            }
        }
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
            "{name}: by kernels logits {:.1e}, features {:.1e}, at once {:.1e}; by Burn {:.1e}, {:.1e}; \
             limit {limit:.1e}; {:.1} s",
            errors[0],
            errors[1],
            errors[2],
            errors[3],
            errors[4],
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
            let square: f64 = gradient.into_data().iter::<f64>().map(|v| v * v).sum();
            self.found.insert(self.path.join("."), square.sqrt());
        }
    }
}

/// Errors of one batch in training.
#[derive(Debug)]
struct Off {
    loss: f64,
    gradient_median: f64,
    gradient_worst: f64,
    running: f64,
}

impl Off {
    fn is_within(&self, [loss, median, worst, running]: [f64; 4]) -> bool {
        self.loss <= loss
            && self.gradient_median <= median
            && self.gradient_worst <= worst
            && self.running <= running
    }
}

/// Limits of median and worst gradient norm and of running statistics where rounding in f32 is larger than in the run
/// that `zoo.json` tells of. Which side of a kink a number falls on changes all gradients before it by a jump, and is
/// decided by the last bit; PyTorch itself is off by 9.4e-6 (median, EfficientNet-B0), 1.1e-5 (running, Lite0) and
/// 2.0e-5 (running, RegNet) with two threads. In double precision all of them agree to a millionth.
const ROUNDING: [(&str, f64, f64, f64); 4] = [
    ("timm/tf_efficientnet_lite0", 2e-3, 2e-2, 5e-5),
    ("torchvision/efficientnet_b0", 5e-5, 2.6e-3, 1e-5),
    ("torchvision/regnet_y_400mf", 6.5e-5, 4e-2, 1e-4),
    // By the kernels, which are as near to double precision as Burn's operations are (`tests/kernels.rs`).
    ("torchvision/mobilenet_v2", 2e-3, 1.2e-2, 2e-5),
];

impl Zoo {
    /// Runs a batch forward and backward and compares.
    fn train(&self, name: &str, network: Network, images: Tensor<4>) -> Off {
        let network = network.map(&mut NoDrop(Vec::new()));
        let likelihood = log_softmax(network.forward(images), 1);
        let [one, two] = [0, 1].map(|i| likelihood.clone().slice([i..i + 1, i..i + 1]).sum());
        let loss = (one + two).div_scalar(-2.0);
        let gradients = loss.clone().backward();
        let loss = loss.into_data().iter::<f64>().next().unwrap();
        let expected = self.numbers.values(&format!("{name}.train.loss")).1[0];
        let loss = (loss - f64::from(expected)).abs() / f64::from(expected).abs();

        let mut norms = Norms {
            path: Vec::new(),
            gradients: &gradients,
            found: BTreeMap::new(),
        };
        network.visit(&mut norms);
        let prefix = format!("{name}.train.grad_norm.");
        let names = self.numbers.names_behind(&prefix);
        assert_eq!(names.len(), norms.found.len(), "{name}: gradients");
        let expected = |parameter: &String| {
            f64::from(self.numbers.values(&format!("{prefix}{parameter}")).1[0])
        };
        let top = names.iter().map(expected).fold(0.0, f64::max);
        let mut off: Vec<f64> = names
            .iter()
            .map(|name| (norms.found[name] - expected(name)).abs() / (expected(name) + 1e-3 * top))
            .collect();
        off.sort_by(f64::total_cmp);

        let state = state_dict::collect(&network);
        let prefix = format!("{name}.train.running.");
        let statistics = self.numbers.names_behind(&prefix);
        let of_network = state.keys().any(|tensor| tensor.ends_with(".running_mean"));
        assert_eq!(statistics.is_empty(), !of_network, "{name}: statistics");
        let running = statistics.iter().map(|tensor| {
            let (_, expected) = self.numbers.values(&format!("{prefix}{tensor}"));
            relative_error(&state[tensor].values[..expected.len()], &expected)
        });
        Off {
            loss,
            gradient_median: off[off.len() / 2],
            gradient_worst: off[off.len() - 1],
            running: running.fold(0.0, f64::max),
        }
    }
}

#[test]
fn a_batch_in_training_agrees() {
    let (zoos, device) = (zoos(), Device::flex().autodiff());
    let mut failed = Vec::new();
    let all = zoos
        .iter()
        .flat_map(|zoo| zoo.entries.iter().map(move |entry| (zoo, entry)));
    let trained = all.filter(|(_, (_, entry))| entry.f32.contains_key("loss"));
    for (zoo, (name, entry)) in trained {
        let begun = Instant::now();
        let [loss, median, worst] =
            ["loss", "gradient_median", "gradient_worst"].map(|k| TIMES * entry.f32[k]);
        // Nothing tells numbers apart that are nearer than the last bit of the one that is kept.
        let loss = loss.max(TIMES * f64::from(f32::EPSILON) / 2.0);
        let limit = ROUNDING.iter().find(|(of, ..)| of == name);
        let limit = limit.map_or(
            [loss, median, worst, 1e-5],
            |(_, median, worst, running)| [loss, *median, *worst, *running],
        );
        let has_kinks = entry
            .state_dict
            .iter()
            .any(|(name, _)| name.ends_with("running_var"));
        // Where double precision follows, that is the sharper look at Burn's operations.
        let is_doubled = has_kinks || !zoo.is_shared;
        let by_burn = (!zoo.is_shared || !is_doubled).then_some(("Burn", false));
        for (by, has_kernels) in std::iter::once(("kernels", true)).chain(by_burn) {
            let network = filled(name, entry.gain, &device).with_kernels(has_kernels);
            let off = zoo.train(name, network, zoo.images(entry, &device));
            println!("{name} by {by}: {off:?} of {limit:?}");
            if !off.is_within(limit) {
                failed.push(format!("{name} by {by}: {off:?} of {limit:?}"));
            }
        }
        // The same in double precision, where nothing is left to rounding: where rounding decides, and once for the others.
        if !is_doubled {
            continue;
        }
        let network = filled(name, entry.gain, &device);
        let tensors = numbered(&network);
        let network = network.map(&mut InF64 {
            path: Vec::new(),
            tensors: &tensors,
            gain: entry.gain,
        });
        let images = zoo.images(entry, &device).cast(DType::F64);
        let exact = zoo.train(name, network, images);
        println!(
            "{name} in f64: {exact:?}; {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        if !exact.is_within([1e-6; 4]) {
            failed.push(format!("{name} in f64: {exact:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
