//! The runs side by side, in numbers.

use crate::contents::{Report, RunReport};
use crate::html::{Html, class};
use crate::parts::{capitalised, meter, scrolling, swatch};
use crate::svg::series;
use rekindle_trainer::events::{EndReason, EpochMetrics};
use rekindle_trainer::text;

pub(crate) fn draw(html: &mut Html, report: &Report) {
    let runs = &report.runs;
    if runs.is_empty() {
        return;
    }
    let several = runs.len() > 1;
    let columns = columns(runs);
    html.node("section", &[], |html| {
        html.leaf("h2", &[], if several { "Runs compared" } else { "Result" });
        scrolling(html, |html| {
            html.node("table", &[class("wide compared")], |html| {
                html.node("thead", &[], |html| {
                    html.node("tr", &[], |html| {
                        html.leaf("th", &[], "run");
                        if !are_numbers(runs) {
                            html.leaf("th", &[class("bar-column")], bar(runs).0);
                        }
                        for column in &columns {
                            html.leaf("th", &[class("number")], column.name);
                        }
                    });
                });
                html.node("tbody", &[], |html| {
                    for index in 0..runs.len() {
                        row(html, index, runs, &columns);
                    }
                });
            });
        });
        for run in runs {
            remarks(html, run);
        }
        if !comparable(runs) {
            let why = "The runs were validated on different numbers of images, so their figures don't compare strictly.";
            html.leaf("p", &[class("note")], why);
        }
    });
}

/// A column of figures, one for each run that has it.
struct Column {
    name: &'static str,
    cells: Vec<Option<String>>,
}

/// Returns the columns in which at least one run has a figure.
fn columns(runs: &[RunReport]) -> Vec<Column> {
    let scratch = scratch(runs);
    let column = |name, cell: &dyn Fn(&RunReport) -> Option<String>| Column {
        name,
        cells: runs.iter().map(cell).collect(),
    };
    let mut columns = vec![
        column("against scratch", &|run| gain(run, scratch?)),
        column("mean absolute error", &|run| {
            run.best_mae().map(text::figure)
        }),
        column("MAE (classes)", &|run| {
            run.mae_of_order().map(|mae| format!("{mae:.3}"))
        }),
        column("weighted kappa", &|run| {
            run.weighted_kappa().map(|kappa| format!("{kappa:.3}"))
        }),
        column("RMSE", &|run| figure(run, "rmse").map(text::figure)),
        column("R2", &|run| figure(run, "r2").map(|r2| format!("{r2:.3}"))),
        column("best epoch", &best_epoch),
        column("last accuracy", &|run| {
            last_accuracy(run).map(text::percent)
        }),
        column("lowest validation loss", &|run| {
            lowest_loss(run).map(text::loss)
        }),
        column("trained parameters", &|run| {
            trained_parameters(run).map(text::count)
        }),
        column("images/s", &|run| {
            images_per_second(&run.epochs).map(|rate| text::count(rate.round() as usize))
        }),
        column("time", &|run| {
            (run.seconds() > 0.0).then(|| text::duration(run.seconds()))
        }),
    ];
    columns.retain(|column| column.cells.iter().any(Option::is_some));
    columns
}

/// Whether the runs learn numbers, so that there is no accuracy.
pub(crate) fn are_numbers(runs: &[RunReport]) -> bool {
    !runs.is_empty() && runs.iter().all(|run| run.best_mae().is_some())
}

/// A figure of the best epoch.
fn figure(run: &RunReport, name: &str) -> Option<f64> {
    run.best_epoch()?.figures.get(name).copied()
}

/// Returns the accuracy that is drawn as a bar: without validation images that on the training images.
fn bar(runs: &[RunReport]) -> (&'static str, fn(&RunReport) -> Option<f64>) {
    if runs.iter().any(|run| run.best_accuracy().is_some()) {
        ("best accuracy", RunReport::best_accuracy)
    } else {
        ("last training accuracy", |run| {
            let accuracy = run.epochs.last()?.train_accuracy;
            accuracy.is_finite().then_some(accuracy)
        })
    }
}

fn row(html: &mut Html, index: usize, runs: &[RunReport], columns: &[Column]) {
    let run = &runs[index];
    let bar = bar(runs).1;
    let accuracy = bar(run);
    let best = runs.iter().filter_map(bar).reduce(f64::max);
    let lowest = runs.iter().filter_map(RunReport::best_mae).reduce(f64::min);
    let is_best = match are_numbers(runs) {
        true => run.best_mae() == lowest,
        false => accuracy.is_some() && accuracy == best,
    };
    let winner = runs.len() > 1 && is_best;
    html.node("tr", &[class(if winner { "winner" } else { "" })], |html| {
        html.node("td", &[class("name")], |html| {
            swatch(html, index);
            html.name(&run.name);
        });
        if !are_numbers(runs) {
            html.node("td", &[class("bar-column")], |html| match accuracy {
                Some(accuracy) => meter(html, &series(index), accuracy, &text::percent(accuracy)),
                None => html.text("–"),
            });
        }
        for column in columns {
            let cell = column.cells[index].as_deref().unwrap_or("–");
            html.leaf("td", &[class("number")], cell);
        }
    });
}

/// Writes how a run ended, if not as planned, and whether its weights turned out to be worth something else.
fn remarks(html: &mut Html, run: &RunReport) {
    let remark = |html: &mut Html, what: &str| {
        html.node("p", &[class("note")], |html| {
            html.name(&capitalised(&run.name));
            html.text(what);
        });
    };
    if let Some(end) = end(run) {
        remark(html, &end);
    }
    if let (Some(found), Some(measured)) = (run.examined_otherwise(), run.best_accuracy()) {
        let what = format!(
            ": its saved weights recognise {} of {} here, where {} was measured in training; the images may have \
             changed.",
            text::percent(found.accuracy),
            text::counted(found.samples, "image", "images"),
            text::percent(measured)
        );
        remark(html, &what);
    }
}

fn end(run: &RunReport) -> Option<String> {
    let figures = match run.epochs.len() {
        0 => "before its first epoch had ended, so there are no figures",
        1 => "after one epoch; its figures are those of that",
        _ => "early; its figures are those up to then",
    };
    match &run.outcome {
        Some(outcome) => match outcome.reason {
            EndReason::Finished => None,
            EndReason::EarlyStopping => {
                Some(" stopped early, because it no longer improved.".into())
            }
            EndReason::Interrupted => Some(format!(" was interrupted {figures}.")),
            EndReason::Diverged => Some(" diverged: its loss is no longer a number.".into()),
            EndReason::Failed => Some(format!(" ended with an error {figures}.")),
        },
        None if run.summary.is_some() => Some(match run.epochs.len() {
            0 => " has not ended an epoch: it still goes on or was killed.".into(),
            epochs => format!(
                " has not ended: it still goes on or was killed; its figures are those of {}.",
                text::counted(epochs, "epoch", "epochs")
            ),
        }),
        None => None,
    }
}

/// Returns true if all accuracies come from equally many images.
fn comparable(runs: &[RunReport]) -> bool {
    let measured = runs.iter().filter(|run| run.best_accuracy().is_some());
    let mut images = measured.filter_map(RunReport::validated_images);
    let Some(first) = images.next() else {
        return true;
    };
    images.all(|other| other == first)
}

/// Returns the accuracy of the run without transfer, where it is one of several.
fn scratch(runs: &[RunReport]) -> Option<f64> {
    if runs.len() < 2 {
        return None;
    }
    let run = runs.iter().find(|run| run.is_from_scratch())?;
    run.best_accuracy()
}

/// Returns the gain by transfer in percentage points.
fn gain(run: &RunReport, scratch: f64) -> Option<String> {
    let accuracy = run.best_accuracy().filter(|_| !run.is_from_scratch())?;
    Some(format!("{:+.1} points", 100.0 * (accuracy - scratch)))
}

fn best_epoch(run: &RunReport) -> Option<String> {
    match run.best_epoch() {
        Some(best) => Some(format!("{} of {}", best.epoch, best.epochs)),
        None if run.epochs.is_empty() && run.evaluation.is_some() => Some("no epochs".into()),
        None => None,
    }
}

/// The last epoch's as the run told it at its end, or that of a run whose weights were found without epochs.
fn last_accuracy(run: &RunReport) -> Option<f64> {
    let outcome = run.outcome.as_ref();
    if let Some(told) = outcome.and_then(|outcome| outcome.last_accuracy) {
        return Some(told);
    }
    match run.epochs.last() {
        Some(epoch) => epoch.valid_accuracy,
        None => run.best_accuracy(),
    }
}

fn lowest_loss(run: &RunReport) -> Option<f64> {
    let losses = run.epochs.iter().filter_map(|epoch| epoch.valid_loss);
    let of_epochs = losses.filter(|loss| loss.is_finite()).reduce(f64::min);
    of_epochs.or_else(|| run.best_loss())
}

/// The most that any stage trains.
fn trained_parameters(run: &RunReport) -> Option<usize> {
    let stages = run.stages.iter().map(|stage| stage.trainable_parameters());
    let summary = run.summary.as_ref().map(|run| run.trainable_parameters);
    stages
        .max()
        .or(summary)
        .filter(|parameters| *parameters > 0)
}

fn images_per_second(epochs: &[EpochMetrics]) -> Option<f64> {
    let seconds: f64 = epochs.iter().map(|epoch| epoch.train_seconds).sum();
    let images: f64 = epochs
        .iter()
        .map(|epoch| epoch.images_per_second * epoch.train_seconds)
        .sum();
    (seconds > 0.0 && images.is_finite()).then(|| images / seconds)
}
