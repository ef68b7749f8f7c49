//! The strategies side by side, in numbers.

use super::chart::series;
use super::html::{Html, class};
use super::page::{capitalised, meter, swatch};
use super::{Report, RunReport};
use crate::events::{EndReason, EpochMetrics};
use crate::text;

pub(super) fn draw(html: &mut Html, report: &Report) {
    if report.runs.is_empty() {
        return;
    }
    html.node("section", &[], |html| {
        html.leaf(
            "h2",
            &[],
            if report.runs.len() > 1 {
                "Strategies compared"
            } else {
                "Result"
            },
        );
        html.node("div", &[class("scroll")], |html| {
            html.node("table", &[class("wide")], |html| {
                html.node("thead", &[], |html| {
                    html.node("tr", &[], |html| {
                        html.leaf("th", &[], "strategy");
                        html.leaf("th", &[class("bar-column")], "best accuracy");
                        let against_scratch = scratch(&report.runs).map(|_| "against scratch");
                        for name in against_scratch.into_iter().chain([
                            "at epoch",
                            "last accuracy",
                            "lowest valid loss",
                            "trained parameters",
                            "images/s",
                            "time",
                        ]) {
                            html.leaf("th", &[class("number")], name);
                        }
                    });
                });
                html.node("tbody", &[], |html| {
                    let best = best_of(&report.runs);
                    for (index, run) in report.runs.iter().enumerate() {
                        row(html, index, run, (best, scratch(&report.runs)));
                    }
                });
            });
        });
        let remarks: Vec<String> = report.runs.iter().filter_map(remark).collect();
        for remark in remarks {
            html.leaf("p", &[class("note")], &remark);
        }
    });
}

/// `yardsticks` are the best accuracy of all runs, and that of the run from scratch.
fn row(html: &mut Html, index: usize, run: &RunReport, yardsticks: (Option<f64>, Option<f64>)) {
    let (best, scratch) = yardsticks;
    let accuracy = run.best_accuracy();
    let winner = accuracy.is_some() && accuracy == best;
    html.node("tr", &[class(if winner { "winner" } else { "" })], |html| {
        html.node("td", &[class("name")], |html| {
            swatch(html, index);
            html.text(&run.name);
        });
        html.node("td", &[class("bar-column")], |html| match accuracy {
            Some(accuracy) => meter(html, &series(index), accuracy, &text::percent(accuracy)),
            None => html.text("–"),
        });
        let dash = || "–".to_string();
        let last = run.epochs.last().and_then(|epoch| epoch.valid_accuracy);
        if let Some(scratch) = scratch {
            html.leaf("td", &[class("number")], &gain(run, scratch));
        }
        let cells = [
            run.best_epoch()
                .map_or_else(dash, |epoch| format!("{} of {}", epoch.epoch, epoch.epochs)),
            last.map_or_else(dash, text::percent),
            lowest_loss(run).map_or_else(dash, text::loss),
            trained_parameters(run).map_or_else(dash, text::count),
            images_per_second(&run.epochs).map_or_else(dash, |rate| format!("{rate:.0}")),
            text::duration(run.seconds()),
        ];
        for cell in cells {
            html.leaf("td", &[class("number")], &cell);
        }
    });
}

fn remark(run: &RunReport) -> Option<String> {
    let why = match run.outcome.as_ref()?.reason {
        EndReason::Finished => return None,
        EndReason::EarlyStopping => "stopped early, because it no longer improved",
        EndReason::Interrupted => "was interrupted; its figures are those up to then",
        EndReason::Diverged => "diverged: its loss is no longer a number",
        EndReason::Failed => "ended with an error; its figures are those up to then",
    };
    Some(format!("{} {why}.", capitalised(&run.name)))
}

fn best_of(runs: &[RunReport]) -> Option<f64> {
    if runs.len() < 2 {
        return None;
    }
    runs.iter()
        .filter_map(RunReport::best_accuracy)
        .reduce(f64::max)
}

/// Accuracy of the run without transfer, where it is one of several.
fn scratch(runs: &[RunReport]) -> Option<f64> {
    if runs.len() < 2 {
        return None;
    }
    let run = runs.iter().find(|run| run.is_from_scratch())?;
    run.best_accuracy()
}

/// What transfer brings, in percentage points.
fn gain(run: &RunReport, scratch: f64) -> String {
    match run.best_accuracy() {
        Some(accuracy) if !run.is_from_scratch() => {
            format!("{:+.1} points", 100.0 * (accuracy - scratch))
        }
        _ => "–".into(),
    }
}

fn lowest_loss(run: &RunReport) -> Option<f64> {
    let losses = run.epochs.iter().filter_map(|epoch| epoch.valid_loss);
    losses.filter(|loss| loss.is_finite()).reduce(f64::min)
}

/// The most that any stage trains.
fn trained_parameters(run: &RunReport) -> Option<usize> {
    let stages = run.stages.iter().map(|stage| stage.trainable_parameters());
    let summary = run.summary.as_ref().map(|run| run.trainable_parameters);
    stages.max().or(summary)
}

fn images_per_second(epochs: &[EpochMetrics]) -> Option<f64> {
    let seconds: f64 = epochs.iter().map(|epoch| epoch.train_seconds).sum();
    let images: f64 = epochs
        .iter()
        .map(|epoch| epoch.images_per_second * epoch.train_seconds)
        .sum();
    (seconds > 0.0 && images.is_finite()).then(|| images / seconds)
}
