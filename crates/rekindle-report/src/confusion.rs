//! The confusion matrix as a picture: numbers and names where they can be read, of more classes an overview and those
//! that are mistaken most.

use std::collections::HashSet;

use crate::axis::Axis;
use crate::html::{Html, class, shortened};
use crate::parts::{scrolling, short};
use crate::svg::{fixed_canvas, label, rectangle, text_width, turned};
use rekindle_trainer::metrics::ConfusionMatrix;
use rekindle_trainer::text;

/// With more classes than this the whole matrix has no room for numbers and names ...
const NAMED: usize = 40;
/// ... and with more than this nothing could be seen of it.
const DRAWN: usize = 200;

/// Classes in the excerpt of a matrix without names.
const WORST: usize = 20;

/// Letters of a class's name; more where names that are cut would be the same.
const NAME_LENGTHS: [usize; 4] = [20, 28, 36, 48];

/// Up to which share of its row a cell has each of its six colours.
const STEPS: [f64; 6] = [0.02, 0.05, 0.15, 0.35, 0.7, 1.0];

/// Draws the matrix, in one drawing or two. A drawing that is wider than the page scrolls in a box of its own.
pub(crate) fn draw(html: &mut Html, matrix: &ConfusionMatrix, classes: &[String]) {
    let count = matrix.classes();
    if count == 0 {
        return;
    }
    let name = |class: usize| classes.get(class).map_or("?", String::as_str);
    if count <= NAMED {
        let all: Vec<usize> = (0..count).collect();
        let note = "Blue: right, orange: mistaken; the stronger, the larger the share of its row.";
        return figure(
            html,
            "Confusion matrix (images)",
            &Named::new(matrix, &all, &name),
            note,
        );
    }
    if count <= DRAWN {
        let note = "Classes are numbered as in the table of all classes. Blue: right, orange: mistaken; the stronger, \
                    the larger the share of its row.";
        let caption = format!("Confusion matrix of all {count} classes");
        figure(html, &caption, &Overview { matrix }, note);
    } else {
        let why = format!(
            "The confusion matrix of {} classes is too large to draw whole.",
            text::count(count)
        );
        html.leaf("p", &[class("note")], &why);
    }
    let worst = most_mistaken(matrix);
    if worst.is_empty() {
        return html.leaf("p", &[class("note")], "No image was mistaken.");
    }
    let caption = format!(
        "The {} that are mistaken most (images)",
        text::counted(worst.len(), "class", "classes")
    );
    let note = "Classes that are taken for each other stand side by side. Blue: right, orange: mistaken; the stronger, \
                the larger the share of all images of the row's class.";
    figure(html, &caption, &Named::new(matrix, &worst, &name), note);
}

/// Returns the classes of the most frequent mistakes, each behind the one among those before that it shares most
/// mistakes with.
fn most_mistaken(matrix: &ConfusionMatrix) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    for (truth, predicted, _) in matrix.worst_confusions(usize::MAX) {
        for class in [truth, predicted] {
            if chosen.len() < WORST && !chosen.contains(&class) {
                chosen.push(class);
            }
        }
    }
    let shared = |a: usize, b: usize| matrix.count(a, b) + matrix.count(b, a);
    let mut ordered: Vec<usize> = Vec::new();
    while !chosen.is_empty() {
        let last = ordered.last().copied();
        let ties = |class: usize| last.map_or(0, |last| shared(last, class));
        // The first of equal ones, so that the order stays that of the mistakes.
        let next = (0..chosen.len()).rev().max_by_key(|at| ties(chosen[*at]));
        ordered.push(chosen.remove(next.unwrap_or(0)));
    }
    ordered
}

/// Names cut to one length, which is as short as still tells them apart.
fn short_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let different = |names: &mut dyn Iterator<Item = String>| names.collect::<HashSet<_>>().len();
    let whole = different(&mut names.clone().map(str::to_string));
    let cut = |most: usize| names.clone().map(move |name| shortened(name, most));
    let enough = NAME_LENGTHS
        .into_iter()
        .find(|most| different(&mut cut(*most)) == whole);
    cut(enough.unwrap_or(NAME_LENGTHS[0])).collect()
}

/// Something with a natural size.
trait Drawing {
    fn size(&self) -> (f64, f64);
    fn draw(&self, html: &mut Html);
}

fn figure(html: &mut Html, caption: &str, drawing: &impl Drawing, note: &str) {
    let (width, height) = drawing.size();
    let place = if width > NARROW { "whole-row" } else { "" };
    html.node("figure", &[class(place)], |html| {
        html.leaf("figcaption", &[], caption);
        scrolling(html, |html| {
            html.node("svg", &fixed_canvas(width, height, caption), |html| {
                drawing.draw(html);
            });
        });
        html.leaf("p", &[class("note")], note);
    });
}

/// Drawings that are wider get a row of their own.
const NARROW: f64 = 330.0;

/// Space for the scale of colours below a matrix.
const SCALE: f64 = 58.0;
const SCALE_WIDTH: f64 = 306.0;

/// Returns the text of one cell.
fn tooltip(found: u64, truth: &str, predicted: &str, share: f64) -> String {
    format!(
        "{} of {truth} taken for {predicted} ({} of its row)",
        text::counted(found as usize, "image", "images"),
        text::percent(share)
    )
}

/// Returns the colour of a share, 1 to 6.
fn step(share: f64) -> usize {
    let step = STEPS.iter().position(|most| share <= *most + 1e-9);
    step.map_or(STEPS.len(), |step| step + 1)
}

/// Boxes with the shares that they stand for.
fn scale(html: &mut Html, left: f64, top: f64) {
    const BOX: f64 = 36.0;
    for (row, (kind, what)) in [("right", "right"), ("wrong", "mistaken")]
        .into_iter()
        .enumerate()
    {
        let y = top + 16.0 * row as f64;
        label(html, "tick end", left + 78.0, y + 11.0, what);
        for at in 0..STEPS.len() {
            let x = left + 86.0 + BOX * at as f64;
            let colour = format!("cell {kind} k{}", at + 1);
            html.void("rect", &rectangle(colour, x, y, BOX - 2.0, 13.0));
        }
    }
    for (at, most) in STEPS.iter().enumerate() {
        let middle = left + 85.0 + BOX * (at as f64 + 0.5);
        let share = format!("{:.0} %", 100.0 * most);
        label(html, "tick small middle", middle, top + 46.0, &share);
    }
    label(html, "tick small end", left + 78.0, top + 46.0, "up to");
}

fn axis_names(html: &mut Html, left: f64, top: f64, size: f64) {
    let middle = left + size / 2.0;
    label(html, "axis-name middle", middle, 14.0, "predicted class");
    let place = (14.0, top + size / 2.0);
    turned(html, "axis-name middle", place, -90, "true class");
}

/// A matrix with names and numbers, of all classes or of some, with a column for the others.
struct Named<'a, N> {
    matrix: &'a ConfusionMatrix,
    chosen: &'a [usize],
    name: &'a N,
    names: Vec<String>,
    cell: f64,
    left: f64,
    top: f64,
    slanted: bool,
}

impl<'a, N: Fn(usize) -> &'a str> Named<'a, N> {
    fn new(matrix: &'a ConfusionMatrix, chosen: &'a [usize], name: &'a N) -> Self {
        let mut names = short_names(chosen.iter().map(|class| name(*class)));
        if chosen.len() < matrix.classes() {
            names.push("all others".into());
        }
        let most = chosen.iter().map(|truth| matrix.support(*truth)).max();
        let digits = short(most.unwrap_or(0)).len() as f64;
        let least = (7.4 * digits + 7.0).max(22.0);
        let cell = (340.0 / names.len() as f64).clamp(least, 84.0);
        let longest = names.iter().map(|name| text_width(name, 12.0));
        let longest = longest.fold(0.0, f64::max);
        // Names stand upright where they fit over their column, else aslant.
        let slanted = longest > cell - 4.0;
        let rise = if slanted { 0.72 * longest + 10.0 } else { 14.0 };
        Self {
            left: 34.0 + longest,
            top: 28.0 + rise,
            matrix,
            chosen,
            name,
            names,
            cell,
            slanted,
        }
    }

    fn has_others(&self) -> bool {
        self.names.len() > self.chosen.len()
    }

    fn extent(&self) -> (f64, f64) {
        let size = |cells: usize| self.cell * cells as f64;
        (size(self.names.len()), size(self.chosen.len()))
    }

    fn cell(&self, html: &mut Html, place: (usize, usize), found: u64, is_right: bool) {
        let truth = self.chosen[place.0];
        let share = found as f64 / self.matrix.support(truth).max(1) as f64;
        let (x, y) = (
            self.left + place.1 as f64 * self.cell,
            self.top + place.0 as f64 * self.cell,
        );
        let gap = if self.cell > 30.0 { 1.0 } else { 0.5 };
        let inner = self.cell - 2.0 * gap;
        let kind = match (found, is_right) {
            (0, _) => "cell empty".into(),
            (_, true) => format!("cell right k{}", step(share)),
            (_, false) => format!("cell wrong k{}", step(share)),
        };
        html.node("g", &[], |html| {
            if found > 0 {
                let predicted = match self.chosen.get(place.1) {
                    Some(class) => (self.name)(*class),
                    None => "a class not shown here",
                };
                let said = tooltip(found, (self.name)(truth), predicted, share);
                html.leaf("title", &[], &said);
            }
            html.void("rect", &rectangle(kind, x + gap, y + gap, inner, inner));
            if found > 0 {
                let size = if self.cell > 30.0 { "" } else { "tight " };
                let style = format!("cell-number {size}middle on{}", step(share));
                let (x, y) = (x + self.cell / 2.0, y + self.cell / 2.0 + 4.5);
                label(html, style, x, y, &short(found));
            }
        });
    }
}

impl<'a, N: Fn(usize) -> &'a str> Drawing for Named<'a, N> {
    fn size(&self) -> (f64, f64) {
        let (width, height) = self.extent();
        let last = self.names.last().map_or(0.0, |name| text_width(name, 12.0));
        let overhang = if self.slanted {
            // The last name reaches furthest to the right, or one of those before it.
            let reach = self.names.iter().enumerate().map(|(at, name)| {
                let behind = (self.names.len() - at) as f64 - 0.5;
                0.72 * text_width(name, 12.0) + 8.0 - behind * self.cell
            });
            reach.fold(0.0, f64::max)
        } else {
            (last / 2.0 - self.cell / 2.0).max(0.0)
        };
        (
            (self.left + width + overhang.max(6.0)).max(SCALE_WIDTH),
            self.top + height + SCALE,
        )
    }

    fn draw(&self, html: &mut Html) {
        let (width, height) = self.extent();
        let others = if self.has_others() { self.cell } else { 0.0 };
        axis_names(html, self.left, self.top, (width - others).min(height));
        for (at, name) in self.names.iter().enumerate() {
            let middle = (at as f64 + 0.5) * self.cell;
            if at < self.chosen.len() {
                label(
                    html,
                    "tick end",
                    self.left - 8.0,
                    self.top + middle + 4.5,
                    name,
                );
            }
            let (x, y) = (self.left + middle, self.top - 8.0);
            if self.slanted {
                turned(html, "tick", (x + 3.0, y), -45, name);
            } else {
                label(html, "tick middle", x, y, name);
            }
        }
        for (row, truth) in self.chosen.iter().enumerate() {
            let mut rest = self.matrix.support(*truth);
            for (column, predicted) in self.chosen.iter().enumerate() {
                let found = self.matrix.count(*truth, *predicted);
                rest -= found.min(rest);
                self.cell(html, (row, column), found, truth == predicted);
            }
            if self.has_others() {
                self.cell(html, (row, self.chosen.len()), rest, false);
            }
        }
        scale(html, 0.0, self.top + height + 10.0);
    }
}

/// All classes, without names and numbers.
struct Overview<'a> {
    matrix: &'a ConfusionMatrix,
}

impl Overview<'_> {
    const LEFT: f64 = 66.0;
    const TOP: f64 = 44.0;

    fn cell(&self) -> f64 {
        (620.0 / self.matrix.classes() as f64).clamp(3.2, 12.0)
    }

    fn extent(&self) -> f64 {
        self.cell() * self.matrix.classes() as f64
    }
}

impl Drawing for Overview<'_> {
    fn size(&self) -> (f64, f64) {
        let size = self.extent();
        (Self::LEFT + size + 12.0, Self::TOP + size + SCALE)
    }

    fn draw(&self, html: &mut Html) {
        let (cell, size, count) = (self.cell(), self.extent(), self.matrix.classes());
        let frame = rectangle("cell empty", Self::LEFT, Self::TOP, size, size);
        html.void("rect", &frame);
        axis_names(html, Self::LEFT, Self::TOP, size);
        let numbers = |from: f64| {
            let (first, last) = (from + cell / 2.0, from + size - cell / 2.0);
            Axis::whole(1, count, 10, first, last)
        };
        for (number, x) in numbers(Self::LEFT).marks() {
            label(
                html,
                "tick middle",
                x,
                Self::TOP - 8.0,
                &format!("{number}"),
            );
        }
        for (number, y) in numbers(Self::TOP).marks() {
            label(
                html,
                "tick end",
                Self::LEFT - 8.0,
                y + 4.5,
                &format!("{number}"),
            );
        }
        for truth in 0..count {
            let support = self.matrix.support(truth).max(1) as f64;
            for predicted in 0..count {
                let found = self.matrix.count(truth, predicted);
                if found == 0 {
                    continue;
                }
                let share = found as f64 / support;
                let kind = if truth == predicted { "right" } else { "wrong" };
                // A lone mistake must be seen, small as its cell is.
                let colour = format!("cell {kind} k{}", step(share).max(3));
                let (x, y) = (
                    Self::LEFT + predicted as f64 * cell,
                    Self::TOP + truth as f64 * cell,
                );
                html.void("rect", &rectangle(colour, x, y, cell, cell));
            }
        }
        scale(html, Self::LEFT - 66.0, Self::TOP + size + 10.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn classes_that_are_taken_for_each_other_stand_side_by_side() {
        // 0 and 7 three times, 3 and 9 twice, 0 and 4 once.
        let mistakes = [(0, 7), (7, 0), (0, 7), (3, 9), (9, 3), (4, 0)];
        let (truth, predicted): (Vec<usize>, Vec<usize>) = mistakes.into_iter().unzip();
        let matrix = ConfusionMatrix::from_labels(&truth, &predicted, 50).unwrap();
        assert_eq!(most_mistaken(&matrix), [0, 7, 3, 9, 4]);
        let none = ConfusionMatrix::from_labels(&[1, 2], &[1, 2], 50).unwrap();
        assert_eq!(most_mistaken(&none), [0usize; 0]);
    }

    #[test]
    fn names_are_cut_as_far_as_they_still_differ() {
        let names = |names: [&'static str; 2]| short_names(names.into_iter());
        assert_eq!(names(["ants", "bees"]), ["ants", "bees"]);
        let middle = "north_american_ant_with_wings_in_flight";
        let names = names([middle, "north_american_bee_with_wings_in_flight"]);
        assert!(
            names[0].contains("american_ant") && names[0] != names[1],
            "{names:?}"
        );
        let twice = short_names([middle, middle].into_iter());
        assert_eq!(twice, ["north_america…flight"; 2]);
    }

    #[test]
    fn a_share_has_the_colour_that_the_scale_says() {
        assert_eq!(
            [0.001, 0.02, 0.021, 0.5, 0.71, 1.0].map(step),
            [1, 1, 2, 5, 6, 6]
        );
    }
}
