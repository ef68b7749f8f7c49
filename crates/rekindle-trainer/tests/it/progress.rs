//! A run must be told so that somebody who sees only the output can follow it.

use rekindle_trainer::events::{
    EndReason, EpochMetrics, PartSummary, RunOutcome, RunSummary, StageSummary,
};
use rekindle_trainer::{Event, Monitor, Observer, Progress};

#[test]
fn a_whole_run_in_lines() {
    let expected = "\
ants and bees: fine-tuning with resnet18, weights resnet18.pth
  classes        2: ants, bees
  images         244 for training, 153 for validation, 32 per batch
  parameters     11,177,538: 1,026 trained, 11,176,512 frozen
  device         cpu, seed 0
  run directory  runs/one
  epochs         10
skipped ants/broken\\u{1b}.gif: not an image
caching features: done in 2.50 s
epochs 1 to 2, head only: trains 1,026 of 11,177,538 parameters (fc)
epoch  1/10 | train loss  0.651 acc  50.0 % | valid loss  0.251 acc  94.1 % | lr 0.001  | 12.0 s, 20.3 img/s | best
epoch  2/10 | train loss    NaN acc  50.0 % | lr 0.001  | 12.0 s, 20.3 img/s
stopped early after 2 epochs and 1 min 01 s: accuracy hasn't improved since epoch 1
  best accuracy  94.1 % at epoch 1; last 90.0 %
  run directory  runs/one
";
    assert_eq!(told(&run()), expected);
}

#[test]
fn many_skipped_files_are_counted() {
    let mut events: Vec<Event> = (0..8)
        .map(|index| Event::SkippedFile {
            path: format!("{index}.jpg").into(),
            reason: "empty file".into(),
        })
        .collect();
    events.push(Event::Warning {
        message: "go on".into(),
    });
    let told = told(&events);
    assert_eq!(told.lines().count(), 7, "{told}");
    assert!(
        told.contains("skipped 3 more files\nwarning: go on"),
        "{told}"
    );
}

#[test]
fn a_file_skipped_in_every_epoch_is_told_once() {
    let skipped = Event::SkippedFile {
        path: "bees/0.jpg".into(),
        reason: "empty file".into(),
    };
    let between = Event::PhaseAdvanced { done: 1 };
    let told = told(&[skipped.clone(), between, skipped]);
    assert_eq!(told, "skipped bees/0.jpg: empty file\n");
}

#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let outcome = RunOutcome {
        reason: EndReason::Interrupted,
        ..outcome()
    };
    let told = told(&[Event::RunStarted(summary()), Event::RunEnded(outcome)]);
    assert!(told.contains("interrupted after 2 of 10 epochs"), "{told}");
    assert!(told.contains("runs/one (resume it to go on)"), "{told}");
}

fn told(events: &[Event]) -> String {
    let mut bytes = Vec::new();
    let mut progress = Progress::to_writer(&mut bytes);
    for event in events {
        progress.on_event(event);
    }
    drop(progress);
    String::from_utf8(bytes).unwrap()
}

fn run() -> Vec<Event> {
    let first = EpochMetrics {
        epoch: 1,
        epochs: 10,
        train_loss: 0.6512,
        train_accuracy: 0.5,
        valid_loss: Some(0.251),
        valid_accuracy: Some(0.9412),
        learning_rate: 1e-3,
        train_seconds: 8.0,
        valid_seconds: 4.0,
        images_per_second: 20.33,
        best: true,
        ..EpochMetrics::default()
    };
    let second = EpochMetrics {
        epoch: 2,
        train_loss: f64::NAN,
        valid_loss: None,
        valid_accuracy: None,
        best: false,
        ..first.clone()
    };
    let part = |name: &str, parameters, trainable| PartSummary {
        name: name.into(),
        parameters,
        trainable,
        learning_rate: None,
    };
    vec![
        Event::RunStarted(summary()),
        Event::SkippedFile {
            path: "ants/broken\u{1b}.gif".into(),
            reason: "not an image".into(),
        },
        Event::PhaseStarted {
            name: "caching features".into(),
            items: Some(244),
        },
        Event::PhaseAdvanced { done: 244 },
        Event::PhaseEnded {
            name: "caching features".into(),
            seconds: 2.5,
        },
        Event::StageStarted(StageSummary {
            name: "head only".into(),
            first_epoch: 1,
            last_epoch: 2,
            parts: vec![part("layer4", 11_176_512, 0), part("fc", 1_026, 1_026)],
        }),
        Event::BestImproved {
            epoch: 1,
            monitor: Monitor::Accuracy,
            value: 0.94,
            previous: None,
        },
        Event::EpochEnded { metrics: first },
        Event::EpochEnded { metrics: second },
        Event::RunEnded(outcome()),
    ]
}

fn summary() -> RunSummary {
    RunSummary {
        title: "ants and bees".into(),
        strategy: "fine-tuning".into(),
        architecture: "resnet18".into(),
        weights: "resnet18.pth".into(),
        classes: vec!["ants".into(), "bees".into()],
        train_images: 244,
        valid_images: 153,
        parameters: 11_177_538,
        trainable_parameters: 1_026,
        epochs: 10,
        batch_size: 32,
        augmented: Some(true),
        device: "cpu".into(),
        seed: 0,
        directory: Some("runs/one".into()),
        resumed_after_epoch: None,
        ..RunSummary::default()
    }
}

fn outcome() -> RunOutcome {
    RunOutcome {
        reason: EndReason::EarlyStopping,
        epochs: 2,
        best_epoch: Some(1),
        best_accuracy: Some(0.9412),
        last_accuracy: Some(0.9),
        seconds: 61.2,
        best_weights: None,
        directory: Some("runs/one".into()),
    }
}

#[test]
fn numbers_are_told_by_their_errors() {
    let metrics = EpochMetrics {
        epoch: 1,
        epochs: 10,
        train_loss: 0.9,
        train_accuracy: f64::NAN,
        valid_loss: Some(0.5),
        figures: [
            ("mae".into(), 3.456),
            ("rmse".into(), 4.5),
            ("r2".into(), 0.61),
        ]
        .into(),
        ..EpochMetrics::default()
    };
    let told = told(&[
        Event::Validated {
            epoch: 1,
            loss: 0.5,
            accuracy: f64::NAN,
        },
        Event::Measured {
            epoch: 1,
            figures: metrics.figures.clone(),
        },
        Event::BestImproved {
            epoch: 1,
            monitor: Monitor::Mae,
            value: 3.456,
            previous: None,
        },
        Event::EpochEnded { metrics },
        Event::RunEnded(RunOutcome {
            reason: EndReason::Finished,
            best_accuracy: None,
            last_accuracy: None,
            ..outcome()
        }),
    ]);
    assert!(
        told.contains("train loss  0.900 | valid loss  0.500 MAE 3.46 R2 0.610"),
        "{told}"
    );
    assert!(told.contains("  best MAE       3.46 at epoch 1"), "{told}");
    assert!(!told.contains("acc") && !told.contains("NaN"), "{told}");
}
