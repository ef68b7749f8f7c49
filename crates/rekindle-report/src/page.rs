//! The page from top to bottom.

use std::path::Path;

use crate::contents::Report;
use crate::html::{Html, at, class};
use crate::{comparison, curves, data, headline, run, time};
use rekindle_trainer::TrainerError;
use rekindle_trainer::run_directory::atomic_write;

/// Nothing is loaded from anywhere, whatever a file name or caption tries.
const CONTENT_POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

impl Report {
    /// Returns the report as one HTML document.
    pub fn to_html(&self) -> String {
        draw(self)
    }

    /// Writes the HTML document to a file, replacing an older one at once.
    ///
    /// # Errors
    ///
    /// Those of [`atomic_write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), TrainerError> {
        let html = self.to_html();
        atomic_write(path, |file| Ok(file.write_all(html.as_bytes())?))
    }
}

fn draw(report: &Report) -> String {
    let mut html = Html::new();
    html.raw("<!DOCTYPE html>\n");
    html.node("html", &[at("lang", "en")], |html| {
        head(html, &format!("{} · rekindle report", report.title));
        html.node("body", &[], |html| {
            html.node("main", &[], |html| {
                header(html, report);
                comparison::draw(html, report);
                curves::draw(html, &report.runs);
                time::draw(html, &report.runs);
                for (index, run) in report.runs.iter().enumerate() {
                    run::draw(html, index, run, report);
                }
                data::draw(html, report);
                facts(html, report);
            });
        });
    });
    let mut page = html.into_string();
    page.push('\n');
    page
}

/// The head of a page that loads nothing.
pub(crate) fn head(html: &mut Html, title: &str) {
    html.node("head", &[], |html| {
        html.raw("<meta charset=\"utf-8\"/>");
        html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>");
        html.raw("<meta name=\"color-scheme\" content=\"light dark\"/>");
        let policy = [
            at("http-equiv", "Content-Security-Policy"),
            at("content", CONTENT_POLICY),
        ];
        html.void("meta", &policy);
        html.leaf("title", &[], title);
        html.raw("<style>");
        html.raw(include_str!("style.css"));
        html.raw("</style>");
    });
}

fn header(html: &mut Html, report: &Report) {
    html.node("header", &[], |html| {
        html.node("p", &[class("overline")], |html| {
            html.text("rekindle report · ");
            html.leaf("time", &[], &readable_time(&report.created));
        });
        html.leaf("h1", &[at("dir", "auto")], &report.title);
        headline::draw(html, report);
    });
}

fn facts(html: &mut Html, report: &Report) {
    if report.facts.is_empty() {
        return;
    }
    html.node("section", &[], |html| {
        html.leaf("h2", &[], "To do it again");
        html.node("dl", &[class("facts")], |html| {
            for fact in &report.facts {
                html.leaf("dt", &[], &fact.name);
                // One line for each group of runs that share a value.
                for line in fact.value.lines() {
                    html.leaf("dd", &[], line);
                }
            }
        });
    });
}

/// `2026-01-31T09:30:00Z` as `2026-01-31 09:30 UTC`.
pub(crate) fn readable_time(created: &str) -> String {
    match (created.get(..10), created.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => created.into(),
    }
}
