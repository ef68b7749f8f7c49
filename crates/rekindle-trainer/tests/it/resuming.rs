//! Checks that what is interrupted, or too short, goes on to the bits of an unbroken run.

use std::path::{Path, PathBuf};

use crate::common::{classifier, curve, data, recipe, unbroken, weights};
use crate::runs::{Files, stop_at};
use burn::prelude::*;
use rekindle_imagefolder::ImageFolder;
use rekindle_trainer::events::EndReason;
use rekindle_trainer::{
    Advise, Cache, EarlyStopping, Event, FeatureExtractor, Fit, Interrupt, LrFinder, Model,
    Monitor, Recipe, RunDirectory, Schedule, TestViews, Trainer, TrainerError,
};
use rekindle_transfer::Strategy;

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
