//! Checks that strategies do what they say: plans that change, fresh weights, and backbones that are no ResNets.

use crate::common::{OddNet, classifier, curve, data, recipe};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use rekindle_imagefolder::Loader;
use rekindle_trainer::feed::{Batch, Feed};
use rekindle_trainer::{Cache, Learner, Recipe, Trainer, TrainerError};
use rekindle_transfer::tuning::LowRank;
use rekindle_transfer::{Backbone, Classifier, Plan, Strategy, TransferError};
use rekindle_weights::state_dict;

fn plain_data() -> rekindle_trainer::TransferData {
    let mut data = data();
    let plain = data.val.pipeline().clone();
    data.train = std::sync::Arc::new(data.train.with_pipeline(plain).unwrap());
    data
}

fn batches() -> Vec<Batch> {
    let feed = Feed::Images(Loader::new(data().val).batch_size(8));
    feed.epoch(0, &Device::flex()).map(Result::unwrap).collect()
}

fn learner(plan: Plan) -> Learner<rekindle_nn::Network> {
    let low_rank = LowRank::new(2);
    let Classifier { backbone, head } = classifier();
    let classifier = match plan.filter {
        rekindle_transfer::tuning::ParameterFilter::Adapters => Classifier {
            backbone: low_rank.attach(backbone).unwrap(),
            head,
        },
        _ => Classifier { backbone, head },
    };
    Learner::new(classifier, plan, &recipe(), &Device::flex()).unwrap()
}

/// Every plan there is for five stages.
fn plans() -> Vec<(String, Plan)> {
    let names = [
        "features",
        "finetune",
        "finetune=0.1",
        "freeze-up-to=layer2",
        "discriminative-rates=0.5",
        "l2-sp=0.5",
        "l2-sp=0.1",
        "delta=0.5",
        "bitfit",
        "batch-norm-only",
        "fixed-statistics=0.1",
    ];
    let stages = ["stem", "layer1", "layer2", "layer3", "layer4"];
    let plan = |name: &str| {
        let strategy: Strategy = name.parse().unwrap();
        (name.to_string(), strategy.plan(&stages, 0).unwrap())
    };
    names.map(plan).to_vec()
}

/// The tensors after two steps.
fn stepped<B: Backbone>(mut learner: Learner<B>, batches: &[Batch]) -> Vec<(String, Vec<u32>)> {
    for batch in batches {
        learner.train_batch(batch, 0.05).unwrap();
    }
    let tensors = state_dict::collect(&learner.classifier().valid());
    tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.values.iter().map(|v| v.to_bits()).collect()))
        .collect()
}

#[test]
fn a_learner_follows_every_part_of_a_plan() {
    let batches = batches();
    let plans = plans();
    let expected: Vec<_> = plans
        .iter()
        .map(|(_, plan)| stepped(learner(plan.clone()), &batches))
        .collect();
    for (first, begun) in &plans {
        for ((second, plan), expected) in plans.iter().zip(&expected) {
            let mut learner = learner(begun.clone());
            learner.follow(plan.clone()).unwrap();
            let found = stepped(learner, &batches);
            for ((name, found), (_, expected)) in found.iter().zip(expected) {
                assert_eq!(found, expected, "{first}, then {second}: {name}");
            }
        }
    }
    for (at, (name, _)) in plans.iter().enumerate() {
        for other in at + 1..plans.len() {
            assert_ne!(expected[at], expected[other], "{name}, {}", plans[other].0);
        }
    }
}

/// The same steps by cross entropy written out, with clipping, accumulation and a moving average.
#[test]
fn gradients_of_an_own_loss_are_applied_as_those_of_the_recipe() {
    let batches = batches();
    let recipe = Recipe {
        clip_norm: Some(0.5),
        accumulate: 2,
        moving_average: Some(0.9),
        label_smoothing: 0.0,
        ..recipe()
    };
    let new = || Learner::new(classifier(), Plan::frozen(5, 2), &recipe, &Device::flex()).unwrap();
    let (mut given, mut own) = (new(), new());
    for batch in &batches[..2] {
        given.train_batch(batch, 0.05).unwrap();
        let logits = own.logits(batch).unwrap();
        let labels: Vec<i64> = batch
            .targets
            .labels
            .iter()
            .map(|label| *label as i64)
            .collect();
        let labels = TensorData::new(labels, [batch.targets.labels.len(), 1]);
        let labels = Tensor::<2, Int>::from_data(labels, &logits.device());
        let chosen = log_softmax(logits, 1).gather(1, labels);
        let loss = chosen.mean().neg() / 2.0;
        let gradients = GradientsParams::from_grads(loss.backward(), own.classifier());
        own.apply(gradients, 0.05);
    }
    assert!(given.is_between_steps() && own.is_between_steps());
    for of in [
        |learner: &Learner<_>| learner.classifier().valid(),
        Learner::averaged,
    ] {
        let (given, own) = (
            state_dict::collect(&of(&given)),
            state_dict::collect(&of(&own)),
        );
        for (name, tensor) in given {
            let pairs = tensor.values.iter().zip(&own[&name].values);
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-6, "{name}: {worst}");
        }
    }
}

#[test]
fn adapters_are_followed_too() {
    let batches = batches();
    let adapters = Plan::adapters(5);
    let expected = stepped(learner(adapters.clone()), &batches);
    let mut everything = learner(adapters.clone());
    everything.follow(Plan::frozen(5, 0)).unwrap();
    everything.follow(adapters).unwrap();
    assert_eq!(stepped(everything, &batches), expected);
}

#[test]
fn a_pull_that_begins_late_needs_the_weights_to_pull_to() {
    let batches = batches();
    let all = plans();
    let plan = |name: &str| {
        all.iter()
            .find(|(other, _)| other == name)
            .unwrap()
            .1
            .clone()
    };
    for late in ["l2-sp=0.5", "delta=0.5"] {
        let mut moved = learner(plan("finetune"));
        moved.train_batch(&batches[0], 0.05).unwrap();
        let refused = moved.follow(plan(late)).unwrap_err().to_string();
        assert!(refused.contains("keep_source"), "{refused}");

        let mut kept = learner(plan("finetune"));
        kept.keep_source().unwrap();
        kept.train_batch(&batches[0], 0.05).unwrap();
        kept.follow(plan(late)).unwrap();
        kept.train_batch(&batches[1], 0.05).unwrap();

        // Frozen stages are where they were, so linear probing may come first.
        let mut probed = learner(plan("features"));
        probed.train_batch(&batches[0], 0.05).unwrap();
        probed.follow(plan(late)).unwrap();
    }
}

#[test]
fn plans_and_recipes_that_do_not_fit_are_refused() {
    let bad_plans = [
        Plan::frozen(5, 6),
        Plan::frozen(4, 0),
        Plan {
            l2_sp: f64::NAN,
            ..Plan::frozen(5, 0)
        },
        Plan {
            feature_penalty: -1.0,
            ..Plan::frozen(5, 0)
        },
    ];
    for plan in bad_plans {
        let made = Learner::new(classifier(), plan.clone(), &recipe(), &Device::flex());
        let is_refused = |error: &TrainerError| {
            matches!(
                error,
                TrainerError::Transfer(TransferError::InvalidPlan { .. })
            )
        };
        assert!(made.err().as_ref().is_some_and(is_refused), "{plan:?}");
        let mut learner = learner(Plan::frozen(5, 0));
        assert!(learner.follow(plan).is_err());
    }
    for recipe in [
        Recipe {
            moving_average: Some(1.5),
            ..recipe()
        },
        Recipe {
            accumulate: 0,
            ..recipe()
        },
    ] {
        let made = Learner::new(classifier(), Plan::frozen(5, 0), &recipe, &Device::flex());
        assert!(matches!(
            made.err(),
            Some(TrainerError::InvalidRecipe { .. })
        ));
    }
}

/// The first weights of a run that does not learn, and whether its record names a source.
fn begins_with(trainer: Trainer<'_, rekindle_nn::Network>) -> Vec<f32> {
    let recipe = Recipe {
        epochs: 1,
        learning_rate: 1e-30,
        ..recipe()
    };
    let fitted = trainer.recipe(recipe).fit().unwrap();
    let tensors = state_dict::collect(&fitted.classifier);
    tensors["backbone.layer3.0.conv1.weight"].values.clone()
}

#[test]
fn from_scratch_begins_with_fresh_weights() {
    let given = state_dict::collect(&classifier());
    let given = &given["backbone.layer3.0.conv1.weight"].values;
    let tuned = begins_with(Trainer::new(classifier(), data()));
    assert_eq!(&tuned, given);
    let scratch = || Trainer::new(classifier(), data()).strategy(Strategy::FromScratch);
    let fresh = begins_with(scratch());
    assert_ne!(&fresh, given);
    // Kaiming's normal distribution by fan-out, as torchvision begins a ResNet: 32 channels of 3 x 3.
    let deviation =
        (fresh.iter().map(|w| f64::from(w * w)).sum::<f64>() / fresh.len() as f64).sqrt();
    let expected = (2.0_f64 / (32.0 * 9.0)).sqrt();
    assert!(
        (deviation / expected - 1.0).abs() < 0.05,
        "{deviation} {expected}"
    );
}

#[test]
fn the_record_of_a_run_from_scratch_names_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let source = rekindle_trainer::Source {
        architecture: "resnet18".into(),
        weights: "resnet18.pth".into(),
        sha256: "0".repeat(64),
    };
    let run = |strategy: Strategy, name: &str| {
        let path = folder.path().join(name);
        let fitted = Trainer::new(classifier(), data())
            .source(source.clone())
            .strategy(strategy)
            .recipe(Recipe {
                epochs: 1,
                ..recipe()
            })
            .run_directory(&path)
            .fit()
            .unwrap();
        drop(fitted);
        rekindle_trainer::RunDirectory::open(path)
            .unwrap()
            .record()
            .clone()
    };
    let scratch = run(Strategy::FromScratch, "scratch");
    assert_eq!(scratch.weights, None);
    assert_eq!(scratch.architecture, "resnet18");
    let tuned = run(Strategy::fine_tuning(), "finetune").weights.unwrap();
    assert_eq!(
        (tuned.source.as_str(), tuned.tensors_sha256.len()),
        ("resnet18.pth", 64)
    );
}

#[test]
fn a_backbone_that_has_no_fresh_weights_is_not_trained_from_scratch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let error = Trainer::new(OddNet::classifier(2), data())
        .strategy(Strategy::FromScratch)
        .run_directory(&path)
        .fit()
        .err()
        .unwrap();
    let is_refused = matches!(
        error,
        TrainerError::Transfer(TransferError::NotReinitialisable { .. })
    );
    assert!(is_refused, "{error}");
    assert!(!path.exists(), "a run that can't begin leaves nothing");
}

#[test]
fn kept_features_are_pooled_once_whatever_the_pooling() {
    let run = |cache, strategy| {
        Trainer::new(OddNet::classifier(2), plain_data())
            .strategy(strategy)
            .recipe(Recipe { cache, ..recipe() })
            .fit()
            .unwrap()
    };
    let frozen = |name: &str| Strategy::FreezeUpTo {
        last_frozen: name.into(),
    };
    for strategy in [
        Strategy::FeatureExtraction,
        frozen("first"),
        frozen("second"),
    ] {
        let (images, kept) = (
            run(Cache::Off, strategy.clone()),
            run(Cache::Memory, strategy.clone()),
        );
        for (images, kept) in curve_of(&images).into_iter().zip(curve_of(&kept)) {
            let close = |a: f64, b: f64| (a - b).abs() < 1e-5 * b.abs().max(1.0);
            assert!(
                close(images.0, kept.0) && close(images.1, kept.1),
                "{strategy:?}"
            );
        }
    }
}

fn curve_of<B: Backbone>(fitted: &rekindle_trainer::Fitted<B>) -> Vec<(f64, f64)> {
    let losses = fitted
        .history
        .iter()
        .map(|m| (m.train_loss, m.valid_loss.unwrap()));
    losses.collect()
}

#[test]
fn a_strategy_given_later_is_the_one_that_counts() {
    let plain = Trainer::new(classifier(), data())
        .strategy(Strategy::FeatureExtraction)
        .recipe(recipe())
        .fit()
        .unwrap();
    let twice = Trainer::new(classifier(), data())
        .strategy(Strategy::FromScratch)
        .strategy(Strategy::FeatureExtraction)
        .recipe(recipe())
        .fit()
        .unwrap();
    assert_eq!(curve(&plain), curve(&twice));
}

/// The first step of plain SGD is the rate times the gradient, so the head's is longer by the factor and all others stay.
#[test]
fn the_heads_rate_is_a_factor_of_its_own() {
    let batch = &batches()[0];
    let step = |head_rate| {
        let recipe = Recipe {
            optimizer: rekindle_trainer::Optimizer::Sgd {
                momentum: 0.0,
                nesterov: false,
                weight_decay: 0.0,
            },
            head_rate,
            ..recipe()
        };
        let plan = Strategy::DiscriminativeRates { decay: 0.5 };
        let plan = plan
            .plan(&["stem", "layer1", "layer2", "layer3", "layer4"], 0)
            .unwrap();
        let mut learner = Learner::new(classifier(), plan, &recipe, &Device::flex()).unwrap();
        learner.train_batch(batch, 0.05).unwrap();
        state_dict::collect(&learner.classifier().valid())
    };
    let start = state_dict::collect(&classifier());
    let (one, four) = (step(1.0), step(4.0));
    for (name, before) in &start {
        let (one, four) = (&one[name].values, &four[name].values);
        if !name.starts_with("head") {
            assert_eq!(one, four, "{name}");
            continue;
        }
        for ((before, one), four) in before.values.iter().zip(one).zip(four) {
            let (expected, found) = (4.0 * (one - before), four - before);
            assert!(
                (found - expected).abs() < 1e-6,
                "{name}: {found}, expected {expected}"
            );
        }
    }
}
