//! Frozen stages in eight bits: what is learnt on them, what is kept of them, and who is refused.
#![cfg(feature = "kernels")]
#![allow(clippy::unwrap_used)]

mod common;

use burn::prelude::*;
use common::{classifier, curve, data, recipe};
use rekindle_trainer::{Cache, Recipe, Trainer, TrainerError};
use rekindle_transfer::{Backbone, FrozenPrefix, Strategy, TransferError};

/// Whether this machine has instructions for it.
fn is_able() -> bool {
    let images = Tensor::ones([1, 3, 32, 32], &Device::flex());
    match classifier().backbone.quantize(1, &[images]) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("skipped: {error}");
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
    let fitted = Trainer::new(classifier(), data())
        .strategy(strategy)
        .recipe(Recipe {
            quantize_frozen,
            cache,
            learning_rate: 0.001,
            ..recipe()
        })
        .fit()
        .unwrap();
    curve(&fitted)
}

#[test]
fn training_on_rounded_stages_is_near_that_on_f32() {
    if !is_able() {
        return;
    }
    for (strategy, cache) in [
        (frozen_to("layer3"), Cache::Off),
        (frozen_to("layer3"), Cache::Memory),
        (Strategy::FeatureExtraction, Cache::Off),
        (Strategy::FeatureExtraction, Cache::Memory),
    ] {
        let plain = train(strategy.clone(), false, cache.clone());
        let rounded = train(strategy.clone(), true, cache.clone());
        assert_eq!(rounded, train(strategy.clone(), true, cache.clone()));
        assert_ne!(plain, rounded, "{strategy:?} {cache:?}");
        for (a, b) in plain.iter().zip(&rounded) {
            let error = (a.0 - b.0).abs() / a.0;
            assert!(error < 0.1, "{strategy:?} {cache:?}: {a:?} {b:?}");
        }
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
    assert!(FrozenPrefix::new(&backbone, 3).quantization().is_none());
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
