//! The curves of all runs over the epochs.

use crate::chart::{Chart, Curve, Scale};
use crate::comparison::are_numbers;
use crate::contents::RunReport;
use crate::html::{Html, class};
use crate::parts::swatch;
use rekindle_trainer::events::EpochMetrics;
use rekindle_trainer::text;

/// Number of runs above which the training set's curves are left out: twice as many curves would hide one another.
const WITH_TRAINING: usize = 6;

/// Values that reach further above the middle one than by this factor would press the others to the ground.
const OUTLIER: f64 = 20.0;

pub(crate) fn draw(html: &mut Html, runs: &[RunReport]) {
    if runs.iter().all(|run| run.epochs.is_empty()) {
        return;
    }
    html.node("section", &[], |html| {
        html.leaf("h2", &[], "Training curves");
        legend(html, runs);
        html.node("div", &[class("charts")], |html| {
            for (_, chart) in charts(runs) {
                chart.draw(html);
            }
        });
    });
}

/// Returns the curves of all runs, each with a name for a file.
pub(crate) fn charts(runs: &[RunReport]) -> [(&'static str, Chart<'static>); 5] {
    let accuracy = pairs(
        runs,
        |epoch| epoch.valid_accuracy,
        |epoch| epoch.train_accuracy,
    );
    let loss = pairs(runs, |epoch| epoch.valid_loss, |epoch| epoch.train_loss);
    let mae = lines(runs, false, |epoch| epoch.figures.get("mae").copied());
    let rate = lines(runs, false, |epoch| Some(epoch.learning_rate));
    let speed = lines(runs, false, |epoch| Some(epoch.images_per_second));
    [
        (
            "accuracy",
            Chart {
                title: "Accuracy (% of images)",
                scale: Scale::Linear,
                format: |value| trimmed(100.0 * value),
                curves: accuracy,
            },
        ),
        (
            "mean-absolute-error",
            Chart {
                title: "Mean absolute error",
                scale: scale(&mae),
                format: text::figure,
                curves: mae,
            },
        ),
        (
            "loss",
            Chart {
                title: match (are_numbers(runs), runs.iter().any(RunReport::is_ordinal)) {
                    (true, _) => "Loss (of standardised numbers)",
                    (false, true) => "Loss (squared earth mover's distance)",
                    (false, false) => "Loss (cross-entropy, nats)",
                },
                scale: scale(&loss),
                format: trimmed,
                curves: loss,
            },
        ),
        (
            "learning-rate",
            Chart {
                title: "Learning rate of the head",
                scale: Scale::Logarithmic,
                format: text::rate,
                curves: rate,
            },
        ),
        (
            "speed",
            Chart {
                title: "Speed of training (images/s)",
                scale: match scale(&speed) {
                    Scale::Linear => Scale::FromZero,
                    other => other,
                },
                format: |value| match value {
                    v if v < 100.0 => trimmed(v),
                    v => text::count(v.round() as usize),
                },
                curves: speed,
            },
        ),
    ]
}

/// Logarithmic where an axis from the smallest to the largest value would hide most of them: a loss that ran away for
/// an epoch, cached features that are a hundred times as fast as the network.
fn scale(curves: &[Curve]) -> Scale {
    let values = curves.iter().flat_map(|curve| &curve.points);
    let mut values: Vec<f64> = values
        .map(|(_, value)| *value)
        .filter(|value| value.is_finite() && *value > 0.0)
        .collect();
    values.sort_by(f64::total_cmp);
    let (Some(middle), Some(most)) = (values.get(values.len() / 2), values.last()) else {
        return Scale::Linear;
    };
    let runs_apart = || {
        let means = curves.iter().filter_map(Curve::mean);
        let (low, high) = means.fold((f64::MAX, 0.0), |(low, high): (f64, f64), mean| {
            (low.min(mean), high.max(mean))
        });
        high > OUTLIER * low
    };
    if *most > OUTLIER * middle || runs_apart() {
        Scale::Logarithmic
    } else {
        Scale::Linear
    }
}

/// Validation solid, training dashed.
fn pairs(
    runs: &[RunReport],
    valid: fn(&EpochMetrics) -> Option<f64>,
    train: fn(&EpochMetrics) -> f64,
) -> Vec<Curve> {
    let mut curves = if shows_training(runs) {
        lines(runs, true, |epoch| Some(train(epoch)))
    } else {
        Vec::new()
    };
    curves.extend(lines(runs, false, valid));
    curves
}

/// Returns true if there is room for the training set's curves, or nothing else to show.
fn shows_training(runs: &[RunReport]) -> bool {
    let drawn = runs.iter().filter(|run| !run.epochs.is_empty()).count();
    drawn <= WITH_TRAINING || !has_validation(runs)
}

fn has_validation(runs: &[RunReport]) -> bool {
    let mut epochs = runs.iter().flat_map(|run| &run.epochs);
    epochs.any(|epoch| epoch.valid_accuracy.is_some() || epoch.valid_loss.is_some())
}

fn lines(
    runs: &[RunReport],
    secondary: bool,
    value: impl Fn(&EpochMetrics) -> Option<f64>,
) -> Vec<Curve> {
    runs.iter()
        .enumerate()
        .map(|(series, run)| Curve {
            name: run.name.clone(),
            series,
            secondary,
            points: run
                .epochs
                .iter()
                .filter_map(|epoch| Some((epoch.epoch, value(epoch)?)))
                .collect(),
            marked: run.best_epoch().map(|epoch| epoch.epoch),
        })
        .collect()
}

fn legend(html: &mut Html, runs: &[RunReport]) {
    let drawn: Vec<(usize, &RunReport)> = runs
        .iter()
        .enumerate()
        .filter(|(_, run)| !run.epochs.is_empty())
        .collect();
    html.node("p", &[class("legend")], |html| {
        for (index, run) in &drawn {
            html.node("span", &[], |html| {
                swatch(html, *index);
                html.name(&run.name);
            });
        }
        if has_validation(runs) {
            html.raw("<span><i class=\"stroke\"></i>validation</span>");
        }
        if shows_training(runs) {
            html.node("span", &[], |html| {
                html.leaf("i", &[class("stroke dashed")], "");
                training(html, &drawn);
            });
        }
        if runs.iter().any(|run| run.best_epoch().is_some()) {
            html.raw("<span><i class=\"ring\"></i>best epoch</span>");
        }
    });
    if !shows_training(runs) {
        let why = "The training images' curves are left out where so many runs are compared; each run's own report \
                   has them.";
        html.leaf("p", &[class("note")], why);
    }
    if drawn.len() < runs.len() {
        html.node("p", &[class("note")], |html| {
            html.text("Without epochs, so without curves: ");
            let without = runs.iter().filter(|run| run.epochs.is_empty());
            for (place, run) in without.enumerate() {
                html.text(if place > 0 { ", " } else { "" });
                html.name(&run.name);
            }
            html.text(".");
        });
    }
}

/// Notes whether the training set's figures are of augmented images: then they lie below those of the same
/// images without augmentation.
fn training(html: &mut Html, drawn: &[(usize, &RunReport)]) {
    let augmented = |run: &RunReport| run.summary.as_ref().and_then(|summary| summary.augmented);
    let are = |state: Option<bool>| drawn.iter().filter(move |(_, run)| augmented(run) == state);
    if are(Some(true)).count() == drawn.len() {
        html.text("training, with augmentation");
    } else if are(Some(false)).count() == drawn.len() {
        html.text("training, without augmentation");
    } else if are(Some(true)).next().is_some() {
        html.text("training, with augmentation in ");
        for (place, (_, run)) in are(Some(true)).enumerate() {
            html.text(if place > 0 { ", " } else { "" });
            html.name(&run.name);
        }
    } else {
        html.text("training");
    }
}

/// Formats with at most four decimals and no zeros at the end; large numbers with commas, and very large ones
/// as powers.
fn trimmed(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{value:.1e}").replace(".0e", "e"),
        v if v >= 1e3 => text::count(value.round() as usize),
        _ => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').into()
        }
    }
}
