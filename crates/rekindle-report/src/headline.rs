//! The result in a sentence or two.

use std::cmp::Ordering;

use crate::comparison::are_numbers;
use crate::contents::{Report, RunReport};
use crate::html::{Html, class};
use crate::parts::{capitalised, unbroken};
use rekindle_trainer::text;

/// Closer accuracies than this read the same, in percentage points.
const SAME: f64 = 0.05;

pub(crate) fn draw(html: &mut Html, report: &Report) {
    html.node("p", &[class("lead")], |html| {
        if are_numbers(&report.runs) {
            return of_numbers(html, report);
        }
        let ranked = ranked(&report.runs);
        match ranked.split_first() {
            None if report.runs.is_empty() => html.text("Nothing has been trained yet."),
            None => html.text("No accuracy on validation images has been measured."),
            Some((best, others)) => {
                result(html, report, best);
                comparison(html, best, others);
            }
        }
    });
}

/// Writes the run with the lowest mean absolute error, and how far the next one is off.
fn of_numbers(html: &mut Html, report: &Report) {
    let mut ranked: Vec<(&RunReport, f64)> = report
        .runs
        .iter()
        .filter_map(|run| Some((run, run.best_mae()?)))
        .collect();
    ranked.sort_by(|a, b| a.1.total_cmp(&b.1));
    let Some(((best, error), others)) = ranked.split_first() else {
        return;
    };
    html.name(&capitalised(&best.name));
    let error = unbroken(&text::figure(*error));
    html.text(&format!(" is off by {error} on average on "));
    html.text(&judged(best, best.validated_images().unwrap_or(0)));
    if let Some(r2) = best.best_epoch().and_then(|epoch| epoch.figures.get("r2")) {
        html.text(&format!(
            ", and explains {} of their variance",
            text::percent(*r2)
        ));
    }
    let seconds = best.seconds();
    if seconds > 0.0 {
        let time = unbroken(&text::duration(seconds));
        html.text(&format!("; it was trained in {time}"));
    }
    html.text(".");
    if let Some((next, error)) = others.first() {
        html.text(" The next best, ");
        html.name(&next.name);
        let error = unbroken(&text::figure(*error));
        html.text(&format!(", is off by {error}."));
    }
}

/// A run and the accuracy that it is ranked by.
type Ranked<'a> = (&'a RunReport, f64);

/// Returns the runs by their accuracy, the best first; of equal ones that with the lower loss.
fn ranked(runs: &[RunReport]) -> Vec<Ranked<'_>> {
    let mut ranked: Vec<Ranked> = runs
        .iter()
        .filter_map(|run| Some((run, run.best_accuracy()?)))
        .collect();
    ranked.sort_by(|a, b| {
        let by_loss = match (a.0.best_loss(), b.0.best_loss()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => Ordering::Equal,
        };
        b.1.total_cmp(&a.1).then(by_loss)
    });
    ranked
}

fn result(html: &mut Html, report: &Report, (best, accuracy): &Ranked) {
    let of_data: usize = report.data.classes.iter().map(|class| class.valid).sum();
    html.name(&capitalised(&best.name));
    html.text(&format!(
        " recognises {} of ",
        unbroken(&text::percent(*accuracy))
    ));
    html.text(&judged(best, best.validated_images().unwrap_or(of_data)));
    if let Some(mae) = best.mae_of_order() {
        html.text(&format!(", and is off by {mae:.2} classes on average"));
    }
    let seconds = best.seconds();
    if seconds > 0.0 {
        html.text(&format!(
            ", trained in {}",
            unbroken(&text::duration(seconds))
        ));
    }
    html.text(".");
}

/// Names the images that a run was judged by.
fn judged(run: &RunReport, images: usize) -> String {
    match (images, run.folds.len()) {
        (0, _) => "the validation images".into(),
        (_, 0) => text::counted(images, "validation image", "validation images"),
        (_, folds) => {
            let images = text::counted(images, "image", "images");
            format!("{images} in {folds} folds")
        }
    }
}

/// Writes the distance to the next best run, and to training from scratch.
fn comparison(html: &mut Html, best: &Ranked, others: &[Ranked]) {
    let Some(next) = others.first() else {
        return;
    };
    let is_same = |other: &&Ranked| 100.0 * (best.1 - other.1) < SAME;
    let equal = others.iter().take_while(is_same).count();
    if equal == others.len() {
        return html.text(match equal {
            1 => " Both runs reach the same accuracy.",
            _ => " All runs compared here reach the same accuracy.",
        });
    }
    if equal > 0 {
        html.text(" ");
        html.name(&capitalised(&next.0.name));
        html.text(&match equal {
            1 => " reaches the same accuracy.".to_string(),
            _ => format!(
                " and {} reach the same accuracy.",
                text::counted(equal - 1, "other run", "other runs")
            ),
        });
    } else {
        html.text(&format!(
            " That is {} more than the next best, ",
            points(best, next)
        ));
        named(html, next);
    }
    let scratch = others.iter().find(|(run, _)| run.is_from_scratch());
    let is_next = |scratch: &Ranked| equal == 0 && std::ptr::eq(scratch.0, next.0);
    match scratch.filter(|scratch| !is_next(scratch) && !is_same(scratch)) {
        Some(scratch) if equal == 0 => {
            let more = 100.0 * (best.1 - scratch.1);
            html.text(&format!(", and {more:.1} more than "));
            named(html, scratch);
            html.text(".");
        }
        Some(scratch) => {
            html.text(&format!(" That is {} more than ", points(best, scratch)));
            named(html, scratch);
            html.text(".");
        }
        None if equal == 0 => html.text("."),
        None => {}
    }
}

fn named(html: &mut Html, (run, accuracy): &Ranked) {
    html.name(&run.name);
    html.text(&format!(" ({})", unbroken(&text::percent(*accuracy))));
}

/// Returns the distance in percentage points, and in images where both saw equally many.
fn points(best: &Ranked, other: &Ranked) -> String {
    let distance = best.1 - other.1;
    let images = match (best.0.validated_images(), other.0.validated_images()) {
        (Some(of_best), Some(of_other))
            if of_best == of_other && distance * of_best as f64 > 0.5 =>
        {
            let images = (distance * of_best as f64).round() as usize;
            format!(" ({})", unbroken(&text::counted(images, "image", "images")))
        }
        _ => String::new(),
    };
    let distance = unbroken(&format!("{:.1} percentage", 100.0 * distance));
    format!("{distance} points{images}")
}
