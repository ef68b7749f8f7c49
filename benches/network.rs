//! Whole networks on the CPU: forward pass, training step, and a step behind frozen stages; ours and Burn's kernels.
//!
//! `cargo bench --bench network`

use std::time::Duration;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::Distribution;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rekindle::models::resnet::ResNetConfig;
use rekindle::nn::Network;
use rekindle::trainer::feed::Batch;
use rekindle::trainer::loss::Targets;
use rekindle::trainer::{Learner, Recipe};
use rekindle::transfer::{Backbone, Classifier, Entry, Strategy};

const BATCH: usize = 4;

/// Why a network is described without a mistake.
const PUBLISHED: &str = "published sizes";

fn forward(c: &mut Criterion) {
    let device = Device::flex();
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(BATCH as u64));
    for arch in [ResNetConfig::RESNET18, ResNetConfig::RESNET50] {
        for kernels in [true, false] {
            let model = arch.network(0, &device).expect(PUBLISHED);
            let model = model.valid().with_kernels(kernels);
            let images = images(&device);
            group.bench_function(name(arch, kernels), |b| {
                b.iter(|| model.forward(images.clone()).into_data());
            });
        }
    }
}

fn training_step(c: &mut Criterion) {
    let frozen = Strategy::FreezeUpTo {
        last_frozen: "layer3".to_string(),
    };
    let strategies = [
        ("training step", Strategy::fine_tuning()),
        ("frozen to layer3", frozen),
    ];
    for (title, strategy) in strategies {
        let mut group = c.benchmark_group(title);
        group.throughput(Throughput::Elements(BATCH as u64));
        for kernels in [true, false] {
            let arch = ResNetConfig::RESNET18;
            let mut learner = learner(arch, &strategy, kernels);
            let batch = batch();
            group.bench_function(name(arch, kernels), |b| {
                b.iter(|| learner.train_batch(&batch, 1e-3));
            });
        }
    }
}

fn learner(arch: ResNetConfig, strategy: &Strategy, kernels: bool) -> Learner<Network> {
    let device = Device::flex();
    let backbone = arch
        .with_num_classes(0)
        .network(0, &device)
        .expect(PUBLISHED);
    let classifier = Classifier::new(backbone.with_kernels(kernels), 10, 0, &device);
    let plan = strategy
        .plan(&classifier.backbone.stage_names(), 0)
        .expect("layer3 is a stage of every ResNet");
    Learner::new(classifier, plan, &Recipe::tutorial(), &device).expect("a plan that fits")
}

fn batch() -> Batch {
    Batch {
        x: images(&Device::flex()),
        start: Entry::IMAGES,
        targets: Targets {
            labels: (0..BATCH).collect(),
            ..Targets::default()
        },
        indices: (0..BATCH).collect(),
        number: 0,
        skipped: Vec::new(),
    }
}

fn images(device: &Device) -> Tensor<4> {
    Tensor::random([BATCH, 3, 224, 224], Distribution::Normal(0.0, 1.0), device)
}

fn name(arch: ResNetConfig, kernels: bool) -> String {
    format!(
        "{}, {}",
        arch.name(),
        if kernels { "kernels" } else { "Burn" }
    )
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    targets = forward, training_step
}
criterion_main!(benches);
