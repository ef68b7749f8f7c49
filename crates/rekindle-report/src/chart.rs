//! Curves over epochs.

use crate::axis::Axis;
use crate::html::{Html, at, class};
use crate::svg::{COLOURS, Entry, canvas, label, line, mark, series};

/// A chart with epochs to the right.
pub(crate) struct Chart<'a> {
    /// Name of what is drawn, with its unit.
    pub(crate) title: &'a str,
    pub(crate) scale: Scale,
    /// Formats a value for the axis and for tooltips.
    pub(crate) format: fn(f64) -> String,
    pub(crate) curves: Vec<Curve>,
}

/// Mapping from values to heights.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    Linear,
    /// Linear and with zero on it, so that small changes look small.
    FromZero,
    Logarithmic,
}

/// One line.
pub(crate) struct Curve {
    pub(crate) name: String,
    /// Index of the run it belongs to; decides the colour.
    pub(crate) series: usize,
    /// Dashed and thinner: the training set's.
    pub(crate) secondary: bool,
    /// Epoch and value.
    pub(crate) points: Vec<(usize, f64)>,
    /// The epoch to mark.
    pub(crate) marked: Option<usize>,
}

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 290.0;
/// Wide enough for "100,000" in the larger letters of a narrow screen.
const LEFT: f64 = 78.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 50.0;

/// Number of epochs above which points have no dots, which would only thicken the line.
const DOTS: usize = 40;

/// Marks that tell a curve from another one of the same colour.
const MARKS: usize = 6;

/// Pixels that a curve is drawn before another one of the same points has its turn.
const DASH: usize = 12;

impl Curve {
    /// Returns the mean of the finite values.
    pub(crate) fn mean(&self) -> Option<f64> {
        let values = self.points.iter().map(|(_, value)| *value);
        let (sum, count) = values
            .filter(|value| value.is_finite())
            .fold((0.0, 0usize), |(sum, count), value| {
                (sum + value, count + 1)
            });
        (count > 0).then(|| sum / count as f64)
    }
}

impl Chart<'_> {
    /// Draws the chart as a figure; nothing where there is nothing to draw.
    pub(crate) fn draw(&self, html: &mut Html) {
        let values: Vec<f64> = self.points().map(|(_, value)| value).collect();
        let Some(first) = self.points().map(|(epoch, _)| epoch).min() else {
            return;
        };
        let last = self.points().map(|(epoch, _)| epoch).max().unwrap_or(first);
        let x = Axis::whole(first, last, 8, LEFT, WIDTH - RIGHT);
        let y = match self.scale {
            Scale::Linear => Axis::linear(&values, 5, HEIGHT - BOTTOM, TOP),
            Scale::FromZero => {
                let with_zero = [&values[..], &[0.0]].concat();
                Axis::linear(&with_zero, 5, HEIGHT - BOTTOM, TOP)
            }
            Scale::Logarithmic => Axis::logarithmic(&values, HEIGHT - BOTTOM, TOP),
        };
        let title = match self.scale {
            Scale::Linear | Scale::FromZero => self.title.to_string(),
            Scale::Logarithmic => format!("{}, logarithmic", self.title),
        };
        html.node("figure", &[class("chart")], |html| {
            html.leaf("figcaption", &[], &title);
            html.node("svg", &canvas(WIDTH, HEIGHT, &title), |html| {
                self.grid(html, &x, &y);
                for curve in &self.curves {
                    self.curve(html, curve, &x, &y, last - first);
                }
            });
        });
    }

    /// Returns what its lines stand for, for a chart that is drawn without a page around it.
    pub(crate) fn legend(&self) -> Vec<Entry> {
        let drawn = |secondary: bool| {
            let curves = self.curves.iter();
            curves.filter(move |curve| curve.secondary == secondary && !curve.points.is_empty())
        };
        let first = drawn(false).next().is_none();
        let mut entries: Vec<Entry> = drawn(first)
            .map(|curve| Entry {
                mark: Some(curve.series),
                name: curve.name.clone(),
            })
            .collect();
        if drawn(true).next().is_some() {
            entries.push(Entry {
                mark: None,
                name: "training images".into(),
            });
        }
        entries
    }

    fn points(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        points.copied().filter(|(_, value)| value.is_finite())
    }

    /// Returns the curve's place among those with the same points, and their number. Such curves are drawn in turns,
    /// so that each one shows.
    fn among_equals(&self, curve: &Curve) -> (usize, usize) {
        let equal: Vec<usize> = self
            .curves
            .iter()
            .filter(|other| other.secondary == curve.secondary && other.points == curve.points)
            .map(|other| other.series)
            .collect();
        let place = equal.iter().position(|&series| series == curve.series);
        (place.unwrap_or(0), equal.len())
    }

    fn grid(&self, html: &mut Html, x: &Axis, y: &Axis) {
        for (tick, pixel) in y.marks() {
            html.void("line", &line("grid", LEFT, pixel, WIDTH - RIGHT, pixel));
            label(
                html,
                "tick end",
                LEFT - 8.0,
                pixel + 4.5,
                &(self.format)(tick),
            );
        }
        let foot = HEIGHT - BOTTOM;
        for (tick, pixel) in x.marks() {
            html.void("line", &line("axis", pixel, foot, pixel, foot + 4.0));
            label(html, "tick middle", pixel, foot + 20.0, &format!("{tick}"));
        }
        html.void("line", &line("axis", LEFT, foot, WIDTH - RIGHT, foot));
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        label(html, "axis-name middle", middle, HEIGHT - 6.0, "epoch");
    }

    fn curve(&self, html: &mut Html, curve: &Curve, x: &Axis, y: &Axis, span: usize) {
        let places: Vec<_> = curve
            .points
            .iter()
            .map(|&(epoch, value)| (epoch, value, x.pixel(epoch as f64), y.pixel(value)))
            .collect();
        let mut path = String::new();
        if let (true, [(_, _, Some(px), Some(py))]) = (curve.secondary, &places[..]) {
            // One epoch makes no line; a piece of one stands for it.
            path.push_str(&format!("M{:.1} {py:.1}h28", px - 14.0));
        }
        let mut pen_down = false;
        for place in &places {
            match *place {
                (_, _, Some(px), Some(py)) => {
                    let command = if pen_down { 'L' } else { 'M' };
                    path.push_str(&format!("{command}{px:.1} {py:.1}"));
                    pen_down = true;
                }
                // Where the loss is no number the line is broken.
                _ => pen_down = false,
            }
        }
        let style = if curve.secondary {
            "curve secondary"
        } else {
            "curve"
        };
        let mut attributes = vec![
            class(format!("{style} {}", series(curve.series))),
            at("d", path),
        ];
        let (place, equal) = self.among_equals(curve);
        if equal > 1 && !curve.secondary {
            let dashes = format!(
                "stroke-dasharray:{DASH} {};stroke-dashoffset:{};stroke-linecap:butt",
                DASH * (equal - 1),
                DASH * (equal - place)
            );
            attributes.push(at("style", dashes));
        }
        html.void("path", &attributes);
        if curve.secondary {
            return;
        }
        let every = places.len().div_ceil(MARKS).max(1);
        for (number, (epoch, value, px, py)) in places.into_iter().enumerate() {
            let (Some(px), Some(py)) = (px, py) else {
                continue;
            };
            let marked = curve.marked == Some(epoch);
            let shaped = curve.series >= COLOURS && number % every == 0;
            if !marked && !shaped && (span > DOTS || equal > 1) {
                continue;
            }
            html.node("g", &[], |html| {
                let best = if marked { " (best epoch)" } else { "" };
                let text = format!(
                    "{}, epoch {epoch}{best}: {}",
                    curve.name,
                    (self.format)(value)
                );
                html.leaf("title", &[], &text);
                if marked {
                    let colour = class(format!("dot best {}", series(curve.series)));
                    html.void(
                        "circle",
                        &[colour, at("cx", px), at("cy", py), at("r", 5.0)],
                    );
                } else if shaped {
                    mark(html, curve.series, (px, py), 4.0, "");
                } else {
                    mark(html, curve.series % COLOURS, (px, py), 2.2, "");
                }
            });
        }
    }
}
