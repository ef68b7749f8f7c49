//! `evaluate` for models that give a picture a number.

use rekindle::files::names::{escape, printable};
use rekindle::trainer::text::figure;
use rekindle::trainer::{EvaluatedNumbers, IntervalCoverage, Model};
use serde_json::json;

use crate::arguments::{Evaluate, Output};
use crate::console::{counted, percent, say_learned_from};
use crate::failure::{Failure, Outcome};
use crate::tables::Images;

pub fn run(
    command: &Evaluate,
    model: &Model,
    images: &Images,
    output: Output,
) -> Result<Outcome, Failure> {
    let Some(options) = &images.table else {
        return Err(Failure::Usage(
            "the model gives a picture a number, which folders don't have; give a table of pictures with --table".into(),
        ));
    };
    let bar = output.bar(0, "evaluating");
    bar.unset_length();
    let found = model.evaluate_numbers(&images.place, options, |count| bar.inc(count as u64))?;
    bar.finish_and_clear();
    output.measured(&found.layout, &found.skipped, found.is_held_out);
    say_learned_from(found.learned_from);
    let coverage = command.asked.coverage.map(|asked| {
        let residuals = model.conformal_residuals()?;
        residuals.measure(&found.predictions, asked)
    });
    let coverage = coverage.transpose()?;
    let name = model.class_name(0);
    let mut json = json!({
        "model": escape(&command.model), "data": escape(&images.place), "task": model.task, "name": name,
        "held_out": found.is_held_out, "learned_from": found.learned_from, "views": model.views(), "evaluation": found.evaluation,
        "skipped": found.skipped,
    });
    if let Some(coverage) = &coverage {
        json["coverage"] = json!(coverage);
    }
    output.result(&json, || text(&found, &name, coverage.as_ref()));
    Ok(if found.skipped.is_empty() {
        Outcome::Done
    } else {
        Outcome::BadData
    })
}

fn text(found: &EvaluatedNumbers, name: &str, coverage: Option<&IntervalCoverage>) -> String {
    let evaluation = &found.evaluation;
    let explained = evaluation.r2.map_or_else(
        || "undefined, as all are the same".into(),
        |r2| format!("{r2:.3}"),
    );
    let mut lines = vec![
        format!(
            "{} of {}: MAE {}, RMSE {}, R2 {explained}",
            printable(name),
            counted(evaluation.samples, "image", "images"),
            figure(evaluation.mae),
            figure(evaluation.rmse)
        ),
        format!(
            "half of the errors are below {}; answers are {} too {} on average",
            figure(evaluation.median_absolute_error),
            figure(evaluation.mean_error.abs()),
            match evaluation.mean_error >= 0.0 {
                true => "high",
                false => "low",
            }
        ),
    ];
    if let Some(coverage) = coverage {
        lines.push(format!(
            "intervals of {} to either side: {} hold the true number ({} asked)",
            figure(coverage.half_width),
            percent(coverage.covered),
            percent(coverage.asked)
        ));
    }
    lines.join("\n")
}
