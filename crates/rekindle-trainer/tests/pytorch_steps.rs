//! Three steps of SGD on real photographs against PyTorch's, computed in f64.
#![allow(clippy::unwrap_used)]

#[path = "../../rekindle-resnet/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_resnet::{Pretrained, ResNet, state_dict};
use rekindle_trainer::feed::Batch;
use rekindle_trainer::loss::Targets;
use rekindle_trainer::{Learner, Optimizer, Recipe};
use rekindle_transfer::{Backbone, Classifier, Strategy};

struct Steps {
    losses: Vec<f32>,
    gradients: BTreeMap<String, Vec<f32>>,
    after: BTreeMap<String, Vec<f32>>,
    start: BTreeMap<String, Vec<f32>>,
}

/// Tolerances, relative.
struct Within {
    losses: f64,
    gradient_at_worst: f64,
    gradient_median: f64,
    after: f64,
}

const TIGHT: Within = Within {
    losses: 1e-5,
    gradient_at_worst: 1e-5,
    gradient_median: 1e-5,
    after: 1e-5,
};

#[test]
fn finetune_follows_pytorch() {
    let within = Within {
        losses: 1e-4,
        gradient_at_worst: 5e-3,
        gradient_median: 5e-5,
        after: 5e-4,
    };
    compare("finetune", Strategy::fine_tuning(), within);
}

#[test]
fn frozen_layer3_follows_pytorch() {
    let strategy = Strategy::FreezeUpTo {
        last_frozen: "layer3".into(),
    };
    compare("frozen_layer3", strategy, TIGHT);
}

#[test]
fn head_follows_pytorch() {
    compare("head", Strategy::FeatureExtraction, TIGHT);
}

fn compare(tag: &str, strategy: Strategy, within: Within) {
    let (Some(weights), Some(reference)) = (
        common::shared("data/weights/resnet18-standin.pth"),
        common::shared("reference/resnet18_steps.safetensors"),
    ) else {
        return;
    };
    let reference = common::Reference::open(&reference);
    let steps = three_steps(&weights, &reference, strategy);

    let (_, losses) = reference.values(&format!("{tag}.losses"));
    for (found, expected) in steps.losses.iter().zip(&losses) {
        let error = f64::from((found - expected).abs() / expected.abs());
        println!("{tag}: loss {found} against {expected}, relative error {error:.1e}");
        assert!(error < within.losses, "loss: {error:e}");
    }

    let mut errors = Vec::new();
    for name in reference.names() {
        if let Some(name) = name.strip_prefix(&format!("{tag}.grad.")) {
            let (_, expected) = reference.values(&format!("{tag}.grad.{name}"));
            errors.push((
                common::relative_error(&steps.gradients[name], &expected),
                name.to_string(),
            ));
        }
    }
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (worst, name) = errors.last().unwrap();
    let median = errors[errors.len() / 2].0;
    println!("{tag}: gradients, worst {worst:.1e} ({name}), median {median:.1e}");
    assert!(*worst < within.gradient_at_worst && median < within.gradient_median);

    let mut worst = (0.0, String::new());
    for name in reference.names() {
        if let Some(name) = name.strip_prefix(&format!("{tag}.after.")) {
            let (_, expected) = reference.values(&format!("{tag}.after.{name}"));
            let error = common::relative_error(&steps.after[name], &expected);
            if error > worst.0 {
                worst = (error, name.to_string());
            }
        }
    }
    println!(
        "{tag}: after three steps, worst {:.1e} ({})",
        worst.0, worst.1
    );
    assert!(worst.0 < within.after, "{worst:?}");

    for name in reference.names() {
        if let Some(name) = name.strip_prefix(&format!("{tag}.moved.")) {
            let (_, expected) = reference.values(&format!("{tag}.moved.{name}"));
            let moved = distance(&steps.after[name], &steps.start[name]);
            if expected[0] == 0.0 {
                assert_eq!(moved, 0.0, "{name} is frozen but moved");
            } else {
                let error = (moved / f64::from(expected[0]) - 1.0).abs();
                assert!(
                    error < 2e-2,
                    "{name} moved {moved}, expected {}",
                    expected[0]
                );
            }
        }
    }
}

fn three_steps(
    weights: &std::path::Path,
    reference: &common::Reference,
    strategy: Strategy,
) -> Steps {
    let device = Device::flex();
    let backbone = Pretrained::open(weights, &device)
        .unwrap()
        .model
        .reset_classifier(0);
    let (_, head_weight) = reference.values("head.weight");
    let (_, head_bias) = reference.values("head.bias");
    let classifier = Classifier::new(backbone, 2, 0, &device)
        .with_head(head_weight, head_bias)
        .unwrap();
    let recipe = Recipe {
        optimizer: Optimizer::Sgd {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 1e-4,
        },
        ..Recipe::tutorial()
    };
    let plan = strategy.plan(classifier.backbone.stage_names(), 0).unwrap();
    let mut learner = Learner::new(classifier, plan, &recipe, &device);
    let start = plain(learner.classifier());
    let batches = batches(reference, &device);

    // A forward pass in training mode moves the running statistics, so the gradients of the first step
    // are looked at on a copy that shares nothing.
    let gradients = {
        let copy = state_dict::collect(learner.classifier());
        let (_, grads) = learner.gradients(&batches[0]).unwrap();
        let named = named_gradients(learner.classifier(), grads);
        let restored = state_dict::assign(learner.classifier().clone(), |name| {
            copy.get(name).map(|tensor| tensor.values.clone())
        });
        learner.set_classifier(restored);
        named
    };
    let losses = batches
        .iter()
        .map(|batch| learner.train_batch(batch, 0.01).unwrap().loss as f32)
        .collect();
    Steps {
        losses,
        gradients,
        after: plain(learner.classifier()),
        start,
    }
}

/// Photographs `[0:4]`, `[4:8]`, `[8:12]`, normalised as for ImageNet.
fn batches(reference: &common::Reference, device: &Device) -> Vec<Batch> {
    let (shape, pixels) = reference.values("images_u8");
    let (_, labels) = reference.values("targets");
    let [_, height, width, _] = shape[..] else {
        panic!("images of shape {shape:?}");
    };
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let size = height * width;
    (0..3)
        .map(|batch| {
            let mut values = vec![0.0f32; 4 * 3 * size];
            for image in 0..4 {
                for pixel in 0..size {
                    for channel in 0..3 {
                        let at = ((batch * 4 + image) * size + pixel) * 3 + channel;
                        values[(image * 3 + channel) * size + pixel] =
                            (pixels[at] / 255.0 - mean[channel]) / std[channel];
                    }
                }
            }
            Batch {
                x: Tensor::from_data(TensorData::new(values, [4, 3, height, width]), device),
                start: 0,
                targets: Targets {
                    labels: labels[batch * 4..][..4]
                        .iter()
                        .map(|l| *l as usize)
                        .collect(),
                    ..Targets::default()
                },
                indices: (batch * 4..batch * 4 + 4).collect(),
                number: 0,
                skipped: Vec::new(),
            }
        })
        .collect()
}

/// All tensors under torchvision's names.
fn plain(classifier: &Classifier<ResNet>) -> BTreeMap<String, Vec<f32>> {
    state_dict::collect(classifier)
        .into_iter()
        .map(|(name, tensor)| (torchvision_name(&name), tensor.values))
        .collect()
}

fn torchvision_name(name: &str) -> String {
    name.replacen("backbone.", "", 1)
        .replacen("head.", "fc.", 1)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a
        .iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Gradients under torchvision's names and in PyTorch's layout.
fn named_gradients(
    classifier: &Classifier<ResNet>,
    grads: GradientsParams,
) -> BTreeMap<String, Vec<f32>> {
    struct Visitor {
        grads: GradientsParams,
        path: Vec<(String, String)>,
        found: BTreeMap<String, Vec<f32>>,
    }
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.push((name.to_string(), container.to_string()));
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(mut grad) = self.grads.get::<D>(param.id) else {
                return;
            };
            if D == 2 {
                grad = grad.swap_dims(0, 1);
            }
            let visible: Vec<&str> = self
                .path
                .iter()
                .filter(|(_, container)| !container.starts_with("Enum:"))
                .map(|(name, _)| name.as_str())
                .collect();
            let name = torchvision_name(&visible.join("."));
            self.found
                .insert(name, grad.into_data().iter::<f32>().collect());
        }
    }
    let mut visitor = Visitor {
        grads,
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    Module::visit(classifier, &mut visitor);
    visitor.found
}
