//! Checks the promises of every run, however it was trained: the best epoch, how it stops and goes on, which
//! files it leaves and which it doesn't, and that its figures are those of its file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{
    classifier, curve, data, dataset, picture, preprocess, recipe, unbroken, weights,
};
use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, ImageFolder};
use rekindle_models::Pretrained;
use rekindle_models::files::save;
use rekindle_trainer::events::EndReason;
use rekindle_trainer::feed::Feed;
use rekindle_trainer::{
    Advise, Cache, EarlyStopping, Event, FeatureExtractor, FineTuned, Fit, Interrupt, LrFinder,
    Model, Monitor, Observer, Predictor, Recipe, RunDirectory, Schedule, SharedFeatures, TestViews,
    Trainer, TrainerError, TransferData,
};
use rekindle_transfer::Strategy;
use rekindle_transfer::features::{ProbeKind, ProbeSearch};
use rekindle_weights::ModelInfo;
use rekindle_weights::state_dict;
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

    fn one_call(&self, directory: &str) -> Result<FineTuned, TrainerError> {
        Fit::new(&Device::flex())
            .without_training()
            .run_directory(self.path(directory))
            .fit(&self.pretrained(), &self.data())
    }

    fn images(&self) -> Vec<PathBuf> {
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

/// What a server is asked: bytes and pixels in memory, from several threads, with the answers of `predict` on the files.
#[test]
fn images_in_memory_are_answered_as_their_files_are() {
    let files = Files::new();
    let tuned = Fit::new(&Device::flex())
        .without_training()
        .run_directory(files.path("run"))
        .fit(&files.pretrained(), &files.data())
        .unwrap();
    drop(tuned);
    let images = files.images();
    for views in [TestViews::Plain, TestViews::Flip] {
        let model = Model::open(files.path("run"), &Device::flex())
            .unwrap()
            .in_views(views);
        let mut expected = Vec::new();
        model
            .predict(&images, |answer| {
                expected.push(answer.probabilities.unwrap())
            })
            .unwrap();
        let of = |path: &PathBuf| model.classify_bytes(&std::fs::read(path).unwrap()).unwrap();
        let alone: Vec<_> = std::thread::scope(|threads| {
            let asked: Vec<_> = images
                .iter()
                .map(|path| threads.spawn(|| of(path)))
                .collect();
            asked
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let pixels = images.iter().map(|path| {
            let options = rekindle_imagefolder::DecodeOptions::default();
            rekindle_imagefolder::decode_file(path, &options).unwrap()
        });
        let together = model.classify_all(pixels.collect()).unwrap();
        assert_eq!((alone.len(), together.len()), (images.len(), images.len()));
        for ((one, other), expected) in alone.iter().zip(&together).zip(&expected) {
            for answer in [one, other] {
                for (a, b) in answer.probabilities.iter().zip(expected) {
                    assert!((a - b).abs() < 1e-5, "{answer:?}, {expected:?}");
                }
            }
        }
        let best = &alone[0];
        let named = model.class_names();
        let first = best.top(1)[0];
        assert!(named.contains(&first.0.to_string()) && first.1 == best.probability());
        let json = serde_json::json!(best);
        assert_eq!(json[0]["class"], best.class());
        assert_eq!(json.as_array().unwrap().len(), named.len());
    }
    let model = Model::open(files.path("run"), &Device::flex()).unwrap();
    assert!(model.classify_bytes(b"no picture").is_err());
    assert!(model.classify_all(Vec::new()).unwrap().is_empty());
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
fn a_run_that_stopped_early_is_resumed_to_the_same_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let recipe = Recipe {
        epochs: 30,
        learning_rate: 1e-9,
        early_stopping: Some(EarlyStopping::new(2)),
        ..recipe()
    };
    let first = unbroken(&path, &recipe);
    assert_eq!(first.outcome.reason, EndReason::EarlyStopping);
    let epochs = first.history.len();
    drop(first);
    let again = Trainer::new(classifier(), data()).resume(&path).unwrap();
    assert_eq!(again.history.len(), epochs);
    assert_eq!(again.outcome.reason, EndReason::EarlyStopping);
}

#[test]
fn a_finished_run_goes_on_to_more_epochs_as_if_it_had_been_that_long() {
    let folder = tempfile::tempdir().unwrap();
    let longer = Recipe {
        epochs: 5,
        ..recipe()
    };
    let whole = unbroken(&folder.path().join("whole"), &longer);
    let path = folder.path().join("run");
    drop(unbroken(&path, &recipe()));
    let resume = |change: &dyn Fn(&mut Recipe)| {
        Trainer::new(classifier(), data()).resume_with(&path, |recipe| change(recipe))
    };
    for (change, field) in [
        (
            (&|recipe: &mut Recipe| recipe.learning_rate = 0.5) as &dyn Fn(&mut Recipe),
            "learning_rate",
        ),
        (&|recipe| recipe.seed = 7, "seed"),
        (&|recipe| recipe.batch_size = 3, "batch_size"),
        (&|recipe| recipe.monitor = Monitor::Loss, "monitor"),
        (
            &|recipe| recipe.early_stopping = Some(EarlyStopping::new(1)),
            "early_stopping",
        ),
    ] {
        let error = resume(change).err().unwrap();
        assert!(matches!(error, TrainerError::OtherRecipe { .. }), "{error}");
        assert!(error.to_string().contains(field), "{error}");
    }
    let error = resume(&|recipe| recipe.epochs = 2).err().unwrap();
    assert!(
        matches!(error, TrainerError::InvalidRecipe { .. }),
        "{error}"
    );

    let longer = resume(&|recipe| {
        recipe.epochs = 5;
        recipe.workers = 0;
    })
    .unwrap();
    assert_eq!(curve(&longer), curve(&whole));
    assert_eq!(weights(&longer), weights(&whole));
    drop(longer);
    let record = RunDirectory::open(&path).unwrap().record().clone();
    assert_eq!(record.recipe["epochs"], 5);
}

#[test]
fn a_schedule_that_is_stretched_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let schedule = Schedule::cosine();
    drop(unbroken(
        &path,
        &Recipe {
            schedule,
            ..recipe()
        },
    ));
    let mut events: Vec<Event> = Vec::new();
    Trainer::new(classifier(), data())
        .observer(&mut events)
        .resume_with(&path, |recipe| recipe.epochs = 4)
        .unwrap();
    let warned = events.iter().any(|event| {
        matches!(event, Event::Warning { message } if message.contains("over 4 epochs")
            && message.contains("over 3"))
    });
    assert!(warned);
}

#[test]
fn validation_is_interrupted_and_resumed_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let whole = unbroken(&folder.path().join("whole"), &recipe());
    let path = folder.path().join("run");
    let interrupt = Interrupt::new();
    let mut validations = 0;
    let broken = Trainer::new(classifier(), data())
        .recipe(recipe())
        .run_directory(&path)
        .observer(stop_at(&interrupt, |event| {
            validations += usize::from(matches!(event, Event::ValidationStarted { .. }));
            validations == 2
        }))
        .interrupt(interrupt)
        .fit()
        .unwrap();
    assert_eq!(broken.outcome.reason, EndReason::Interrupted);
    assert_eq!(broken.history.len(), 1);
    drop(broken);
    let resumed = Trainer::new(classifier(), data()).resume(&path).unwrap();
    assert_eq!(curve(&resumed), curve(&whole));
    assert_eq!(weights(&resumed), weights(&whole));
}

/// Without a batch done there is nothing to save; the directory can be resumed, which begins it.
#[test]
fn the_features_of_a_run_are_interrupted_and_resumed_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe {
        cache: Cache::Memory,
        ..recipe()
    };
    let trainer = || {
        Trainer::new(classifier(), data())
            .strategy(Strategy::FeatureExtraction)
            .recipe(recipe.clone())
    };
    let whole = trainer().fit().unwrap();
    let path = folder.path().join("run");
    let interrupt = Interrupt::new();
    let error = trainer()
        .run_directory(&path)
        .observer(stop_at(
            &interrupt,
            |event| matches!(event, Event::PhaseAdvanced { done } if *done > 0),
        ))
        .interrupt(interrupt)
        .fit()
        .err()
        .unwrap();
    assert!(matches!(error, TrainerError::Interrupted { .. }), "{error}");
    assert!(error.to_string().contains("resumed"), "{error}");
    let events = RunDirectory::open(&path).unwrap().events().unwrap();
    let ended = |event: &Event| matches!(event, Event::RunEnded(outcome) if outcome.reason == EndReason::Interrupted);
    assert!(events.iter().any(ended));
    let resumed = trainer().resume(&path).unwrap();
    assert_eq!(curve(&resumed), curve(&whole));
    assert_eq!(weights(&resumed), weights(&whole));
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

#[test]
fn one_call_stops_between_batches_and_goes_on_to_the_same_bits() {
    let files = Files::new();
    drop(files.one_call("whole").unwrap());
    let whole = std::fs::read(files.path("whole/best.safetensors")).unwrap();
    let cache = files.path("cache");
    let one_call = || Fit::new(&Device::flex()).without_training().cache(&cache);
    let mut batches = 0;
    let interrupt = Interrupt::new();
    let error = one_call()
        .run_directory(files.path("run"))
        .observer(stop_at(&interrupt, |event| {
            batches += usize::from(matches!(event, Event::PhaseAdvanced { done } if *done > 0));
            batches == 1
        }))
        .interrupt(interrupt)
        .fit(&files.pretrained(), &files.data())
        .err()
        .unwrap();
    assert!(matches!(error, TrainerError::Interrupted { .. }), "{error}");
    assert!(!files.path("run/best.safetensors").exists());
    // Of three batches of training images one is done and kept.
    let mut kept = Vec::new();
    one_call()
        .seed(1)
        .observer(&mut kept)
        .fit(&files.pretrained(), &files.data())
        .unwrap();
    let first = kept.iter().find_map(|event| match event {
        Event::PhaseAdvanced { done } => Some(*done),
        _ => None,
    });
    assert_eq!(first, Some(16));
    let run = files.path("run");
    let other = one_call().seed(1);
    let error = other.resume(&run, &files.pretrained(), &files.data());
    assert!(matches!(
        error.err(),
        Some(TrainerError::OtherRecipe { .. })
    ));
    drop(
        one_call()
            .resume(&run, &files.pretrained(), &files.data())
            .unwrap(),
    );
    assert_eq!(
        tensors(&files.path("run/best.safetensors")),
        tensors(&files.path("whole/best.safetensors"))
    );
    assert!(!whole.is_empty());
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
    let features = || {
        Trainer::adapt(&pretrained, data.clone(), Strategy::FeatureExtraction, 0).recipe(Recipe {
            cache: Cache::Memory,
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

fn tensors(path: &Path) -> std::collections::BTreeMap<String, Vec<f32>> {
    let checkpoint = rekindle_weights::read(path).unwrap();
    checkpoint
        .tensors
        .iter()
        .filter(|(_, tensor)| tensor.element_type().is_float())
        .map(|(name, tensor)| (name.to_string(), tensor.read_f32().unwrap()))
        .collect()
}

#[test]
fn what_takes_long_stops_at_the_next_batch() {
    let files = Files::new();
    drop(files.one_call("run").unwrap());
    let device = Device::flex();
    let is_interrupted =
        |error: TrainerError| assert!(matches!(error, TrainerError::Interrupted { .. }), "{error}");
    let open = |interrupt: &Interrupt| {
        let model = Model::open(files.path("run"), &device).unwrap();
        model.interrupt(interrupt.clone())
    };

    for views in [TestViews::Plain, TestViews::Flip] {
        let interrupt = Interrupt::new();
        let mut answers = 0;
        let paths: Vec<PathBuf> = files.images().into_iter().cycle().take(480).collect();
        let ended = open(&interrupt).in_views(views).predict(&paths, |_| {
            answers += 1;
            interrupt.request();
        });
        is_interrupted(ended.unwrap_err());
        // The answers of a batch, or of a chunk of pictures in several views, are whole.
        assert!(answers == 16 || answers == 128, "{answers}");
    }

    let interrupt = Interrupt::new();
    let mut images = 0;
    let ended = open(&interrupt).evaluate(files.path("data/train"), |count| {
        images += count;
        interrupt.request();
    });
    is_interrupted(ended.unwrap_err());
    assert!(images < 40, "{images}");

    let interrupt = Interrupt::new();
    let folder = ImageFolder::open(files.path("data/train")).unwrap();
    let ended = FeatureExtractor::new(&device)
        .observer(stop_at(
            &interrupt,
            |event| matches!(event, Event::PhaseAdvanced { done } if *done > 0),
        ))
        .interrupt(interrupt.clone())
        .run(&files.pretrained(), &folder);
    is_interrupted(ended.unwrap_err());

    let interrupt = Interrupt::new();
    let ended = Advise::new(&device)
        .observer(stop_at(
            &interrupt,
            |event| matches!(event, Event::PhaseAdvanced { done } if *done > 0),
        ))
        .interrupt(interrupt.clone())
        .run(files.path("data"), &[files.path("source.safetensors")]);
    is_interrupted(ended.unwrap_err());

    let interrupt = Interrupt::new();
    let mut steps = 0;
    let ended = Trainer::new(classifier(), data())
        .recipe(recipe())
        .interrupt(interrupt.clone())
        .find_learning_rate(&LrFinder::default(), |_| {
            steps += 1;
            interrupt.request();
        });
    is_interrupted(ended.unwrap_err());
    assert_eq!(steps, 1);
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

/// The naive way: one picture at a time through every pipeline, and the mean of the logits.
#[test]
fn answers_in_views_are_means_of_logits() {
    let classifier = classifier();
    let dataset = Arc::new(dataset(
        5,
        40,
        rekindle_trainer::eval_pipeline(&preprocess()),
    ));
    let predictor = Predictor::new(&classifier);
    for views in TestViews::ALL {
        let pipelines = views.pipelines(&preprocess());
        let found = views
            .predict(&classifier, &dataset, &preprocess(), &Interrupt::new())
            .unwrap();
        assert_eq!(found.indices, [0, 1, 2, 3, 4]);
        for (index, row) in found.probabilities.chunks_exact(2).enumerate() {
            let mut mean = [0.0f64; 2];
            for pipeline in &pipelines {
                let one = Arc::new(dataset.with_pipeline(pipeline.clone()).unwrap());
                let loader = rekindle_imagefolder::Loader::new(one)
                    .batch_size(1)
                    .workers(0);
                let feed = Feed::Images(loader);
                let batch = feed.epoch(0, &Device::flex()).nth(index).unwrap().unwrap();
                let logits = predictor.logit_values(&batch).unwrap();
                for (sum, logit) in mean.iter_mut().zip(logits) {
                    *sum += f64::from(logit) / pipelines.len() as f64;
                }
            }
            let expected = 1.0 / (1.0 + (mean[1] - mean[0]).exp());
            assert!(
                (f64::from(row[0]) - expected).abs() < 1e-6,
                "{views} {index}"
            );
        }
    }
}

#[test]
fn a_picture_and_its_mirror_image_get_one_answer_when_both_are_looked_at() {
    let files = Files::new();
    drop(files.one_call("run").unwrap());
    let mirrored = files.path("mirrored.png");
    let original = &files.images()[0];
    let pixels = image::open(original).unwrap().fliph();
    pixels.save(&mirrored).unwrap();
    let ask = |views| {
        let model = Model::open(files.path("run"), &Device::flex()).unwrap();
        let mut rows = Vec::new();
        model
            .in_views(views)
            .predict(&[original.clone(), mirrored.clone()], |answer| {
                rows.push(answer.probabilities.unwrap());
            })
            .unwrap();
        rows
    };
    let plain = ask(TestViews::Plain);
    assert!((plain[0][0] - plain[1][0]).abs() > 1e-4, "{plain:?}");
    for views in [TestViews::Flip, TestViews::FlipAndScale] {
        let both = ask(views);
        assert!((both[0][0] - both[1][0]).abs() < 1e-6, "{views}: {both:?}");
    }
}

#[test]
fn a_file_carries_its_temperature_and_views_and_uses_them_when_asked() {
    let files = Files::new();
    let tuned = Fit::new(&Device::flex())
        .without_training()
        .run_directory(files.path("run"))
        .test_views(TestViews::Flip)
        .fit(&files.pretrained(), &files.data())
        .unwrap();
    let fitted = tuned.predictions.temperature().unwrap();
    let in_views = tuned.accuracy_in_views();
    drop(tuned);
    let open = || Model::open(files.path("run"), &Device::flex()).unwrap();
    let answers = |model: Model| {
        let mut rows = Vec::new();
        model
            .predict(&files.images(), |answer| {
                rows.extend(answer.probabilities.unwrap())
            })
            .unwrap();
        rows
    };
    let model = open();
    assert_eq!(model.temperature, Some(fitted));
    assert_eq!(model.file_views().unwrap(), TestViews::Flip);
    let recorded = RunDirectory::open(files.path("run")).unwrap();
    assert_eq!(recorded.classes().unwrap().temperature, Some(fitted));
    let viewed = open().in_views(TestViews::Flip);
    let found = viewed.evaluate(files.path("data"), |_| ()).unwrap();
    assert_eq!(Some(found.evaluation.accuracy), in_views);

    // With another temperature in the file, so that it matters: p to the power of 1 / T, scaled to a sum of 1.
    let info = ModelInfo {
        temperature: Some(2.5),
        ..model.info()
    };
    let path = files.path("warm.safetensors");
    save(&model.network().unwrap(), &path, &info).unwrap();
    let warm = || Model::open(&path, &Device::flex()).unwrap();
    let plain = answers(warm());
    assert_eq!(plain, answers(open()));
    let calibrated = answers(warm().calibrated().unwrap());
    for (row, scaled) in plain.chunks_exact(2).zip(calibrated.chunks_exact(2)) {
        let powers = [0, 1].map(|class| f64::from(row[class]).powf(1.0 / 2.5));
        let expected = powers[0] / (powers[0] + powers[1]);
        assert!(
            (f64::from(scaled[0]) - expected).abs() < 1e-6,
            "{row:?} {scaled:?}"
        );
    }
    let found = warm()
        .calibrated()
        .unwrap()
        .evaluate(files.path("data"), |_| ());
    assert!(found.unwrap().evaluation.cross_entropy.is_finite());
    assert!(warm().in_views(TestViews::Flip).calibrated().is_err());
    let nothing = ModelInfo {
        temperature: None,
        ..info
    };
    save(&warm().network().unwrap(), &path, &nothing).unwrap();
    let refused = warm().calibrated().unwrap_err().to_string();
    assert!(refused.contains("no temperature"), "{refused}");
}

#[test]
fn the_best_weights_of_a_run_carry_the_temperature_of_their_own_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let fitted = unbroken(&path, &recipe());
    let expected = fitted.predictions.temperature().unwrap();
    assert_eq!(state_dict::collect(&fitted.classifier), weights(&fitted));
    drop(fitted);
    let back = Pretrained::open(path.join("best.safetensors"), &Device::flex()).unwrap();
    assert_eq!(back.temperature, Some(expected));
    assert_eq!(back.test_views, None);
}
