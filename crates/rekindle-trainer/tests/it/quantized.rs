//! Frozen stages in eight bits: what is learnt on them, what is kept of them, and who is refused.

use std::sync::Arc;

use crate::common::{classifier, curve, data, recipe};
use burn::prelude::*;
use rekindle_trainer::{Cache, Recipe, Trainer, TrainerError};
use rekindle_transfer::{Backbone, FrozenPrefix, Strategy, TransferError};

/// Returns true if this machine has instructions for it.
fn is_able() -> bool {
    let images = Tensor::ones([1, 3, 32, 32], &Device::flex());
    match classifier().backbone.quantize(1, &[images]) {
        Ok(_) => true,
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("this machine"), "{said}");
            test_support::skip(test_support::Needs::Instructions, said);
            false
        }
    }
}

fn frozen_to(last_frozen: &str) -> Strategy {
    Strategy::FreezeUpTo {
        last_frozen: last_frozen.into(),
    }
}

/// Loss and accuracy in training and in validation.
type Epoch = (f64, f64, Option<f64>, Option<f64>);

fn train(strategy: Strategy, quantize_frozen: bool, cache: Cache) -> Vec<Epoch> {
    let mut data = data();
    let plain = data.val.pipeline().clone();
    data.train = Arc::new(data.train.with_pipeline(plain).unwrap());
    let fitted = Trainer::new(classifier(), data)
        .strategy(strategy)
        .recipe(Recipe {
            quantize_frozen,
            cache,
            // The features of this network are large.
            learning_rate: 1e-5,
            ..recipe()
        })
        .fit()
        .unwrap();
    curve(&fitted)
}

#[test]
fn a_head_on_rounded_features_learns_what_one_on_f32_does() {
    if !is_able() {
        return;
    }
    let strategy = || Strategy::FeatureExtraction;
    let plain = train(strategy(), false, Cache::Memory);
    let rounded = train(strategy(), true, Cache::Memory);
    assert_ne!(plain, rounded);
    for (a, b) in plain.iter().zip(&rounded) {
        assert!((a.0 - b.0).abs() < 0.1 * a.0, "{a:?} {b:?}");
    }
    assert_eq!(rounded, train(strategy(), true, Cache::Memory));
}

#[test]
fn frozen_stages_are_rounded_in_training_as_where_their_activations_are_kept() {
    if !is_able() {
        return;
    }
    for strategy in [frozen_to("layer3"), Strategy::FeatureExtraction] {
        let losses = |quantize, cache| -> Vec<f64> {
            let epochs = train(strategy.clone(), quantize, cache);
            epochs.iter().map(|epoch| epoch.0).collect()
        };
        let images = losses(true, Cache::Off);
        let kept = losses(true, Cache::Memory);
        for (a, b) in images.iter().zip(&kept) {
            assert!((a - b).abs() < 1e-4, "{strategy:?}: {a} {b}");
        }
        assert_ne!(images, losses(false, Cache::Off), "{strategy:?}");
    }
}

#[test]
fn rounded_activations_are_kept_apart() {
    if !is_able() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = || Cache::Disk(folder.path().to_path_buf());
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let plain = train(Strategy::FeatureExtraction, false, cache());
    let before = files();
    let rounded = train(Strategy::FeatureExtraction, true, cache());
    assert_eq!(files(), 2 * before);
    assert_eq!(rounded, train(Strategy::FeatureExtraction, true, cache()));
    assert_eq!(plain, train(Strategy::FeatureExtraction, false, cache()));
    assert_eq!(files(), 2 * before);
}

#[test]
fn weights_that_move_are_not_rounded() {
    let refused = Trainer::new(classifier(), data())
        .strategy(Strategy::fine_tuning())
        .recipe(Recipe {
            quantize_frozen: true,
            ..recipe()
        })
        .fit();
    let Err(TrainerError::InvalidRecipe { field, .. }) = refused else {
        panic!("trained");
    };
    assert_eq!(field, "quantize_frozen");
}

#[test]
fn a_frozen_prefix_says_what_it_is() {
    let backbone = classifier().backbone;
    let images = Tensor::ones([2, 3, 32, 32], &Device::flex());
    assert!(
        FrozenPrefix::new(&backbone, 3)
            .unwrap()
            .quantization()
            .is_none()
    );
    let none = FrozenPrefix::quantized(&backbone, 0, std::slice::from_ref(&images)).unwrap();
    assert!(none.quantization().is_none());
    let refused = FrozenPrefix::quantized(&backbone, 3, &[]);
    assert!(matches!(
        refused.err(),
        Some(TransferError::NotQuantizable { stages: 3, .. })
    ));
    if !is_able() {
        return;
    }
    let rounded = FrozenPrefix::quantized(&backbone, 5, std::slice::from_ref(&images)).unwrap();
    assert!(rounded.quantization().is_some());
    let features = rounded.forward(images).unwrap();
    assert_eq!(features.dims(), [2, backbone.num_features(), 1, 1]);
    let grey = Tensor::ones([2, 1, 32, 32], &Device::flex());
    assert!(matches!(
        rounded.forward(grey),
        Err(TransferError::Channels {
            found: 1,
            expected: 3
        })
    ));
}
