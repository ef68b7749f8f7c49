//! Each class against the others over all thresholds: ROC, precision over recall, cumulative gains.

use crate::axis::Axis;
use crate::html::{Html, at, class, shortened};
use crate::parts::swatch;
use crate::svg::{COLOURS, Entry, fixed_canvas, label, line, series, turned};
use rekindle_trainer::metrics::{ClassCurves, RankingCurves};
use rekindle_trainer::text;

const LEFT: f64 = 62.0;
const TOP: f64 = 10.0;
const SIDE: f64 = 244.0;
const WIDTH: f64 = LEFT + SIDE + 14.0;
const HEIGHT: f64 = TOP + SIDE + 48.0;

/// Curves in grey behind those in colour, at most: of a thousand classes they would be a surface, and megabytes.
const UNMARKED: usize = 60;

/// A kind of curve.
pub(crate) struct Kind {
    /// Part of a file's name.
    pub(crate) name: &'static str,
    title: &'static str,
    across: &'static str,
    up: &'static str,
    note: &'static str,
    /// The curve of answers at random, where it is the same for every class.
    has_diagonal: bool,
    points: fn(&ClassCurves) -> &[[f64; 2]],
    area: fn(&ClassCurves) -> Option<f64>,
}

pub(crate) const KINDS: [Kind; 3] = [
    Kind {
        name: "roc",
        title: "ROC",
        across: "false positive rate (%)",
        up: "true positive rate (%)",
        note: "For each threshold on a class's probability: the share of its images that reach it, over that of the others. \
               Dashed: at random.",
        has_diagonal: true,
        points: |curves| &curves.roc,
        area: |curves| curves.auroc,
    },
    Kind {
        name: "precision-recall",
        title: "Precision over recall",
        across: "recall (%)",
        up: "precision (%)",
        note: "For each threshold: the share of the images above it that are of the class, over the share of the class's images \
               that are above it.",
        has_diagonal: false,
        points: |curves| &curves.precision_recall,
        area: |curves| curves.average_precision,
    },
    Kind {
        name: "gains",
        title: "Cumulative gains",
        across: "images looked at (%)",
        up: "of the class found (%)",
        note: "Images looked at in the order of a class's probability: the share of its images that are found. Dashed: in \
               random order.",
        has_diagonal: true,
        points: |curves| &curves.gains,
        area: |_| None,
    },
];

pub(crate) fn draw(html: &mut Html, ranking: &RankingCurves, classes: &[String]) {
    let shown = shown(ranking);
    if shown.is_empty() {
        return;
    }
    html.node("h3", &[], |html| {
        html.text("Each class against the others");
        let mean = |value: Option<f64>| {
            value.map_or_else(|| "unknown".into(), |value| format!("{value:.3}"))
        };
        let figures = format!(
            " · means over the classes: area under the ROC curve {}, average precision {}",
            mean(ranking.macro_auroc),
            mean(ranking.macro_average_precision)
        );
        html.leaf("span", &[class("aside")], &figures);
    });
    key(html, ranking, classes, &shown);
    html.node("div", &[class("pair")], |html| {
        for kind in &KINDS {
            html.node("figure", &[], |html| {
                html.leaf("figcaption", &[], kind.title);
                plane(html, kind, ranking, classes);
                html.leaf("p", &[class("note")], kind.note);
            });
        }
    });
}

/// Draws the curves of one kind alone.
pub(crate) fn plane(html: &mut Html, kind: &Kind, ranking: &RankingCurves, classes: &[String]) {
    let shown = shown(ranking);
    let x = Axis::share(0.2, LEFT, LEFT + SIDE);
    let y = Axis::share(0.2, TOP + SIDE, TOP);
    html.node("svg", &fixed_canvas(WIDTH, HEIGHT, kind.title), |html| {
        grid(html, kind, &x, &y);
        for at in unmarked(ranking, &shown) {
            curve(
                html,
                "curve unmarked",
                kind,
                &ranking.classes[at],
                None,
                &x,
                &y,
            );
        }
        for (colour, at) in shown.iter().enumerate() {
            let style = format!("curve thin {}", series(colour));
            let name = classes.get(*at).map_or("?", String::as_str);
            curve(
                html,
                &style,
                kind,
                &ranking.classes[*at],
                Some(name),
                &x,
                &y,
            );
        }
    });
}

/// Returns the classes in colour, for a drawing without a page around it.
pub(crate) fn legend(ranking: &RankingCurves, classes: &[String]) -> Vec<Entry> {
    let names = shown(ranking).into_iter();
    let name = |at: usize| classes.get(at).map_or("?", String::as_str);
    names
        .enumerate()
        .map(|(index, at)| Entry {
            mark: Some(index),
            name: shortened(name(at), 28),
        })
        .collect()
}

/// All classes that have curves, or of more than there are colours those of the lowest average precision.
fn shown(ranking: &RankingCurves) -> Vec<usize> {
    let precision = |at: &usize| ranking.classes[*at].average_precision;
    let mut known: Vec<usize> = (0..ranking.classes.len())
        .filter(|at| precision(at).is_some())
        .collect();
    if known.len() > COLOURS {
        let of = |at: &usize| precision(at).unwrap_or(1.0);
        known.sort_by(|a, b| of(a).total_cmp(&of(b)).then(a.cmp(b)));
        known.truncate(COLOURS);
    }
    known
}

/// The classes that are drawn in grey: all that have curves and no colour, or of many as many evenly.
fn unmarked(ranking: &RankingCurves, shown: &[usize]) -> Vec<usize> {
    let others: Vec<usize> = (0..ranking.classes.len())
        .filter(|at| ranking.classes[*at].average_precision.is_some() && !shown.contains(at))
        .collect();
    let every = others.len().div_ceil(UNMARKED).max(1);
    others.into_iter().step_by(every).collect()
}

fn key(html: &mut Html, ranking: &RankingCurves, classes: &[String], shown: &[usize]) {
    let known = ranking.classes.iter();
    let known = known
        .filter(|class| class.average_precision.is_some())
        .count();
    html.node("p", &[class("legend")], |html| {
        for (colour, at) in shown.iter().enumerate() {
            html.node("span", &[], |html| {
                swatch(html, colour);
                html.name(&shortened(classes.get(*at).map_or("?", String::as_str), 28));
            });
        }
        if shown.len() < known {
            let others = text::counted(known - shown.len(), "other class", "other classes");
            html.node("span", &[], |html| {
                html.leaf("i", &[class("stroke unmarked")], "");
                let drawn = unmarked(ranking, shown).len();
                let drawn = match drawn < known - shown.len() {
                    true => format!(" ({drawn} of them drawn)"),
                    false => String::new(),
                };
                html.text(&format!("{others}{drawn}, with no lower average precision"));
            });
        }
    });
}

fn grid(html: &mut Html, kind: &Kind, x: &Axis, y: &Axis) {
    for (tick, pixel) in y.marks() {
        html.void("line", &line("grid", LEFT, pixel, LEFT + SIDE, pixel));
        label(html, "tick end", LEFT - 8.0, pixel + 4.0, &share(tick));
    }
    for (tick, pixel) in x.marks() {
        label(html, "tick middle", pixel, TOP + SIDE + 17.0, &share(tick));
    }
    let foot = TOP + SIDE;
    html.void("line", &line("axis", LEFT, foot, LEFT + SIDE, foot));
    if kind.has_diagonal {
        html.void("line", &line("ideal", LEFT, foot, LEFT + SIDE, TOP));
    }
    let place = (14.0, TOP + SIDE / 2.0);
    turned(html, "axis-name middle", place, -90, kind.up);
    let middle = LEFT + SIDE / 2.0;
    label(html, "axis-name middle", middle, HEIGHT - 7.0, kind.across);
}

fn curve(
    html: &mut Html,
    style: &str,
    kind: &Kind,
    curves: &ClassCurves,
    name: Option<&str>,
    x: &Axis,
    y: &Axis,
) {
    let points = (kind.points)(curves).iter();
    let places = points.filter_map(|[a, b]| Some((x.pixel(*a)?, y.pixel(*b)?)));
    let places: Vec<String> = places.map(|(a, b)| format!("{a:.1},{b:.1}")).collect();
    if places.is_empty() {
        return;
    }
    html.node("g", &[], |html| {
        if let Some(name) = name {
            let area = (kind.area)(curves).map_or_else(String::new, |area| format!(": {area:.3}"));
            html.leaf("title", &[], &format!("{name}{area}"));
        }
        let attributes = [class(style), at("points", places.join(" "))];
        html.void("polyline", &attributes);
    });
}

fn share(value: f64) -> String {
    format!("{:.0}", 100.0 * value)
}
