//! One batch on several devices: the gradients of the whole batch on one.

use std::collections::BTreeMap;

use crate::common::{classifier, data, recipe, weights};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use rekindle_imagefolder::Loader;
use rekindle_nn::Network;
use rekindle_trainer::feed::{Batch, Feed};
use rekindle_trainer::{Learner, Recipe, Trainer};
use rekindle_transfer::{Backbone, Classifier, Strategy};
use rekindle_weights::state_dict::collect;

fn batch(images: usize) -> Batch {
    let loader = Loader::new(data().val).batch_size(images);
    let feed = Feed::Images(loader);
    feed.epoch(0, &Device::flex()).next().unwrap().unwrap()
}

fn learner(strategy: &Strategy, devices: usize) -> Learner<Network> {
    let classifier = classifier();
    let plan = strategy
        .plan(&classifier.backbone.stage_names(), 0)
        .unwrap();
    Learner::new(classifier, plan, &recipe(), &Device::flex())
        .and_then(|learner| learner.with_devices(&vec![Device::flex(); devices - 1]))
        .unwrap()
}

struct Collect<'a>(&'a GradientsParams, Vec<f64>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.0.get::<D>(param.id) {
            self.1.extend(grad.into_data().iter::<f64>());
        }
    }
}

fn values(classifier: &Classifier<Network>, grads: &GradientsParams) -> Vec<f64> {
    let mut collect = Collect(grads, Vec::new());
    classifier.visit(&mut collect);
    collect.1
}

fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let difference = square(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    (difference / square(&mut expected.iter().copied())).sqrt()
}

/// Checks that sharing a batch changes nothing but the order of sums where batch normalisation uses running statistics.
#[test]
fn a_shared_batch_has_the_gradients_of_a_whole_one() {
    let weighted = {
        let mut batch = batch(13);
        batch.targets.weights = Some((0..13).map(|i| 0.5 + i as f32).collect());
        batch
    };
    for (name, batch) in [("plain", batch(13)), ("weighted", weighted)] {
        let (alone, grads) = learner(&Strategy::FeatureExtraction, 1)
            .gradients(&batch)
            .unwrap();
        let expected = values(
            learner(&Strategy::FeatureExtraction, 1).classifier(),
            &grads,
        );
        for devices in [2, 3, 20] {
            let learner = learner(&Strategy::FeatureExtraction, devices);
            let (shared, grads) = learner.gradients(&batch).unwrap();
            let found = values(learner.classifier(), &grads);
            let distance = distance(&found, &expected);
            println!("{name}, {devices} devices: {distance:.1e}");
            assert!(distance < 1e-6, "{name}, {devices} devices: {distance}");
            assert!((shared.loss - alone.loss).abs() < 1e-5);
            assert_eq!(
                (shared.correct, shared.images),
                (alone.correct, alone.images)
            );
        }
    }
}

/// Checks that each part has its own statistics where batch normalisation uses the batch's: the result is the
/// mean of the parts' gradients.
#[test]
fn fine_tuning_takes_the_mean_of_the_parts() {
    let whole = batch(12);
    let part = |first: usize| Batch {
        x: whole.x.clone().narrow(0, first, 6),
        targets: rekindle_trainer::loss::Targets {
            labels: whole.targets.labels[first..first + 6].to_vec(),
            ..Default::default()
        },
        indices: whole.indices[first..first + 6].to_vec(),
        ..whole.clone()
    };
    let strategy = Strategy::fine_tuning();
    let of = |batch: &Batch| {
        let learner = learner(&strategy, 1);
        let (outcome, grads) = learner.gradients(batch).unwrap();
        (
            outcome.loss,
            values(learner.classifier(), &grads),
            collect(learner.classifier()),
        )
    };
    let ((loss_a, a, first_state), (loss_b, b, _)) = (of(&part(0)), of(&part(6)));
    let mean: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0).collect();
    let learner = learner(&strategy, 2);
    let (outcome, grads) = learner.gradients(&whole).unwrap();
    let distance = distance(&values(learner.classifier(), &grads), &mean);
    println!("fine-tuning on 2 devices: {distance:.1e}");
    assert!(distance < 1e-6, "{distance}");
    assert!((outcome.loss - (loss_a + loss_b) / 2.0).abs() < 1e-5);
    // The running statistics are the first part's.
    assert_eq!(collect(learner.classifier()), first_state);
}

#[test]
fn a_run_on_two_devices_ends_where_one_on_one_does() {
    let run = |devices: usize| {
        Trainer::new(classifier(), data())
            .strategy(Strategy::FeatureExtraction)
            .recipe(Recipe {
                epochs: 2,
                ..recipe()
            })
            .more_devices(vec![Device::flex(); devices - 1])
            .fit()
            .unwrap()
    };
    let (one, two, again) = (run(1), run(2), run(2));
    assert_eq!(
        weights(&two),
        weights(&again),
        "the same number of devices, the same bits"
    );
    let flat = |tensors: BTreeMap<String, rekindle_weights::state_dict::HostTensor>| -> Vec<f64> {
        let learnt = tensors
            .into_iter()
            .filter(|(name, _)| name.starts_with("head"));
        learnt
            .flat_map(|(_, tensor)| tensor.values)
            .map(f64::from)
            .collect()
    };
    let distance = distance(&flat(weights(&two)), &flat(weights(&one)));
    println!("the head after 2 epochs: {distance:.1e}");
    assert!(distance < 1e-4, "{distance}");
}
