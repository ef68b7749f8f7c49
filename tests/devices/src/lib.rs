//! The same network on every device: as on the CPU, and the same bits when asked twice.
//!
//! wgpu runs on whatever adapter it finds; Mesa's software Vulkan will do.
#![cfg(test)]
#![allow(clippy::unwrap_used)]

mod from_scratch;
mod memory;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle::device::DeviceName;
use rekindle::models::resnet::ResNetConfig;
use rekindle::nn::Network;
use rekindle::trainer::feed::Batch;
use rekindle::trainer::loss::Targets;
use rekindle::trainer::{Learner, Recipe};
use rekindle::transfer::{Backbone, Classifier, Entry, Strategy};
use rekindle::weights::state_dict;

const CLASSES: usize = 3;
const IMAGES: usize = 4;
const SIZE: usize = 32;

/// A narrow ResNet-18 whose weights are the same on every device.
fn classifier(device: &Device) -> Classifier<Network> {
    let config = ResNetConfig::RESNET18
        .with_stem_width(8)
        .with_num_classes(0);
    let mut number = 0u32;
    let backbone = config.network(0, device).unwrap();
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
        start: Entry::IMAGES,
        targets: Targets {
            labels: (0..IMAGES).map(|image| image % CLASSES).collect(),
            ..Targets::default()
        },
        indices: (0..IMAGES).collect(),
        number: 0,
        skipped: Vec::new(),
    }
}

fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| square(f - e)).sum();
    let norm: f64 = expected.iter().map(|e| square(*e)).sum();
    (difference / norm).sqrt()
}

fn cpu() -> Device {
    DeviceName::Cpu.open().unwrap()
}

/// Returns the devices that are compiled in beside the CPU.
fn others() -> Vec<(DeviceName, Device)> {
    let names = [DeviceName::Wgpu, DeviceName::Cuda(0), DeviceName::NdArray];
    let open = |name: DeviceName| Some((name, name.open().ok()?));
    names.into_iter().filter_map(open).collect()
}

fn learner(device: &Device) -> Learner<Network> {
    let classifier = classifier(device);
    let stages = classifier.backbone.stage_names();
    let plan = Strategy::fine_tuning().plan(&stages, 0).unwrap();
    Learner::new(classifier, plan, &Recipe::tutorial(), device).unwrap()
}

/// The loss of each of three steps, and all tensors behind them.
fn three_steps(device: &Device) -> (Vec<f64>, Vec<(String, Vec<f32>)>) {
    let mut learner = learner(device);
    let batch = batch(device);
    let step = |_| learner.train_batch(&batch, 0.01).unwrap().loss;
    let losses = (0..3).map(step).collect();
    let tensors = state_dict::collect(learner.classifier());
    let values = tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.values));
    (losses, values.collect())
}

#[test]
fn forward_agrees_with_the_cpu() {
    let logits = |device: &Device| {
        let logits = classifier(device).valid().forward(batch(device).x);
        logits.into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let expected = logits(&cpu());
    for (name, device) in others() {
        let error = relative_error(&logits(&device), &expected);
        println!("{name}, logits: relative error {error:.1e}");
        assert!(error < 1e-5, "{name}: {error:e}");
    }
}

#[test]
fn training_agrees_with_the_cpu() {
    let expected = three_steps(&cpu());
    for (device, handle) in others() {
        let found = three_steps(&handle);
        for (found, expected) in found.0.iter().zip(&expected.0) {
            let error = (found / expected - 1.0).abs();
            println!("{device}, loss: relative error {error:.1e}");
            assert!(error < 1e-3, "{device}: {found} {expected}");
        }
        for ((name, found), (_, expected)) in found.1.iter().zip(&expected.1) {
            let error = relative_error(found, expected);
            assert!(
                error.is_nan() || error < 2e-3,
                "{device}, {name}: {error:e}"
            );
        }
    }
}

#[test]
fn the_same_steps_twice_have_the_same_bits() {
    let mut devices = others();
    devices.push((DeviceName::Cpu, cpu()));
    for (name, device) in devices {
        assert_eq!(three_steps(&device), three_steps(&device), "{name}");
        println!("{name}: the same bits");
    }
}

/// Half of the batch on another kind of device.
#[test]
fn a_batch_is_shared_with_another_device() {
    for (name, device) in others() {
        let plan = Strategy::FeatureExtraction
            .plan(&learner(&cpu()).classifier().backbone.stage_names(), 0)
            .unwrap();
        let of = |devices: &[Device]| {
            let learner = Learner::new(
                classifier(&cpu()),
                plan.clone(),
                &Recipe::tutorial(),
                &cpu(),
            );
            let mut learner = learner.unwrap().with_devices(devices).unwrap();
            let outcome = learner.train_batch(&batch(&cpu()), 0.1).unwrap();
            (
                outcome.loss,
                state_dict::collect(learner.classifier())["head.weight"]
                    .values
                    .clone(),
            )
        };
        let (alone, shared) = (of(&[]), of(&[device]));
        let error = relative_error(&shared.1, &alone.1);
        println!("{name} and the CPU, head: relative error {error:.1e}");
        assert!((shared.0 / alone.0 - 1.0).abs() < 1e-4);
        assert!(error < 1e-5, "{name}: {error:e}");
    }
}
