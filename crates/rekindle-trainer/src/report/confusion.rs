//! The confusion matrix as a picture.

use super::chart::{canvas, label, rectangle};
use super::html::{Html, at, class, shortened};
use crate::metrics::ConfusionMatrix;
use crate::text;

/// With more classes than this a cell is too small for a number...
const NUMBERED: usize = 16;
/// ... with more than this a row is too low for a name...
const NAMED: usize = 40;
/// ... and with more than this nothing could be seen.
const DRAWN: usize = 200;

const NAME_LENGTH: usize = 18;

pub(super) fn draw(html: &mut Html, matrix: &ConfusionMatrix, classes: &[String]) {
    let count = matrix.classes();
    if count == 0 {
        return;
    }
    if count > DRAWN {
        let why = format!(
            "The confusion matrix of {} classes is too large to draw; the most frequent mistakes \
             are listed below.",
            text::count(count)
        );
        return html.leaf("p", &[class("note")], &why);
    }
    let name = |class: usize| classes.get(class).map_or("?", String::as_str);
    let cell = (300.0 / count as f64).clamp(4.0, 92.0);
    let longest = (0..count)
        .map(|class| shortened(name(class), NAME_LENGTH).chars().count())
        .max()
        .unwrap_or(0) as f64;
    let named = count <= NAMED;
    // Names stand upright where they fit over their column, else aslant.
    let slanted = longest * 7.0 > cell;
    let left = if named { 34.0 + longest * 7.2 } else { 34.0 };
    let top = match (named, slanted) {
        (false, _) => 28.0,
        (true, false) => 46.0,
        (true, true) => 40.0 + longest * 5.2,
    };
    let size = cell * count as f64;
    let overhang = if named && slanted { longest * 5.0 } else { 0.0 };
    let (width, height) = (left + size + overhang.max(8.0), top + size + 8.0);

    html.node("figure", &[class("square")], |html| {
        html.leaf("figcaption", &[], "Confusion matrix (images)");
        let attributes = canvas(width, height, "Confusion matrix").to_vec_with_width(width);
        html.node("svg", &attributes, |html| {
            if count > NUMBERED {
                html.void("rect", &rectangle("cell empty", left, top, size, size));
            }
            label(
                html,
                "axis-name middle",
                left + size / 2.0,
                14.0,
                "predicted class",
            );
            let (x, y) = (14.0, top + size / 2.0);
            html.leaf(
                "text",
                &[
                    class("axis-name middle"),
                    at("transform", format!("translate({x:.1} {y:.1}) rotate(-90)")),
                ],
                "true class",
            );
            for class_index in 0..count {
                if named {
                    let middle = (class_index as f64 + 0.5) * cell;
                    let short = shortened(name(class_index), NAME_LENGTH);
                    label(html, "tick end", left - 8.0, top + middle + 4.0, &short);
                    column_name(html, left + middle, top - 8.0, slanted, &short);
                }
                row(html, matrix, class_index, &name, (left, top, cell));
            }
        });
        html.leaf(
            "p",
            &[class("note")],
            "Blue: right, orange: mistaken; the stronger, the larger the share of its row.",
        );
    });
}

fn column_name(html: &mut Html, x: f64, y: f64, slanted: bool, name: &str) {
    if !slanted {
        return label(html, "tick middle", x, y, name);
    }
    let turn = format!("translate({:.1} {y:.1}) rotate(-45)", x + 3.0);
    html.leaf("text", &[class("tick"), at("transform", turn)], name);
}

fn row<'a>(
    html: &mut Html,
    matrix: &ConfusionMatrix,
    truth: usize,
    name: &impl Fn(usize) -> &'a str,
    (left, top, cell): (f64, f64, f64),
) {
    let support = matrix.support(truth).max(1) as f64;
    for predicted in 0..matrix.classes() {
        let found = matrix.count(truth, predicted);
        let share = found as f64 / support;
        let (x, y) = (left + predicted as f64 * cell, top + truth as f64 * cell);
        let kind = if truth == predicted {
            "cell right"
        } else {
            "cell wrong"
        };
        // A root, so that a few mistakes among many right answers are still seen.
        let least = if matrix.classes() > NUMBERED {
            0.4
        } else {
            0.0
        };
        let strength = least + (0.9 - least) * share.sqrt();
        let gap = if cell > 12.0 { 1.0 } else { 0.25 };
        let inner = cell - 2.0 * gap;
        if matrix.classes() <= NUMBERED {
            let empty = rectangle("cell empty", x + gap, y + gap, inner, inner);
            html.void("rect", &empty);
        }
        if found == 0 {
            continue;
        }
        html.node("g", &[], |html| {
            let title = format!(
                "{} images of {} taken for {} ({} of its row)",
                found,
                name(truth),
                name(predicted),
                text::percent(share)
            );
            html.leaf("title", &[], &title);
            let mut attributes: Vec<_> = rectangle(kind, x + gap, y + gap, inner, inner).into();
            attributes.push(at("fill-opacity", strength));
            html.void("rect", &attributes);
            if matrix.classes() <= NUMBERED {
                let shade = if strength > 0.6 {
                    "cell-number middle strong"
                } else {
                    "cell-number middle"
                };
                label(
                    html,
                    shade,
                    x + cell / 2.0,
                    y + cell / 2.0 + 4.5,
                    &found.to_string(),
                );
            }
        });
    }
}

/// Drawings of a fixed scale say how wide they are at most.
pub(super) trait WithWidth {
    fn to_vec_with_width(self, width: f64) -> Vec<super::html::Attribute>;
}

impl<const N: usize> WithWidth for [super::html::Attribute; N] {
    fn to_vec_with_width(self, width: f64) -> Vec<super::html::Attribute> {
        let mut attributes: Vec<_> = self.into();
        attributes.push(at("style", format!("max-width:{width:.0}px")));
        attributes
    }
}
