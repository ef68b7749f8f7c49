//! Shows the data that was trained on.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rekindle_files::names::escape;

use crate::contents::{ClassCount, NumberSpread, Report, SkippedFile};
use crate::html::{Html, class};
use crate::parts::{meter, pictures, scrolling};
use rekindle_trainer::text;

/// Number of classes above which the table starts folded.
const UNFOLDED: usize = 24;

/// Number of skipped files above which their list starts folded, behind a count for each reason.
const SKIPPED_UNFOLDED: usize = 12;

/// Skipped files listed; the others are only counted, so that the page stays readable.
const SKIPPED: usize = 200;

/// Reasons that are counted.
const REASONS: usize = 12;

pub(crate) fn draw(html: &mut Html, report: &Report) {
    let data = &report.data;
    let skipped = all_skipped(report);
    if data.classes.is_empty() && skipped.is_empty() && report.pictures.is_empty() {
        return;
    }
    html.node("section", &[], |html| {
        html.leaf("h2", &[], "Data");
        if !data.classes.is_empty() {
            overview(html, report);
        }
        if let Some(spread) = &data.numbers {
            spread_table(html, spread);
        } else if data.classes.len() > UNFOLDED {
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

fn overview(html: &mut Html, report: &Report) {
    let data = &report.data;
    let sum = |count: fn(&ClassCount) -> usize| data.classes.iter().map(count).sum();
    let [train, valid] = data
        .images
        .unwrap_or_else(|| [sum(|class| class.train), sum(|class| class.valid)]);
    html.node("p", &[], |html| {
        html.text(&format!(
            "{} and {}",
            text::counted(train, "training image", "training images"),
            text::counted(valid, "validation image", "validation images")
        ));
        match data.numbers {
            Some(_) => {
                html.text(" with the number ");
                html.name(data.classes.first().map_or("", |class| &class.name));
            }
            None => {
                let classes = text::counted(data.classes.len(), "class", "classes");
                html.text(&format!(" of {classes}"));
            }
        }
        if !data.source.is_empty() {
            html.text(" from ");
            html.named("code", &[], &data.source);
        }
        html.text(".");
    });
}

fn spread_table(html: &mut Html, [train, valid]: &[NumberSpread; 2]) {
    scrolling(html, |html| {
        html.node("table", &[class("wide")], |html| {
            html.raw(
                "<thead><tr><th>images</th><th class=\"number\">lowest</th><th class=\"number\">mean</th>\
                 <th class=\"number\">highest</th></tr></thead>",
            );
            html.node("tbody", &[], |html| {
                for (name, spread) in [("training", train), ("validation", valid)] {
                    html.node("tr", &[], |html| {
                        html.leaf("td", &[class("name")], name);
                        for value in [spread.low, spread.mean, spread.high] {
                            html.leaf("td", &[class("number")], &text::figure(value));
                        }
                    });
                }
            });
        });
    });
}

fn class_table(html: &mut Html, report: &Report) {
    let classes = &report.data.classes;
    let most = classes
        .iter()
        .map(|class| class.train.max(class.valid))
        .max();
    let most = most.unwrap_or(0).max(1) as f64;
    scrolling(html, |html| {
        html.node("table", &[class("scores")], |html| {
            html.raw(
                "<thead><tr><th>class</th><th class=\"bar-column\">training images</th>\
                 <th class=\"bar-column\">validation images</th></tr></thead>",
            );
            html.node("tbody", &[], |html| {
                for found in classes {
                    html.node("tr", &[], |html| {
                        html.named("td", &[class("name")], &found.name);
                        for count in [found.train, found.valid] {
                            html.node("td", &[class("bar-column")], |html| {
                                let share = count as f64 / most;
                                meter(html, "plain", share, &text::count(count));
                            });
                        }
                    });
                }
            });
        });
    });
}

/// Returns the files that the scan left out or that no run could decode, each once.
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
    if skipped.len() <= SKIPPED_UNFOLDED {
        return skipped_table(html, skipped);
    }
    reasons(html, skipped);
    html.node("details", &[], |html| {
        html.leaf("summary", &[], "The files, each with its reason");
        skipped_table(html, &skipped[..skipped.len().min(SKIPPED)]);
        if skipped.len() > SKIPPED {
            let more = text::count(skipped.len() - SKIPPED);
            html.leaf("p", &[class("note")], &format!("... and {more} more."));
        }
    });
}

/// Lists the reasons why files were left out with their numbers, the most frequent first.
fn reasons(html: &mut Html, skipped: &[&SkippedFile]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in skipped {
        *counts.entry(reason(file)).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    html.node("ul", &[class("reasons")], |html| {
        for (reason, count) in counts.iter().take(REASONS) {
            html.node("li", &[], |html| {
                html.text(&format!("{} × ", text::count(*count)));
                html.name(reason);
            });
        }
        if counts.len() > REASONS {
            let rest = counts[REASONS..].iter().map(|(_, count)| count).sum();
            let others = text::counted(counts.len() - REASONS, "other reason", "other reasons");
            html.leaf(
                "li",
                &[],
                &format!("{} for {others}", text::counted(rest, "file", "files")),
            );
        }
    });
}

fn reason(file: &SkippedFile) -> &str {
    text::reason_alone(&file.path, &file.reason)
}

fn skipped_table(html: &mut Html, skipped: &[&SkippedFile]) {
    scrolling(html, |html| {
        html.node("table", &[class("wide skipped")], |html| {
            html.raw("<thead><tr><th>file</th><th>why</th></tr></thead>");
            html.node("tbody", &[], |html| {
                for file in skipped {
                    html.node("tr", &[], |html| {
                        html.node("td", &[], |html| {
                            html.named("code", &[], &escape(&file.path));
                        });
                        html.named("td", &[], reason(file));
                    });
                }
            });
        });
    });
}
