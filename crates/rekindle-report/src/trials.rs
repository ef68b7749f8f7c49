//! What was tried on held-out training images, what each attempt gained, and what was expected of the result.

use rekindle_trainer::events::Trial;
use rekindle_trainer::text;

use crate::contents::RunReport;
use crate::html::{Html, class};
use crate::parts::{meter, scrolling, unbroken};

pub(crate) fn draw(html: &mut Html, run: &RunReport) {
    if !run.trials.is_empty() {
        html.leaf("h3", &[], "What was tried");
        scrolling(html, |html| table(html, &run.trials));
        html.leaf(
            "p",
            &[class("note")],
            "Figures are those on training images that the attempt did not learn from; the validation images were not \
             looked at.",
        );
    }
    let (Some(forecast), Some(evaluation)) = (run.forecast, &run.evaluation) else {
        return;
    };
    let found = evaluation.accuracy;
    let held = match (forecast.low..=forecast.high).contains(&found) {
        true => "inside of it",
        false => "outside of it",
    };
    html.leaf("h3", &[], "What was expected");
    html.leaf(
        "p",
        &[],
        &format!(
            "Forecast before the validation images were looked at: {}, with 95 % probability between {} and {}. \
             Measured: {}, {held}.",
            text::percent(forecast.accuracy),
            text::percent(forecast.low),
            text::percent(forecast.high),
            text::percent(found)
        ),
    );
}

fn table(html: &mut Html, trials: &[Trial]) {
    html.node("table", &[class("wide trials")], |html| {
        html.node("thead", &[], |html| {
            html.node("tr", &[], |html| {
                html.leaf("th", &[], "tried");
                html.leaf("th", &[], "because");
                let of_numbers = trials.iter().any(|trial| trial.mae.is_some());
                let measured = match of_numbers {
                    true => "MAE on held-out images",
                    false => "held-out images right",
                };
                html.leaf("th", &[class("bar-column")], measured);
                html.leaf("th", &[class("number")], "gain");
                html.leaf("th", &[class("number")], "time");
                html.leaf("th", &[], "");
            });
        });
        html.node("tbody", &[], |html| {
            let last = trials.iter().rposition(|trial| trial.kept);
            for (at, trial) in trials.iter().enumerate() {
                row(html, trial, last == Some(at));
            }
        });
    });
}

/// One attempt; `is_result` where none after it was better.
fn row(html: &mut Html, trial: &Trial, is_result: bool) {
    let row = if is_result { "winner" } else { "" };
    html.node("tr", &[class(row)], |html| {
        html.leaf("td", &[class("name")], &trial.what);
        html.leaf("td", &[], &trial.why);
        html.node("td", &[class("bar-column")], |html| match trial.accuracy {
            None if trial.mae.is_some() => html.text(&text::figure(trial.mae.unwrap_or_default())),
            Some(accuracy) => {
                let shown = format!("{} of {}", text::percent(accuracy), trial.images);
                meter(html, "accent", accuracy, &unbroken(&shown));
            }
            None => html.text("not measured"),
        });
        let gain = trial.gain.map(|gain| format!("{:+.1}", 100.0 * gain));
        let gain = gain.map_or_else(|| "–".into(), |gain| gain.replace('-', "−"));
        html.leaf("td", &[class("number")], &gain);
        // Probes are compared together, and the time is that of all.
        let time = match trial.seconds >= 0.005 {
            true => text::duration(trial.seconds),
            false => "–".to_string(),
        };
        html.leaf("td", &[class("number")], &time);
        let fate = match (is_result, trial.kept) {
            (true, _) => "kept",
            (false, true) => "replaced",
            (false, false) => "",
        };
        html.leaf("td", &[], fate);
    });
}
