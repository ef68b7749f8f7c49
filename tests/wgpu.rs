//! The same network on wgpu as on the CPU: a forward pass and one step of training.
//!
//! Runs on whatever adapter wgpu finds; Mesa's software Vulkan will do.
#![cfg(all(feature = "wgpu", feature = "flex"))]
#![allow(clippy::unwrap_used)]

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle::device::DeviceName;
use rekindle::resnet::{Architecture, ResNet, state_dict};
use rekindle::trainer::feed::Batch;
use rekindle::trainer::loss::Targets;
use rekindle::trainer::{Learner, Recipe};
use rekindle::transfer::{Backbone, Classifier, Strategy};

const CLASSES: usize = 3;
const IMAGES: usize = 4;
const SIZE: usize = 32;

/// A narrow ResNet-18 whose weights are the same on every device.
fn classifier(device: &Device) -> Classifier<ResNet> {
    let config = Architecture::ResNet18
        .config()
        .with_stem_width(8)
        .with_num_classes(0);
    let mut number = 0u32;
    let backbone = config.init(device);
    let shapes = state_dict::shapes(&backbone);
    let mut shapes = shapes.into_iter();
    let backbone = state_dict::assign(backbone, |name| {
        let (expected, shape) = shapes.next().unwrap();
        assert_eq!(expected, name);
        let fan_in: usize = shape.iter().skip(1).product::<usize>().max(1);
        let count: usize = shape.iter().product();
        number += 1;
        (shape.len() == 4).then(|| {
            let scale = (2.0 / fan_in as f32).sqrt();
            (0..count)
                .map(|i| scale * (i as f32 * 0.7 + number as f32).sin())
                .collect()
        })
    });
    Classifier::new(backbone, CLASSES, 7, device)
}

fn batch(device: &Device) -> Batch {
    let count = IMAGES * 3 * SIZE * SIZE;
    let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.013).sin()).collect();
    let data = TensorData::new(values, [IMAGES, 3, SIZE, SIZE]);
    Batch {
        x: Tensor::from_data(data, device),
        start: 0,
        targets: Targets {
            labels: (0..IMAGES).map(|image| image % CLASSES).collect(),
            ..Targets::default()
        },
        indices: (0..IMAGES).collect(),
        skipped: Vec::new(),
    }
}

fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| square(f - e)).sum();
    let norm: f64 = expected.iter().map(|e| square(*e)).sum();
    (difference / norm).sqrt()
}

fn devices() -> [Device; 2] {
    [DeviceName::Wgpu, DeviceName::Cpu].map(|name| name.open().unwrap())
}

#[test]
fn forward_agrees_with_the_cpu() {
    let [found, expected] = devices().map(|device| {
        let logits = classifier(&device).valid().forward(batch(&device).x);
        logits.into_data().iter::<f32>().collect::<Vec<_>>()
    });
    let error = relative_error(&found, &expected);
    println!("logits: relative error {error:.1e}");
    assert!(error < 1e-4, "{error:e}");
}

#[test]
fn a_training_step_agrees_with_the_cpu() {
    let strategy = Strategy::fine_tuning();
    let [found, expected] = devices().map(|device| {
        let classifier = classifier(&device);
        let plan = strategy.plan(classifier.backbone.stage_names(), 0).unwrap();
        let mut learner = Learner::new(classifier, plan, &Recipe::tutorial(), &device);
        let outcome = learner.train_batch(&batch(&device), 0.01).unwrap();
        (outcome.loss, state_dict::collect(learner.classifier()))
    });
    assert!(
        (found.0 / expected.0 - 1.0).abs() < 1e-4,
        "{} {}",
        found.0,
        expected.0
    );
    for (name, tensor) in &found.1 {
        let error = relative_error(&tensor.values, &expected.1[name].values);
        assert!(error.is_nan() || error < 1e-3, "{name}: {error:e}");
    }
}
