//! The validation images as points in the plane of their features.

use crate::axis::Axis;
use crate::contents::{FeatureMap, MapPoint};
use crate::html::{Html, at, class, shortened};
use crate::svg::{COLOURS, Entry, SHAPES, canvas, key, mark, rectangle};
use rekindle_trainer::text;

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 430.0;
const MARGIN: f64 = 12.0;

/// With more classes than there are marks, nobody could tell them apart ...
const MARKS: usize = COLOURS * SHAPES;
/// ... so those with the most mistakes get a mark, and all others a dot.
const OF_MANY: usize = 2 * COLOURS;

pub(crate) fn draw(html: &mut Html, map: &FeatureMap, classes: &[String]) {
    if map.points.is_empty() {
        return;
    }
    html.node("figure", &[class("map")], |html| {
        html.leaf(
            "figcaption",
            &[],
            "Validation images by their features (PCA)",
        );
        key_of_marks(html, map, classes);
        plane(html, map, classes);
        html.leaf("p", &[class("note")], &note(map));
    });
}

/// Draws the plane alone.
pub(crate) fn plane(html: &mut Html, map: &FeatureMap, classes: &[String]) {
    let values =
        |value: fn(&MapPoint) -> f64| -> Vec<f64> { map.points.iter().map(value).collect() };
    let x = Axis::linear(&values(|point| point.x), 20, MARGIN, WIDTH - MARGIN);
    let y = Axis::linear(&values(|point| point.y), 20, HEIGHT - MARGIN, MARGIN);
    let marked = marked(map, classes.len());
    let title = "Validation images by their features";
    html.node("svg", &canvas(WIDTH, HEIGHT, title), |html| {
        let frame = rectangle("frame", 0.5, 0.5, WIDTH - 1.0, HEIGHT - 1.0);
        html.void("rect", &frame);
        // Rings last, so that they are seen.
        for is_wrong in [false, true] {
            let points = map.points.iter();
            for point in points.filter(|point| (point.truth != point.predicted) == is_wrong) {
                if let (Some(px), Some(py)) = (x.pixel(point.x), y.pixel(point.y)) {
                    draw_point(html, point, (px, py), classes, &marked);
                }
            }
        }
    });
}

/// Returns the classes with a mark of their own, by its number.
fn marked(map: &FeatureMap, classes: usize) -> Vec<usize> {
    if classes <= MARKS {
        return (0..classes).collect();
    }
    let mut mistakes = vec![0usize; classes];
    for point in map
        .points
        .iter()
        .filter(|point| point.truth != point.predicted)
    {
        for class in [point.truth, point.predicted] {
            if let Some(mistakes) = mistakes.get_mut(class) {
                *mistakes += 1;
            }
        }
    }
    let mut worst: Vec<usize> = (0..classes).collect();
    worst.sort_by_key(|class| (std::cmp::Reverse(mistakes[*class]), *class));
    worst.truncate(OF_MANY);
    worst.sort_unstable();
    worst
}

/// Returns the classes that have a mark, for a drawing without a page around it.
pub(crate) fn legend(map: &FeatureMap, classes: &[String]) -> Vec<Entry> {
    let marked = marked(map, classes.len());
    let names = marked.iter().filter_map(|class| classes.get(*class));
    names
        .enumerate()
        .map(|(index, name)| Entry {
            mark: Some(index),
            name: shortened(name, 28),
        })
        .collect()
}

fn key_of_marks(html: &mut Html, map: &FeatureMap, classes: &[String]) {
    let entries = legend(map, classes);
    html.node("p", &[class("legend")], |html| {
        for (index, entry) in entries.iter().enumerate() {
            html.node("span", &[], |html| {
                key(html, index);
                html.name(&entry.name);
            });
        }
        if entries.len() < classes.len() {
            let others = classes.len() - entries.len();
            let others = text::counted(others, "other class", "other classes");
            html.node("span", &[], |html| {
                html.leaf("i", &[class("other-dot")], "");
                html.text(&format!("{others}, with fewer mistakes"));
            });
        }
        html.raw("<span><i class=\"ring\"></i>taken for another class</span>");
    });
}

fn draw_point(
    html: &mut Html,
    point: &MapPoint,
    (x, y): (f64, f64),
    classes: &[String],
    marked: &[usize],
) {
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
            let ring = [class("wrong-ring"), at("cx", x), at("cy", y), at("r", 7.5)];
            html.void("circle", &ring);
        }
        match marked.iter().position(|class| *class == point.truth) {
            Some(index) => mark(html, index, (x, y), 4.0, "point "),
            None => {
                let dot = [class("other"), at("cx", x), at("cy", y), at("r", 2.6)];
                html.void("circle", &dot);
            }
        }
    });
}

fn note(map: &FeatureMap) -> String {
    let [first, second] = map.explained.map(text::percent);
    let sample = if map.points.len() < map.images {
        format!(
            " {} of {}, evenly taken.",
            text::count(map.points.len()),
            text::counted(map.images, "image", "images")
        )
    } else {
        String::new()
    };
    format!(
        "Across: {first} of the variance of the pooled features, up: {second}. The rest is not seen here, so classes \
         that overlap in this picture may still be apart.{sample}"
    )
}
