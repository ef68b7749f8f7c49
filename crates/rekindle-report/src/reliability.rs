//! The reliability diagram as a picture.

use crate::axis::Axis;
use crate::html::{Html, class};
use crate::parts::short;
use crate::svg::{fixed_canvas, label, line, rectangle, turned};
use rekindle_trainer::metrics::{Calibration, Temperature};
use rekindle_trainer::text;

const LEFT: f64 = 62.0;
const TOP: f64 = 10.0;
const SIDE: f64 = 244.0;
const HISTOGRAM: f64 = 46.0;

/// Space between the diagram and the histogram below, which share the numbers between them.
const BETWEEN: f64 = 30.0;

const WIDTH: f64 = LEFT + SIDE + 14.0;
const HEIGHT: f64 = TOP + SIDE + BETWEEN + HISTOGRAM + 24.0;

/// Draws the diagram as it is, or after temperature scaling.
pub(crate) fn draw(html: &mut Html, calibration: &Calibration, scaled: Option<&Temperature>) {
    let x = Axis::share(0.2, LEFT, LEFT + SIDE);
    let y = Axis::share(0.2, TOP + SIDE, TOP);
    html.node("figure", &[], |html| {
        let error = text::percent(calibration.ece);
        let caption = match scaled {
            None => format!("Reliability (ECE {error})"),
            Some(temperature) => {
                format!("With temperature {:.2} (ECE {error})", temperature.value)
            }
        };
        html.leaf("figcaption", &[], &caption);
        html.node("svg", &fixed_canvas(WIDTH, HEIGHT, &caption), |html| {
            grid(html, &x, &y);
            bars(html, calibration, &x, &y);
            html.void("line", &line("ideal", LEFT, TOP + SIDE, LEFT + SIDE, TOP));
            html.void(
                "line",
                &line("axis", LEFT, TOP + SIDE, LEFT + SIDE, TOP + SIDE),
            );
            histogram(html, calibration, &x);
        });
        let note = match scaled {
            None => verdict(calibration),
            Some(temperature) => effect(temperature),
        };
        html.leaf("p", &[class("note")], &note);
    });
}

fn grid(html: &mut Html, x: &Axis, y: &Axis) {
    for (tick, pixel) in y.marks() {
        html.void("line", &line("grid", LEFT, pixel, LEFT + SIDE, pixel));
        label(html, "tick end", LEFT - 8.0, pixel + 4.0, &share(tick));
    }
    for (tick, pixel) in x.marks() {
        label(html, "tick middle", pixel, TOP + SIDE + 17.0, &share(tick));
    }
    let place = (14.0, TOP + SIDE / 2.0);
    turned(html, "axis-name middle", place, -90, "accuracy (%)");
    label(
        html,
        "axis-name middle",
        LEFT + SIDE / 2.0,
        HEIGHT - 5.0,
        "confidence (%)",
    );
}

fn bars(html: &mut Html, calibration: &Calibration, x: &Axis, y: &Axis) {
    for bin in calibration.bins.iter().filter(|bin| bin.samples > 0) {
        let (Some(left), Some(right)) = (x.pixel(bin.lower), x.pixel(bin.upper)) else {
            continue;
        };
        let (Some(accuracy), Some(confidence)) = (y.pixel(bin.accuracy), y.pixel(bin.confidence))
        else {
            continue;
        };
        let width = right - left - 2.0;
        html.node("g", &[], |html| {
            let title = format!(
                "{}, mean confidence {}, accuracy {}",
                text::counted(bin.samples, "image", "images"),
                text::percent(bin.confidence),
                text::percent(bin.accuracy)
            );
            html.leaf("title", &[], &title);
            let height = TOP + SIDE - accuracy;
            html.void(
                "rect",
                &rectangle("cell right solid", left + 1.0, accuracy, width, height),
            );
            let middle = (left + right) / 2.0;
            html.void("line", &line("gap", middle, accuracy, middle, confidence));
            html.void(
                "line",
                &line("claim", left + 2.5, confidence, right - 2.5, confidence),
            );
        });
    }
}

fn histogram(html: &mut Html, calibration: &Calibration, x: &Axis) {
    let most = calibration.bins.iter().map(|bin| bin.samples).max();
    let most = most.unwrap_or(0).max(1) as f64;
    let foot = TOP + SIDE + BETWEEN + HISTOGRAM;
    for bin in calibration.bins.iter().filter(|bin| bin.samples > 0) {
        let (Some(left), Some(right)) = (x.pixel(bin.lower), x.pixel(bin.upper)) else {
            continue;
        };
        let height = (HISTOGRAM - 14.0) * bin.samples as f64 / most;
        html.void(
            "rect",
            &rectangle(
                "cell count",
                left + 1.0,
                foot - height,
                right - left - 2.0,
                height,
            ),
        );
        label(
            html,
            "tick middle small",
            (left + right) / 2.0,
            foot - height - 3.0,
            &short(bin.samples as u64),
        );
    }
    html.void("line", &line("axis", LEFT, foot, LEFT + SIDE, foot));
    label(html, "tick end", LEFT - 8.0, foot - 8.0, "images");
}

fn verdict(calibration: &Calibration) -> String {
    let offset = text::percent(calibration.overconfidence.abs());
    let leaning = match calibration.overconfidence {
        o if o.abs() < 0.005 => "On average the confidence matches the accuracy.".into(),
        o if o > 0.0 => format!("On average {offset} more confident than right."),
        _ => format!("On average {offset} less confident than right."),
    };
    format!(
        "{leaning} Bars: accuracy, orange lines: mean confidence; they should meet. ECE is the expected calibration \
         error, the mean distance between the two."
    )
}

fn effect(temperature: &Temperature) -> String {
    let before = text::loss(temperature.cross_entropy_before);
    let after = text::loss(temperature.cross_entropy_after);
    let bound = match temperature.value {
        value if value < 1.02 * Temperature::LOWEST => " The temperature is the smallest allowed.",
        value if value > 0.98 * Temperature::HIGHEST => " The temperature is the largest allowed.",
        _ => "",
    };
    if temperature.to_keep() == 1.0 {
        return format!(
            "Logits divided by the temperature that fits these images best. It is not kept in the file: on images that it was not \
             fitted to (each fifth is scaled by what fits the others) the cross-entropy is {before} before and {after} after.{bound}"
        );
    }
    format!(
        "Logits divided by the temperature that fits these images best: cross-entropy {before} before, {after} after. \
         Diagram and figures are cross-fitted: each fifth of the images is scaled by what fits the others.{bound}"
    )
}

fn share(value: f64) -> String {
    format!("{:.0}", 100.0 * value)
}
