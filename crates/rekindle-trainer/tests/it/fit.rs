//! A budget of time: that it is kept, that held-out images decide, and that the validation images don't.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use burn::prelude::*;
use rekindle_imagefolder::ImageDataset;
use rekindle_models::Pretrained;
use rekindle_trainer::events::{EndReason, Trial};
use rekindle_trainer::{
    Event, FineTuned, Fit, Interrupt, Model, RunDirectory, TrainerError, TransferData,
    eval_pipeline, fine_tune,
};
use rekindle_transfer::features::{ProbeKind, ProbeSearch};

use crate::common::{picture, preprocess};
use crate::runs::{Files, stop_at};

/// A clock that moves by so many milliseconds each time that it is looked at, so that what it decides is the same every
/// time: it is looked at after each step of training.
pub(crate) fn ticking(
    milliseconds: impl Fn(u64) -> u64 + Send + Sync + 'static,
) -> impl Fn() -> Duration {
    let (looks, time) = (AtomicU64::new(0), AtomicU64::new(0));
    move || {
        let tick = milliseconds(looks.fetch_add(1, Ordering::SeqCst));
        Duration::from_millis(time.fetch_add(tick, Ordering::SeqCst) + tick)
    }
}

/// Drawings whose validation part counts from `first`, and says whether it is looked at while `is_closed`.
fn drawings(first: usize, is_closed: &Arc<AtomicBool>, looks: &Arc<AtomicU64>) -> TransferData {
    let classes = || vec!["bottom".to_string(), "top".into()];
    let labels = |images: usize| (0..images).map(|index| Some(index % 2)).collect();
    let pipeline = || eval_pipeline(&preprocess());
    let train = ImageDataset::from_fn(labels(40), classes(), pipeline(), |index| {
        Ok(picture(index % 2, index))
    });
    let (is_closed, looks) = (Arc::clone(is_closed), Arc::clone(looks));
    let val = ImageDataset::from_fn(labels(24), classes(), pipeline(), move |index| {
        let early = is_closed.load(Ordering::SeqCst);
        looks.fetch_add(u64::from(early), Ordering::SeqCst);
        Ok(picture(index % 2, first + index))
    });
    TransferData::from_datasets(train.unwrap(), val.unwrap(), &preprocess()).unwrap()
}

/// A fit within so many seconds of a clock that ticks by a tenth.
pub(crate) fn fit<'a>(seconds: u64) -> Fit<'a> {
    Fit::new(&Device::flex())
        .budget(Duration::from_secs(seconds))
        .clock(ticking(|_| 100))
}

fn same_but_time(trials: &[Trial]) -> Vec<Trial> {
    let untimed = |trial: &Trial| Trial {
        seconds: 0.0,
        ..trial.clone()
    };
    trials.iter().map(untimed).collect()
}

pub(crate) fn trained(tuned: &FineTuned) -> Option<&Trial> {
    tuned
        .trials
        .iter()
        .find(|trial| trial.what.starts_with("fine-tuning"))
}

#[test]
fn the_budget_is_kept_also_where_the_machine_becomes_slow() {
    let files = Files::new();
    let slow = |look: u64| if look < 40 { 100 } else { 400 };
    type Ticks = Box<dyn Fn(u64) -> u64 + Send + Sync>;
    let clocks: [(u64, Ticks); 2] = [(12, Box::new(|_| 100)), (30, Box::new(slow))];
    for (budget, clock) in clocks {
        let tuned = Fit::new(&Device::flex())
            .budget(Duration::from_secs(budget))
            .clock(ticking(clock))
            .fit(&files.pretrained(), &files.data())
            .unwrap();
        assert!(trained(&tuned).is_some(), "{:?}", tuned.trials);
        let share = tuned.seconds / budget as f64;
        assert!(share <= 1.05, "{share} of {budget} s");
        assert!(tuned.accuracy() > 0.9, "{}", tuned.accuracy());
    }
}

/// The clock moves by ten milliseconds with each training image that is looked at, and otherwise stands still.
#[test]
fn as_many_images_are_learnt_from_as_there_is_the_time_for() {
    let files = Files::new();
    let looks = Arc::new(AtomicU64::new(0));
    let drawn = Arc::clone(&looks);
    let labels = |images: usize| (0..images).map(|index| Some(index % 2)).collect();
    let classes = || vec!["bottom".to_string(), "top".into()];
    let pipeline = || eval_pipeline(&preprocess());
    let train = ImageDataset::from_fn(labels(1200), classes(), pipeline(), move |index| {
        drawn.fetch_add(1, Ordering::SeqCst);
        Ok(picture(index % 2, index))
    });
    let val = ImageDataset::from_fn(labels(24), classes(), pipeline(), |index| {
        Ok(picture(index % 2, 5000 + index))
    });
    let data = TransferData::from_datasets(train.unwrap(), val.unwrap(), &preprocess()).unwrap();
    let fit = |seconds: u64| {
        let time = Arc::clone(&looks);
        let before = time.load(Ordering::SeqCst);
        let mut events = Vec::new();
        let tuned = Fit::new(&Device::flex())
            .budget(Duration::from_secs(seconds))
            .clock(move || Duration::from_millis(10 * (time.load(Ordering::SeqCst) - before)))
            .observer(&mut events)
            .fit(&files.pretrained(), &data)
            .unwrap();
        let says_so = |event: &&Event| matches!(event, Event::Warning { message } if message.contains("of the 1200 training images"));
        let held_out = tuned.trials[0].images;
        (
            held_out,
            events.iter().filter(says_so).count(),
            tuned.accuracy(),
        )
    };
    // 100 images a second: 0.3 of what 48 images and the validation leave of 25 seconds.
    let (images, warnings, accuracy) = fit(25);
    assert!((650..=760).contains(&images), "{images}");
    assert_eq!(warnings, 1);
    assert!(accuracy > 0.9, "{accuracy}");
    let (images, warnings, _) = fit(60);
    assert_eq!((images, warnings), (1200, 0));
}

#[test]
fn without_the_time_for_three_passes_the_probe_stays() {
    let files = Files::new();
    let mut events = Vec::new();
    let tuned = fit(2)
        .observer(&mut events)
        .fit(&files.pretrained(), &files.data())
        .unwrap();
    assert!(trained(&tuned).is_none());
    let says_why = |event: &Event| matches!(event, Event::Note { message } if message.contains("is not trained"));
    assert!(events.iter().any(says_why));
    let probe = Fit::new(&Device::flex())
        .without_training()
        .fit(&files.pretrained(), &files.data())
        .unwrap();
    assert!(probe.accuracy() > 0.9);
}

#[test]
fn the_choice_is_the_best_on_held_out_images_and_never_below_the_plain_probe() {
    let files = Files::new();
    let tuned = fit(10).fit(&files.pretrained(), &files.data()).unwrap();
    let (plain, chosen) = (tuned.probe.candidates[0], tuned.probe.chosen());
    assert!(chosen.log_loss <= plain.log_loss && chosen.accuracy >= plain.accuracy);
    let trial = trained(&tuned).unwrap();
    // Eight of forty images are held out.
    assert_eq!(trial.images, 8);
    // One more wrong answer among eight is no clear loss.
    assert!(!trial.kept || trial.gain.unwrap() >= -0.125);
    let forecast = tuned.forecast.unwrap();
    assert!(forecast.low < forecast.accuracy && forecast.accuracy <= forecast.high);
    assert_eq!(forecast.images, 24);
}

#[test]
fn validation_images_are_looked_at_once_at_the_end_and_change_nothing_of_the_choice() {
    let pretrained = Files::new().pretrained();
    let run = |first: usize| {
        let (is_closed, looks) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let data = drawings(first, &is_closed, &looks);
        let told = |event: &Event| {
            if matches!(event, Event::Forecast(_)) {
                is_closed.store(false, Ordering::SeqCst);
            }
            false
        };
        let never = Interrupt::new();
        let tuned = fit(12)
            .observer(stop_at(&never, told))
            .fit(&pretrained, &data)
            .unwrap();
        assert_eq!(looks.load(Ordering::SeqCst), 0);
        tuned
    };
    let (one, other) = (run(1000), run(5000));
    assert_eq!(same_but_time(&one.trials), same_but_time(&other.trials));
    let values = |tuned: &FineTuned| rekindle_weights::state_dict::collect(&tuned.classifier);
    assert_eq!(values(&one), values(&other));
    assert_ne!(one.predictions, other.predictions);
}

#[test]
fn interrupted_it_leaves_the_best_so_far_and_goes_on() {
    let files = Files::new();
    for (name, place) in [("probe", "Tried"), ("training", "PhaseAdvanced")] {
        let interrupt = Interrupt::new();
        let (mut tried, mut begun, path) = (0, false, files.path(name));
        let stop = stop_at(&interrupt, |event| {
            tried += usize::from(matches!(event, Event::Tried(_)));
            // Behind some steps of the first trial.
            let is_training = matches!(event, Event::PhaseStarted { name, .. } if name.starts_with("fine-tuning"));
            begun |= is_training;
            let has_learnt = begun && matches!(event, Event::PhaseAdvanced { done } if *done > 0);
            (place == "Tried" && tried > 0) || (place == "PhaseAdvanced" && has_learnt)
        });
        let tuned = fit(12)
            .run_directory(&path)
            .observer(stop)
            .interrupt(interrupt)
            .fit(&files.pretrained(), &files.data())
            .unwrap();
        assert_eq!(tuned.outcome.reason, EndReason::Interrupted);
        assert!(tuned.predictions.labels.is_empty());
        let tuned_seconds = tuned.outcome.seconds;
        drop(tuned);
        let model = Model::open(&path, &Device::flex()).unwrap();
        let found = model.evaluate(files.path("data"), |_| ()).unwrap();
        assert!(found.evaluation.accuracy > 0.9);
        let ended = RunDirectory::open(&path).unwrap().events().unwrap();
        assert!(matches!(ended.last(), Some(Event::RunEnded(_))));
        // It goes on with the time that is given, and is then as any other.
        let used = tuned_seconds;
        let left = Fit::time_left(&path).unwrap().unwrap().as_secs_f64();
        assert!((left - (12.0 - used)).abs() < 1e-9, "{left} {used}");
        let error = Fit::new(&Device::flex()).without_training().resume(
            &path,
            &files.pretrained(),
            &files.data(),
        );
        let error = error.err().unwrap().to_string();
        assert!(error.contains("budget_seconds"), "{error}");
        let tuned = fit(10)
            .resume(&path, &files.pretrained(), &files.data())
            .unwrap();
        assert_eq!(tuned.outcome.reason, EndReason::Finished);
        assert!(tuned.accuracy() > 0.9, "{}", tuned.accuracy());
        let trial = trained(&tuned).unwrap();
        assert_eq!(
            trial.what.ends_with("taken up again"),
            name == "training",
            "{}",
            trial.what
        );
        drop(tuned);
        let run = RunDirectory::open(&path).unwrap();
        let budget = run.record().recipe["budget_seconds"].as_f64().unwrap();
        assert!((budget - (used + 10.0)).abs() < 1e-9, "{budget} {used}");
        assert!(!path.join("trial.safetensors").exists());
        let error = fit(10).resume(&path, &files.pretrained(), &files.data());
        let error = error.err().unwrap().to_string();
        assert!(error.contains("a search that is done"), "{error}");
    }
    // Before the first head there is nothing to leave.
    let interrupt = Interrupt::new();
    interrupt.request();
    let error = fit(12)
        .interrupt(interrupt)
        .fit(&files.pretrained(), &files.data());
    assert!(matches!(
        error.err(),
        Some(TrainerError::Interrupted { .. })
    ));
}

/// With hardly any time left, nothing takes the place of what was better: neither another probe, nor a probe of a network that
/// had been trained.
#[test]
fn a_search_that_goes_on_loses_nothing_that_it_had() {
    let files = Files::new();
    for is_trained in [false, true] {
        let (interrupt, path) = (Interrupt::new(), files.path(&format!("{is_trained}")));
        let watch = stop_at(
            &interrupt,
            |event| matches!(event, Event::PhaseStarted { name, .. } if name.starts_with("fine-tuning")),
        );
        let tuned = fit(12)
            .run_directory(&path)
            .observer(watch)
            .interrupt(interrupt)
            .fit(&files.pretrained(), &files.data())
            .unwrap();
        assert_eq!(tuned.outcome.reason, EndReason::Interrupted);
        drop(tuned);
        let best = path.join("best.safetensors");
        if is_trained {
            move_a_little(&best);
        }
        let weights = || {
            let left = Pretrained::open(&best, &Device::flex()).unwrap();
            rekindle_weights::state_dict::collect(&left.model)
        };
        let before = weights();
        let tuned = fit(1)
            .resume(&path, &files.pretrained(), &files.data())
            .unwrap();
        assert_eq!(tuned.outcome.reason, EndReason::Finished);
        assert!(trained(&tuned).is_none(), "{:?}", tuned.trials);
        let is_whole =
            |trial: &&Trial| trial.what.starts_with("a probe") && !trial.what.contains("pixels");
        let again = tuned.trials.iter().filter(is_whole).count();
        assert!(again >= 5, "{:?}", tuned.trials);
        assert_eq!(weights(), before, "{is_trained}");
    }
}

/// Changes a number of a convolution in a safetensors file, as training would.
fn move_a_little(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let tensors = header.as_object().unwrap();
    let (_, conv) = tensors
        .iter()
        .find(|(name, _)| name.contains("conv"))
        .unwrap();
    let at = 8 + length + conv["data_offsets"][0].as_u64().unwrap() as usize;
    let value = f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) + 0.25;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_run_within_a_budget_says_what_the_clock_decided_and_is_read_as_any_other() {
    let files = Files::new();
    let path = files.path("run");
    let tuned = fit(12)
        .run_directory(&path)
        .title("drawings")
        .fit(&files.pretrained(), &files.data())
        .unwrap();
    let (said, kept) = (tuned.accuracy(), tuned.trials.last().unwrap().kept);
    drop(tuned);
    let run = RunDirectory::open(&path).unwrap();
    assert_eq!(run.record().strategy_name(), "fit");
    assert_eq!(run.record().title, "drawings");
    assert_eq!(run.record().recipe["budget_seconds"], 12.0);
    let decided = &run.record().recipe["decided"];
    assert_eq!(decided["trial_steps"].is_array(), kept, "{decided}");
    let events = run.events().unwrap();
    let at = |is_it: fn(&Event) -> bool| events.iter().position(is_it).unwrap();
    let forecast = at(|event| matches!(event, Event::Forecast(_)));
    let validated = at(|event| matches!(event, Event::Validated { .. }));
    assert!(forecast < validated);
    let epochs = events.iter().filter_map(|event| match event {
        Event::EpochEnded { metrics } => Some(metrics.valid_accuracy),
        _ => None,
    });
    let epochs: Vec<_> = epochs.collect();
    assert_eq!(epochs.last(), Some(&Some(said)));
    assert!(epochs[..epochs.len() - 1].iter().all(Option::is_none));
    let model = Model::open(&path, &Device::flex()).unwrap();
    let found = model.evaluate(files.path("data"), |_| ()).unwrap();
    assert_eq!(found.evaluation.accuracy, said);
}

#[test]
fn budgets_and_networks_that_are_none_are_refused() {
    let files = Files::new();
    let nothing = Fit::new(&Device::flex()).budget(Duration::ZERO);
    let error = nothing.fit(&files.pretrained(), &files.data()).err();
    assert!(matches!(
        error,
        Some(TrainerError::InvalidRecipe {
            field: "budget",
            ..
        })
    ));
    let error = fit(12).fit_best_of(&[], &files.data()).err();
    assert!(matches!(error, Some(TrainerError::UnusableData { .. })));
}

#[test]
fn one_call_saves_what_it_measured() {
    let files = Files::new();
    let (data, source) = (files.path("data"), files.path("source.safetensors"));
    let tuned = fine_tune(data, source, &Device::flex()).unwrap();
    let path = files.path("saved.safetensors");
    tuned.save(&path).unwrap();
    let model = Model::open(&path, &Device::flex()).unwrap();
    let found = model.evaluate(files.path("data"), |_| ()).unwrap();
    assert_eq!(found.evaluation.accuracy, tuned.accuracy());
}

#[test]
fn a_network_is_trained_for_smaller_pictures_where_a_probe_is_as_good_on_these() {
    let files = Files::new();
    let pretrained = files.pretrained();
    let seen = pretrained.preprocess.clone().at_size(128);
    let pretrained = pretrained.with_preprocess(seen).unwrap();
    let data = TransferData::open(files.path("data"), &pretrained.preprocess, 0).unwrap();
    let path = files.path("small");
    let tuned = fit(40)
        .run_directory(&path)
        .fit(&pretrained, &data)
        .unwrap();
    let tried =
        |tuned: &FineTuned, what: &str| tuned.trials.iter().any(|trial| trial.what.contains(what));
    assert!(tried(&tuned, "at 64 pixels"), "{:?}", tuned.trials);
    assert!(
        trained(&tuned).unwrap().what.contains("for pictures of 64"),
        "{:?}",
        tuned.trials
    );
    // Whatever was kept, the file says how large its pictures are and answers as the fit did.
    let crop = tuned.preprocess.crop;
    assert!([64, 128].contains(&crop), "{:?}", tuned.trials);
    let accuracy = tuned.accuracy();
    let expected = tuned.preprocess.clone();
    drop(tuned);
    let model = Model::open(&path, &Device::flex()).unwrap();
    let found = model.evaluate(files.path("data"), |_| ()).unwrap();
    assert_eq!(found.evaluation.accuracy, accuracy);
    let classes = RunDirectory::open(&path).unwrap().classes().unwrap();
    assert_eq!(classes.preprocessing, serde_json::json!(expected));
    let whole = fit(40).keep_size().fit(&pretrained, &data).unwrap();
    assert!(
        !tried(&whole, "64") && whole.preprocess.crop == 128,
        "{:?}",
        whole.trials
    );
}

/// With all the ways of a head but that of two levels left out.
#[test]
fn a_network_with_features_of_two_levels_is_kept_in_the_file() {
    let files = Files::new();
    let search = |kinds: &[ProbeKind]| {
        Fit::new(&Device::flex())
            .without_training()
            .probe(ProbeSearch {
                kinds: kinds.to_vec(),
                ..ProbeSearch::default()
            })
            .fit(&files.pretrained(), &files.data())
            .unwrap()
    };
    let plain = search(&[ProbeKind::Normalized]);
    let features = plain.classifier.backbone.num_features();
    let tuned = search(&[ProbeKind::Multilevel]);
    let network = &tuned.classifier.backbone;
    assert_eq!(tuned.probe.chosen().kind, ProbeKind::Multilevel);
    // Those of the last stage twice, and those of the one before, half as wide, twice.
    assert_eq!(network.num_features(), 3 * features);
    assert!(tuned.accuracy() > 0.9, "{}", tuned.accuracy());

    let path = files.path("levels.safetensors");
    tuned.save(&path).unwrap();
    let model = Model::open(&path, &Device::flex()).unwrap();
    let found = model.evaluate(files.path("data/val"), |_| ()).unwrap();
    let expected = &tuned.predictions.probabilities;
    assert_eq!(found.predictions.probabilities.len(), expected.len());
    for (found, expected) in found.predictions.probabilities.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    // It can be trained as any other, and begins again from its own head.
    let trained = Fit::new(&Device::flex())
        .budget(Duration::from_secs(10))
        .clock(ticking(|_| 100))
        .fit(
            &Pretrained::open(&path, &Device::flex()).unwrap(),
            &files.data(),
        )
        .unwrap();
    assert!(trained.accuracy() > 0.9);
    assert_eq!(trained.classifier.backbone.num_features(), 3 * features);
}
