//! Reports of runs that never were, in every shape that a page must bear.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use rekindle_report::{
    ClassCount, FeatureMap, MapPoint, Mistake, PhaseTime, Picture, Report, RunReport, SkippedFile,
};
use rekindle_trainer::events::{
    EndReason, EpochMetrics, PartSummary, RunOutcome, RunSummary, StageSummary,
};
use rekindle_trainer::{Evaluation, Event, Temperature};

/// Properties of a made-up report.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub classes: usize,
    pub runs: usize,
    pub epochs: usize,
    pub naming: Naming,
    /// Validation images of a class; none without validation.
    pub images: usize,
    pub skipped: usize,
}

/// Style of class names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Naming {
    Short,
    Long,
    Chinese,
    RightToLeft,
    Emoji,
    Markup,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            classes: 2,
            runs: 3,
            epochs: 3,
            naming: Naming::Short,
            images: 20,
            skipped: 1,
        }
    }
}

/// Every shape that is looked at, by a name for its file.
pub fn shapes() -> Vec<(String, Shape)> {
    let basic = Shape::default();
    let mut shapes = Vec::new();
    for classes in [1, 2, 5, 10, 26, 40, 41, 100, 201] {
        shapes.push((format!("classes-{classes}"), Shape { classes, ..basic }));
    }
    for (name, naming) in [
        ("long", Naming::Long),
        ("chinese", Naming::Chinese),
        ("right-to-left", Naming::RightToLeft),
        ("emoji", Naming::Emoji),
        ("markup", Naming::Markup),
    ] {
        for classes in [2, 10, 100] {
            let shape = Shape {
                classes,
                naming,
                ..basic
            };
            shapes.push((format!("names-{name}-{classes}"), shape));
        }
    }
    for runs in [1, 2, 6, 12] {
        let shape = Shape {
            runs,
            epochs: 25,
            ..basic
        };
        shapes.push((format!("runs-{runs}"), shape));
    }
    for epochs in [1, 40, 300, 5000] {
        shapes.push((format!("epochs-{epochs}"), Shape { epochs, ..basic }));
    }
    for images in [0, 1, 100_000] {
        shapes.push((format!("images-{images}"), Shape { images, ..basic }));
    }
    for skipped in [0, 12, 700] {
        shapes.push((format!("skipped-{skipped}"), Shape { skipped, ..basic }));
    }
    shapes
}

/// Pages of their own kind, beside those of [`shapes`].
pub fn special() -> Vec<(&'static str, Report)> {
    let mut early = report(Shape::default());
    early.runs[1] = interrupted_before_validation();
    let mut only_early = report(Shape {
        runs: 1,
        ..Shape::default()
    });
    only_early.runs = vec![interrupted_before_validation()];
    let mut one_call = report(Shape::default());
    one_call.runs[0] = closed_form();
    let mut runaway = report(Shape::default());
    runaway.runs[2].epochs[1].train_loss = 4e7;
    runaway.runs[2].epochs[2].train_loss = f64::NAN;
    vec![
        ("empty", Report::new("nothing")),
        ("interrupted", early),
        ("only-interrupted", only_early),
        ("one-call", one_call),
        ("runaway", runaway),
    ]
}

pub fn report(shape: Shape) -> Report {
    let names = class_names(shape);
    let mut report = Report::new(match shape.runs {
        1 => "ants and bees, features".to_string(),
        runs => format!("{runs} runs: ants and bees"),
    });
    report
        .fact("Network", "resnet18")
        .fact(
            "Source weights",
            "/home/somebody/models/resnet18-f37072fd.pth",
        )
        .fact("SHA-256 of the source weights", "f37072fd".repeat(8))
        .fact(
            "Recipe",
            "{\"epochs\":3,\"batch_size\":4,\"learning_rate\":0.001,\"schedule\":\"step\"}",
        )
        .fact("Seed", 0);
    report.data.source = "/home/somebody/photographs/hymenoptera".into();
    report.data.classes = names
        .iter()
        .enumerate()
        .map(|(class, name)| ClassCount {
            name: name.clone(),
            train: 40 + 13 * (class % 7),
            valid: shape.images,
        })
        .collect();
    let reasons = [
        "not an image: 131 bytes of text",
        "truncated: the last 2,048 bytes are missing",
        "a Git LFS pointer; `git lfs pull` fetches the picture",
    ];
    report.data.skipped = (0..shape.skipped)
        .map(|file| SkippedFile {
            path: format!(
                "/home/somebody/photographs/hymenoptera/train/ants/{file:05}_imagenet.jpg"
            )
            .into(),
            reason: reasons[file % 3].into(),
        })
        .collect();
    let grid = png(520, 300);
    report
        .pictures
        .push(Picture::new("Augmented training images", grid));
    let strategies = [
        ("features", 0.94),
        ("finetune", 0.925),
        ("scratch", 0.63),
        ("freeze-up-to=layer3", 0.91),
        (
            "gradual-unfreezing (runs/second-attempt-with-smaller-rate)",
            0.93,
        ),
        ("lora", 0.87),
    ];
    report.runs = (0..shape.runs)
        .map(|index| {
            let (strategy, accuracy) = strategies[index % strategies.len()];
            let name = match index / strategies.len() {
                0 => strategy.to_string(),
                again => format!("{strategy} (again-{again})"),
            };
            run(
                &name,
                strategy,
                accuracy - 0.002 * index as f64,
                index,
                shape,
                &names,
            )
        })
        .collect();
    report
}

fn class_names(shape: Shape) -> Vec<String> {
    let short = [
        "ant",
        "bee",
        "cricket",
        "dragonfly",
        "earwig",
        "firefly",
        "grasshopper",
    ];
    (0..shape.classes)
        .map(|class| {
            let number = if class < 7 {
                String::new()
            } else {
                format!("{class}")
            };
            match shape.naming {
                Naming::Short => format!("{}{number}", short[class % 7]),
                Naming::Long => format!(
                    "{number}north_american_{}_with_wings_in_flight",
                    short[class % 7]
                ),
                Naming::Chinese => format!(
                    "{}{number}",
                    ["日本弓背蚁和它的工蚁", "中华蜜蜂", "蟋蟀"][class % 3]
                ),
                Naming::RightToLeft => format!(
                    "{}{number}",
                    ["نملة النار الحمراء", "נמלת אש", "نحلة"][class % 3]
                ),
                Naming::Emoji => format!(
                    "{}{number}",
                    [
                        "🐜🐜🐜🐜🐜🐜🐜🐜🐜🐜🐜🐜",
                        "👨\u{200d}👩\u{200d}👧 family",
                        "🐝"
                    ][class % 3]
                ),
                Naming::Markup => format!("<img src=x onerror=alert(1)>&amp;{number}</text></svg>"),
            }
        })
        .collect()
}

fn run(
    name: &str,
    strategy: &str,
    accuracy: f64,
    seed: usize,
    shape: Shape,
    classes: &[String],
) -> RunReport {
    let kept = strategy == "features";
    let mut events = vec![
        Event::RunStarted(RunSummary {
            title: name.into(),
            strategy: strategy.into(),
            architecture: "resnet18".into(),
            weights: "resnet18-f37072fd.pth".into(),
            classes: classes.to_vec(),
            train_images: 244,
            valid_images: shape.images * shape.classes,
            parameters: 11_177_538,
            trainable_parameters: if kept { 1_026 } else { 11_177_538 },
            epochs: shape.epochs,
            batch_size: 4,
            augmented: Some(!kept),
            ..RunSummary::default()
        }),
        Event::StageStarted(stage("all", 1, shape.epochs, !kept)),
    ];
    if kept {
        for (name, seconds) in [
            ("features of the training images", 2.2),
            ("features of the validation images", 1.3),
        ] {
            events.push(Event::PhaseEnded {
                name: name.into(),
                seconds,
            });
        }
    }
    let mut noise = Noise(seed as u64 + 1);
    for epoch in 1..=shape.epochs {
        let done = 1.0 - (-3.0 * epoch as f64 / shape.epochs as f64).exp();
        let wobble = 0.03 * (noise.next() - 0.5);
        let reached = accuracy * (0.7 + 0.3 * done) + wobble;
        let validated = shape.images > 0;
        events.push(Event::EpochEnded {
            metrics: EpochMetrics {
                epoch,
                epochs: shape.epochs,
                train_loss: 0.9 * (1.0 - 0.9 * done) + 0.05 * noise.next(),
                train_accuracy: (reached - 0.1).clamp(0.0, 1.0),
                valid_loss: validated.then(|| 0.7 * (1.0 - 0.8 * done) + 0.1 * noise.next()),
                valid_accuracy: validated.then(|| reached.clamp(0.0, 1.0)),
                learning_rate: 2e-3 * (1.0 - done) + 1e-5,
                train_seconds: if kept { 0.004 } else { 7.4 },
                valid_seconds: if kept { 0.001 } else { 1.1 },
                images_per_second: if kept { 61_000.0 } else { 32.0 + noise.next() },
                best: false,
                ..EpochMetrics::default()
            },
        });
    }
    let mut run = RunReport::from_events(name, &events);
    if shape.images > 0 {
        examine(&mut run, accuracy, shape);
        let found = run.evaluation.as_ref().map(|found| found.accuracy);
        let best = run.best_epoch().map(|best| best.epoch - 1).unwrap_or(0);
        run.epochs[best].valid_accuracy = found;
        for epoch in &mut run.epochs {
            epoch.valid_accuracy = epoch
                .valid_accuracy
                .zip(found)
                .map(|(seen, most)| seen.min(most));
        }
    }
    let best = run
        .best_epoch()
        .map(|best| (best.epoch, best.valid_accuracy));
    run.outcome = Some(RunOutcome {
        reason: EndReason::Finished,
        epochs: shape.epochs,
        best_epoch: best.map(|best| best.0),
        best_accuracy: best.and_then(|best| best.1),
        last_accuracy: run.epochs.last().and_then(|epoch| epoch.valid_accuracy),
        seconds: 1.1 * run.seconds(),
        best_weights: None,
        directory: None,
    });
    run
}

/// One whose weights are found without epochs.
fn closed_form() -> RunReport {
    let shape = Shape::default();
    let mut run = RunReport {
        name: "one-call".into(),
        description: "The head is mixed from the source classifier's rows and a cross-validated logistic regression."
            .into(),
        phases: vec![PhaseTime { name: "features of the training images".into(), seconds: 2.4 }],
        ..RunReport::default()
    };
    examine(&mut run, 0.95, shape);
    run
}

fn interrupted_before_validation() -> RunReport {
    let events = [
        Event::RunStarted(RunSummary {
            strategy: "finetune".into(),
            valid_images: 40,
            epochs: 3,
            ..RunSummary::default()
        }),
        Event::StageStarted(stage("all", 1, 3, true)),
        Event::RunEnded(RunOutcome {
            reason: EndReason::Interrupted,
            epochs: 0,
            best_epoch: None,
            best_accuracy: None,
            last_accuracy: None,
            seconds: 3.5,
            best_weights: None,
            directory: None,
        }),
    ];
    RunReport::from_events("finetune", &events)
}

fn stage(name: &str, first_epoch: usize, last_epoch: usize, whole: bool) -> StageSummary {
    let parts = [
        ("stem", 9_536),
        ("layer1", 147_968),
        ("layer2", 525_568),
        ("layer3", 2_099_712),
        ("layer4", 8_393_728),
        ("head", 1_026),
    ];
    StageSummary {
        name: name.into(),
        first_epoch,
        last_epoch,
        parts: parts
            .iter()
            .enumerate()
            .map(|(depth, (name, parameters))| {
                let is_trained = whole || *name == "head";
                PartSummary {
                    name: (*name).into(),
                    parameters: *parameters,
                    trainable: if is_trained { *parameters } else { 0 },
                    learning_rate: is_trained.then(|| 2e-3 * 0.5f64.powi(5 - depth as i32)),
                }
            })
            .collect(),
    }
}

/// Answers of about this accuracy; who errs takes the class for its neighbour more often than for another one.
fn examine(run: &mut RunReport, accuracy: f64, shape: Shape) {
    let classes = shape.classes;
    let each = shape.images.min(500);
    let mut noise = Noise(77);
    let (mut probabilities, mut labels) = (Vec::new(), Vec::new());
    let mut points = Vec::new();
    for label in 0..classes {
        for _ in 0..each {
            let other = match noise.next() {
                n if n < 0.6 => (label ^ 1).min(classes - 1),
                n => (n * 1e6) as usize % classes,
            };
            let predicted = if noise.next() < accuracy {
                label
            } else {
                other
            };
            let sure = 0.55 + 0.45 * noise.next().sqrt();
            let rest = (1.0 - sure) / classes as f64;
            let mut row = vec![rest as f32; classes];
            row[predicted] += sure as f32;
            probabilities.extend(row);
            labels.push(label);
            if points.len() < 1_000 {
                let angle = label as f64 * 2.4;
                points.push(MapPoint {
                    x: 3.0 * angle.cos() + noise.next() + noise.next(),
                    y: 3.0 * angle.sin() + noise.next() + noise.next(),
                    truth: label,
                    predicted,
                });
            }
        }
    }
    run.evaluation =
        Some(Evaluation::from_probabilities(&probabilities, &labels, classes).unwrap());
    run.temperature = Some(Temperature::fit(&probabilities, &labels, classes).unwrap());
    run.map = Some(FeatureMap {
        points,
        images: labels.len(),
        explained: [0.31, 0.12],
    });
    if classes > 1 {
        run.mistakes = (0..4)
            .map(|number| Mistake {
                file: format!(
                    "/home/somebody/photographs/val/bees/a-rather-long-name-of-a-file-{number}.jpg"
                ),
                truth: number % classes,
                predicted: (number + 1) % classes,
                confidence: 0.97 - 0.01 * number as f64,
                picture: jpeg(224, 224),
                overlay: jpeg(224, 224),
            })
            .collect();
    }
}

fn drawing(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 120])
    })
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    drawing(width, height)
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    drawing(width, height)
        .write_to(&mut bytes, ImageFormat::Jpeg)
        .unwrap();
    bytes.into_inner()
}

/// Numbers from 0 to 1 that are the same every time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }
}
