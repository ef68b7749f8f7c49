//! What was trained on.

use std::collections::HashSet;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rekindle_files::names::escape;

use super::html::{Html, at, class};
use super::{Picture, Report, SkippedFile};
use crate::text;

/// With more classes than this the table starts folded.
const UNFOLDED: usize = 24;

/// Skipped files listed; the others are only counted, so that the page stays readable.
const SKIPPED: usize = 200;

pub(super) fn draw(html: &mut Html, report: &Report) {
    let data = &report.data;
    let skipped = all_skipped(report);
    if data.classes.is_empty() && skipped.is_empty() && report.pictures.is_empty() {
        return;
    }
    html.node("section", &[], |html| {
        html.leaf("h2", &[], "Data");
        let sum = |count: fn(&super::ClassCount) -> usize| -> String {
            text::count(data.classes.iter().map(count).sum())
        };
        html.node("p", &[], |html| {
            html.text(&format!(
                "{} training and {} validation images of {} classes",
                sum(|class| class.train),
                sum(|class| class.valid),
                data.classes.len()
            ));
            if !data.source.is_empty() {
                html.text(" from ");
                html.leaf("code", &[], &data.source);
            }
            html.text(".");
        });
        if data.classes.len() > UNFOLDED {
            html.node("details", &[], |html| {
                html.leaf("summary", &[], "Images of every class");
                class_table(html, report);
            });
        } else if !data.classes.is_empty() {
            class_table(html, report);
        }
        draw_skipped(html, &skipped);
        pictures(html, &report.pictures);
    });
}

fn class_table(html: &mut Html, report: &Report) {
    let classes = &report.data.classes;
    let most = classes
        .iter()
        .map(|class| class.train.max(class.valid))
        .max();
    let most = most.unwrap_or(0).max(1) as f64;
    html.node("div", &[class("scroll")], |html| {
        html.node("table", &[class("scores")], |html| {
            html.raw(
                "<thead><tr><th>class</th><th class=\"bar-column\">training images</th>\
                 <th class=\"bar-column\">validation images</th></tr></thead>",
            );
            html.node("tbody", &[], |html| {
                for found in classes {
                    html.node("tr", &[], |html| {
                        html.leaf("td", &[class("name")], &found.name);
                        for count in [found.train, found.valid] {
                            html.node("td", &[class("bar-column")], |html| {
                                let share = count as f64 / most;
                                super::page::meter(html, "plain", share, &text::count(count));
                            });
                        }
                    });
                }
            });
        });
    });
}

/// What the scan left out, and what no run could decode; each file once.
fn all_skipped(report: &Report) -> Vec<&SkippedFile> {
    let mut all: Vec<&SkippedFile> = report.data.skipped.iter().collect();
    let mut seen: HashSet<&Path> = all.iter().map(|file| file.path.as_path()).collect();
    for file in report.runs.iter().flat_map(|run| &run.skipped) {
        if seen.insert(&file.path) {
            all.push(file);
        }
    }
    all
}

fn draw_skipped(html: &mut Html, skipped: &[&SkippedFile]) {
    if skipped.is_empty() {
        return;
    }
    html.node("h3", &[], |html| {
        html.text("Files left out");
        let count = format!(" · {}", text::count(skipped.len()));
        html.leaf("span", &[class("aside")], &count);
    });
    html.node("div", &[class("scroll")], |html| {
        html.node("table", &[class("wide skipped")], |html| {
            html.raw("<thead><tr><th>file</th><th>why</th></tr></thead>");
            html.node("tbody", &[], |html| {
                for file in skipped.iter().take(SKIPPED) {
                    html.node("tr", &[], |html| {
                        html.node("td", &[], |html| {
                            html.leaf("code", &[], &escape(&file.path));
                        });
                        html.leaf("td", &[], text::reason_alone(&file.path, &file.reason));
                    });
                }
            });
        });
    });
    if skipped.len() > SKIPPED {
        let more = text::count(skipped.len() - SKIPPED);
        html.leaf("p", &[class("note")], &format!("... and {more} more."));
    }
}

/// Pictures with their captions, inside the page.
pub(super) fn pictures(html: &mut Html, pictures: &[Picture]) {
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
