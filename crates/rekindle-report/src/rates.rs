//! The learning rate of each part of the network over the epochs.

use crate::chart::{Chart, Curve, Scale};
use crate::contents::RunReport;
use crate::html::{Html, class};
use crate::parts::swatch;
use rekindle_trainer::events::{EpochMetrics, StageSummary};
use rekindle_trainer::text;

/// The parts that ever learn, in the order of the network, each with its rate in the epochs in which it does.
pub(crate) fn by_part(run: &RunReport) -> Vec<(String, Vec<(usize, f64)>)> {
    let mut parts: Vec<(String, Vec<(usize, f64)>)> = Vec::new();
    for stage in &run.stages {
        for part in &stage.parts {
            if !parts.iter().any(|(name, _)| *name == part.name) {
                parts.push((part.name.clone(), Vec::new()));
            }
        }
    }
    for epoch in &run.epochs {
        let covers =
            |stage: &&StageSummary| (stage.first_epoch..=stage.last_epoch).contains(&epoch.epoch);
        let Some(stage) = run.stages.iter().rfind(covers) else {
            continue;
        };
        for (name, points) in &mut parts {
            let part = stage.parts.iter().find(|part| part.name == *name);
            if let Some(rate) = part.and_then(|part| part.learning_rate)
                && let Some(rate) = at_epoch(stage, epoch, rate)
            {
                points.push((epoch.epoch, rate));
            }
        }
    }
    parts.retain(|(_, points)| !points.is_empty());
    parts
}

/// The schedule moves every part's rate by the factor by which it moves the head's, the last part's.
fn at_epoch(stage: &StageSummary, epoch: &EpochMetrics, base: f64) -> Option<f64> {
    let head = stage.parts.last()?.learning_rate?;
    let rate = epoch.learning_rate * base / head;
    rate.is_finite().then_some(rate)
}

/// Draws a chart where parts learn at different rates or at different times; a sentence where they don't.
pub(crate) fn draw(html: &mut Html, run: &RunReport) {
    let parts = by_part(run);
    let Some((_, first)) = parts.first() else {
        return;
    };
    if parts.iter().all(|(_, points)| points == first) {
        if parts.len() > 1 {
            let all = "All trained parts share the learning rate of the head.";
            html.leaf("p", &[class("note")], all);
        }
        return;
    }
    html.node("div", &[class("rates")], |html| {
        html.node("p", &[class("legend")], |html| {
            for (index, (name, _)) in parts.iter().enumerate() {
                html.node("span", &[], |html| {
                    swatch(html, index);
                    html.name(name);
                });
            }
        });
        chart(&parts).draw(html);
    });
}

pub(crate) fn chart(parts: &[(String, Vec<(usize, f64)>)]) -> Chart<'static> {
    let curves = parts
        .iter()
        .enumerate()
        .map(|(index, (name, points))| Curve {
            name: name.clone(),
            series: index,
            secondary: false,
            points: points.clone(),
            marked: None,
        });
    Chart {
        title: "Learning rate by part of the network",
        scale: Scale::Logarithmic,
        format: text::rate,
        curves: curves.collect(),
    }
}
