//! Whole runs on a narrow network and drawn pictures: learning, freezing, keeping activations, stopping and
//! going on, and what happens when the loss stops being a number.

use crate::common::{classifier, curve, data, preprocess, recipe, unbroken, weights};
use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use rekindle_imagefolder::Loader;
use rekindle_models::Pretrained;
use rekindle_trainer::events::EndReason;
use rekindle_trainer::feed::Feed;
use rekindle_trainer::loss::{Criterion, Targets};
use rekindle_trainer::{
    Cache, EarlyStopping, Event, Fitted, Interrupt, Monitor, Observer, Optimizer, Predictor,
    Recipe, RunDirectory, Trainer, TrainerError,
};
use rekindle_transfer::{Classifier, Strategy};
use rekindle_weights::state_dict;

#[test]
fn fine_tuning_learns_to_tell_top_from_bottom() {
    let recipe = Recipe {
        epochs: 8,
        batch_size: 4,
        learning_rate: 0.01,
        ..recipe()
    };
    let fitted = Trainer::new(classifier(), data())
        .recipe(recipe)
        .fit()
        .unwrap();
    println!("{:?}", curve(&fitted));
    assert!(fitted.best_accuracy() > 0.9, "{}", fitted.best_accuracy());
    assert_eq!(fitted.outcome.reason, EndReason::Finished);
}

#[test]
fn frozen_stages_do_not_move_and_the_rest_does() {
    let before = state_dict::collect(&classifier());
    let strategy = Strategy::FreezeUpTo {
        last_frozen: "layer3".into(),
    };
    let fitted = Trainer::new(classifier(), data())
        .strategy(strategy)
        .recipe(recipe())
        .fit()
        .unwrap();
    let after = weights(&fitted);
    for (name, tensor) in &before {
        let is_trained = name.starts_with("backbone.layer4") || name.starts_with("head");
        assert_eq!(after[name] != *tensor, is_trained, "{name}");
    }
}

#[test]
fn kept_activations_train_the_same_head_as_the_images() {
    let mut data = data();
    let plain = data.val.pipeline().clone();
    data.train = std::sync::Arc::new(data.train.with_pipeline(plain).unwrap());
    let run = |cache| {
        Trainer::new(classifier(), data.clone())
            .strategy(Strategy::FeatureExtraction)
            .recipe(Recipe { cache, ..recipe() })
            .fit()
            .unwrap()
    };
    let (images, kept) = (run(Cache::Off), run(Cache::Memory));
    for (a, b) in curve(&images).into_iter().zip(curve(&kept)) {
        assert!(
            (a.0 - b.0).abs() < 1e-4 && (a.1 - b.1).abs() < 1e-9,
            "{a:?} {b:?}"
        );
    }
}

#[test]
fn a_run_says_whether_its_images_are_varied() {
    let says = |strategy: Strategy, cache: Cache, views: usize| -> Option<bool> {
        let mut events: Vec<Event> = Vec::new();
        Trainer::new(classifier(), data())
            .strategy(strategy)
            .recipe(Recipe {
                epochs: 1,
                cache,
                views,
                ..recipe()
            })
            .observer(&mut events)
            .fit()
            .unwrap();
        events.iter().find_map(|event| match event {
            Event::RunStarted(summary) => summary.augmented,
            _ => None,
        })
    };
    let head = Strategy::FeatureExtraction;
    assert_eq!(says(head.clone(), Cache::Off, 1), Some(true));
    assert_eq!(says(head.clone(), Cache::Memory, 1), Some(false));
    assert_eq!(says(head, Cache::Memory, 2), Some(true));
    // Nothing stays frozen, so nothing is kept.
    let whole = Strategy::FineTuning { backbone_rate: 1.0 };
    assert_eq!(says(whole, Cache::Memory, 1), Some(true));
}

#[test]
fn activations_on_disk_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let cache = Cache::Disk(folder.path().to_path_buf());
        Trainer::new(classifier(), data())
            .strategy(Strategy::FeatureExtraction)
            .recipe(Recipe {
                cache,
                views: 2,
                ..recipe()
            })
            .fit()
            .unwrap()
    };
    let first = run();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    // Plain and augmented views of the training images, plain ones of the validation images: the same
    // plain pipeline shares one file.
    assert_eq!(files(), 2);
    let second = run();
    assert_eq!(files(), 2);
    assert_eq!(curve(&first), curve(&second));
    assert_eq!(weights(&first), weights(&second));
}

/// Asks for a stop after a number of batches.
struct StopAfter {
    batches: usize,
    interrupt: Interrupt,
}

impl Observer for StopAfter {
    fn on_event(&mut self, event: &Event) {
        if matches!(event, Event::BatchEnded { .. }) {
            self.batches -= 1;
            if self.batches == 0 {
                self.interrupt.request();
            }
        }
    }
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for (optimizer, moving_average) in [
        (Recipe::tutorial().optimizer, None),
        (Optimizer::AdamW { weight_decay: 0.01 }, Some(0.9)),
        (Optimizer::Adam { weight_decay: 0.01 }, None),
        (
            Optimizer::RmsProp {
                momentum: 0.9,
                weight_decay: 0.01,
            },
            None,
        ),
        (Optimizer::Lion { weight_decay: 0.1 }, None),
    ] {
        let recipe = Recipe {
            optimizer,
            moving_average,
            ..recipe()
        };
        let whole = unbroken(&folder.path().join("whole"), &recipe);
        // In the middle of an epoch, at its end, and in the next one.
        for batches in [2, 3, 5] {
            let path = folder.path().join(format!("broken-{batches}"));
            let interrupt = Interrupt::new();
            let broken = Trainer::new(classifier(), data())
                .recipe(recipe.clone())
                .run_directory(&path)
                .observer(StopAfter {
                    batches,
                    interrupt: interrupt.clone(),
                })
                .interrupt(interrupt)
                .fit()
                .unwrap();
            assert_eq!(broken.outcome.reason, EndReason::Interrupted);
            drop(broken);
            let mut events: Vec<Event> = Vec::new();
            let resumed = Trainer::new(classifier(), data())
                .observer(&mut events)
                .resume(&path)
                .unwrap();
            let done = events.iter().find_map(|event| match event {
                Event::RunStarted(summary) => summary.resumed_after_epoch,
                _ => None,
            });
            // After the last batch of an epoch it stops in validation, which is then repeated.
            assert_eq!(done, Some((batches - 1) / 3), "after {batches} batches");
            assert_eq!(curve(&resumed), curve(&whole), "after {batches} batches");
            assert_eq!(
                weights(&resumed),
                weights(&whole),
                "after {batches} batches"
            );
            drop(resumed);
            std::fs::remove_dir_all(&path).unwrap();
        }
        drop(whole);
        std::fs::remove_dir_all(folder.path().join("whole")).unwrap();
    }
}

#[test]
fn a_moving_average_is_validated_and_kept_in_place_of_the_weights() {
    let run = |moving_average| {
        let recipe = Recipe {
            moving_average,
            ..recipe()
        };
        let trainer = Trainer::new(classifier(), data()).recipe(recipe);
        trainer.fit().unwrap()
    };
    let (plain, followed, averaged) = (run(None), run(Some(0.0)), run(Some(0.9)));
    let valid = |fitted: &Fitted<_>| -> Vec<_> {
        let losses = fitted.history.iter().map(|epoch| epoch.valid_loss);
        losses.collect()
    };
    for (of_plain, of_averaged) in plain.history.iter().zip(&averaged.history) {
        assert_eq!(of_plain.train_loss, of_averaged.train_loss);
    }
    for (plain, followed) in valid(&plain).into_iter().zip(valid(&followed)) {
        let (plain, followed) = (plain.unwrap(), followed.unwrap());
        assert!(
            (plain - followed).abs() < 1e-5 * plain,
            "{plain} {followed}"
        );
    }
    assert_ne!(valid(&plain), valid(&averaged));
    let kept = Predictor::new(&averaged.classifier);
    let loader = Loader::new(data().val).batch_size(32);
    let feed = Feed::Images(loader);
    let again = kept.predict(feed.epoch(0, &Device::flex()), |_| ());
    assert_eq!(again.unwrap(), averaged.predictions);
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let run = |workers| {
        Trainer::new(classifier(), data())
            .recipe(Recipe {
                workers,
                epochs: 2,
                ..recipe()
            })
            .fit()
            .unwrap()
    };
    let (none, three) = (run(0), run(3));
    assert_eq!(curve(&none), curve(&three));
    assert_eq!(weights(&none), weights(&three));
}

#[test]
fn accumulated_batches_step_as_one_large_batch() {
    let data = {
        let mut data = data();
        let plain = data.val.pipeline().clone();
        data.train = std::sync::Arc::new(data.train.with_pipeline(plain).unwrap());
        data
    };
    let run = |batch_size, accumulate| {
        let recipe = Recipe {
            batch_size,
            accumulate,
            ..recipe()
        };
        Trainer::new(classifier(), data.clone())
            .strategy(Strategy::FeatureExtraction)
            .recipe(recipe)
            .fit()
            .unwrap()
    };
    let (large, small) = (run(8, 1), run(4, 2));
    let (large, small) = (weights(&large), weights(&small));
    for (a, b) in large["head.weight"]
        .values
        .iter()
        .zip(&small["head.weight"].values)
    {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn early_stopping_ends_the_run_and_keeps_the_best() {
    let recipe = Recipe {
        epochs: 50,
        learning_rate: 1e-9,
        early_stopping: Some(EarlyStopping::new(2)),
        monitor: Monitor::Accuracy,
        ..recipe()
    };
    let fitted = Trainer::new(classifier(), data())
        .strategy(Strategy::FeatureExtraction)
        .recipe(Recipe {
            cache: Cache::Memory,
            ..recipe
        })
        .fit()
        .unwrap();
    assert_eq!(fitted.outcome.reason, EndReason::EarlyStopping);
    assert_eq!(fitted.history.len(), 3);
}

#[test]
fn a_loss_that_is_no_number_names_the_batch() {
    let recipe = Recipe {
        learning_rate: 1e30,
        ..recipe()
    };
    let error = Trainer::new(classifier(), data())
        .recipe(recipe)
        .fit()
        .err()
        .unwrap();
    assert!(matches!(error, TrainerError::Diverged { .. }), "{error}");
    assert!(error.to_string().contains("learning rate"), "{error}");
}

#[test]
fn a_run_directory_holds_all_that_a_reader_needs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let fitted = unbroken(&path, &recipe());
    let best = fitted.best_accuracy();
    drop(fitted);
    let device = Device::flex();
    let back = Pretrained::open(path.join("best.safetensors"), &device).unwrap();
    assert_eq!(
        back.classes,
        Some(vec!["bottom".to_string(), "top".to_string()])
    );
    assert_eq!(back.preprocess, preprocess());
    let classifier = Classifier::from_network(back.model).unwrap();
    let predictor = Predictor::new(&classifier);
    let loader = Loader::new(data().val).batch_size(8);
    let feed = Feed::Images(loader);
    let predictions = predictor.predict(feed.epoch(0, &device), |_| ()).unwrap();
    assert_eq!(predictions.accuracy(), best);
}

#[test]
fn recipes_out_of_range_are_refused_by_name() {
    let bad = [
        Recipe {
            epochs: 0,
            ..recipe()
        },
        Recipe {
            batch_size: 0,
            ..recipe()
        },
        Recipe {
            learning_rate: f64::NAN,
            ..recipe()
        },
        Recipe {
            label_smoothing: 1.0,
            ..recipe()
        },
        Recipe {
            clip_norm: Some(0.0),
            ..recipe()
        },
        Recipe {
            moving_average: Some(1.0),
            ..recipe()
        },
        Recipe {
            optimizer: Optimizer::AdamW { weight_decay: -1.0 },
            ..recipe()
        },
    ];
    for recipe in bad {
        let error = Trainer::new(classifier(), data())
            .recipe(recipe.clone())
            .fit()
            .err();
        assert!(
            matches!(error, Some(TrainerError::InvalidRecipe { .. })),
            "{recipe:?}"
        );
    }
}

/// Cross entropy, written as users would.
struct Own(&'static str);

impl Criterion for Own {
    fn name(&self) -> String {
        self.0.into()
    }

    fn value(&self, outputs: Tensor<2>, targets: &Targets, smoothing: f64) -> Tensor<1> {
        let wanted = targets.tensor(&outputs, smoothing);
        (log_softmax(outputs, 1) * wanted).sum_dim(1).mean().neg()
    }
}

#[test]
fn a_loss_of_ones_own_is_minimised_recorded_and_resumed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe {
        label_smoothing: 0.1,
        epochs: 2,
        ..recipe()
    };
    let trainer = || Trainer::new(classifier(), data()).recipe(recipe.clone());
    let plain = trainer().fit().unwrap();
    let path = folder.path().join("own");
    let own = trainer().criterion(Own("own 1")).run_directory(&path).fit();
    let own = own.unwrap();
    for (own, plain) in own.history.iter().zip(&plain.history) {
        assert!((own.train_loss - plain.train_loss).abs() < 1e-5, "{own:?}");
        assert!((own.valid_loss.unwrap() - plain.valid_loss.unwrap()).abs() < 1e-5);
    }
    drop(own);
    let record = RunDirectory::open(&path).unwrap();
    assert_eq!(record.record().recipe["criterion"], "own 1");
    let longer =
        |trainer: Trainer<'static, _>| trainer.resume_with(&path, |recipe| recipe.epochs = 3);
    for other in [trainer(), trainer().criterion(Own("own 2"))] {
        let Err(error) = longer(other) else {
            panic!("another loss went on");
        };
        assert!(error.to_string().contains("criterion"), "{error}");
    }
    let resumed = longer(trainer().criterion(Own("own 1"))).unwrap();
    assert_eq!(resumed.outcome.epochs, 3);
    drop(resumed);
    let record = RunDirectory::open(&path).unwrap();
    assert_eq!(record.record().recipe["criterion"], "own 1");
}
