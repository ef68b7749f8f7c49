//! Draws the elements of charts: canvases, lines, text, and the marks of a series.

use unicode_width::UnicodeWidthStr;

use crate::html::{Attribute, Html, Value, at, class};

/// Colours of a series; after that they repeat with another mark.
pub(crate) const COLOURS: usize = 6;

/// Shapes of marks.
pub(crate) const SHAPES: usize = 4;

/// Returns the colour class of the n-th run, part or class.
pub(crate) fn series(index: usize) -> String {
    format!("s{}", index % COLOURS + 1)
}

/// Attributes of a drawing that grows and shrinks with the page.
pub(crate) fn canvas(width: f64, height: f64, title: &str) -> Vec<Attribute> {
    vec![
        at("viewBox", format!("0 0 {} {}", width.ceil(), height.ceil())),
        at("role", "img"),
        at("aria-label", title),
    ]
}

/// Attributes of a drawing of one scale, at which its text is easy to read.
pub(crate) fn fixed_canvas(width: f64, height: f64, title: &str) -> Vec<Attribute> {
    let mut attributes = canvas(width, height, title);
    attributes.push(class("fixed"));
    attributes.push(at("width", width.ceil()));
    attributes.push(at("height", height.ceil()));
    attributes
}

/// Attributes of a straight line.
pub(crate) fn line(name: &'static str, x1: f64, y1: f64, x2: f64, y2: f64) -> [Attribute; 5] {
    [
        class(name),
        at("x1", x1),
        at("y1", y1),
        at("x2", x2),
        at("y2", y2),
    ]
}

/// Attributes of a rectangle.
pub(crate) fn rectangle(
    name: impl Value,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
) -> [Attribute; 5] {
    [
        class(name),
        at("x", x),
        at("y", y),
        at("width", width.max(0.0)),
        at("height", height.max(0.0)),
    ]
}

/// Writes text in a drawing.
pub(crate) fn label(html: &mut Html, name: impl Value, x: f64, y: f64, text: &str) {
    html.leaf("text", &[class(name), at("x", x), at("y", y)], text);
}

/// Writes text turned by `degrees` about its anchor.
pub(crate) fn turned(
    html: &mut Html,
    name: &'static str,
    (x, y): (f64, f64),
    degrees: i32,
    text: &str,
) {
    let turn = format!("translate({x:.1} {y:.1}) rotate({degrees})");
    html.leaf("text", &[class(name), at("transform", turn)], text);
}

/// About as wide as `text` gets at this size, on the safe side: fonts differ.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    0.62 * size * text.width() as f64
}

/// Draws the mark of a series at `place`: six colours as discs, then as squares, triangles and diamonds. `style` is a
/// class to begin with, or empty.
pub(crate) fn mark(html: &mut Html, index: usize, (x, y): (f64, f64), r: f64, style: &str) {
    let colour = class(format!("{style}dot {}", series(index)));
    let outline = match index / COLOURS % SHAPES {
        0 => return html.void("circle", &[colour, at("cx", x), at("cy", y), at("r", r)]),
        1 => [(-r, -r), (r, -r), (r, r), (-r, r)].to_vec(),
        2 => [(0.0, -1.3 * r), (1.3 * r, r), (-1.3 * r, r)].to_vec(),
        _ => [
            (0.0, -1.4 * r),
            (1.4 * r, 0.0),
            (0.0, 1.4 * r),
            (-1.4 * r, 0.0),
        ]
        .to_vec(),
    };
    let mut path = String::new();
    for (number, (dx, dy)) in outline.into_iter().enumerate() {
        let command = if number == 0 { 'M' } else { 'L' };
        path.push_str(&format!("{command}{:.1} {:.1}", x + dx, y + dy));
    }
    html.void("path", &[colour, at("d", format!("{path}Z"))]);
}

/// A line of a legend that stands in the drawing itself.
pub(crate) struct Entry {
    /// The mark of a series; none for the dashed line of a training set.
    pub(crate) mark: Option<usize>,
    pub(crate) name: String,
}

/// Draws the mark of a series for a legend.
pub(crate) fn key(html: &mut Html, index: usize) {
    let attributes = [
        class("key"),
        at("viewBox", "0 0 12 12"),
        at("aria-hidden", "true"),
    ];
    html.node("svg", &attributes, |html| {
        mark(html, index, (6.0, 6.0), 4.0, "");
    });
}
