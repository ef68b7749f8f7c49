//! Results go to standard output, everything else to standard error.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rekindle::files::names::printable;
use rekindle::imagefolder::{Listing, Skipped};
use rekindle::trainer::{Event, Observer, Progress, ProgressMode, TransferData};
use serde_json::Value;

use crate::arguments::Output;

impl Output {
    /// Prints a result: `json` as one line where that is asked for, otherwise the text.
    pub fn result(&self, json: &Value, text: impl FnOnce() -> String) {
        let line = if self.json { json.to_string() } else { text() };
        print(&line);
    }

    /// Says something about the work on standard error.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// Says where images were found, with what `more` there is to say; not under --quiet, unless it is
    /// otherwise than documented.
    pub fn layout(&self, layout: &Listing, more: &str) {
        if !self.quiet || !layout.is_plain() {
            say(&format!("{layout}{more}"));
        }
    }

    /// Says where the images that a model was measured on were found, and which of them can't be read.
    pub fn measured(&self, layout: &Listing, skipped: &[Skipped], is_held_out: bool) {
        say_left_out(skipped.iter().map(|skipped| &skipped.reason));
        let more = match is_held_out {
            true => "; the images that training held out are taken",
            false => "",
        };
        self.layout(layout, more);
    }

    /// Says where the images to train on were found, and what makes results doubtful.
    pub fn data(&self, data: &TransferData) {
        if let Some(layout) = &data.layout {
            let more = match layout.holds_out() {
                true if !layout.task().is_single_label() => {
                    "; a fifth of the pictures is held out for validation"
                }
                true => "; a fifth of each class is held out for validation",
                false => "",
            };
            self.layout(layout, more);
        }
        for warning in &data.warnings {
            say(&format!("warning: {warning}"));
        }
    }

    /// Shows a run's events; of a quiet one its warnings.
    pub fn observer(&self) -> Box<dyn Observer> {
        if self.quiet {
            return Box::new(Warnings);
        }
        Box::new(Progress::new(ProgressMode::Auto))
    }

    /// Creates a bar over so many items, on a terminal.
    pub fn bar(&self, items: usize, what: &str) -> ProgressBar {
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(items as u64), target);
        let style = "{prefix} {bar:30} {pos}/{len}, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_string());
        bar
    }
}

/// Prints warnings and nothing else.
struct Warnings;

impl Observer for Warnings {
    fn on_event(&mut self, event: &Event) {
        if let Event::Warning { message } = event {
            eprintln!("warning: {message}");
        }
    }
}

/// Prints a line to standard output. A reader that has gone away, such as `head`, is no failure.
pub fn print(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Prints a line to standard error, which may be closed as well.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Says which files could not be used, and why.
pub fn say_left_out(reasons: impl IntoIterator<Item = impl AsRef<str>>) {
    for reason in reasons {
        say(&format!("left out: {}", printable(reason.as_ref())));
    }
}

/// Warns that a model was measured on images that it had learned from.
pub fn say_learned_from(images: usize) {
    if images > 0 {
        say(&format!(
            "warning: the run learned from {images} of the images, so the figures are too good"
        ));
    }
}

/// Formats a number of things, such as `1 class` or `3 classes`.
pub fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Formats a share as percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
