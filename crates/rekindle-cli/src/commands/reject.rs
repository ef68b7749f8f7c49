use std::path::Path;

use rekindle::files::names::{escape, show};
use rekindle::trainer::{FittedUnknown, Interrupt, Model, RunDirectory, TransferData};
use serde_json::{Value, json};

use crate::arguments::{Output, Reject};
use crate::console::{counted, say_left_out};
use crate::failure::{Failure, Outcome};

pub fn run(command: &Reject, output: Output) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::on_ctrl_c()?;
    let device = command.device.open()?;
    // Holds the lock: training must not replace the weights meanwhile.
    let writer = RunDirectory::resume(&command.run)?;
    let directory = writer.directory();
    let listing = directory.listing(command.data.as_deref())?;
    let path = directory.best_weights_path();
    let model = Model::open(&path, &device)?.interrupt(interrupt);
    let seed = directory.record().seed;
    let data = TransferData::from_listing(&listing, &model.preprocess, seed)?;
    output.data(&data);
    let found = learned(&model, &data, seed, output, &path)?;
    let mut json = told(&found);
    json["weights"] = json!(escape(&path));
    output.result(&json, || {
        format!("{}\nweights: {}", said(&found), show(&path))
    });
    Ok(match found.skipped.is_empty() {
        true => Outcome::Done,
        false => Outcome::BadData,
    })
}

/// Checks before any training that the choice of a score can be made afterwards.
pub fn check(data: &TransferData) -> Result<(), Failure> {
    if !data.task().is_single_label() {
        return Err(Failure::Usage(format!(
            "--reject is for one class per picture, and the labels are for {}; leave it out",
            data.task()
        )));
    }
    let counts = data.train.class_counts();
    let several = counts.iter().filter(|count| **count > 1).count();
    match several {
        0 | 1 => Err(Failure::Usage(
            "--reject needs two classes with at least two training images, one to leave out and one to learn from; leave \
             it out, or give more images"
                .into(),
        )),
        _ => Ok(()),
    }
}

/// Fits a detector of unknown classes and keeps it in the model's file.
pub fn learned(
    model: &Model,
    data: &TransferData,
    seed: u64,
    output: Output,
    path: &Path,
) -> Result<FittedUnknown, Failure> {
    let bar = output.bar(0, "unknown classes");
    bar.unset_length();
    let found = model.fit_unknown(data, seed, |count| bar.inc(count as u64))?;
    bar.finish_and_clear();
    say_left_out(found.skipped.iter().map(|skipped| &skipped.reason));
    found.write(path)?;
    Ok(found)
}

/// Returns what was learned as JSON.
pub fn told(found: &FittedUnknown) -> Value {
    json!({
        "score": found.detector.score_name(), "compared": found.detector.compared(), "left_out": found.left_out,
        "train_images": found.train_images, "held_out_images": found.held_out_images,
        "skipped": found.skipped,
    })
}

/// Returns what was learned as a line.
pub fn said(found: &FittedUnknown) -> String {
    let compared = found.detector.compared();
    let best = compared.first().map_or(f64::NAN, |best| best.auroc);
    let others = compared.iter().skip(1);
    let others: Vec<String> = others
        .map(|other| format!("{} {:.3}", other.score, other.auroc))
        .collect();
    format!(
        "unknown classes by {}: AUROC {best:.3} where {} left out of {} (other scores: {})",
        found.detector.score_name(),
        match found.left_out {
            1 => "one class was".to_string(),
            count => format!("each of {count} classes was"),
        },
        counted(found.train_images, "training image", "training images"),
        match others.is_empty() {
            true => "none".to_string(),
            false => others.join(", "),
        }
    )
}
