use rekindle::files::names::{printable, show};
use rekindle::imagefolder::{DecodeOptions, Duplicate, Report, TablePart, Task, verify_parts};
use rekindle::trainer::Interrupt;
use rekindle::trainer::text::figure;
use serde_json::{Value, json};

use crate::arguments::{Output, Verify};
use crate::console::{counted, print, say};
use crate::failure::{Failure, INTERRUPTED, Outcome};
use crate::tables::Images;

pub fn run(command: &Verify, output: Output) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::on_ctrl_c()?;
    let layout = Images::of(command.data.as_deref(), &command.table)?.listing()?;
    output.layout(&layout, "");
    let parts = layout.open_parts()?;
    let named: Vec<(&str, &TablePart)> = parts.iter().map(|(n, p)| (n.as_str(), p)).collect();
    let images = parts.iter().map(|(_, part)| part.images.len()).sum();
    let bar = output.bar(images, "decoding");
    let options = DecodeOptions {
        channels: command.depth.over(None)?,
        ..DecodeOptions::default()
    };
    let report = verify_parts(&named, &options, |done, _| {
        bar.set_position(done as u64);
        // Nothing is to be saved of a check that doesn't end, so the other threads need not be waited for.
        if interrupt.requested() {
            bar.abandon();
            say("interrupted");
            std::process::exit(INTERRUPTED);
        }
    });
    bar.finish_and_clear();

    let mut json = json!(report);
    json["clean"] = json!(report.is_clean());
    json["layout"] = json!(layout.to_string());
    json["folders"] = parts
        .iter()
        .map(|(name, part)| as_json(name, part))
        .collect();
    output.result(&json, || summary(&report, &named));
    if !output.json {
        list(&report);
    }
    Ok(if report.is_clean() {
        Outcome::Done
    } else {
        Outcome::BadData
    })
}

fn as_json(name: &str, part: &TablePart) -> Value {
    let mut told = json!({
        "name": name, "images": part.images.len(), "classes": part.images.classes(),
        "counts": part.class_counts(),
    });
    if part.task != Task::SingleLabel {
        told["task"] = json!(part.task);
    }
    if part.task == Task::Regression {
        let of = |(quantity, [mean, least, most]): (&String, [f64; 3])| json!({"name": quantity, "mean": mean, "min": least, "max": most});
        told["numbers"] = numbers(part).into_iter().map(of).collect();
    }
    told
}

fn summary(report: &Report, parts: &[(&str, &TablePart)]) -> String {
    let mut lines: Vec<String> = parts
        .iter()
        .map(|(name, part)| {
            let images = counted(part.images.len(), "image", "images");
            format!("{}: {images} ({})", printable(name), contents(part))
        })
        .collect();
    lines.push(format!(
        "{} checked: {} unreadable, {} {}, {} more duplicates, {} left out",
        counted(report.checked, "file", "files"),
        report.bad.len(),
        report.leaks().count(),
        across(parts.iter().map(|(name, _)| *name)),
        report.duplicates.len() - report.leaks().count(),
        report.ignored.len(),
    ));
    lines.join("\n")
}

/// What the images of a part are of: images per class or with each label, or the numbers' mean and range.
fn contents(part: &TablePart) -> String {
    let classes = part.images.classes();
    if classes.is_empty() {
        return "no classes".to_string();
    }
    if part.task == Task::Regression {
        let said = numbers(part)
            .into_iter()
            .map(|(name, [mean, least, most])| {
                let (least, most) = (figure(least), figure(most));
                format!(
                    "{} {least} to {most}, mean {}",
                    printable(name),
                    figure(mean)
                )
            });
        return said.collect::<Vec<_>>().join("; ");
    }
    let counts = classes.iter().zip(part.class_counts());
    let counts: Vec<String> = counts
        .map(|(class, count)| format!("{} {count}", printable(class)))
        .collect();
    counts.join(", ")
}

/// Mean, least and greatest of each quantity.
fn numbers(part: &TablePart) -> Vec<(&String, [f64; 3])> {
    let targets = part.targets.as_deref().unwrap_or_default();
    let width = part.images.classes().len().max(1);
    let of = |(at, name)| {
        let values = targets
            .iter()
            .skip(at)
            .step_by(width)
            .copied()
            .map(f64::from);
        let count = values.clone().count().max(1);
        let mean = values.clone().sum::<f64>() / count as f64;
        let least = values.clone().fold(f64::INFINITY, f64::min);
        (
            name,
            [mean, least, values.fold(f64::NEG_INFINITY, f64::max)],
        )
    };
    part.images.classes().iter().enumerate().map(of).collect()
}

fn list(report: &Report) {
    for bad in &report.bad {
        print(&format!("unreadable: {}", printable(&bad.reason)));
    }
    for duplicate in &report.duplicates {
        let files: Vec<String> = duplicate
            .files
            .iter()
            .map(|file| show(&file.path))
            .collect();
        print(&format!("{}: {}", kind(duplicate), files.join(", ")));
    }
    for file in &report.ignored {
        print(&format!("left out: {}: {}", show(&file.path), file.reason));
    }
    for (split, class) in &report.empty_classes {
        print(&format!("no images: class {} of {split}", printable(class)));
    }
}

fn kind(duplicate: &Duplicate) -> &'static str {
    match (duplicate.conflicting_labels, duplicate.across_splits) {
        (true, _) => "same picture, different classes",
        (false, true) => across(duplicate.files.iter().map(|file| file.split.as_str())),
        (false, false) => "same picture",
    }
}

/// Says that a picture is in several of these parts.
fn across<'a>(mut names: impl Iterator<Item = &'a str>) -> &'static str {
    match names.all(|name| name == "train" || name == "val" || name == "all") {
        true => "in training and validation",
        false => "in several of them",
    }
}
