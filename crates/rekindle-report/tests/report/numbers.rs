//! The page of runs that learn a number of each picture.

use rekindle_report::{ClassCount, Miss, NumberSpread, NumbersReport, Report, RunReport};
use rekindle_trainer::events::{EndReason, EpochMetrics, RunOutcome, RunSummary, Trial};
use rekindle_trainer::{Event, RegressionEvaluation};

use crate::{HOSTILE, parse, text_of};

fn outcome(best: usize) -> RunOutcome {
    RunOutcome {
        reason: EndReason::Finished,
        epochs: 3,
        best_epoch: Some(best),
        best_accuracy: None,
        last_accuracy: None,
        seconds: 12.0,
        best_weights: None,
        directory: None,
    }
}

fn run(name: &str, errors: [f64; 3], best: usize) -> RunReport {
    let mut events = vec![
        Event::RunStarted(RunSummary {
            classes: vec!["age".into()],
            valid_images: 4,
            ..RunSummary::default()
        }),
        Event::Tried(Trial {
            what: "ridge regression".into(),
            images: 40,
            mae: Some(4.321),
            kept: true,
            ..Trial::default()
        }),
    ];
    for (at, mae) in errors.into_iter().enumerate() {
        events.push(Event::EpochEnded {
            metrics: EpochMetrics {
                epoch: at + 1,
                epochs: 3,
                train_loss: 0.5,
                train_accuracy: f64::NAN,
                valid_loss: Some(mae / 10.0),
                figures: [
                    ("mae".into(), mae),
                    ("rmse".into(), 1.5 * mae),
                    ("r2".into(), 0.75),
                ]
                .into(),
                ..EpochMetrics::default()
            },
        });
    }
    events.push(Event::RunEnded(outcome(best)));
    let mut run = RunReport::from_events(name, &events);
    let (truths, answers) = ([20.0, 40.0, 60.0, 80.0], [20.0, 40.0, 63.0, 72.0]);
    run.numbers = Some(NumbersReport {
        name: "age".into(),
        evaluation: RegressionEvaluation::from_numbers(&answers, &truths).unwrap(),
        points: truths
            .iter()
            .zip(answers)
            .map(|(truth, answer)| [f64::from(*truth), f64::from(answer)])
            .collect(),
        worst: vec![Miss {
            file: HOSTILE.into(),
            truth: 80.0,
            answer: 72.0,
            picture: vec![1],
        }],
    });
    run
}

fn report() -> Report {
    let mut report = Report::new("ages");
    report.data.classes = vec![ClassCount {
        name: "age".into(),
        train: 120,
        valid: 4,
    }];
    let spread = NumberSpread {
        low: 1.0,
        mean: 45.5,
        high: 90.0,
    };
    report.data.numbers = Some([spread; 2]);
    report.runs = vec![
        run("features", [5.0, 3.4, 3.75], 2),
        run("finetune", [9.0, 8.0, 2.25], 3),
    ];
    report
}

#[test]
fn runs_are_compared_by_their_errors_and_no_class_is_spoken_of() {
    let html = report().to_html();
    let page = parse(&html);
    let lead = page
        .descendants()
        .find(|node| node.attribute("class") == Some("lead"))
        .unwrap();
    let lead = text_of(lead).replace('\u{a0}', " ");
    assert_eq!(
        lead,
        "Finetune is off by 2.25 on average on 4 validation images, and explains 75.0 % of their variance; it was trained \
         in 12.0 s. The next best, features, is off by 3.40."
    );
    let winner = page
        .descendants()
        .find(|node| node.attribute("class") == Some("winner") && node.has_tag_name("tr"))
        .unwrap();
    assert!(
        text_of(winner).starts_with("finetune2.253.380.750"),
        "{}",
        text_of(winner)
    );
    for expected in [
        "Mean absolute error",
        "Answers and true numbers",
        "Residuals (answer less true number)",
        "The largest errors",
        "MAE on held-out images",
        "with the number",
        "highest",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    for wrong in [
        "ccuracy",
        "onfusion",
        "eliability",
        "recognises",
        "classes",
        "NaN",
        "<script",
    ] {
        assert!(!html.contains(wrong), "{wrong}");
    }
}

/// An answer that is right lies on the line from one corner to the other.
#[test]
fn answers_that_are_right_lie_on_the_diagonal() {
    let html = report().to_html();
    let page = parse(&html);
    let svg = page
        .descendants()
        .find(|node| node.attribute("aria-label") == Some("Answers and true numbers of age"))
        .unwrap();
    let value = |node: roxmltree::Node, name: &str| -> f64 {
        node.attribute(name).unwrap().parse().unwrap()
    };
    let ideal = svg
        .descendants()
        .find(|node| node.attribute("class") == Some("ideal"))
        .unwrap();
    let [x1, y1, x2, y2] = ["x1", "y1", "x2", "y2"].map(|name| value(ideal, name));
    let above: Vec<f64> = svg
        .descendants()
        .filter(|node| node.has_tag_name("circle"))
        .map(|point| {
            let share = (value(point, "cx") - x1) / (x2 - x1);
            (y1 + share * (y2 - y1)) - value(point, "cy")
        })
        .collect();
    assert_eq!(above.len(), 4);
    assert!(above[0].abs() < 0.1 && above[1].abs() < 0.1, "{above:?}");
    assert!(above[2] > 1.0 && above[3] < -1.0, "{above:?}");
}

#[test]
fn a_run_without_an_end_is_best_where_its_error_is_lowest() {
    let mut run = run("features", [5.0, 3.4, 3.75], 2);
    run.outcome = None;
    assert_eq!(run.best_epoch().unwrap().epoch, 2);
    assert_eq!(run.best_mae(), Some(3.4));
    assert_eq!(run.validated_images(), Some(4));
    let text = serde_json::to_string(&run).unwrap();
    let read: RunReport = serde_json::from_str(&text).unwrap();
    assert_eq!(read.numbers, run.numbers);
}
