//! Checks the promises of a run for networks of every family.

use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_imagefolder::Loader;
use rekindle_models::files::{save, save_onnx};
use rekindle_models::{Model, Options, Pretrained};
use rekindle_nn::Network;
use rekindle_trainer::feed::Feed;
use rekindle_trainer::{Cache, GradCam, Predictor, Recipe, Trainer};
use rekindle_transfer::{Backbone, Strategy};
use rekindle_weights::{ModelInfo, state_dict};

use crate::common::{curve, data, preprocess, recipe};

/// A small model of every family but ResNets, and its stage that is the last to be frozen.
const FAMILIES: [(&str, &str); 10] = [
    ("mobilenet_v2", "stage3"),
    ("mobilenet_v3_small", "stage2"),
    ("mobilenetv4_conv_small", "stage2"),
    ("efficientnet_b0", "stage3"),
    ("tf_efficientnet_lite0", "stage3"),
    ("regnet_y_400mf", "block2"),
    ("densenet121", "denseblock1"),
    ("shufflenet_v2_x0_5", "stage2"),
    ("convnextv2_atto", "stage2"),
    ("vit_tiny_patch16_224", "blocks6-8"),
];

/// A file of weights of the model for seven classes, read back.
fn pretrained(folder: &Path, name: &str) -> Pretrained {
    let path = folder.join(format!("{name}.safetensors"));
    let device = Device::flex();
    let model = Model::named(name).unwrap();
    let graph = (model.describe)(&Options::with_classes(7)).unwrap();
    let info = ModelInfo {
        preprocess: Some(preprocess()),
        ..ModelInfo::default()
    };
    save(&Network::new(graph, 3, &device), &path, &info).unwrap();
    let pretrained = Pretrained::open(&path, &device).unwrap();
    assert_eq!(pretrained.architecture, name);
    pretrained
}

fn short(epochs: usize) -> Recipe {
    Recipe {
        epochs,
        cache: Cache::Memory,
        ..recipe()
    }
}

#[test]
fn stages_freeze_where_they_are_told_to() {
    let folder = tempfile::tempdir().unwrap();
    for (name, last_frozen) in FAMILIES {
        let pretrained = pretrained(folder.path(), name);
        let strategy = Strategy::FreezeUpTo {
            last_frozen: last_frozen.into(),
        };
        let stages = pretrained.model.graph().stage_names();
        let trainer = Trainer::adapt(&pretrained, data(), strategy, 0);
        let frozen = stages.iter().position(|stage| *stage == last_frozen);
        let frozen = 1 + frozen.unwrap_or_else(|| panic!("{name}: {stages:?}"));
        let fitted = trainer.recipe(short(1)).fit().unwrap();
        let before = state_dict::collect(&pretrained.model);
        let after = state_dict::collect(&fitted.classifier.backbone);
        let moved = |of: &dyn Fn(usize) -> bool| {
            let tensors = after.iter().filter(|(path, _)| {
                let is_head = path.starts_with(&format!("{}.", pretrained.model.head_name()));
                !is_head && of(pretrained.model.stage_of(path))
            });
            let tensors: Vec<bool> = tensors.map(|(path, t)| before[path] != *t).collect();
            assert!(!tensors.is_empty(), "{name}");
            tensors
        };
        assert!(
            moved(&|stage| stage < frozen).iter().all(|moved| !moved),
            "{name}"
        );
        // A weight behind a ReLU that is never on may stay.
        let rest = moved(&|stage| stage >= frozen);
        let count = rest.iter().filter(|moved| **moved).count();
        assert!(
            10 * count >= 9 * rest.len(),
            "{name}: {count} of {}",
            rest.len()
        );
    }
}

#[test]
fn a_run_goes_on_to_the_same_bits_and_its_file_says_what_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    for (name, _) in FAMILIES {
        let pretrained = pretrained(folder.path(), name);
        let start = |epochs| {
            Trainer::adapt(&pretrained, data(), Strategy::fine_tuning(), 0).recipe(short(epochs))
        };
        let whole = start(2).fit().unwrap();
        let path = folder.path().join(name);
        drop(start(1).run_directory(&path).fit().unwrap());
        let resumed = start(1).resume_with(&path, |recipe| recipe.epochs = 2);
        let resumed = resumed.unwrap();
        assert_eq!(curve(&resumed), curve(&whole), "{name}");
        let weights = state_dict::collect(&resumed.classifier);
        assert!(weights == state_dict::collect(&whole.classifier), "{name}");
        let accuracy = resumed.best_accuracy();
        drop(resumed);

        let best = Pretrained::open(path.join("best.safetensors"), &device).unwrap();
        assert_eq!(
            (best.architecture.as_str(), best.model.num_classes()),
            (name, 2)
        );
        let onnx = folder.path().join("model.onnx");
        save_onnx(&best.model, &onnx, &best.info()).unwrap();
        assert!(onnx.metadata().unwrap().len() > 100_000);
        let classifier = rekindle_transfer::Classifier::from_network(best.model).unwrap();
        let feed = Feed::Images(Loader::new(data().val).batch_size(8));
        let predictions = Predictor::new(&classifier).predict(feed.epoch(0, &device), |_| ());
        assert_eq!(predictions.unwrap().accuracy(), accuracy, "{name}");
    }
}

/// Looking at a picture changes nothing, and other pictures beside it don't matter.
#[test]
fn grad_cam_looks_at_each_picture_alone() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    for (name, _) in FAMILIES {
        let pretrained = pretrained(folder.path(), name);
        let classifier = rekindle_transfer::Classifier::from_network(pretrained.model).unwrap();
        let before = state_dict::collect(&classifier);
        let values: Vec<f32> = (0..3 * 3 * 64 * 64)
            .map(|i| (i as f32 * 0.013).sin())
            .collect();
        let images = Tensor::from_data(TensorData::new(values, [3, 3, 64, 64]), &device);
        let together = GradCam::of(&classifier, images.clone(), &[0, 1, 2]).unwrap();
        for (index, expected) in together.iter().enumerate() {
            let alone = images.clone().narrow(0, index, 1);
            let alone = GradCam::of(&classifier, alone, &[index]).unwrap();
            let largest = expected
                .values
                .iter()
                .fold(f32::MIN_POSITIVE, |a, b| a.max(*b));
            for (a, b) in alone[0].values.iter().zip(&expected.values) {
                assert!((a - b).abs() <= 1e-4 * largest, "{name}: {a} and {b}");
            }
        }
        assert!(state_dict::collect(&classifier) == before, "{name}");
    }
}
