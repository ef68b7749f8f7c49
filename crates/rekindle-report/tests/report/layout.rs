//! Checks the appearance of a page as far as possible without a browser: sizes, places and colours.

use std::collections::BTreeMap;

use roxmltree::Node;

use crate::made_up::{self, Shape};
use crate::{parse, text_of};

/// A rectangle in a drawing, in its own units.
#[derive(Clone, Copy, Debug)]
struct Extent {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Extent {
    fn overlaps(self, other: Self) -> bool {
        // Neighbours may touch.
        const SLACK: f64 = 0.5;
        self.left + SLACK < other.right
            && other.left + SLACK < self.right
            && self.top + SLACK < other.bottom
            && other.top + SLACK < self.bottom
    }

    fn is_within(self, width: f64, height: f64) -> bool {
        self.left >= -0.5
            && self.top >= -0.5
            && self.right <= width + 0.5
            && self.bottom <= height + 0.5
    }
}

fn number(node: Node, name: &str) -> f64 {
    node.attribute(name).unwrap_or("0").parse().unwrap()
}

/// Returns the extent of a text that isn't rotated, with letters as wide as DejaVu Sans' on average.
fn extent(text: Node, size: f64) -> Extent {
    let wide: f64 = text_of(text)
        .chars()
        .map(|c| match c {
            c if (c as u32) >= 0x1100 => 1.05,
            '0'..='9' => 0.64,
            '.' | ',' | ' ' | 'i' | 'l' | 'j' | '\'' | '(' | ')' => 0.36,
            'm' | 'w' | 'M' | 'W' | '%' | '…' => 0.96,
            _ => 0.6,
        })
        .sum::<f64>()
        * size;
    let (x, y) = (number(text, "x"), number(text, "y"));
    let classes = text.attribute("class").unwrap_or_default();
    let left = match classes {
        c if c.split(' ').any(|c| c == "end") => x - wide,
        c if c.split(' ').any(|c| c == "middle") => x - wide / 2.0,
        _ => x,
    };
    Extent {
        left,
        right: left + wide,
        top: y - 0.75 * size,
        bottom: y + 0.2 * size,
    }
}

/// As in style.css; a test in a browser looks at the real letters.
fn font_size(text: Node, on_phone: bool) -> f64 {
    let classes = text.attribute("class").unwrap_or_default();
    let has = |name: &str| classes.split(' ').any(|class| class == name);
    let in_chart = text
        .ancestors()
        .any(|node| node.attribute("class") == Some("chart"));
    match () {
        () if on_phone && in_chart => 16.0,
        () if has("cell-number") && has("tight") => 11.0,
        () if has("cell-number") => 13.0,
        () if has("small") => 10.5,
        () => 12.0,
    }
}

fn view_box(svg: Node) -> (f64, f64) {
    let numbers: Vec<f64> = svg
        .attribute("viewBox")
        .unwrap()
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    (numbers[2], numbers[3])
}

#[test]
fn nothing_in_a_drawing_covers_anything_or_sticks_out() {
    let shapes = made_up::shapes().into_iter();
    let pages = shapes.map(|(name, shape)| (name, made_up::report(shape)));
    let special = made_up::special().into_iter();
    let pages = pages.chain(special.map(|(name, report)| (name.to_string(), report)));
    let mut drawings = 0;
    for (page, report) in pages {
        let html = report.to_html();
        let document = parse(&html);
        for svg in document
            .descendants()
            .filter(|node| node.has_tag_name("svg"))
        {
            let (width, height) = view_box(svg);
            drawings += 1;
            for on_phone in [false, true] {
                let texts: Vec<(String, Extent)> = svg
                    .descendants()
                    .filter(|node| node.has_tag_name("text") && !node.has_attribute("transform"))
                    .map(|text| (text_of(text), extent(text, font_size(text, on_phone))))
                    .collect();
                for (at, (text, place)) in texts.iter().enumerate() {
                    assert!(
                        place.is_within(width, height),
                        "{page}: {text:?} at {place:?} in {width} x {height}"
                    );
                    for (other, taken) in &texts[at + 1..] {
                        assert!(
                            !place.overlaps(*taken),
                            "{page}: {text:?} {place:?} and {other:?} {taken:?}"
                        );
                    }
                }
            }
            for rect in svg.descendants().filter(|node| node.has_tag_name("rect")) {
                let (x, y) = (number(rect, "x"), number(rect, "y"));
                let place = Extent {
                    left: x,
                    right: x + number(rect, "width"),
                    top: y,
                    bottom: y + number(rect, "height"),
                };
                assert!(place.is_within(width, height), "{page}: {place:?}");
            }
        }
    }
    assert!(drawings > 300, "{drawings}");
}

#[test]
fn a_drawing_with_text_is_never_shrunk_and_scrolls_where_it_is_wide() {
    const PHONE: f64 = 390.0 - 32.0;
    for (page, shape) in made_up::shapes() {
        let html = made_up::report(shape).to_html();
        let document = parse(&html);
        for svg in document
            .descendants()
            .filter(|node| node.attribute("class") == Some("fixed"))
        {
            let (width, height) = view_box(svg);
            assert_eq!(
                (number(svg, "width"), number(svg, "height")),
                (width, height)
            );
            let scrolls = svg.parent_element().unwrap().attribute("class") == Some("scroll");
            assert!(scrolls || width <= PHONE, "{page}: {width}");
            let figure = svg
                .ancestors()
                .find(|node| node.has_tag_name("figure"))
                .unwrap();
            let has_row = figure.attribute("class") == Some("whole-row");
            // Columns of style.css.
            assert!(has_row || width <= 331.0, "{page}: {width} in a column");
        }
    }
}

#[test]
fn cells_are_as_large_as_their_numbers_need() {
    for classes in [2, 5, 10, 26, 40, 100] {
        let html = made_up::report(Shape {
            classes,
            images: 400,
            runs: 1,
            ..Shape::default()
        })
        .to_html();
        let document = parse(&html);
        let mut numbers = 0;
        for text in document.descendants().filter(|node| {
            let class = node.attribute("class").unwrap_or_default();
            class.starts_with("cell-number")
        }) {
            let rect = text
                .parent()
                .unwrap()
                .children()
                .find(|node| node.has_tag_name("rect"))
                .unwrap();
            let place = extent(text, font_size(text, false));
            assert!(
                place.right - place.left <= number(rect, "width"),
                "{classes}: {}",
                text_of(text)
            );
            numbers += 1;
        }
        assert!(numbers >= classes.min(20), "{classes}: {numbers}");
    }
}

/// The colours of style.css in light, in dark and on paper.
fn palettes() -> [BTreeMap<String, [f64; 3]>; 3] {
    let css = include_str!("../../src/style.css");
    let blocks = css.split(":root {").skip(1);
    let mut found = blocks.map(|block| {
        let block = &block[..block.find('}').unwrap()];
        block
            .split(';')
            .filter_map(|line| {
                let (name, value) = line.trim().split_once(": ")?;
                let name = name.strip_prefix("--")?;
                let digits = value.strip_prefix('#');
                let colour = match digits {
                    Some(digits) => {
                        let number = u32::from_str_radix(digits, 16).unwrap();
                        [number >> 16, number >> 8 & 255, number & 255].map(f64::from)
                    }
                    None => {
                        let parts: Vec<f64> =
                            value.split(' ').map(|part| part.parse().unwrap()).collect();
                        [parts[0], parts[1], parts[2]]
                    }
                };
                Some((name.to_string(), colour))
            })
            .collect()
    });
    std::array::from_fn(|_| found.next().unwrap())
}

/// Contrast of WCAG 2.2, 1 to 21.
fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [r, g, b] = colour.map(|value| {
            let value = value / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn text_can_be_read_on_what_it_stands_on() {
    for palette in palettes() {
        let of = |name: &str| palette[name];
        for ink in ["ink", "muted", "accent"] {
            let found = contrast(of(ink), of("page"));
            assert!(found >= 4.5, "{ink}: {found:.2}");
        }
        for step in 1..=6 {
            for kind in ["r", "w"] {
                let found = contrast(of(&format!("on{step}")), of(&format!("{kind}{step}")));
                assert!(found >= 4.5, "{kind}{step}: {found:.2}");
            }
        }
        // Curves, bars and marks: 3 for what isn't text.
        for series in 1..=6 {
            let found = contrast(of(&format!("c{series}")), of("page"));
            assert!(found >= 3.0, "c{series}: {found:.2}");
        }
    }
}
