//! Checks what the page says of runs: the result first, each set against the next best.

use rekindle_report::{PhaseTime, Report, RunReport};
use rekindle_trainer::Event;
use rekindle_trainer::events::{
    EndReason, EpochMetrics, Forecast, PartSummary, RunOutcome, RunSummary, StageSummary, Trial,
};

use crate::{parse, report, text_of};

#[test]
fn it_tells_the_result_first() {
    let html = report("bees", 2).to_html();
    let page = parse(&html);
    let lead = page
        .descendants()
        .find(|node| node.attribute("class") == Some("lead"))
        .unwrap();
    assert_eq!(
        text_of(lead).replace('\u{a0}', " "),
        "Bees recognises 90.0 % of 10 validation images, trained in 1 min 30 s. That is 30.0 \
         percentage points (3 images) more than the next best, from scratch (60.0 %)."
    );
}

/// The lead of a page of these runs, each with its accuracy on 200 images and its loss.
fn lead(runs: &[(&str, f64, f64)]) -> String {
    let mut report = Report::new("bees");
    for (name, accuracy, loss) in runs {
        let events = [
            Event::RunStarted(RunSummary {
                valid_images: 200,
                ..RunSummary::default()
            }),
            Event::EpochEnded {
                metrics: EpochMetrics {
                    epoch: 1,
                    epochs: 1,
                    valid_accuracy: Some(*accuracy),
                    valid_loss: Some(*loss),
                    train_seconds: 2.0,
                    ..EpochMetrics::default()
                },
            },
        ];
        report.runs.push(RunReport::from_events(*name, &events));
    }
    let html = report.to_html();
    let page = parse(&html);
    let lead = page
        .descendants()
        .find(|node| node.attribute("class") == Some("lead"));
    let lead = text_of(lead.unwrap()).replace('\u{a0}', " ");
    lead.strip_prefix("Lora recognises 95.0 % of 200 validation images, trained in 2.00 s.")
        .unwrap_or_else(|| panic!("{lead}"))
        .trim()
        .to_string()
}

#[test]
fn the_best_run_is_set_against_the_next_best_and_against_scratch() {
    let lora = ("lora", 0.95, 0.2);
    assert_eq!(lead(&[lora]), "");
    assert_eq!(
        lead(&[("scratch", 0.6, 0.9), lora, ("finetune", 0.945, 0.2)]),
        "That is 0.5 percentage points (1 image) more than the next best, finetune (94.5 %), and 35.0 more than \
         scratch (60.0 %)."
    );
    assert_eq!(
        lead(&[("scratch", 0.94, 0.9), lora, ("finetune", 0.9, 0.2)]),
        "That is 1.0 percentage points (2 images) more than the next best, scratch (94.0 %)."
    );
    // Of equal ones that with the lower loss comes first.
    assert_eq!(
        lead(&[("finetune", 0.95, 0.3), lora]),
        "Both runs reach the same accuracy."
    );
    assert_eq!(
        lead(&[("scratch", 0.6, 0.9), ("finetune", 0.95, 0.3), lora]),
        "Finetune reaches the same accuracy. That is 35.0 percentage points (70 images) more than scratch (60.0 %)."
    );
    assert_eq!(
        lead(&[("a", 0.95, 0.3), lora, ("b", 0.95, 0.4), ("c", 0.9, 0.1)]),
        "A and 1 other run reach the same accuracy."
    );
}

#[test]
fn the_legend_says_augmentation_where_there_was_any() {
    let legend = |augmented: &[Option<bool>]| -> String {
        let mut report = report("bees", 2);
        report.runs.truncate(augmented.len());
        for (run, augmented) in report.runs.iter_mut().zip(augmented) {
            run.summary.as_mut().unwrap().augmented = *augmented;
        }
        let html = report.to_html();
        let page = parse(&html);
        let legend = page
            .descendants()
            .find(|node| node.attribute("class") == Some("legend"));
        text_of(legend.unwrap())
    };
    let ends = |augmented: &[Option<bool>], end: &str| {
        let legend = legend(augmented);
        assert!(legend.ends_with(&format!("{end}best epoch")), "{legend}");
    };
    ends(&[Some(true); 2], "training, with augmentation");
    ends(&[Some(false); 2], "training, without augmentation");
    ends(&[None; 2], "validationtraining");
    ends(
        &[Some(false), Some(true)],
        "training, with augmentation in from scratch",
    );
}

#[test]
fn a_run_without_epochs_has_a_row_of_figures() {
    let mut report = report("bees", 2);
    let mut one_call = RunReport {
        name: "one-call".into(),
        phases: vec![PhaseTime {
            name: "features".into(),
            seconds: 2.5,
        }],
        summary: Some(RunSummary {
            trainable_parameters: 1_026,
            ..RunSummary::default()
        }),
        ..RunReport::default()
    };
    one_call.evaluation = report.runs[0].evaluation.clone();
    report.runs[1] = one_call;
    let html = report.to_html();
    let page = parse(&html);
    let row = page
        .descendants()
        .filter(|node| node.has_tag_name("tr"))
        .find(|row| text_of(*row).starts_with("one-call"));
    let cells: Vec<String> = row.unwrap().children().map(text_of).collect();
    let loss = format!(
        "{:.3}",
        report.runs[0].evaluation.as_ref().unwrap().cross_entropy
    );
    assert_eq!(
        cells,
        [
            "one-call",
            "90.0 %",
            "no epochs",
            "90.0 %",
            &loss,
            "1,026",
            "–",
            "2.50 s"
        ]
    );
}

#[test]
fn what_a_fit_tried_is_a_table_and_its_forecast_is_held_against_what_was_found() {
    let mut report = report("bees", 2);
    let tried = |what: &str, gain, kept| {
        Event::Tried(Trial {
            what: what.into(),
            why: "it <may> pay".into(),
            images: 48,
            accuracy: Some(0.875),
            loss: Some(0.3),
            gain,
            kept,
            seconds: 12.5,
            ..Trial::default()
        })
    };
    let forecast = |low, high| {
        Event::Forecast(Forecast {
            accuracy: 0.88,
            low,
            high,
            images: 48,
        })
    };
    let page_of = |report: &mut Report, low, high| {
        let events = [
            tried("probes", None, true),
            tried("other probes", Some(0.01), true),
            tried("fine-tuning", Some(-0.021), false),
            forecast(low, high),
        ];
        let evaluation = report.runs[0].evaluation.clone();
        report.runs[0] = RunReport {
            evaluation,
            ..RunReport::from_events("fit", &events)
        };
        report.to_html()
    };
    let html = page_of(&mut report, 0.8, 0.95);
    let page = parse(&html);
    let table = page
        .descendants()
        .find(|node| {
            node.attribute("class")
                .is_some_and(|class| class.contains("trials"))
        })
        .unwrap();
    let rows: Vec<Vec<String>> = table
        .descendants()
        .filter(|node| node.has_tag_name("tr"))
        .map(|row| row.children().map(text_of).collect())
        .collect();
    let right = "87.5\u{a0}%\u{a0}of\u{a0}48";
    let row = |what, gain, fate| [what, "it <may> pay", right, gain, "12.5 s", fate];
    assert_eq!(rows[1], row("probes", "–", "replaced"));
    assert_eq!(rows[2], row("other probes", "+1.0", "kept"));
    assert_eq!(rows[3], row("fine-tuning", "−2.1", ""));
    // The made-up run names 90 % right.
    assert!(html.contains("inside of it"), "{html}");
    assert!(page_of(&mut report, 0.92, 0.99).contains("outside of it"));
}

#[test]
fn a_run_that_ended_early_or_not_at_all_says_so() {
    let notes = |report: &Report| -> Vec<String> {
        let html = report.to_html();
        let page = parse(&html);
        page.descendants()
            .filter(|node| node.attribute("class") == Some("note"))
            .map(text_of)
            .collect()
    };
    let mut report = report("bees", 2);
    report.runs.truncate(1);
    let interrupted = "Bees was interrupted early; its figures are those up to then.";
    assert_eq!(notes(&report)[0], interrupted);
    // Killed: no event says that it ended.
    report.runs[0].outcome = None;
    assert!(notes(&report)[0].contains("it still goes on or was killed"));
    report.runs[0].epochs.clear();
    assert!(notes(&report)[0].contains("has not ended an epoch"));
    // Resumed after its end, and not yet there again.
    let resumed = [
        Event::RunEnded(RunOutcome {
            reason: EndReason::Interrupted,
            epochs: 1,
            best_epoch: None,
            best_accuracy: None,
            last_accuracy: None,
            seconds: 1.0,
            best_weights: None,
            directory: None,
        }),
        Event::RunStarted(RunSummary::default()),
    ];
    assert_eq!(RunReport::from_events("bees", &resumed).outcome, None);
}

#[test]
fn every_figure_of_the_comparison_is_there() {
    let html = report("bees", 2).to_html();
    let page = parse(&html);
    let row: Vec<String> = page
        .descendants()
        .find(|node| node.attribute("class") == Some("winner"))
        .unwrap()
        .children()
        .map(text_of)
        .collect();
    let expected = [
        "bees",
        "90.0 %",
        "2 of 3",
        "80.0 %",
        "0.200",
        "1,026",
        "20",
        "1 min 30 s",
    ];
    assert_eq!(row, expected);
}

#[test]
fn a_resumed_run_counts_each_epoch_once() {
    let epoch = |epoch, accuracy| Event::EpochEnded {
        metrics: EpochMetrics {
            epoch,
            valid_accuracy: Some(accuracy),
            ..Default::default()
        },
    };
    let events = [epoch(1, 0.5), epoch(2, 0.9), epoch(3, 0.9), epoch(2, 0.7)];
    let run = RunReport::from_events("resumed", &events);
    let accuracies: Vec<_> = run.epochs.iter().map(|e| e.valid_accuracy).collect();
    assert_eq!(accuracies, [Some(0.5), Some(0.7)]);
    assert_eq!(run.best_epoch().unwrap().epoch, 2);
}

#[test]
fn each_part_has_its_own_curve_of_rates() {
    let mut report = report("bees", 2);
    let part = |name: &str, learning_rate| PartSummary {
        name: name.into(),
        parameters: 10,
        trainable: if learning_rate > 0.0 { 10 } else { 0 },
        learning_rate: (learning_rate > 0.0).then_some(learning_rate),
    };
    let stage = |first_epoch, last_epoch, layer4| StageSummary {
        name: "thaw".into(),
        first_epoch,
        last_epoch,
        parts: vec![part("layer4", layer4), part("head", 2e-3)],
    };
    // Frozen in the first epoch, then at a tenth of the head's rate, which the schedule has halved by then.
    report.runs[0].stages = vec![stage(1, 1, 0.0), stage(2, 3, 2e-4)];
    let html = report.to_html();
    let page = parse(&html);
    let titles: Vec<String> = page
        .descendants()
        .filter(|node| node.has_tag_name("title"))
        .map(text_of)
        .collect();
    let of_layer4: Vec<&String> = titles.iter().filter(|t| t.starts_with("layer4")).collect();
    assert_eq!(
        of_layer4,
        ["layer4, epoch 2: 1e-4", "layer4, epoch 3: 1e-4"]
    );
    assert!(
        titles.contains(&"head, epoch 1: 0.001".to_string()),
        "{titles:?}"
    );
}

#[test]
fn transfer_is_set_against_scratch() {
    let mut report = report("bees", 2);
    report.runs[1].name = "scratch".into();
    let html = report.to_html();
    assert!(html.contains("against scratch"));
    assert!(html.contains("+30.0 points"));
    report.runs.truncate(1);
    assert!(!report.to_html().contains("against scratch"));
}
