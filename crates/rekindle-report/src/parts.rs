//! Pieces of the page that several sections use.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::contents::{Picture, Report, RunReport};
use crate::html::{Html, at, class};
use crate::svg::{COLOURS, key, series};

/// Draws a coloured square, or another mark after the first six, that stands for a run.
pub(crate) fn swatch(html: &mut Html, index: usize) {
    if index < COLOURS {
        html.leaf("i", &[class(format!("swatch {}", series(index)))], "");
    } else {
        key(html, index);
    }
}

/// Draws a share as a bar with a number beside it.
pub(crate) fn meter(html: &mut Html, colour: &str, share: f64, text: &str) {
    html.node("div", &[class("meter")], |html| {
        html.node("div", &[class("track")], |html| {
            let width = 100.0 * share.clamp(0.0, 1.0);
            let fill = [
                class(format!("fill {colour}")),
                at("style", format!("width:{width:.1}%")),
            ];
            html.leaf("div", &fill, "");
        });
        html.leaf("span", &[], text);
    });
}

/// Puts content in a box of its own that scrolls sideways where it is too wide for the page.
pub(crate) fn scrolling(html: &mut Html, content: impl FnOnce(&mut Html)) {
    // A keyboard reaches what can be scrolled.
    html.node("div", &[class("scroll"), at("tabindex", "0")], content);
}

/// Pictures with their captions, inside the page.
pub(crate) fn pictures(html: &mut Html, pictures: &[Picture]) {
    for picture in pictures {
        html.node("figure", &[class("picture")], |html| {
            let source = format!(
                "data:image/png;base64,{}",
                BASE64_STANDARD.encode(&picture.png)
            );
            html.void("img", &[at("src", source), at("alt", &*picture.caption)]);
            html.leaf("figcaption", &[], &picture.caption);
        });
    }
}

/// Formats a count in at most four characters: 1.2k, 57k, 3M.
pub(crate) fn short(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..10_000 => format!("{:.1}k", (count / 100) as f64 / 10.0),
        10_000..1_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// Formats a number that stays on a line with its unit.
pub(crate) fn unbroken(quantity: &str) -> String {
    quantity.replace(' ', "\u{a0}")
}

pub(crate) fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

/// Names from the run, or from the data, or numbers.
pub(crate) fn class_names(report: &Report, run: &RunReport) -> Vec<String> {
    let of_run = run.summary.as_ref().map(|summary| summary.classes.clone());
    let of_data: Vec<String> = report
        .data
        .classes
        .iter()
        .map(|class| class.name.clone())
        .collect();
    let count = match &run.evaluation {
        Some(evaluation) => evaluation.confusion.classes(),
        None => return of_run.unwrap_or(of_data),
    };
    let known = [of_run.unwrap_or_default(), of_data];
    known
        .into_iter()
        .find(|names| names.len() == count)
        .unwrap_or_else(|| (0..count).map(|class| format!("class {class}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        let counts = [7, 999, 1_000, 1_290, 56_789, 3_000_000].map(short);
        assert_eq!(counts.join(" "), "7 999 1.0k 1.2k 56k 3M");
    }
}
