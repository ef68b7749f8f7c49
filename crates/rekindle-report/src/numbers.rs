//! A number a picture: what was answered beside what is true, the errors, and the pictures that are off most.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::axis::Axis;
use crate::contents::{Miss, NumbersReport};
use crate::html::{Html, at, class};
use crate::parts::unbroken;
use crate::svg::{canvas, label, line, mark, rectangle, turned};
use rekindle_trainer::text;

const SIDE: f64 = 340.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 50.0;
const WIDTH: f64 = LEFT + SIDE + RIGHT;
const HEIGHT: f64 = TOP + SIDE + BOTTOM;

/// Bars of the histogram of errors.
const BARS: usize = 21;

/// Height of the histogram's bars.
const HISTOGRAM: f64 = 200.0;
const HISTOGRAM_HEIGHT: f64 = TOP + HISTOGRAM + BOTTOM;

pub(crate) fn draw(html: &mut Html, numbers: &NumbersReport) {
    let evaluation = &numbers.evaluation;
    html.node("h3", &[], |html| {
        html.text("On the validation images");
        let explained = evaluation
            .r2
            .map_or_else(String::new, |r2| format!(", R2 {r2:.3}"));
        let figures = format!(
            " · {}, mean absolute error {}, RMSE {}{explained}, half of the errors below {}",
            text::counted(evaluation.samples, "image", "images"),
            text::figure(evaluation.mae),
            text::figure(evaluation.rmse),
            text::figure(evaluation.median_absolute_error)
        );
        html.leaf("span", &[class("aside")], &figures);
    });
    html.node("div", &[class("charts")], |html| {
        html.node("figure", &[class("chart")], |html| {
            html.leaf("figcaption", &[], "Answers and true numbers");
            scatter(html, numbers);
            html.leaf("p", &[class("note")], &sample(numbers));
        });
        html.node("figure", &[class("chart")], |html| {
            html.leaf("figcaption", &[], "Residuals (answer less true number)");
            residuals(html, numbers);
            html.leaf("p", &[class("note")], &leaning(numbers));
        });
    });
    worst(html, numbers);
}

/// Draws answers upwards over true numbers to the right; on the dashed line both are the same.
pub(crate) fn scatter(html: &mut Html, numbers: &NumbersReport) {
    let all: Vec<f64> = numbers.points.iter().flatten().copied().collect();
    let x = Axis::linear(&all, 5, LEFT, LEFT + SIDE);
    let y = Axis::linear(&all, 5, TOP + SIDE, TOP);
    let title = format!("Answers and true numbers of {}", numbers.name);
    html.node("svg", &canvas(WIDTH, HEIGHT, &title), |html| {
        for (tick, pixel) in y.marks() {
            html.void("line", &line("grid", LEFT, pixel, LEFT + SIDE, pixel));
            label(html, "tick end", LEFT - 8.0, pixel + 4.5, &tick_text(tick));
        }
        for (tick, pixel) in x.marks() {
            html.void("line", &line("grid", pixel, TOP, pixel, TOP + SIDE));
            let foot = TOP + SIDE + 20.0;
            label(html, "tick middle", pixel, foot, &tick_text(tick));
        }
        html.void("line", &line("ideal", LEFT, TOP + SIDE, LEFT + SIDE, TOP));
        let foot = TOP + SIDE;
        html.void("line", &line("axis", LEFT, foot, LEFT + SIDE, foot));
        for [truth, answer] in &numbers.points {
            let (Some(px), Some(py)) = (x.pixel(*truth), y.pixel(*answer)) else {
                continue;
            };
            html.node("g", &[], |html| {
                let said = format!(
                    "said {}, is {}",
                    text::figure(*answer),
                    text::figure(*truth)
                );
                html.leaf("title", &[], &said);
                mark(html, 0, (px, py), 3.0, "point ");
            });
        }
        let middle = LEFT + SIDE / 2.0;
        label(
            html,
            "axis-name middle",
            middle,
            HEIGHT - 6.0,
            "true number",
        );
        let place = (14.0, TOP + SIDE / 2.0);
        turned(html, "axis-name middle", place, -90, "answer");
    });
}

/// Draws a histogram of the residuals, as wide to either side.
pub(crate) fn residuals(html: &mut Html, numbers: &NumbersReport) {
    let errors = numbers.points.iter().map(|[truth, answer]| answer - truth);
    let errors: Vec<f64> = errors.collect();
    let widest = errors.iter().map(|error| error.abs()).fold(0.0, f64::max);
    let widest = if widest > 0.0 { widest } else { 1.0 };
    let step = 2.0 * widest / BARS as f64;
    let mut counts = [0usize; BARS];
    for error in &errors {
        let bar = ((error + widest) / step) as usize;
        counts[bar.min(BARS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let x = Axis::linear(&[-widest, widest], 6, LEFT, LEFT + SIDE);
    let foot = TOP + HISTOGRAM;
    let title = format!("Residuals of {}", numbers.name);
    html.node("svg", &canvas(WIDTH, HISTOGRAM_HEIGHT, &title), |html| {
        for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let from = -widest + bar as f64 * step;
            let (Some(left), Some(right)) = (x.pixel(from), x.pixel(from + step)) else {
                continue;
            };
            html.node("g", &[], |html| {
                let said = format!(
                    "{} from {} to {}",
                    text::counted(*count, "image", "images"),
                    text::figure(from),
                    text::figure(from + step)
                );
                html.leaf("title", &[], &said);
                let height = HISTOGRAM * *count as f64 / most as f64;
                let width = right - left - 1.0;
                html.void(
                    "rect",
                    &rectangle("cell count", left + 0.5, foot - height, width, height),
                );
            });
        }
        if let Some(zero) = x.pixel(0.0) {
            html.void("line", &line("ideal", zero, TOP, zero, foot));
        }
        html.void("line", &line("axis", LEFT, foot, LEFT + SIDE, foot));
        for (tick, pixel) in x.marks() {
            label(html, "tick middle", pixel, foot + 20.0, &tick_text(tick));
        }
        label(html, "tick end", LEFT - 8.0, TOP + 10.0, &text::count(most));
        label(html, "tick end", LEFT - 8.0, foot, "0");
        let middle = LEFT + SIDE / 2.0;
        let below = HISTOGRAM_HEIGHT - 6.0;
        label(
            html,
            "axis-name middle",
            middle,
            below,
            "answer less true number",
        );
        let place = (14.0, TOP + HISTOGRAM / 2.0);
        turned(html, "axis-name middle", place, -90, "images");
    });
}

fn worst(html: &mut Html, numbers: &NumbersReport) {
    if numbers.worst.is_empty() {
        return;
    }
    html.leaf("h3", &[], "The largest errors");
    html.leaf(
        "p",
        &[class("note")],
        "The pictures as the network saw them.",
    );
    html.node("div", &[class("gallery")], |html| {
        for miss in &numbers.worst {
            card(html, miss);
        }
    });
}

fn card(html: &mut Html, miss: &Miss) {
    let (answer, truth) = (text::figure(miss.answer), text::figure(miss.truth));
    html.node("figure", &[class("mistake")], |html| {
        html.node("div", &[class("twins")], |html| {
            let bytes = BASE64_STANDARD.encode(&miss.picture);
            let source = format!("data:image/jpeg;base64,{bytes}");
            let description = format!("Said {answer}, is {truth}");
            html.void("img", &[at("src", source), at("alt", description)]);
        });
        html.node("figcaption", &[], |html| {
            html.text("said ");
            html.leaf("b", &[], &unbroken(&answer));
            html.text(", is ");
            html.leaf("b", &[], &unbroken(&truth));
            if !miss.file.is_empty() {
                html.void("br", &[]);
                let whole = [at("title", &*miss.file)];
                html.named("code", &whole, crate::gallery::end_of(&miss.file).as_str());
            }
        });
    });
}

fn sample(numbers: &NumbersReport) -> String {
    let whole = match numbers.points.len() < numbers.evaluation.samples {
        true => format!(
            " {} of {}, evenly taken.",
            text::count(numbers.points.len()),
            text::counted(numbers.evaluation.samples, "image", "images")
        ),
        false => String::new(),
    };
    format!("One point for each image; on the dashed line the answer is the true number.{whole}")
}

fn leaning(numbers: &NumbersReport) -> String {
    let mean = numbers.evaluation.mean_error;
    let direction = if mean >= 0.0 { "high" } else { "low" };
    format!(
        "Answers are {} too {direction} on average.",
        text::figure(mean.abs())
    )
}

/// A number of an axis, without zeros at its end.
fn tick_text(value: f64) -> String {
    let mut text = format!("{value:.6}");
    if value.abs() >= 1e6 || (value != 0.0 && value.abs() < 1e-4) {
        return format!("{value:.1e}");
    }
    while text.ends_with('0') {
        text.pop();
    }
    if text.ends_with('.') {
        text.pop();
    }
    if text == "-0" { "0".into() } else { text }
}
