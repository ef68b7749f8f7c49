//! The report is well formed, holds everything itself, and nothing foreign becomes markup.
#![allow(clippy::unwrap_used)]

mod browser;
mod comparison;
mod layout;
mod made_up;
mod numbers;

use rekindle_report::{
    ClassCount, FeatureMap, MapPoint, Mistake, Picture, Report, RunReport, SkippedFile,
};
use rekindle_trainer::events::{
    EndReason, EpochMetrics, PartSummary, RunOutcome, RunSummary, StageSummary,
};
use rekindle_trainer::{Evaluation, Event, Temperature};
use roxmltree::{Document, Node, ParsingOptions};

/// Characters that a file name may hold on Linux and that would do harm in a page.
const HOSTILE: &str =
    "\"'><script src=\"https://evil.example/x.js\">alert(1)</script>&amp;<img src=x onerror=y>]]>";

#[test]
fn it_is_well_formed_and_loads_nothing() {
    for name in ["bees", HOSTILE] {
        for classes in [1, 2, 12, 60] {
            let html = report(name, classes).to_html();
            let page = parse(&html);
            for node in page.descendants().filter(Node::is_element) {
                loads_nothing(&node);
            }
        }
    }
}

#[test]
fn nothing_in_it_can_run_even_if_escaping_failed() {
    let html = report("bees", 2).to_html();
    let page = parse(&html);
    let policy = page
        .descendants()
        .find(|node| node.attribute("http-equiv") == Some("Content-Security-Policy"))
        .unwrap();
    let content = policy.attribute("content").unwrap();
    assert!(content.starts_with("default-src 'none';"), "{content}");
    assert!(!content.contains("http") && !content.contains("script"));
}

#[test]
fn foreign_text_arrives_as_text() {
    let html = report(HOSTILE, 2).to_html();
    assert!(!html.contains("<script"));
    let page = parse(&html);
    let places = [
        ("h1", 1),
        ("figcaption", 2),
        // Folder, and the skipped file (met by the scan and by a run, listed once).
        ("code", 2),
        ("b", 1),
        ("dd", 1),
        ("dt", 1),
        ("h2", 1),
    ];
    for (element, at_least) in places {
        let found = page
            .descendants()
            .filter(|node| node.has_tag_name(element))
            .filter(|node| text_of(*node).contains(HOSTILE))
            .count();
        assert!(found >= at_least, "{element}: {found}");
    }
}

#[test]
fn what_steers_the_reading_direction_is_shown_as_code() {
    let mut report = report("bees", 2);
    report.title = "photo\u{202e}gpj.exe\u{0}".into();
    let html = report.to_html();
    assert!(html.contains("photo\\u{202e}gpj.exe\\u{0}"));
    assert!(!html.contains('\u{202e}') && !html.contains('\u{0}'));
}

#[test]
fn weights_that_are_worth_something_else_now_are_called_so() {
    let mut report = report("bees", 2);
    report.runs.truncate(1);
    assert!(!report.to_html().contains("the images may have changed"));
    if let Some(outcome) = &mut report.runs[0].outcome {
        outcome.best_accuracy = Some(0.7);
    }
    let html = report.to_html();
    assert!(html.contains(
        ": its saved weights recognise 90.0 % of 10 images here, where 70.0 % was measured in training"
    ));
}

#[test]
fn many_skipped_files_are_counted_by_reason() {
    let mut report = report("bees", 2);
    report.runs.clear();
    // The reason begins with the file, as an error does.
    report.data.skipped = (0..30)
        .map(|number| SkippedFile {
            path: format!("{number}.jpg").into(),
            reason: match number % 3 {
                0 => format!("{number}.jpg: the file is empty"),
                _ => "not an image".into(),
            },
        })
        .collect();
    let html = report.to_html();
    let page = parse(&html);
    let reasons = page
        .descendants()
        .find(|node| node.attribute("class") == Some("reasons"));
    let reasons: Vec<String> = reasons.unwrap().children().map(text_of).collect();
    assert_eq!(reasons, ["20 × not an image", "10 × the file is empty"]);
}

#[test]
fn a_curve_is_broken_where_the_loss_is_no_number() {
    let mut report = report("bees", 2);
    report.runs.truncate(1);
    let pieces = |report: &Report| -> Vec<usize> {
        let html = report.to_html();
        parse(&html)
            .descendants()
            .filter(|node| node.has_tag_name("path"))
            .map(|node| node.attribute("d").unwrap().matches('M').count())
            .collect()
    };
    assert!(pieces(&report).iter().all(|&count| count == 1));
    report.runs[0].epochs[1].train_loss = f64::NAN;
    assert_eq!(pieces(&report).iter().filter(|&&n| n == 2).count(), 1);
    assert!(!report.to_html().contains("NaN"));
}

#[test]
fn a_thousand_classes_make_a_page_that_can_be_opened() {
    let html = report("bees", 1000).to_html();
    parse(&html);
    assert!(html.contains("1,000 classes is too large to draw"));
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
    let largest_drawn = report("bees", 200).to_html();
    assert!(largest_drawn.len() < 3_000_000, "{}", largest_drawn.len());
}

#[test]
fn an_empty_report_is_a_page_too() {
    let html = Report::new("").to_html();
    assert!(text_of(parse(&html).root_element()).contains("Nothing has been trained yet."));
}

#[test]
fn no_epochs_no_validation_and_zero_seconds_do_no_harm() {
    let mut report = Report::new("odd");
    report.runs.push(RunReport::from_events("nothing", &[]));
    let epoch = EpochMetrics {
        epoch: 1,
        epochs: 1,
        train_loss: f64::INFINITY,
        learning_rate: 0.0,
        images_per_second: f64::INFINITY,
        ..Default::default()
    };
    let events = [Event::EpochEnded { metrics: epoch }];
    report
        .runs
        .push(RunReport::from_events("no validation", &events));
    let html = report.to_html();
    parse(&html);
    assert!(!html.contains("inf\"") && !html.contains("NaN"));
}

#[test]
fn figures_are_files_of_their_own() {
    for name in ["bees", HOSTILE, "../../etc/passwd"] {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        let report = report(name, 3);
        let files = report.write_images(&images).unwrap();
        assert!(
            files
                .iter()
                .all(|file| file.parent() == Some(images.as_path())),
            "{files:?}"
        );
        let mut svgs = 0;
        for file in &files {
            let bytes = std::fs::read(file).unwrap();
            if file.extension().is_some_and(|ending| ending == "svg") {
                svgs += 1;
                let text = String::from_utf8(bytes).unwrap();
                let drawing = Document::parse(&text).unwrap();
                let root = drawing.root_element();
                assert!(root.has_tag_name(("http://www.w3.org/2000/svg", "svg")));
                assert!(root.descendants().all(|node| !node.has_tag_name("script")));
            }
        }
        // Four charts of both runs; confusion, reliability, three curves of classes and features of each.
        assert_eq!(svgs, 4 + 2 * 6, "{files:?}");
        let json = std::fs::read(images.join("report.json")).unwrap();
        let again: Report = serde_json::from_slice(&json).unwrap();
        assert_eq!(again, report);
    }
}

#[test]
fn it_comes_back_from_json() {
    let report = report("bees", 2);
    let json = serde_json::to_string(&report).unwrap();
    let again: Report = serde_json::from_str(&json).unwrap();
    assert!(again.to_html() == report.to_html());
    assert_eq!(again.pictures, report.pictures);
}

#[test]
fn it_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let report = report("bees", 2);
    report.write(&path).unwrap();
    assert!(std::fs::read_to_string(path).unwrap() == report.to_html());
}

fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(html, options).unwrap()
}

fn loads_nothing(node: &Node) {
    let element = node.tag_name().name();
    let known = [
        "html",
        "head",
        "body",
        "main",
        "meta",
        "title",
        "style",
        "header",
        "section",
        "p",
        "h1",
        "h2",
        "h3",
        "time",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "div",
        "span",
        "i",
        "b",
        "bdi",
        "br",
        "figure",
        "figcaption",
        "svg",
        "g",
        "rect",
        "line",
        "path",
        "polyline",
        "circle",
        "text",
        "img",
        "dl",
        "dt",
        "dd",
        "code",
        "details",
        "summary",
        "ul",
        "li",
    ];
    assert!(known.contains(&element), "<{element}>");
    if element == "style" {
        let css = text_of(*node);
        assert!(!css.contains("url(") && !css.contains("@import"));
    }
    for attribute in node.attributes() {
        let (name, value) = (attribute.name(), attribute.value());
        assert!(!name.starts_with("on"), "{name}");
        assert!(!name.contains("href"), "{name}");
        if name == "src" {
            let is_picture = ["data:image/png;base64,", "data:image/jpeg;base64,"]
                .iter()
                .any(|start| value.starts_with(start));
            assert!(is_picture, "{value}");
        }
        if name == "style" {
            assert!(!value.contains("url("), "{value}");
        }
    }
}

fn text_of(node: Node) -> String {
    node.descendants()
        .filter_map(|n| n.text().filter(|_| n.is_text()))
        .collect()
}

/// A report in which every foreign string is `name`.
fn report(name: &str, classes: usize) -> Report {
    let mut report = Report::new(name);
    report.fact(name, name);
    report.data.source = name.into();
    report.data.classes = (0..classes)
        .map(|_| ClassCount {
            name: name.into(),
            train: 120,
            valid: 5,
        })
        .collect();
    report.data.skipped.push(SkippedFile {
        path: name.into(),
        reason: name.into(),
    });
    report.pictures.push(Picture::new(name, vec![0x89, b'P']));
    let mut best = run(name, 0.9, classes);
    best.description = name.into();
    best.pictures.push(Picture::new(name, vec![1]));
    report.runs = vec![best, run("from scratch", 0.6, classes)];
    report
}

fn run(name: &str, best: f64, classes: usize) -> RunReport {
    let epoch = |epoch, accuracy| Event::EpochEnded {
        metrics: EpochMetrics {
            epoch,
            epochs: 3,
            train_loss: 0.5,
            train_accuracy: 0.5,
            valid_loss: Some(0.4 / epoch as f64),
            valid_accuracy: Some(accuracy),
            learning_rate: 1e-3,
            train_seconds: 20.0,
            valid_seconds: 4.0,
            images_per_second: 20.0,
            best: false,
            ..EpochMetrics::default()
        },
    };
    let part = |parameters, trainable| PartSummary {
        name: name.into(),
        parameters,
        trainable,
        learning_rate: None,
    };
    let events = [
        Event::RunStarted(RunSummary {
            valid_images: 10,
            ..RunSummary::default()
        }),
        Event::PhaseEnded {
            name: name.into(),
            seconds: 3.0,
        },
        Event::StageStarted(StageSummary {
            name: name.into(),
            first_epoch: 1,
            last_epoch: 3,
            parts: vec![part(1_026, 1_026)],
        }),
        epoch(1, best - 0.2),
        epoch(2, best),
        Event::RunEnded(RunOutcome {
            reason: EndReason::Interrupted,
            epochs: 2,
            best_epoch: Some(2),
            best_accuracy: Some(best),
            last_accuracy: Some(best - 0.1),
            seconds: 90.0,
            best_weights: None,
            directory: None,
        }),
    ];
    let mut run = RunReport::from_events(name, &events);
    // Reported separately, so that "last" can differ from "best".
    if let Event::EpochEnded { metrics } = epoch(3, best - 0.1) {
        run.epochs.push(EpochMetrics {
            valid_loss: Some(0.3),
            ..metrics
        });
    }
    let labels: Vec<usize> = (0..classes * 5).map(|index| index % classes).collect();
    let mut probabilities = vec![0.1 / classes as f32; labels.len() * classes];
    for (row, label) in labels.iter().enumerate() {
        let predicted = if row % 5 == 0 { 0 } else { *label };
        probabilities[row * classes + predicted] += 0.9;
    }
    run.evaluation = Evaluation::from_probabilities(&probabilities, &labels, classes).ok();
    run.temperature = Temperature::fit(&probabilities, &labels, classes).ok();
    assert!(run.evaluation.is_some() && run.temperature.is_some());
    run.mistakes = vec![Mistake {
        file: name.into(),
        truth: 0,
        predicted: classes - 1,
        confidence: 0.875,
        picture: vec![0xff, 0xd8],
        overlay: vec![0xff, 0xd8, 1],
    }];
    run.map = Some(FeatureMap {
        points: (0..classes * 3)
            .map(|index| MapPoint {
                x: index as f64,
                y: -(index as f64).sqrt(),
                truth: index % classes,
                predicted: if index == 1 { 0 } else { index % classes },
            })
            .collect(),
        images: classes * 3,
        explained: [0.5, 0.25],
    });
    run.skipped = vec![SkippedFile {
        path: name.into(),
        reason: name.into(),
    }];
    run
}
