//! One run in detail.

use super::html::{Html, class};
use super::page::{capitalised, meter, swatch};
use super::{Report, RunReport, confusion, data, gallery, rates, reliability, scatter};
use crate::events::{PartSummary, StageSummary};
use crate::metrics::{Evaluation, Temperature};
use crate::text;

/// With more classes than this the table of classes starts folded.
const UNFOLDED: usize = 24;

/// The mistakes listed where the matrix is too large for numbers.
const MISTAKES: usize = 12;

pub(super) fn draw(html: &mut Html, index: usize, run: &RunReport, report: &Report) {
    if run.stages.is_empty()
        && run.evaluation.is_none()
        && run.pictures.is_empty()
        && run.description.is_empty()
    {
        return;
    }
    let classes = class_names(report, run);
    html.node("section", &[class("run")], |html| {
        html.node("h2", &[], |html| {
            swatch(html, index);
            html.text(&capitalised(&run.name));
        });
        if !run.description.is_empty() {
            html.leaf("p", &[], &run.description);
        }
        if !run.stages.is_empty() {
            stage_table(html, &run.stages);
            rates::draw(html, run);
        }
        if let Some(evaluation) = &run.evaluation {
            evaluated(html, evaluation, run.temperature.as_ref(), &classes);
        }
        gallery::draw(html, &run.mistakes, &classes);
        if let Some(map) = &run.map {
            html.leaf("h3", &[], "How the images lie");
            scatter::draw(html, map, &classes);
        }
        data::pictures(html, &run.pictures);
    });
}

/// Parts of the network down, stages across.
fn stage_table(html: &mut Html, stages: &[StageSummary]) {
    html.leaf("h3", &[], "What was trained");
    html.node("div", &[class("scroll")], |html| {
        html.node("table", &[class("stages")], |html| {
            html.node("thead", &[], |html| {
                html.node("tr", &[], |html| {
                    html.leaf("th", &[], "part");
                    html.leaf("th", &[class("number")], "parameters");
                    for stage in stages {
                        html.node("th", &[], |html| {
                            html.leaf("b", &[], &stage.name);
                            html.void("br", &[]);
                            let (first, last) = (stage.first_epoch, stage.last_epoch);
                            html.text(&format!("epochs {first} to {last}"));
                        });
                    }
                });
            });
            html.node("tbody", &[], |html| {
                for name in part_names(stages) {
                    part_row(html, name, stages);
                }
                html.node("tr", &[class("total")], |html| {
                    html.leaf("td", &[], "trained");
                    let all = stages.iter().map(StageSummary::parameters).max();
                    let all = format!("of {}", text::count(all.unwrap_or(0)));
                    html.leaf("td", &[class("number")], &all);
                    for stage in stages {
                        html.leaf("td", &[], &text::count(stage.trainable_parameters()));
                    }
                });
            });
        });
    });
}

fn part_row(html: &mut Html, name: &str, stages: &[StageSummary]) {
    let find = |stage: &'_ StageSummary| stage.parts.iter().find(|part| part.name == name).cloned();
    html.node("tr", &[], |html| {
        html.leaf("td", &[], name);
        let parameters = stages
            .iter()
            .filter_map(find)
            .map(|part| part.parameters)
            .max();
        html.leaf(
            "td",
            &[class("number")],
            &text::count(parameters.unwrap_or(0)),
        );
        for stage in stages {
            match find(stage) {
                Some(part) if part.trainable > 0 => html.node("td", &[], |html| {
                    html.leaf("i", &[class("swatch trained")], "");
                    html.text(&trained(&part));
                }),
                Some(_) => html.node("td", &[class("frozen")], |html| {
                    html.leaf("i", &[class("swatch hollow")], "");
                    html.text("frozen");
                }),
                None => html.leaf("td", &[class("frozen")], "–"),
            }
        }
    });
}

fn trained(part: &PartSummary) -> String {
    let rate = part.learning_rate.map_or_else(String::new, |rate| {
        format!(", learning rate {}", text::rate(rate))
    });
    if part.trainable < part.parameters {
        format!("{} trained{rate}", text::count(part.trainable))
    } else {
        format!("trained{rate}")
    }
}

/// Every part of any stage, in the order of the network.
fn part_names(stages: &[StageSummary]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for part in stages.iter().flat_map(|stage| &stage.parts) {
        if !names.contains(&part.name.as_str()) {
            names.push(&part.name);
        }
    }
    names
}

fn evaluated(
    html: &mut Html,
    evaluation: &Evaluation,
    temperature: Option<&Temperature>,
    classes: &[String],
) {
    html.node("h3", &[], |html| {
        html.text("On the validation images");
        let figures = format!(
            " · {} images, cross-entropy {}, macro F1 {:.3}, Brier score {:.3}",
            text::count(evaluation.samples),
            text::loss(evaluation.cross_entropy),
            evaluation.macro_f1,
            evaluation.brier
        );
        html.leaf("span", &[class("aside")], &figures);
    });
    html.node("div", &[class("pair")], |html| {
        confusion::draw(html, &evaluation.confusion, classes);
        reliability::draw(html, &evaluation.calibration, None);
        if let Some(temperature) = temperature {
            reliability::draw(html, &temperature.calibration, Some(temperature));
        }
    });
    html.leaf("h3", &[], "Class by class");
    if classes.len() > UNFOLDED {
        html.node("details", &[], |html| {
            html.leaf("summary", &[], "Precision, recall and F1 of every class");
            class_table(html, evaluation, classes);
        });
    } else {
        class_table(html, evaluation, classes);
    }
    if classes.len() > 2 {
        mistakes(html, evaluation, classes);
    }
}

fn class_table(html: &mut Html, evaluation: &Evaluation, classes: &[String]) {
    html.node("div", &[class("scroll")], |html| {
        html.node("table", &[class("scores")], |html| {
            html.raw(
                "<thead><tr><th>class</th><th class=\"number\">images</th>\
                 <th class=\"bar-column\">precision</th><th class=\"bar-column\">recall</th>\
                 <th class=\"bar-column\">F1</th></tr></thead>",
            );
            html.node("tbody", &[], |html| {
                for (name, scores) in classes.iter().zip(&evaluation.classes) {
                    html.node("tr", &[], |html| {
                        html.leaf("td", &[class("name")], name);
                        html.leaf("td", &[class("number")], &scores.support.to_string());
                        for share in [scores.precision, scores.recall, scores.f1] {
                            html.node("td", &[class("bar-column")], |html| {
                                meter(html, "accent", share, &format!("{share:.3}"));
                            });
                        }
                    });
                }
            });
        });
    });
}

fn mistakes(html: &mut Html, evaluation: &Evaluation, classes: &[String]) {
    let worst = evaluation.confusion.worst_confusions(MISTAKES);
    if worst.is_empty() {
        return;
    }
    let name = |class: usize| classes.get(class).map_or("?", String::as_str);
    html.leaf("h3", &[], "Most frequent mistakes");
    html.node("ul", &[class("mistakes")], |html| {
        for (truth, predicted, count) in worst {
            html.node("li", &[], |html| {
                html.text(&format!("{count} × "));
                html.leaf("b", &[], name(truth));
                html.text(" taken for ");
                html.leaf("b", &[], name(predicted));
            });
        }
    });
}

/// Names from the run, or from the data, or numbers.
pub(super) fn class_names(report: &Report, run: &RunReport) -> Vec<String> {
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
