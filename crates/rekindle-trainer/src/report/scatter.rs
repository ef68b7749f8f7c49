//! The validation images as points in the plane of their features.

use super::axis::Axis;
use super::chart::{canvas, series};
use super::confusion::WithWidth;
use super::examine::{FeatureMap, MapPoint};
use super::html::{Html, at, class, shortened};
use crate::text;

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 430.0;
const MARGIN: f64 = 12.0;

/// Classes that get a key; with more than these colours and shapes nobody could tell them apart.
const KEYED: usize = COLOURS * SHAPES;
const COLOURS: usize = 6;
const SHAPES: usize = 4;

pub(super) fn draw(html: &mut Html, map: &FeatureMap, classes: &[String]) {
    if map.points.is_empty() {
        return;
    }
    html.node("figure", &[class("map")], |html| {
        html.leaf(
            "figcaption",
            &[],
            "Validation images by their features (PCA)",
        );
        key(html, classes);
        plane(html, map, classes);
        html.leaf("p", &[class("note")], &note(map));
    });
}

/// The drawing alone.
pub(super) fn plane(html: &mut Html, map: &FeatureMap, classes: &[String]) {
    let values =
        |value: fn(&MapPoint) -> f64| -> Vec<f64> { map.points.iter().map(value).collect() };
    let x = Axis::linear(&values(|point| point.x), 20, MARGIN, WIDTH - MARGIN);
    let y = Axis::linear(&values(|point| point.y), 20, HEIGHT - MARGIN, MARGIN);
    let title = "Validation images by their features";
    let attributes = canvas(WIDTH, HEIGHT, title).to_vec_with_width(WIDTH);
    html.node("svg", &attributes, |html| {
        let frame = super::chart::rectangle("frame", 0.5, 0.5, WIDTH - 1.0, HEIGHT - 1.0);
        html.void("rect", &frame);
        // Rings last, so that they are seen.
        for is_wrong in [false, true] {
            let points = map.points.iter();
            for point in points.filter(|point| (point.truth != point.predicted) == is_wrong) {
                if let (Some(px), Some(py)) = (x.pixel(point.x), y.pixel(point.y)) {
                    mark(html, point, (px, py), classes);
                }
            }
        }
    });
}

fn key(html: &mut Html, classes: &[String]) {
    html.node("p", &[class("legend")], |html| {
        for (index, name) in classes.iter().enumerate().take(KEYED) {
            html.node("span", &[], |html| {
                let attributes = [
                    at("viewBox", "0 0 12 12"),
                    at("aria-hidden", "true"),
                    class("key"),
                ];
                html.node("svg", &attributes, |html| {
                    shape(html, index, (6.0, 6.0), "")
                });
                html.text(&shortened(name, 28));
            });
        }
        if classes.len() > KEYED {
            html.node("span", &[], |html| html.text("colours and shapes repeat"));
        }
        html.raw("<span><i class=\"ring\"></i>taken for another class</span>");
    });
}

fn mark(html: &mut Html, point: &MapPoint, place: (f64, f64), classes: &[String]) {
    let name = |class: usize| classes.get(class).map_or("?", String::as_str);
    let is_wrong = point.truth != point.predicted;
    html.node("g", &[], |html| {
        let title = if is_wrong {
            format!("{}, taken for {}", name(point.truth), name(point.predicted))
        } else {
            name(point.truth).to_string()
        };
        html.leaf("title", &[], &title);
        if is_wrong {
            let ring = [
                class("wrong-ring"),
                at("cx", place.0),
                at("cy", place.1),
                at("r", 7.5),
            ];
            html.void("circle", &ring);
        }
        shape(html, point.truth, place, "point ");
    });
}

/// The mark of a class: six colours, then the same with other shapes.
fn shape(html: &mut Html, class_index: usize, (x, y): (f64, f64), style: &str) {
    const R: f64 = 4.0;
    let colour = class(format!("{style}dot {}", series(class_index % COLOURS)));
    let outline = match class_index / COLOURS % SHAPES {
        0 => return html.void("circle", &[colour, at("cx", x), at("cy", y), at("r", R)]),
        1 => [(-R, -R), (R, -R), (R, R), (-R, R)].to_vec(),
        2 => [(0.0, -1.3 * R), (1.3 * R, R), (-1.3 * R, R)].to_vec(),
        _ => [
            (0.0, -1.4 * R),
            (1.4 * R, 0.0),
            (0.0, 1.4 * R),
            (-1.4 * R, 0.0),
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

fn note(map: &FeatureMap) -> String {
    let [first, second] = map.explained.map(text::percent);
    let sample = if map.points.len() < map.images {
        format!(
            " {} of {} images, evenly taken.",
            text::count(map.points.len()),
            text::count(map.images)
        )
    } else {
        String::new()
    };
    format!(
        "Across: {first} of the variance of the pooled features, up: {second}. The rest is not seen here, so classes \
         that overlap in this picture may still be apart.{sample}"
    )
}
