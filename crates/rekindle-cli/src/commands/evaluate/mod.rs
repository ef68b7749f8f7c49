mod labels;
mod numbers;
mod rejection;

use rekindle::files::names::{escape, printable};
use rekindle::imagefolder::Task;
use rekindle::trainer::text::listed;
use rekindle::trainer::{Evaluated, Interrupt, Model};
use serde_json::json;

use super::train::ordinal;
use crate::arguments::{Evaluate, Output};
use crate::console::{counted, percent, say_learned_from, say_left_out};
use crate::failure::{Failure, Outcome};
use crate::tables::{Images, is_ordinal};

pub fn run(command: &Evaluate, output: Output) -> Result<Outcome, Failure> {
    let images = Images::of(command.data.as_deref(), &command.table)?;
    images.check()?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let options = command.part.options();
    let model = Model::open_with(&command.model, &options, &command.device.open()?)?;
    crate::weights::note(&model.found, &output);
    let model = command.asked.of(model, &interrupt)?;
    let is_order_asked = images.table.as_ref().is_some_and(is_ordinal);
    if is_order_asked && model.task != Task::Ordinal {
        return Err(Failure::Usage(format!(
            "--ordinal is for classes in an order, and the model is for {}; leave it out, or train with --ordinal",
            model.task
        )));
    }
    match model.task {
        Task::SingleLabel | Task::Ordinal => {}
        Task::MultiLabel => return labels::run(command, &model, &images, output),
        Task::Regression => return numbers::run(command, &model, &images, output),
    }
    let bar = output.bar(0, "evaluating");
    bar.unset_length();
    let progress = |count| bar.inc(count as u64);
    let found = match &images.table {
        Some(options) => model.evaluate_table(&images.place, options, progress)?,
        None => model.evaluate(&images.place, progress)?,
    };
    bar.finish_and_clear();
    output.measured(&found.layout, &found.skipped, found.is_held_out);
    say_learned_from(found.learned_from);
    let names = model.class_names();
    let coverage = command.asked.coverage.map(|asked| {
        let scores = model.conformal()?;
        scores.measure(&found.predictions, asked)
    });
    let coverage = coverage.transpose()?;
    let mut json = json!({
        "model": escape(&command.model), "data": escape(&images.place), "classes": names,
        "held_out": found.is_held_out, "learned_from": found.learned_from, "views": model.views(), "calibrated": command.asked.calibrated,
        "evaluation": found.evaluation, "temperature": found.temperature,
        "skipped": found.skipped, "ignored": found.ignored,
    });
    if let Some(ordinal) = &found.ordinal {
        json["task"] = json!(model.task);
        json["ordinal"] = json!(ordinal);
    }
    if let Some(coverage) = &coverage {
        json["coverage"] = json!(coverage);
    }
    let rejection = rejection::measured(command, &model, &found)?;
    if let Some((rates, unread)) = &rejection {
        say_left_out(unread);
        json["rejection"] = json!(rates);
    }
    output.result(&json, || {
        let mut text = table(&found, &names);
        if let Some(coverage) = &coverage {
            text.push_str(&format!(
                "\n\nsets of classes: {} hold the right one ({} asked), {:.2} classes per set",
                percent(coverage.covered),
                percent(coverage.asked),
                coverage.mean_size
            ));
        }
        if let Some((rates, _)) = &rejection {
            text.push_str(&rejection::said(rates));
        }
        text
    });
    let is_all_read = rejection.is_none_or(|(_, unread)| unread.is_empty());
    Ok(if found.skipped.is_empty() && is_all_read {
        Outcome::Done
    } else {
        Outcome::BadData
    })
}

fn table(found: &Evaluated, names: &[String]) -> String {
    let evaluation = &found.evaluation;
    let calibration = &evaluation.calibration;
    let mut lines = vec![
        format!(
            "accuracy {} of {} (balanced {}), macro F1 {:.3}, cross-entropy {:.3}",
            percent(evaluation.accuracy),
            counted(evaluation.samples, "image", "images"),
            percent(evaluation.balanced_accuracy),
            evaluation.macro_f1,
            evaluation.cross_entropy
        ),
        match found.temperature.to_keep() == 1.0 {
            true => format!(
                "calibration error {}; no temperature makes it better on images that it was not fitted to",
                percent(calibration.ece)
            ),
            false => format!(
                "calibration error {}; with temperature {:.2} {}",
                percent(calibration.ece),
                found.temperature.value,
                percent(found.temperature.calibration.ece)
            ),
        },
        format!(
            "each class against the others: AUROC {}, average precision {} (means over the classes)",
            area(evaluation.ranking.macro_auroc),
            area(evaluation.ranking.macro_average_precision)
        ),
    ];
    let support = evaluation.classes.iter().map(|scores| scores.support);
    lines.extend(without_images(names, support));
    lines.extend(found.ordinal.as_ref().map(ordinal::figures));
    lines.extend([
        String::new(),
        format!(
            "{:>9} {:>7} {:>7} {:>7} {:>9} {:>7}  class",
            "precision", "recall", "F1", "AUROC", "average", "images"
        ),
    ]);
    let classes = evaluation.classes.iter().zip(&evaluation.ranking.classes);
    for (name, (scores, curves)) in names.iter().zip(classes) {
        if scores.support == 0 && scores.precision == 0.0 {
            continue; // Of a thousand classes only those that play a part.
        }
        lines.push(format!(
            "{:>9.3} {:>7.3} {:>7.3} {:>7} {:>9} {:>7}  {}",
            scores.precision,
            scores.recall,
            scores.f1,
            area(curves.auroc),
            area(curves.average_precision),
            scores.support,
            printable(name)
        ));
    }
    let confusions = evaluation.confusion.worst_confusions(5);
    if !confusions.is_empty() {
        lines.push(String::new());
    }
    for (truth, predicted, count) in confusions {
        let name = |class: usize| {
            names
                .get(class)
                .map_or_else(String::new, |name| printable(name))
        };
        lines.push(format!(
            "{count} x {} taken for {}",
            name(truth),
            name(predicted)
        ));
    }
    lines.join("\n")
}

/// Says which classes have no images and count in the mean of all F1 with a 0; none where each has some.
fn without_images(names: &[String], support: impl Iterator<Item = u64>) -> Option<String> {
    const SHOWN: usize = 12;
    let absent: Vec<&String> = names
        .iter()
        .zip(support)
        .filter(|(_, images)| *images == 0)
        .map(|(name, _)| name)
        .collect();
    (!absent.is_empty()).then(|| {
        format!(
            "no images of {}: F1 is 0 there, which lowers the macro F1",
            listed(&absent, SHOWN)
        )
    })
}

/// The area below a curve, where there is one.
fn area(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.3}"))
}
