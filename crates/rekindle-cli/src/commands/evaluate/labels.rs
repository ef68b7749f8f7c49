//! `evaluate` for models that give a picture any number of labels.

use rekindle::files::names::{escape, printable};
use rekindle::trainer::{EvaluatedLabels, Model};
use serde_json::json;

use super::without_images;
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
    let options = images.table.clone().unwrap_or_default();
    let bar = output.bar(0, "evaluating");
    bar.unset_length();
    let found = model.evaluate_labels(&images.place, &options, |count| bar.inc(count as u64))?;
    bar.finish_and_clear();
    output.measured(&found.layout, &found.skipped, found.is_held_out);
    say_learned_from(found.learned_from);
    let names = model.class_names();
    let json = json!({
        "model": escape(&command.model), "data": escape(&images.place), "task": model.task, "labels": names,
        "held_out": found.is_held_out, "learned_from": found.learned_from, "views": model.views(), "evaluation": found.evaluation,
        "skipped": found.skipped,
    });
    output.result(&json, || table(&found, &names));
    Ok(if found.skipped.is_empty() {
        Outcome::Done
    } else {
        Outcome::BadData
    })
}

fn table(found: &EvaluatedLabels, names: &[String]) -> String {
    let evaluation = &found.evaluation;
    let mut lines = vec![format!(
        "mean average precision {:.3} of {}, micro F1 {:.3}, macro F1 {:.3}, {} of the answers right",
        evaluation.mean_average_precision,
        counted(evaluation.samples, "image", "images"),
        evaluation.micro_f1,
        evaluation.macro_f1,
        percent(evaluation.accuracy)
    )];
    let support = evaluation.labels.iter().map(|scores| scores.support);
    lines.extend(without_images(names, support));
    lines.extend([
        String::new(),
        format!(
            "{:>9} {:>9} {:>7} {:>7} {:>9} {:>7}  label",
            "average", "precision", "recall", "F1", "threshold", "images"
        ),
    ]);
    for (name, scores) in names.iter().zip(&evaluation.labels) {
        let average = scores
            .average_precision
            .map_or_else(|| "-".into(), |value| format!("{value:.3}"));
        lines.push(format!(
            "{average:>9} {:>9.3} {:>7.3} {:>7.3} {:>9.3} {:>7}  {}",
            scores.precision,
            scores.recall,
            scores.f1,
            scores.threshold,
            scores.support,
            printable(name)
        ));
    }
    lines.join("\n")
}
