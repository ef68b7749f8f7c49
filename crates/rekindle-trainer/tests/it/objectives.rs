//! Objectives and soft tuning in a learner's step, on a narrow network.

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::conv_net::ConvNetConfig;
use rekindle_nn::Network;
use rekindle_trainer::feed::Batch;
use rekindle_trainer::loss::Targets;
use rekindle_trainer::{Learner, Recipe};
use rekindle_transfer::objective::{DomainAlignment, DomainObjective};
use rekindle_transfer::{Backbone, Classifier, Entry, Strategy};
use rekindle_weights::state_dict::{assign, collect};

const RATE: f64 = 0.05;

fn classifier() -> Classifier<Network> {
    let device = Device::flex();
    let config = ConvNetConfig {
        width: 16,
        blocks: 2,
        ..ConvNetConfig::default()
    };
    let net = config.network(0, &device).unwrap();
    let tensors = collect(&net);
    let net = assign(net, |name| {
        let wave = |i: usize| ((i * 37 + name.len() * 11) as f32 * 0.731).sin();
        (tensors[name].shape.len() == 4).then(|| {
            let count = tensors[name].values.len();
            (0..count).map(|i| 0.2 * wave(i)).collect()
        })
    });
    Classifier::new(net, 2, 0, &device)
}

fn batch(phase: f32) -> Batch {
    let labels: Vec<usize> = (0..8).map(|i| i % 2).collect();
    let pixel = |i: usize| {
        let (image, at) = (i / 64, i % 64);
        let is_bright = (at < 32) == (image % 2 == 0);
        f32::from(u8::from(is_bright)) + 0.3 * (i as f32 * 0.37 + phase).sin()
    };
    let values: Vec<f32> = (0..8 * 64).map(pixel).collect();
    Batch {
        x: Tensor::from_data(TensorData::new(values, [8, 1, 8, 8]), &Device::flex()),
        start: Entry::IMAGES,
        targets: Targets {
            labels,
            ..Targets::default()
        },
        indices: (0..8).collect(),
        number: 0,
        skipped: Vec::new(),
    }
}

fn learner(strategy: &Strategy) -> Learner<Network> {
    let classifier = classifier();
    let plan = strategy
        .plan(&classifier.backbone.stage_names(), 0)
        .unwrap();
    Learner::new(classifier, plan, &Recipe::tutorial(), &Device::flex()).unwrap()
}

/// The backbone's convolutions after five steps.
fn after_steps(mut learner: Learner<Network>) -> Vec<f32> {
    for step in 0..5 {
        learner.train_batch(&batch(step as f32), RATE).unwrap();
    }
    convolutions(&learner)
}

fn convolutions(learner: &Learner<Network>) -> Vec<f32> {
    let tensors = collect(&learner.classifier().backbone).into_iter();
    tensors
        .filter(|(name, _)| name.ends_with("conv.weight"))
        .flat_map(|(_, tensor)| tensor.values)
        .collect()
}

/// Feature maps of one batch, normalised by its own statistics.
fn maps(learner: &Learner<Network>) -> Vec<f32> {
    let backbone = &learner.classifier().backbone;
    let maps = Backbone::forward_stages(backbone, 0, 2, Tensor::from_inner(batch(0.5).x));
    maps.into_data().iter::<f32>().collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn soft_tuning_is_fine_tuning_at_strength_zero_and_stays_nearer_to_the_source_the_stronger_it_is() {
    let source = convolutions(&learner(&Strategy::FeatureExtraction));
    let plain = after_steps(learner(&Strategy::fine_tuning()));
    let backbone_rate = 1.0;
    let l2_sp = |strength| Strategy::L2Sp {
        strength,
        backbone_rate,
    };
    let delta = |strength| Strategy::Delta {
        strength,
        backbone_rate,
    };
    assert!(distance(&plain, &source) > 1e-3);
    for strategy in [l2_sp(0.0), delta(0.0)] {
        assert_eq!(after_steps(learner(&strategy)), plain);
    }
    for strategy in [l2_sp(f64::INFINITY), delta(f64::INFINITY)] {
        assert_eq!(after_steps(learner(&strategy)), source);
    }
    let mut last = distance(&plain, &source);
    for strength in [1.0, 10.0, 1e3, 1e7] {
        let found = distance(&after_steps(learner(&l2_sp(strength))), &source);
        assert!(found < last, "strength {strength}: {found}, before {last}");
        last = found;
    }
    assert!(last < 1e-6, "{last}");
    let reference = maps(&learner(&Strategy::FeatureExtraction));
    let moved = |strategy: &Strategy| {
        let mut learner = learner(strategy);
        for step in 0..20 {
            learner.train_batch(&batch(step as f32), RATE).unwrap();
        }
        distance(&maps(&learner), &reference)
    };
    let (held, free) = (moved(&delta(1.0)), moved(&Strategy::fine_tuning()));
    assert!(held < 0.8 * free, "{held} with the penalty, {free} without");
}

#[test]
fn an_objective_of_no_weight_leaves_the_step_as_it_is_and_others_move_it() {
    let plain = after_steps(learner(&Strategy::fine_tuning()));
    for objective in DomainObjective::all() {
        for weight in [0.0, 1.0] {
            let mut learner = learner(&Strategy::fine_tuning());
            let device = Device::flex().autodiff();
            let mut alignment =
                DomainAlignment::new(objective.clone(), weight, [16, 2], 0, &device).unwrap();
            for step in 0..5 {
                let (source, target) = (batch(step as f32), batch(10.0 + step as f32));
                let progress = 0.2 * step as f64;
                let outcome = learner
                    .train_batch_towards(&source, &target, &mut alignment, progress, RATE)
                    .unwrap();
                assert!(outcome.loss.is_finite() && outcome.images == 8);
            }
            let found = convolutions(&learner);
            assert!(found.iter().all(|weight| weight.is_finite()));
            let name = objective.name();
            if weight == 0.0 || objective == DomainObjective::SourceOnly {
                assert!(distance(&found, &plain) < 1e-6, "{name} without weight");
            } else if !matches!(objective, DomainObjective::PseudoLabels { .. }) {
                // Pseudo-labels wait for certainty, which five steps don't bring.
                assert!(distance(&found, &plain) > 0.0, "{name}");
            }
        }
    }
}
