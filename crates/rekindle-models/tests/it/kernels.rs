//! Every family by the CPU's own kernels and by Burn's operations, in f32 and in f64.

use std::collections::BTreeMap;

use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, TensorData};
use rekindle_models::{Model, Options, models};
use rekindle_nn::Network;
use rekindle_weights::state_dict;
use test_support::images;

use crate::step::{Found, ToF64, collect, floats, step as step_of};

/// A model of each family.
const FAMILIES: [&str; 12] = [
    "torchvision/resnet18",
    "torchvision/mobilenet_v2",
    "torchvision/mobilenet_v3_small",
    "timm/mobilenetv4_conv_small",
    "torchvision/efficientnet_b0",
    "timm/tf_efficientnet_lite0",
    "torchvision/regnet_y_400mf",
    "torchvision/densenet121",
    "torchvision/shufflenet_v2_x0_5",
    "timm/convnext_femto",
    "timm/convnextv2_atto",
    "timm/vit_tiny_patch16_224",
];

/// Heights and widths in pixels that are odd in most layers, where borders of strided windows matter.
const SMALL: [usize; 2] = [65, 49];
const LARGE: [usize; 2] = [97, 65];

/// Errors may be as large as this, or three times those of Burn's operations in f32, both of the f64 run.
const MOST: f64 = 1e-5;

/// Limit of gradients where ReLUs are: on which side of a kink a number falls is decided by the last bit, and all
/// gradients before it change by a jump; Burn's operations are off by as much.
const KINKS: f64 = 0.05;

/// The families without kinks.
const SMOOTH: [&str; 4] = [
    "torchvision/efficientnet_b0",
    "timm/convnext_femto",
    "timm/convnextv2_atto",
    "timm/vit_tiny_patch16_224",
];

fn network(name: &str, drop_path: Option<f64>, device: &Device) -> Network {
    let model = Model::named(name).unwrap();
    let options = Options {
        classes: 10,
        drop_path_rate: drop_path,
        drop_rate: Some(0.0),
        ..Options::default()
    };
    let network = Network::new((model.describe)(&options).unwrap(), 3, device);
    // Layer scales begin so small that nothing behind them would be seen.
    let shapes: BTreeMap<_, _> = state_dict::shapes(&network).into_iter().collect();
    state_dict::assign(network, |name| {
        let count = shapes[name].iter().product();
        name.ends_with("gamma").then(|| vec![0.5; count])
    })
}

fn batch(count: usize, [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
    let values = images(count, height, width);
    Tensor::from_data(TensorData::new(values, [count, 3, height, width]), device)
}

fn loss(logits: Tensor<2>) -> Tensor<1> {
    log_softmax(logits, 1).narrow(1, 1, 2).sum().neg()
}

fn step(network: &Network, images: Tensor<4>) -> Found {
    step_of(network, images, loss)
}

/// Errors of one kind relative to the norm of all of that kind.
fn error(found: &Found, expected: &Found, kind: &str) -> f64 {
    assert!(found.keys().eq(expected.keys()));
    let is_it = |name: &str| match kind {
        "gradients" => !["logits", "loss", "images"].contains(&name) && !name.contains("running_"),
        kind => name.contains(kind),
    };
    let (mut off, mut norm) = (0.0, 0.0);
    for (name, expected) in expected.iter().filter(|(name, _)| is_it(name)) {
        for (a, b) in found[name].iter().zip(expected) {
            off += (a - b) * (a - b);
            norm += b * b;
        }
    }
    assert!(norm > 0.0, "{kind}");
    (off / norm).sqrt()
}

/// Returns the kinds of values to compare; a network may have no running statistics.
fn kinds(found: &Found) -> impl Iterator<Item = &'static str> {
    let has_statistics = found.keys().any(|name| name.contains("running_"));
    let all = ["logits", "loss", "gradients", "images", "running_"];
    let count = all.len() - usize::from(!has_statistics);
    all.into_iter().take(count)
}

/// Switches off the normalisations whose name a predicate takes.
struct Freeze(Vec<String>, fn(&str) -> bool);

impl ModuleMapper for Freeze {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.0.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.pop();
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let is_frozen = (self.1)(&self.0.join("."));
        if is_frozen {
            flag.with_value(false)
        } else {
            flag
        }
    }
}

#[test]
fn a_step_of_training_is_that_of_burn_s_operations() {
    let device = Device::flex().autodiff();
    let mut failed = Vec::new();
    for name in FAMILIES {
        let made = || network(name, Some(0.0), &device);
        for (what, count, frozen) in [
            ("as it is", 3, None),
            ("one image", 1, None),
            (
                "every other normalisation frozen",
                3,
                Some((|path: &str| path.len().is_multiple_of(2)) as fn(&str) -> bool),
            ),
        ] {
            // One value per channel, or two, have no deviation worth the name.
            let size = match (count, name) {
                (1, "timm/mobilenetv4_conv_small") => continue,
                (1, _) => LARGE,
                _ => SMALL,
            };
            let images = batch(count, size, &device);
            let frozen = |network: Network| match frozen {
                Some(predicate) => network.map(&mut Freeze(Vec::new(), predicate)),
                None => network,
            };
            let exact = step(
                &frozen(made().map(&mut ToF64)),
                images.clone().cast(DType::F64),
            );
            let plain = step(&frozen(made()).with_kernels(false), images.clone());
            let found = step(&frozen(made()), images);
            for kind in kinds(&exact) {
                let [ours, theirs] = [&found, &plain].map(|run| error(run, &exact, kind));
                println!("{name}, {what}: {kind} {ours:.1e}, by Burn's operations {theirs:.1e}");
                let is_by_kinks =
                    ["gradients", "images"].contains(&kind) && !SMOOTH.contains(&name);
                let most = if is_by_kinks { KINKS } else { MOST };
                if ours > most.max(3.0 * theirs) {
                    failed.push(format!("{name}, {what}: {kind} {ours:.1e} of {theirs:.1e}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn drop_path_draws_the_same_images() {
    let device = Device::flex().autodiff();
    for name in FAMILIES {
        let [found, expected] = [true, false].map(|has_kernels| {
            device.seed(5);
            let network = network(name, Some(0.5), &device).with_kernels(has_kernels);
            step(&network, batch(3, SMALL, &device))
        });
        for kind in kinds(&expected) {
            let error = error(&found, &expected, kind);
            println!("{name}: {kind} {error:.1e}");
            // Another mask would be off by its own size; which side of a kink a number falls on, by less.
            let most = if ["gradients", "images"].contains(&kind) {
                0.1
            } else {
                1e-4
            };
            assert!(error < most, "{name}: {kind} {error}");
        }
    }
}

/// Takes the parameters whose names a predicate takes out of training.
struct NoGradients<'a>(Vec<String>, &'a dyn Fn(&str) -> bool);

impl ModuleMapper for NoGradients<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.0.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match (self.1)(&self.0.join(".")) {
            true => param.set_require_grad(false),
            false => param,
        }
    }
}

/// Frozen stages give no gradients, and the others what they give without.
#[test]
fn a_frozen_prefix_changes_nothing_behind_it() {
    let device = Device::flex().autodiff();
    for name in FAMILIES {
        let images = batch(3, SMALL, &device);
        let whole = step(&network(name, Some(0.0), &device), images.clone());
        let made = network(name, Some(0.0), &device);
        let stages = made.graph().stages();
        let prefix = stages[stages.len() / 2].segment.nodes.end;
        let names: Vec<String> = made.graph().nodes()[..prefix]
            .iter()
            .map(|n| n.name.clone())
            .collect();
        let is_frozen = |path: &str| {
            names.iter().any(|name| {
                path.strip_prefix(name.as_str())
                    .is_some_and(|r| r.starts_with('.'))
            })
        };
        let frozen = made.map(&mut NoGradients(Vec::new(), &is_frozen));
        let found = collect(&frozen, &loss(frozen.forward(images)).backward());
        for (name, values) in &found {
            assert!(name.contains("running_") || !is_frozen(name), "{name}");
            assert!(*values == whole[name], "{name}");
        }
        assert!(found.keys().any(|name| name.ends_with("weight")));
    }
}

#[test]
fn inference_in_parts_and_at_odd_sizes_is_that_of_burn_s_operations() {
    let device = Device::flex();
    for name in FAMILIES {
        let by_kernels = network(name, None, &device);
        let plain = by_kernels.clone().with_kernels(false);
        for (count, size) in [(1, LARGE), (3, [LARGE[0] + 1, LARGE[1]])] {
            let images = batch(count, size, &device);
            let stages = by_kernels.graph().stages().len();
            let cut = stages / 2;
            let [first, second] = [&by_kernels, &plain].map(|network| {
                let x = network.forward_stages(0..cut, images.clone()).unwrap();
                network.forward_stages(cut..stages, x).unwrap()
            });
            let pairs = [
                (floats(first.clone()), floats(second.clone())),
                (
                    floats(by_kernels.forward_head(first)),
                    floats(plain.forward_head(second)),
                ),
                (
                    floats(by_kernels.forward(images.clone())),
                    floats(plain.forward(images)),
                ),
            ];
            for (found, expected) in pairs {
                let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
                let off: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
                let error = norm(&off) / norm(&expected);
                println!("{name}: {error:.1e}");
                assert!(error < MOST, "{name}: {error}");
            }
        }
        // Weights that have moved are packed again.
        let state = state_dict::collect(&by_kernels);
        let moved = state_dict::assign(by_kernels.clone(), |name| {
            let tensor = &state[name];
            name.ends_with("bias")
                .then(|| tensor.values.iter().map(|v| v + 0.5).collect())
        });
        let images = batch(1, LARGE, &device);
        let found = floats(moved.forward(images.clone()));
        assert_ne!(found, floats(by_kernels.forward(images.clone())), "{name}");
        let expected = floats(moved.with_kernels(false).forward(images));
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-3 * b.abs().max(1.0);
        assert!(found.iter().zip(&expected).all(close), "{name}");
    }
}

/// Checks that the operations left to Burn are the known ones.
#[test]
fn only_channels_put_together_and_apart_and_tokens_are_left_to_burn() {
    for model in models() {
        let graph = (model.describe)(&Options::default()).unwrap();
        let network = Network::new(graph, 0, &Device::flex());
        for has_gradients in [false, true] {
            let left = network.left_to_burn(224, 224, has_gradients).unwrap();
            let is_split = ["densenet", "shufflenet", "vit_", "deit_", "ViT-"]
                .iter()
                .any(|f| model.name.contains(f));
            assert_eq!(left.is_empty(), !is_split, "{}: {left:?}", model.name);
            for reason in left {
                let reason = reason.to_string();
                let known = [
                    "a concatenation",
                    "a part of the channels",
                    "a shuffle of channels",
                    "a turn of patches into tokens",
                ];
                assert!(
                    known.iter().any(|known| reason.ends_with(known)),
                    "{}: {reason}",
                    model.name
                );
            }
        }
    }
}
