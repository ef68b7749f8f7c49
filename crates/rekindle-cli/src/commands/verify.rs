use rekindle::files::names::{printable, show};
use rekindle::imagefolder::{DecodeOptions, Duplicate, ImageFolder, Report, verify};
use rekindle::trainer::Interrupt;
use serde_json::json;

use crate::arguments::{Output, Verify};
use crate::console::{counted, print, say};
use crate::failure::{Failure, INTERRUPTED, Outcome};
use crate::tables::Images;

pub fn run(command: &Verify, output: Output) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::on_ctrl_c()?;
    let layout = Images::of(command.data.as_deref(), &command.table)?.listing()?;
    output.layout(&layout, "");
    let parts = layout.open_parts()?;
    let folders: Vec<(String, ImageFolder)> = parts
        .into_iter()
        .map(|(name, part)| (name, part.images))
        .collect();
    let named: Vec<(&str, &ImageFolder)> = folders.iter().map(|(n, f)| (n.as_str(), f)).collect();
    let images = folders.iter().map(|(_, folder)| folder.len()).sum();
    let bar = output.bar(images, "decoding");
    let report = verify(&named, &DecodeOptions::default(), |done, _| {
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
    json["folders"] = folders
        .iter()
        .map(|(name, folder)| {
            json!({
                "name": name, "images": folder.len(), "classes": folder.classes(),
                "counts": folder.class_counts(),
            })
        })
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

fn summary(report: &Report, folders: &[(&str, &ImageFolder)]) -> String {
    let mut lines: Vec<String> = folders
        .iter()
        .map(|(name, folder)| {
            let counts = folder.classes().iter().zip(folder.class_counts());
            let counts: Vec<String> = counts
                .map(|(class, count)| format!("{} {count}", printable(class)))
                .collect();
            let counts = match counts.is_empty() {
                true => "no classes".to_string(),
                false => counts.join(", "),
            };
            let images = counted(folder.len(), "image", "images");
            format!("{}: {images} ({counts})", printable(name))
        })
        .collect();
    lines.push(format!(
        "{} checked: {} unreadable, {} {}, {} more duplicates, {} not images",
        counted(report.checked, "file", "files"),
        report.bad.len(),
        report.leaks().count(),
        across(folders.iter().map(|(name, _)| *name)),
        report.duplicates.len() - report.leaks().count(),
        report.ignored.len(),
    ));
    lines.join("\n")
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
