//! Several labels a picture: the scores of each, with a small curve of precision over recall.

use crate::html::{Html, at, class};
use crate::parts::{meter, scrolling};
use crate::svg::{fixed_canvas, line};
use rekindle_trainer::metrics::{LabelScores, LabelThresholds, MultiLabelEvaluation};
use rekindle_trainer::text;

/// Size of a curve.
const WIDTH: f64 = 84.0;
const HEIGHT: f64 = 36.0;

/// Labels from which on the table is folded behind the worst of them.
const UNFOLDED: usize = 24;
const WORST: usize = 10;

pub(crate) fn draw(
    html: &mut Html,
    evaluation: &MultiLabelEvaluation,
    thresholds: Option<&LabelThresholds>,
    names: &[String],
) {
    html.node("h3", &[], |html| {
        html.text("On the validation images");
        let figures = format!(
            " · {}, mean average precision {:.3}, micro F1 {:.3}, macro F1 {:.3}, {} of the answers right",
            text::counted(evaluation.samples, "image", "images"),
            evaluation.mean_average_precision,
            thresholds.map_or(evaluation.micro_f1, |chosen| chosen.micro_f1),
            thresholds.map_or(evaluation.macro_f1, |chosen| chosen.macro_f1),
            text::percent(evaluation.accuracy)
        );
        html.leaf("span", &[class("aside")], &figures);
    });
    if let Some(chosen) = thresholds {
        let note = format!(
            "These images chose the threshold of each label, so the scores below are a little too good. Micro and macro F1 above are \
             cross-fitted: each fifth of the images is judged by what the others choose. With a threshold of 0.5 for all labels they \
             are {:.3} and {:.3}.",
            chosen.micro_f1_at_half, chosen.macro_f1_at_half
        );
        html.leaf("p", &[class("note")], &note);
    }
    let all: Vec<usize> = (0..evaluation.labels.len()).collect();
    if all.len() <= UNFOLDED {
        html.leaf("h3", &[], "Label by label");
        return table(html, evaluation, names, &all);
    }
    let mut worst = all.clone();
    worst.retain(|label| evaluation.labels[*label].average_precision.is_some());
    let precision = |label: &usize| evaluation.labels[*label].average_precision.unwrap_or(1.0);
    worst.sort_by(|a, b| precision(a).total_cmp(&precision(b)));
    worst.truncate(WORST);
    let heading = format!(
        "The {} labels with the lowest average precision",
        worst.len()
    );
    html.leaf("h3", &[], &heading);
    table(html, evaluation, names, &worst);
    html.node("details", &[], |html| {
        html.leaf("summary", &[], &format!("All {} labels", all.len()));
        table(html, evaluation, names, &all);
    });
}

fn table(html: &mut Html, evaluation: &MultiLabelEvaluation, names: &[String], chosen: &[usize]) {
    scrolling(html, |html| {
        html.node("table", &[class("scores")], |html| {
            html.node("thead", &[], |html| {
                html.node("tr", &[], |html| {
                    html.raw(
                        "<th>label</th><th class=\"number\">images</th><th>precision over recall</th>\
                         <th class=\"bar-column\">average precision</th><th class=\"bar-column\">precision</th>\
                         <th class=\"bar-column\">recall</th><th class=\"bar-column\">F1</th>\
                         <th class=\"number\">threshold</th>",
                    );
                });
            });
            html.node("tbody", &[], |html| {
                for label in chosen {
                    let name = names.get(*label).map_or("", String::as_str);
                    row(html, name, &evaluation.labels[*label]);
                }
            });
        });
    });
}

fn row(html: &mut Html, name: &str, scores: &LabelScores) {
    html.node("tr", &[], |html| {
        html.named("td", &[class("name")], name);
        html.leaf(
            "td",
            &[class("number")],
            &text::count(scores.support as usize),
        );
        html.node("td", &[], |html| curve(html, name, scores));
        html.node("td", &[class("bar-column")], |html| {
            match scores.average_precision {
                Some(share) => meter(html, "accent", share, &format!("{share:.3}")),
                None => html.text("–"),
            }
        });
        for share in [scores.precision, scores.recall, scores.f1] {
            html.node("td", &[class("bar-column")], |html| {
                meter(html, "accent", share, &format!("{share:.3}"));
            });
        }
        html.leaf(
            "td",
            &[class("number")],
            &format!("{:.3}", scores.threshold),
        );
    });
}

/// Precision upwards, recall to the right, both from 0 to 1.
fn curve(html: &mut Html, name: &str, scores: &LabelScores) {
    if scores.average_precision.is_none() {
        return;
    }
    let title = format!("Precision over recall of {name}");
    html.node("svg", &fixed_canvas(WIDTH, HEIGHT, &title), |html| {
        html.void(
            "line",
            &line("axis", 2.0, HEIGHT - 2.0, WIDTH - 2.0, HEIGHT - 2.0),
        );
        let first = scores.curve.first().map(|[_, precision]| [0.0, *precision]);
        let points: Vec<String> = first
            .iter()
            .chain(&scores.curve)
            .map(|[recall, precision]| {
                let x = 2.0 + recall * (WIDTH - 4.0);
                let y = HEIGHT - 2.0 - precision * (HEIGHT - 4.0);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        html.void(
            "polyline",
            &[class("curve"), at("points", points.join(" "))],
        );
    });
}
