//! Runs on a narrow network and drawn pictures that take a second.
#![allow(dead_code, unused_imports, clippy::unwrap_used)] // Each test program uses a part of it.

mod odd_net;

pub use odd_net::OddNet;

use std::path::Path;

use burn::prelude::*;
use image::{Rgb, RgbImage};
use rekindle_imagefolder::{ImageDataset, Pipeline};
use rekindle_models::Preprocess;
use rekindle_models::resnet::ResNetConfig;
use rekindle_nn::Network;
use rekindle_trainer::{Fitted, Recipe, Schedule, Trainer, TransferData};
use rekindle_transfer::Classifier;
use rekindle_weights::state_dict::{self, HostTensor};

pub const SIZE: u32 = 32;

/// A bright half on top or at the bottom, of any colour, with noise from the index.
pub fn picture(label: usize, index: usize) -> RgbImage {
    RgbImage::from_fn(SIZE, SIZE, |x, y| {
        let noise = (x as usize * 31 + y as usize * 17 + index * 101) % 60;
        let is_bright = (y < SIZE / 2) == (label == 0);
        let level = if is_bright { 150 } else { 40 } + noise;
        let shade = |channel: usize| (level + (index * (channel + 3)) % 40).min(255) as u8;
        Rgb([shade(0), shade(1), shade(2)])
    })
}

pub fn preprocess() -> Preprocess {
    Preprocess {
        resize: SIZE as usize,
        crop: SIZE as usize,
        ..Preprocess::IMAGENET
    }
}

pub fn dataset(images: usize, first: usize, pipeline: Pipeline) -> ImageDataset {
    let labels: Vec<Option<usize>> = (0..images).map(|index| Some(index % 2)).collect();
    let classes = vec!["bottom".into(), "top".into()];
    ImageDataset::from_fn(labels, classes, pipeline, move |index| {
        Ok(picture(index % 2, first + index))
    })
    .unwrap()
}

pub fn data() -> TransferData {
    let preprocess = preprocess();
    let plain = rekindle_trainer::eval_pipeline(&preprocess);
    let augmented =
        Pipeline::new([rekindle_imagefolder::Transform::RandomHorizontalFlip { p: 0.5 }]);
    let train = Pipeline::new(augmented.0.into_iter().chain(plain.0.clone()));
    TransferData::from_datasets(dataset(24, 0, train), dataset(16, 1000, plain), &preprocess)
        .unwrap()
}

pub fn classifier() -> Classifier<Network> {
    let device = Device::flex();
    let config = ResNetConfig::RESNET18
        .with_stem_width(8)
        .with_num_classes(0);
    let backbone = config.network(0, &device).unwrap();
    let mut number = 0;
    let mut shapes = state_dict::shapes(&backbone).into_iter();
    let backbone = state_dict::assign(backbone, |_| {
        number += 1;
        let (_, shape) = shapes.next().unwrap();
        (shape.len() == 4).then(|| sines(&shape, number))
    });
    Classifier::new(backbone, 2, 5, &device)
}

/// Weights that are the same in every run: a sine of the index, scaled as He et al. do.
pub fn sines(shape: &[usize], number: usize) -> Vec<f32> {
    let fan_in: usize = shape.iter().skip(1).product();
    let scale = (2.0 / fan_in as f32).sqrt();
    let count: usize = shape.iter().product();
    (0..count)
        .map(|i| scale * (i as f32 * 0.37 + number as f32).sin())
        .collect()
}

pub fn recipe() -> Recipe {
    Recipe {
        epochs: 3,
        batch_size: 8,
        learning_rate: 0.02,
        schedule: Schedule::Constant,
        workers: 2,
        ..Recipe::tutorial()
    }
}

pub fn weights(fitted: &Fitted<Network>) -> std::collections::BTreeMap<String, HostTensor> {
    state_dict::collect(&fitted.classifier)
}

/// Losses and accuracies of every epoch, times left out.
pub fn curve(fitted: &Fitted<Network>) -> Vec<(f64, f64, Option<f64>, Option<f64>)> {
    let of = |m: &rekindle_trainer::events::EpochMetrics| {
        (
            m.train_loss,
            m.train_accuracy,
            m.valid_loss,
            m.valid_accuracy,
        )
    };
    fitted.history.iter().map(of).collect()
}

pub fn unbroken(directory: &Path, recipe: &Recipe) -> Fitted<Network> {
    Trainer::new(classifier(), data())
        .recipe(recipe.clone())
        .run_directory(directory)
        .fit()
        .unwrap()
}
