//! One run in detail.

use crate::contents::{Report, RunReport};
use crate::html::{Html, class};
use crate::parts::{capitalised, class_names, meter, pictures, scrolling, swatch, unbroken};
use crate::{
    confusion, folds, gallery, labels, numbers, ranking, rates, reliability, scatter, trials,
};
use rekindle_trainer::events::{PartSummary, StageSummary};
use rekindle_trainer::metrics::{Evaluation, OrdinalEvaluation, Temperature};
use rekindle_trainer::text;

/// Number of classes above which the table of classes starts folded.
const UNFOLDED: usize = 24;

/// The most frequent mistakes that are listed.
const MISTAKES: usize = 12;

/// Classes shown beside the folded table of all.
const WORST: usize = 10;

pub(crate) fn draw(html: &mut Html, index: usize, run: &RunReport, report: &Report) {
    if run.stages.is_empty()
        && run.evaluation.is_none()
        && run.labels.is_none()
        && run.numbers.is_none()
        && run.pictures.is_empty()
        && run.trials.is_empty()
        && run.description.is_empty()
    {
        return;
    }
    let classes = class_names(report, run);
    html.node("section", &[class("run")], |html| {
        html.node("h2", &[], |html| {
            swatch(html, index);
            html.name(&capitalised(&run.name));
        });
        if !run.description.is_empty() {
            html.leaf("p", &[], &run.description);
        }
        trials::draw(html, run);
        folds::draw(html, run);
        if !run.stages.is_empty() {
            stage_table(html, &run.stages);
            rates::draw(html, run);
        }
        if let Some(evaluation) = &run.evaluation {
            evaluated(
                html,
                evaluation,
                run.temperature.as_ref(),
                run.ordinal.as_ref(),
                &classes,
            );
        }
        if let Some(evaluation) = &run.labels {
            labels::draw(html, evaluation, run.thresholds.as_ref(), &classes);
        }
        if let Some(found) = &run.numbers {
            numbers::draw(html, found);
        }
        gallery::draw(html, &run.mistakes, &classes);
        if let Some(map) = &run.map {
            html.leaf("h3", &[], "How the images lie");
            scatter::draw(html, map, &classes);
        }
        pictures(html, &run.pictures);
    });
}

/// Parts of the network down, stages across.
fn stage_table(html: &mut Html, stages: &[StageSummary]) {
    html.leaf("h3", &[], "What was trained");
    scrolling(html, |html| {
        html.node("table", &[class("stages")], |html| {
            html.node("thead", &[], |html| {
                html.node("tr", &[], |html| {
                    html.leaf("th", &[], "part");
                    html.leaf("th", &[class("number")], "parameters");
                    for stage in stages {
                        html.node("th", &[], |html| {
                            html.named("b", &[], &stage.name);
                            html.void("br", &[]);
                            html.text(&match (stage.first_epoch, stage.last_epoch) {
                                (0, _) => "without epochs".to_string(),
                                (first, last) if first == last => format!("epoch {first}"),
                                (first, last) => format!("epochs {first} to {last}"),
                            });
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

/// Returns every part of any stage, in the order of the network.
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
    ordinal: Option<&OrdinalEvaluation>,
    classes: &[String],
) {
    html.node("h3", &[], |html| {
        html.text("On the validation images");
        let figures = format!(
            " · {}, accuracy {}, cross-entropy {} nats, macro F1 {:.3}, Brier score {:.3}",
            text::counted(evaluation.samples, "image", "images"),
            text::percent(evaluation.accuracy),
            text::loss(evaluation.cross_entropy),
            evaluation.macro_f1,
            evaluation.brier
        ) + &ordinal.map_or_else(String::new, of_order);
        html.leaf("span", &[class("aside")], &figures);
    });
    html.node("div", &[class("pair")], |html| {
        confusion::draw(html, &evaluation.confusion, classes);
        reliability::draw(html, &evaluation.calibration, None);
        if let Some(temperature) = temperature {
            reliability::draw(html, &temperature.calibration, Some(temperature));
        }
    });
    if classes.len() > 2 {
        mistakes(html, evaluation, classes);
    }
    ranking::draw(html, &evaluation.ranking, classes);
    class_scores(html, evaluation, classes);
}

/// Figures of classes in an order, to go on with.
fn of_order(found: &OrdinalEvaluation) -> String {
    let kappa = found
        .quadratic_weighted_kappa
        .map_or_else(String::new, |kappa| {
            format!(", quadratic weighted kappa {kappa:.3}")
        });
    format!(
        ", mean absolute error {:.3} classes{kappa}, {} at most one class off",
        found.mae,
        text::percent(found.within_one)
    )
}

/// Writes every class's scores; of many, the worst are shown and all are folded away.
fn class_scores(html: &mut Html, evaluation: &Evaluation, classes: &[String]) {
    let all: Vec<usize> = (0..classes.len()).collect();
    if classes.len() <= UNFOLDED {
        html.leaf("h3", &[], "Class by class");
        return class_table(html, evaluation, classes, &all);
    }
    let mut worst = all.clone();
    let f1 = |class: &usize| {
        evaluation
            .classes
            .get(*class)
            .map_or(0.0, |scores| scores.f1)
    };
    worst.retain(|class| evaluation.confusion.support(*class) > 0);
    worst.sort_by(|a, b| f1(a).total_cmp(&f1(b)));
    worst.truncate(WORST);
    html.leaf(
        "h3",
        &[],
        &format!("The {} classes with the lowest F1", worst.len()),
    );
    class_table(html, evaluation, classes, &worst);
    html.node("details", &[], |html| {
        let all_of_them = format!("Scores of all {} classes", classes.len());
        html.leaf("summary", &[], &all_of_them);
        class_table(html, evaluation, classes, &all);
    });
}

fn class_table(html: &mut Html, evaluation: &Evaluation, classes: &[String], chosen: &[usize]) {
    let numbered = classes.len() > UNFOLDED;
    scrolling(html, |html| {
        html.node("table", &[class("scores")], |html| {
            html.node("thead", &[], |html| {
                html.node("tr", &[], |html| {
                    if numbered {
                        html.leaf("th", &[class("number")], "no.");
                    }
                    html.raw(
                        "<th>class</th><th class=\"number\">images</th>\
                         <th class=\"bar-column\">precision</th><th class=\"bar-column\">recall</th>\
                         <th class=\"bar-column\">F1</th><th class=\"bar-column\">AUROC</th>\
                         <th class=\"bar-column\">average precision</th>",
                    );
                });
            });
            html.node("tbody", &[], |html| {
                for class_index in chosen {
                    let (Some(name), Some(scores)) = (
                        classes.get(*class_index),
                        evaluation.classes.get(*class_index),
                    ) else {
                        continue;
                    };
                    html.node("tr", &[], |html| {
                        if numbered {
                            html.leaf("td", &[class("number")], &format!("{}", class_index + 1));
                        }
                        html.named("td", &[class("name")], name);
                        let images = text::count(scores.support as usize);
                        html.leaf("td", &[class("number")], &images);
                        for share in [scores.precision, scores.recall, scores.f1] {
                            html.node("td", &[class("bar-column")], |html| {
                                meter(html, "accent", share, &format!("{share:.3}"));
                            });
                        }
                        let curves = evaluation.ranking.classes.get(*class_index);
                        for area in [
                            curves.and_then(|curves| curves.auroc),
                            curves.and_then(|curves| curves.average_precision),
                        ] {
                            html.node("td", &[class("bar-column")], |html| match area {
                                Some(area) => meter(html, "accent", area, &format!("{area:.3}")),
                                None => html.text("–"),
                            });
                        }
                    });
                }
            });
        });
    });
}

fn mistakes(html: &mut Html, evaluation: &Evaluation, classes: &[String]) {
    let matrix = &evaluation.confusion;
    let worst = matrix.worst_confusions(MISTAKES);
    if worst.is_empty() {
        return;
    }
    let name = |class: usize| classes.get(class).map_or("?", String::as_str);
    html.leaf("h3", &[], "Most frequent mistakes");
    html.node("ul", &[class("mistakes")], |html| {
        for (truth, predicted, count) in worst {
            html.node("li", &[], |html| {
                html.text(&format!("{} × ", text::count(count as usize)));
                html.named("b", &[], name(truth));
                html.text(" taken for ");
                html.named("b", &[], name(predicted));
                let of = format!(
                    " · {} of {}",
                    unbroken(&text::percent(
                        count as f64 / matrix.support(truth).max(1) as f64
                    )),
                    text::counted(matrix.support(truth) as usize, "image", "images")
                );
                html.leaf("span", &[class("aside")], &of);
            });
        }
    });
}
