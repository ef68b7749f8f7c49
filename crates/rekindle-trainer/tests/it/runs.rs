//! Checks the promises of every run, however it was trained: the best epoch, how it stops and goes on, which
//! files it leaves and which it doesn't, and that its figures are those of its file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{classifier, curve, data, picture, preprocess, recipe, weights};
use burn::prelude::*;
use rekindle_imagefolder::{Augmentation, ImageDataset};
use rekindle_models::Pretrained;
use rekindle_models::files::save;
use rekindle_trainer::events::EndReason;
use rekindle_trainer::{
    Cache, EarlyStopping, Event, FineTuned, Fit, Interrupt, Model, Monitor, Observer, Recipe,
    RunDirectory, SharedFeatures, Trainer, TrainerError, TransferData,
};
use rekindle_transfer::Strategy;
use rekindle_transfer::features::{ProbeKind, ProbeSearch};
use rekindle_weights::ModelInfo;
use tempfile::TempDir;

/// A folder of drawn pictures with `train` and `val`, and a narrow network in a file.
/// Shared with the tests of a budget.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (split, images, first) in [("train", 40, 0), ("val", 24, 1000)] {
            for index in 0..images {
                let class = folder.path().join("data").join(split);
                let class = class.join(["bottom", "top"][index % 2]);
                std::fs::create_dir_all(&class).unwrap();
                let path = class.join(format!("{index:03}.png"));
                picture(index % 2, first + index).save(path).unwrap();
            }
        }
        let info = ModelInfo {
            preprocess: Some(preprocess()),
            ..ModelInfo::default()
        };
        let network = classifier().into_network().unwrap();
        save(&network, folder.path().join("source.safetensors"), &info).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn pretrained(&self) -> Pretrained {
        Pretrained::open(self.path("source.safetensors"), &Device::flex()).unwrap()
    }

    pub(crate) fn data(&self) -> TransferData {
        TransferData::open(self.path("data"), &preprocess(), 0).unwrap()
    }

    pub(crate) fn one_call(&self, directory: &str) -> Result<FineTuned, TrainerError> {
        Fit::new(&Device::flex())
            .without_training()
            .run_directory(self.path(directory))
            .fit(&self.pretrained(), &self.data())
    }

    pub(crate) fn images(&self) -> Vec<PathBuf> {
        rekindle_trainer::image_files(&[self.path("data/val")]).unwrap()
    }
}

/// Requests a stop at an event.
pub(crate) struct StopAt<F> {
    interrupt: Interrupt,
    is_there: F,
}

impl<F: FnMut(&Event) -> bool> Observer for StopAt<F> {
    fn on_event(&mut self, event: &Event) {
        if (self.is_there)(event) {
            self.interrupt.request();
        }
    }
}

pub(crate) fn stop_at<F: FnMut(&Event) -> bool>(interrupt: &Interrupt, is_there: F) -> StopAt<F> {
    StopAt {
        interrupt: interrupt.clone(),
        is_there,
    }
}

#[test]
fn a_trainer_opens_a_folder_and_a_file() {
    let files = Files::new();
    let recipe = Recipe {
        epochs: 2,
        ..recipe()
    };
    let (data, source) = (files.path("data"), files.path("source.safetensors"));
    let opened = Trainer::open(&data, &source, &Device::flex()).unwrap();
    let opened = opened.recipe(recipe.clone()).fit().unwrap();
    let strategy = Strategy::fine_tuning();
    let adapted = Trainer::adapt(&files.pretrained(), files.data(), strategy, 0);
    assert_eq!(
        curve(&opened),
        curve(&adapted.recipe(recipe).fit().unwrap())
    );
    // What ends as a file does is never asked for by name.
    let Err(missing) = Trainer::open(&data, files.path("none.pth"), &Device::flex()) else {
        panic!("there is no such file");
    };
    assert!(missing.to_string().contains("none.pth"), "{missing}");
}

/// By definition, from the history alone.
#[test]
fn the_best_epoch_has_the_highest_figure_and_of_these_the_lowest_loss() {
    for monitor in [Monitor::Accuracy, Monitor::Loss, Monitor::MacroF1] {
        let recipe = Recipe {
            epochs: 12,
            batch_size: 4,
            learning_rate: 0.01,
            monitor,
            ..recipe()
        };
        let fitted = Trainer::new(classifier(), data())
            .recipe(recipe)
            .fit()
            .unwrap();
        // Classes are equally frequent, so that accuracy and macro F1 agree where either is 1.
        let figure = |epoch: &rekindle_trainer::events::EpochMetrics| match monitor {
            Monitor::Loss => -epoch.valid_loss.unwrap(),
            _ => epoch.valid_accuracy.unwrap(),
        };
        let best = fitted.history.iter().reduce(|best, next| {
            let (a, b) = (figure(best), figure(next));
            let wins_tie = a == b && next.valid_loss < best.valid_loss;
            if b > a || wins_tie { next } else { best }
        });
        let best = best.unwrap();
        if monitor != Monitor::Loss {
            let ties = fitted.history.iter().filter(|m| figure(m) == figure(best));
            assert!(figure(best) == 1.0 && ties.count() > 1, "nothing to choose");
        }
        assert_eq!(fitted.outcome.best_epoch, Some(best.epoch), "{monitor:?}");
        assert_eq!(fitted.predictions.loss, best.valid_loss.unwrap());
    }
}

#[test]
fn macro_f1_is_that_of_the_evaluation() {
    let found = rekindle_trainer::Predictions {
        classes: 3,
        probabilities: vec![
            0.8, 0.1, 0.1, 0.6, 0.3, 0.1, 0.2, 0.7, 0.1, 0.5, 0.2, 0.3, 0.1, 0.2, 0.7,
        ],
        labels: vec![0, 0, 1, 1, 2],
        indices: (0..5).collect(),
        ..rekindle_trainer::Predictions::default()
    };
    // scikit-learn 1.9.1: f1_score([0, 0, 1, 1, 2], [0, 0, 1, 0, 2], average="macro")
    assert!((found.macro_f1() - 0.822_222_222_222_222).abs() < 1e-12);
    assert_eq!(found.figure(Monitor::MacroF1), found.macro_f1());
    // balanced_accuracy_score of the same.
    let balanced = found.figure(Monitor::BalancedAccuracy);
    assert!((balanced - 0.833_333_333_333_333).abs() < 1e-12);
}

#[test]
fn a_balanced_sampler_is_part_of_the_recipe() {
    let seen = |balanced_sampler| {
        let recipe = Recipe {
            balanced_sampler,
            loss: Some(rekindle_trainer::Loss::LogitAdjusted { tau: 1.0 }),
            ..recipe()
        };
        let fitted = Trainer::new(classifier(), data())
            .recipe(recipe)
            .fit()
            .unwrap();
        fitted
            .history
            .iter()
            .map(|epoch| epoch.train_loss.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(true), seen(true));
    assert_ne!(seen(true), seen(false));
}

#[test]
fn early_stopping_watches_its_own_figure_and_margin() {
    let stopped = |rule| {
        let recipe = Recipe {
            epochs: 12,
            early_stopping: Some(rule),
            ..recipe()
        };
        let trainer = Trainer::new(classifier(), data()).recipe(recipe);
        trainer.fit().unwrap()
    };
    let rule = EarlyStopping {
        monitor: Monitor::Loss,
        patience: 2,
        min_delta: 1e6,
    };
    // No loss falls by a million.
    let fitted = stopped(rule);
    assert_eq!(fitted.outcome.reason, EndReason::EarlyStopping);
    assert_eq!(fitted.history.len(), 3);
}

#[test]
fn one_call_is_a_run_as_any_other() {
    let files = Files::new();
    let tuned = files.one_call("run").unwrap();
    let (said, path) = (tuned.accuracy(), files.path("run"));
    assert!(said > 0.9, "{said}");
    // The lock is held, and then given back.
    let error = RunDirectory::resume(&path).err().unwrap();
    assert!(matches!(error, TrainerError::LockedByAnotherProcess { .. }));
    drop(tuned);
    let run = RunDirectory::open(&path).unwrap();
    assert_eq!(run.record().strategy_name(), "one-call");
    assert_eq!(run.record().recipe["folds"], 5);
    assert_eq!(run.classes().unwrap().classes, ["bottom", "top"]);
    let events = run.events().unwrap();
    let ended: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::EpochEnded { metrics } => metrics.valid_accuracy,
            Event::RunEnded(outcome) => outcome.best_accuracy,
            _ => None,
        })
        .collect();
    assert_eq!(ended, [said, said]);
    let started = events.iter().find_map(|event| match event {
        Event::RunStarted(summary) => Some(summary.clone()),
        _ => None,
    });
    let started = started.unwrap();
    assert_eq!((started.train_images, started.valid_images), (40, 24));
    // A head of two rows of 64 features and two biases.
    assert_eq!(started.trainable_parameters, 130);

    let model = Model::open(&path, &Device::flex()).unwrap();
    let found = model.evaluate(files.path("data"), |_| ()).unwrap();
    assert_eq!(found.evaluation.accuracy, said);
    // A second run doesn't overwrite the first.
    let before = std::fs::read(run.best_weights_path()).unwrap();
    let error = files.one_call("run").err().unwrap();
    assert!(
        matches!(error, TrainerError::RunDirectoryExists { .. }),
        "{error}"
    );
    assert_eq!(std::fs::read(run.best_weights_path()).unwrap(), before);
}

/// Counted where pictures are drawn; one call and feature extraction see each of them once in all.
#[test]
fn runs_of_one_process_share_their_features() {
    let files = Files::new();
    let drawn = Arc::new(AtomicUsize::new(0));
    let counted = |images: usize, first: usize| {
        let drawn = Arc::clone(&drawn);
        let labels: Vec<Option<usize>> = (0..images).map(|index| Some(index % 2)).collect();
        let classes = vec!["bottom".into(), "top".into()];
        let pipeline = rekindle_trainer::eval_pipeline(&preprocess());
        ImageDataset::from_fn(labels, classes, pipeline, move |index| {
            drawn.fetch_add(1, Ordering::SeqCst);
            Ok(picture(index % 2, first + index))
        })
        .unwrap()
    };
    let data =
        TransferData::from_datasets(counted(24, 0), counted(16, 1000), &preprocess()).unwrap();
    let pretrained = files.pretrained();
    // The augmentation of a recipe makes another data set of the same pictures.
    let features = || {
        Trainer::adapt(&pretrained, data.clone(), Strategy::FeatureExtraction, 0).recipe(Recipe {
            cache: Cache::Memory,
            augment: Some(Augmentation::default()),
            ..recipe()
        })
    };
    let alone = features().fit().unwrap();
    // Whichever of its forms the network is left in, features of two levels begin with its own.
    for kinds in [ProbeSearch::default().kinds, vec![ProbeKind::Multilevel]] {
        let before = drawn.load(Ordering::SeqCst);
        let shared = SharedFeatures::default();
        Fit::new(&Device::flex())
            .without_training()
            .probe(ProbeSearch {
                kinds,
                ..ProbeSearch::default()
            })
            .share_features(&shared)
            .fit(&pretrained, &data)
            .unwrap();
        assert_eq!(drawn.load(Ordering::SeqCst), before + 40);
        let fitted = features().share_features(&shared).fit().unwrap();
        assert_eq!(drawn.load(Ordering::SeqCst), before + 40);
        assert_eq!(weights(&fitted), weights(&alone));
        assert_eq!(curve(&fitted), curve(&alone));
    }
}

#[test]
fn a_run_that_cannot_begin_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let parent = folder.path().join("runs");
    let path = parent.join("deep/run");
    let unreadable = |index: usize| {
        Err(rekindle_imagefolder::Error::EmptyFile {
            path: format!("{index}.png").into(),
        })
    };
    let broken = || {
        let labels: Vec<Option<usize>> = (0..4).map(|index| Some(index % 2)).collect();
        let classes = vec!["bottom".into(), "top".into()];
        let pipeline = rekindle_trainer::eval_pipeline(&preprocess());
        ImageDataset::from_fn(labels, classes, pipeline, unreadable).unwrap()
    };
    let nothing = || TransferData::from_datasets(broken(), broken(), &preprocess()).unwrap();
    let trainer = |data| Trainer::new(classifier(), data).recipe(recipe());
    let freeze = |last_frozen: &str| Strategy::FreezeUpTo {
        last_frozen: last_frozen.into(),
    };
    let quantized = Recipe {
        quantize_frozen: true,
        cache: Cache::Memory,
        ..recipe()
    };
    let kept = Recipe {
        cache: Cache::Memory,
        ..recipe()
    };
    let failures = [
        trainer(data())
            .strategy(freeze("layer9"))
            .run_directory(&path)
            .fit()
            .err(),
        trainer(nothing()).run_directory(&path).fit().err(),
        trainer(nothing())
            .strategy(freeze("layer4"))
            .recipe(kept)
            .run_directory(&path)
            .fit()
            .err(),
        // Nothing is frozen that could be rounded.
        trainer(data())
            .recipe(Recipe {
                cache: Cache::Off,
                ..quantized
            })
            .run_directory(&path)
            .fit()
            .err(),
    ];
    for (number, failure) in failures.into_iter().enumerate() {
        println!("{number}: {}", failure.unwrap());
    }
    assert!(!parent.exists());
    // A folder that was there already stays, empty as it was.
    std::fs::create_dir_all(&path).unwrap();
    let failed = trainer(data())
        .strategy(freeze("layer9"))
        .run_directory(&path);
    assert!(failed.fit().is_err());
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
}
