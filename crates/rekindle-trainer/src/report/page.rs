//! The page from top to bottom.

use super::chart::{Chart, Curve, Scale, series};
use super::html::{Html, at, class};
use super::{Report, RunReport, comparison, data, run, time};
use crate::events::EpochMetrics;
use crate::text;

/// Nothing is loaded from anywhere, whatever a file name or caption tries.
const CONTENT_POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

pub(super) fn draw(report: &Report) -> String {
    let mut html = Html::new();
    html.raw("<!DOCTYPE html>\n");
    html.node("html", &[at("lang", "en")], |html| {
        head(html, report);
        html.node("body", &[], |html| {
            html.node("main", &[], |html| {
                header(html, report);
                comparison::draw(html, report);
                curves(html, report);
                time::draw(html, &report.runs);
                for (index, run) in report.runs.iter().enumerate() {
                    run::draw(html, index, run, report);
                }
                data::draw(html, report);
                facts(html, report);
            });
        });
    });
    let mut page = html.into_string();
    page.push('\n');
    page
}

fn head(html: &mut Html, report: &Report) {
    html.node("head", &[], |html| {
        html.raw("<meta charset=\"utf-8\"/>");
        html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>");
        html.raw("<meta name=\"color-scheme\" content=\"light dark\"/>");
        let policy = [
            at("http-equiv", "Content-Security-Policy"),
            at("content", CONTENT_POLICY),
        ];
        html.void("meta", &policy);
        html.leaf("title", &[], &format!("{} · rekindle report", report.title));
        html.raw("<style>");
        html.raw(include_str!("style.css"));
        html.raw("</style>");
    });
}

fn header(html: &mut Html, report: &Report) {
    html.node("header", &[], |html| {
        html.node("p", &[class("overline")], |html| {
            html.text("rekindle report · ");
            html.leaf("time", &[], &readable_time(&report.created));
        });
        html.leaf("h1", &[], &report.title);
        html.leaf("p", &[class("lead")], &answer(report));
    });
}

/// The result in a sentence or two.
fn answer(report: &Report) -> String {
    let images: usize = report.data.classes.iter().map(|class| class.valid).sum();
    let of = if images > 0 {
        format!(" of {} validation images", text::count(images))
    } else {
        " on the validation images".into()
    };
    let mut ranked: Vec<(&RunReport, f64)> = report
        .runs
        .iter()
        .filter_map(|run| Some((run, run.best_accuracy()?)))
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let Some(&(best, accuracy)) = ranked.first() else {
        return match report.runs.len() {
            0 => "Nothing has been trained yet.".into(),
            _ => "No accuracy on validation images has been measured.".into(),
        };
    };
    let mut answer = format!(
        "{} recognises {}{of}, trained in {}.",
        capitalised(&best.name),
        unbroken(&text::percent(accuracy)),
        unbroken(&text::duration(best.seconds()))
    );
    if let Some(&(other, lower)) = ranked.last().filter(|_| ranked.len() > 1) {
        let distance = 100.0 * (accuracy - lower);
        answer.push_str(&if distance < 0.05 {
            " All strategies compared here reach the same.".into()
        } else {
            format!(
                " That is {distance:.1} percentage points more than {} ({}).",
                other.name,
                unbroken(&text::percent(lower))
            )
        });
    }
    answer
}

fn curves(html: &mut Html, report: &Report) {
    if report.runs.iter().all(|run| run.epochs.is_empty()) {
        return;
    }
    html.node("section", &[], |html| {
        html.leaf("h2", &[], "Training curves");
        legend(html, &report.runs);
        html.node("div", &[class("charts")], |html| {
            for (_, chart) in charts(&report.runs) {
                chart.draw(html);
            }
        });
    });
}

/// The curves of all runs, each with a name for a file.
pub(super) fn charts(runs: &[RunReport]) -> [(&'static str, Chart<'static>); 4] {
    let accuracy = Chart {
        title: "Accuracy (% of images)",
        scale: Scale::Linear,
        format: |value| format!("{:.4}", 100.0 * value).trim_zeros(),
        curves: pairs(
            runs,
            |epoch| epoch.valid_accuracy,
            |epoch| epoch.train_accuracy,
        ),
    };
    let loss = Chart {
        title: "Loss (cross-entropy, nats)",
        scale: Scale::Linear,
        format: |value| format!("{value:.4}").trim_zeros(),
        curves: pairs(runs, |epoch| epoch.valid_loss, |epoch| epoch.train_loss),
    };
    let rate = Chart {
        title: "Learning rate of the head (logarithmic)",
        scale: Scale::Logarithmic,
        format: text::rate,
        curves: lines(runs, false, |epoch| Some(epoch.learning_rate)),
    };
    let speed = Chart {
        title: "Speed of training (images/s)",
        scale: speed_scale(runs),
        format: |value| match value {
            v if v < 100.0 => format!("{v:.1}").trim_zeros(),
            v => text::count(v.round() as usize),
        },
        curves: lines(runs, false, |epoch| Some(epoch.images_per_second)),
    };
    [
        ("accuracy", accuracy),
        ("loss", loss),
        ("learning-rate", rate),
        ("speed", speed),
    ]
}

/// Cached features are a hundred times faster than the network; both must be readable.
fn speed_scale(runs: &[RunReport]) -> Scale {
    let epochs = runs.iter().flat_map(|run| &run.epochs);
    let speeds = epochs.map(|epoch| epoch.images_per_second);
    let (low, high) = speeds
        .filter(|speed| speed.is_finite() && *speed > 0.0)
        .fold((f64::MAX, 0.0), |(low, high): (f64, f64), speed| {
            (low.min(speed), high.max(speed))
        });
    if high > 20.0 * low {
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
    let mut curves = lines(runs, true, |epoch| Some(train(epoch)));
    curves.extend(lines(runs, false, valid));
    curves
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
    html.node("p", &[class("legend")], |html| {
        for (index, run) in runs.iter().enumerate() {
            html.node("span", &[], |html| {
                swatch(html, index);
                html.text(&run.name);
            });
        }
        html.raw(
            "<span><i class=\"stroke\"></i>validation</span>\
             <span><i class=\"stroke dashed\"></i>training, with augmentation</span>\
             <span><i class=\"ring\"></i>best epoch</span>",
        );
    });
}

fn facts(html: &mut Html, report: &Report) {
    if report.facts.is_empty() {
        return;
    }
    html.node("section", &[], |html| {
        html.leaf("h2", &[], "To do it again");
        html.node("dl", &[class("facts")], |html| {
            for fact in &report.facts {
                html.leaf("dt", &[], &fact.name);
                html.leaf("dd", &[], &fact.value);
            }
        });
    });
}

/// A coloured square that stands for a run.
pub(super) fn swatch(html: &mut Html, index: usize) {
    html.leaf("i", &[class(format!("swatch {}", series(index)))], "");
}

/// A share as a bar with a number beside it.
pub(super) fn meter(html: &mut Html, colour: &str, share: f64, text: &str) {
    html.node("div", &[class("meter")], |html| {
        html.node("div", &[class("track")], |html| {
            let width = 100.0 * share.clamp(0.0, 1.0);
            let fill = [
                class(format!("fill {colour}")),
                at("style", format!("width:{width:.1}%")),
            ];
            html.leaf("div", &fill, "");
        });
        html.leaf("span", &[], text);
    });
}

/// A number that stays on a line with its unit.
fn unbroken(quantity: &str) -> String {
    quantity.replace(' ', "\u{a0}")
}

pub(super) fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

/// `2026-01-31T09:30:00Z` as `2026-01-31 09:30 UTC`.
fn readable_time(created: &str) -> String {
    match (created.get(..10), created.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => created.into(),
    }
}

trait TrimZeros {
    fn trim_zeros(self) -> String;
}

impl TrimZeros for String {
    fn trim_zeros(self) -> String {
        if !self.contains('.') {
            return self;
        }
        self.trim_end_matches('0').trim_end_matches('.').into()
    }
}
