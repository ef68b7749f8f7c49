//! Shows how the time was spent.

use crate::contents::RunReport;
use crate::html::{Html, at, class};
use crate::parts::swatch;
use crate::svg::series;
use rekindle_trainer::text;

pub(crate) fn draw(html: &mut Html, runs: &[RunReport]) {
    let longest = runs.iter().map(RunReport::seconds).fold(0.0, f64::max);
    if !(longest.is_finite() && longest > 0.0) {
        return;
    }
    html.node("section", &[], |html| {
        html.leaf("h2", &[], "Where the time went");
        for (index, run) in runs.iter().enumerate() {
            if run.seconds() > 0.0 {
                row(html, index, run, longest);
            }
        }
    });
}

fn row(html: &mut Html, index: usize, run: &RunReport, longest: f64) {
    let total = run.seconds();
    let mut parts: Vec<(String, f64)> = run
        .times()
        .into_iter()
        .map(|phase| (phase.name, phase.seconds))
        .collect();
    let rest = total - parts.iter().map(|(_, seconds)| seconds).sum::<f64>();
    if rest > 0.005 * total {
        parts.push(("everything else".into(), rest));
    }
    html.node("div", &[class("spent")], |html| {
        html.node("div", &[class("who")], |html| {
            swatch(html, index);
            html.name(&run.name);
        });
        html.leaf("div", &[class("total")], &text::duration(total));
        html.node("div", &[class("stack-box")], |html| {
            html.node("div", &[class("stack")], |html| {
                for (part, (name, seconds)) in parts.iter().enumerate() {
                    let width = 100.0 * seconds / longest;
                    let shade = shade(name, part);
                    let attributes = [
                        class(format!("fill {} shade{shade}", series(index))),
                        at("style", format!("width:{width:.2}%")),
                        at("title", format!("{name}: {}", text::duration(*seconds))),
                    ];
                    html.leaf("div", &attributes, "");
                }
            });
            html.node("p", &[class("parts")], |html| {
                for (part, (name, seconds)) in parts.iter().enumerate() {
                    html.node("span", &[], |html| {
                        let shade = shade(name, part);
                        let key = format!("swatch {} shade{shade}", series(index));
                        html.leaf("i", &[class(key)], "");
                        html.name(name);
                        html.text(&format!(" {}", text::duration(*seconds)));
                    });
                }
            });
        });
    });
}

/// Training stands out; the others differ from their neighbours.
fn shade(name: &str, place: usize) -> usize {
    match name {
        "training" => 0,
        "validation" => 1,
        "everything else" => 3,
        _ => 1 + place % 3,
    }
}
