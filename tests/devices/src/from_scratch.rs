//! A vision transformer that learns from nothing, beside PyTorch's from the same weights on the same pictures.
//!
//! `tests/reference/from_scratch.py` made the numbers.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle::drawings::{DrawingTask, SourceTask, Split};
use rekindle::models::files::save;
use rekindle::models::vision_transformer::timm::vit_tiny_patch16_224;
use rekindle::models::{Options, Preprocess};
use rekindle::nn::Network;
use rekindle::trainer::feed::Batch;
use rekindle::trainer::loss::Targets;
use rekindle::trainer::{Learner, Optimizer, Recipe};
use rekindle::transfer::{Backbone, Classifier, Entry, Strategy};
use rekindle::weights::ModelInfo;
use test_support::reference_path;

use crate::{cpu, others};

/// Pictures of each class, which make up as many batches.
const PICTURES: usize = 8;
const SIDE: usize = 96;
const SEED: u64 = 5;
const RATE: f64 = 5e-4;
/// Steps that stay together: after that, rounding has grown to another way through the same valley.
const TOGETHER: usize = 20;

fn classifier(device: &Device) -> Classifier<Network> {
    let graph = vit_tiny_patch16_224(&Options::with_classes(0)).unwrap();
    let backbone = Network::new(graph, 11, device).with_image_size([SIDE, SIDE]);
    Classifier::new(backbone, SourceTask.class_names().len(), 12, device)
}

/// One picture of each class.
fn batch(index: usize, device: &Device) -> Batch {
    let classes = SourceTask.class_names().len();
    let mut values = vec![0.0f32; classes * 3 * SIDE * SIDE];
    for (class, image) in values.chunks_exact_mut(3 * SIDE * SIDE).enumerate() {
        let picture = SourceTask.draw(class, Split::Train, index, SEED);
        for (at, pixel) in picture.pixels().enumerate() {
            for (channel, byte) in pixel.0.into_iter().enumerate() {
                image[channel * SIDE * SIDE + at] = f32::from(byte) / 127.5 - 1.0;
            }
        }
    }
    let data = TensorData::new(values, [classes, 3, SIDE, SIDE]);
    Batch {
        x: Tensor::from_data(data, device),
        start: Entry::IMAGES,
        targets: Targets {
            labels: (0..classes).collect(),
            ..Targets::default()
        },
        indices: (0..classes).collect(),
        number: 0,
        skipped: Vec::new(),
    }
}

/// The losses of so many steps.
fn learn(steps: usize, device: &Device) -> Vec<f64> {
    let classifier = classifier(device);
    let stages = classifier.backbone.stage_names();
    let plan = Strategy::fine_tuning().plan(&stages, 0).unwrap();
    let recipe = Recipe {
        optimizer: Optimizer::AdamW { weight_decay: 0.05 },
        ..Recipe::tutorial()
    };
    let mut learner = Learner::new(classifier, plan, &recipe, device).unwrap();
    let batches: Vec<Batch> = (0..PICTURES).map(|index| batch(index, device)).collect();
    (0..steps)
        .map(|step| learner.train_batch(&batches[step % PICTURES], RATE))
        .map(|outcome| outcome.unwrap().loss)
        .collect()
}

/// PyTorch's losses: of all steps in 32 bits, and of the first ones in 64.
struct Expected {
    losses: Vec<f64>,
    precise: Vec<f64>,
}

fn expected() -> Expected {
    let text = std::fs::read_to_string(reference_path("from_scratch.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let numbers = |key: &str| -> Vec<f64> {
        let numbers = kept[key].as_array().unwrap().iter();
        numbers.map(|number| number.as_f64().unwrap()).collect()
    };
    Expected {
        losses: numbers("losses"),
        precise: numbers("losses_in_f64"),
    }
}

fn compare(name: &str, losses: &[f64]) {
    let expected = expected().precise;
    let pairs = losses.iter().zip(&expected).enumerate();
    for (step, (found, expected)) in pairs.take(TOGETHER) {
        let error = (found / expected - 1.0).abs();
        println!(
            "{name}, step {step}: {found:.5}, PyTorch {expected:.5}, relative error {error:.1e}"
        );
        assert!(error < 1e-4, "{name}, step {step}: {found} {expected}");
    }
}

#[test]
fn a_vision_transformer_begins_to_learn_as_pytorchs_does() {
    let losses = learn(10, &cpu());
    compare("cpu", &losses);
    assert!(losses[9] < losses[0]);
}

#[test]
#[ignore = "a minute or two"]
fn a_vision_transformer_learns_from_scratch_as_pytorchs_does() {
    let expected = expected();
    let losses = learn(expected.losses.len(), &cpu());
    compare("cpu", &losses);
    let ends = |losses: &[f64]| losses.rchunks(PICTURES).next().unwrap().iter().sum::<f64>();
    for (pass, (found, expected)) in losses
        .chunks(PICTURES)
        .zip(expected.losses.chunks(PICTURES))
        .enumerate()
    {
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        println!(
            "pass {}: {:.4}, PyTorch {:.4}",
            pass + 1,
            mean(found),
            mean(expected)
        );
    }
    assert!(ends(&losses) < 1.25 * ends(&expected.losses) + 0.1);
}

#[test]
#[ignore = "minutes on a software adapter"]
fn other_devices_learn_from_scratch_as_pytorch_does() {
    for (name, device) in others() {
        compare(&name.to_string(), &learn(4, &device));
    }
}

/// Writes weights and pictures for `tests/reference/from_scratch.py`.
#[test]
#[ignore = "writes files into REKINDLE_FROM_SCRATCH"]
fn write_start() {
    let folder = std::env::var_os("REKINDLE_FROM_SCRATCH")
        .map(PathBuf::from)
        .unwrap();
    write_to(&folder);
}

fn write_to(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let network = classifier(&cpu()).into_network().unwrap();
    let info = ModelInfo {
        preprocess: Some(Preprocess::IMAGENET),
        ..ModelInfo::default()
    };
    save(&network, folder.join("start.safetensors"), &info).unwrap();
    let pictures = folder.join("pictures");
    SourceTask
        .write_folder(&pictures, PICTURES, 0, SEED)
        .unwrap();
}
