use rekindle::imagefolder::{DecodeOptions, ImageFolder, Report, ScanOptions, verify};
use serde_json::json;

use crate::arguments::{Output, Verify};
use crate::console::{counted, print, printable};
use crate::failure::{Failure, Outcome};

pub fn run(command: &Verify, output: Output) -> Result<Outcome, Failure> {
    let folders = if command.data.join("train").is_dir() {
        let (train, val) = ImageFolder::open_train_val(&command.data)?;
        vec![("train", train), ("val", val)]
    } else {
        let options = ScanOptions {
            allow_empty: true,
            ..ScanOptions::default()
        };
        vec![("all", ImageFolder::open_with(&command.data, &options)?)]
    };
    let named: Vec<(&str, &ImageFolder)> = folders.iter().map(|(n, f)| (*n, f)).collect();
    let images = folders.iter().map(|(_, folder)| folder.len()).sum();
    let bar = output.bar(images, "decoding");
    let report = verify(&named, &DecodeOptions::default(), |done, _| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();

    let mut json = json!(report);
    json["clean"] = json!(report.is_clean());
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
            let images = counted(folder.len(), "image", "images");
            format!("{name}: {images} ({})", counts.join(", "))
        })
        .collect();
    lines.push(format!(
        "{} checked: {} unreadable, {} in training and validation, {} more duplicates, {} not images",
        counted(report.checked, "file", "files"),
        report.bad.len(),
        report.leaks().count(),
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
        let kind = match (duplicate.conflicting_labels, duplicate.across_splits) {
            (true, _) => "same picture, different classes",
            (false, true) => "in training and validation",
            (false, false) => "same picture",
        };
        let files: Vec<String> = duplicate
            .files
            .iter()
            .map(|file| printable(&file.path.display().to_string()))
            .collect();
        print(&format!("{kind}: {}", files.join(", ")));
    }
    for file in &report.ignored {
        let path = printable(&file.path.display().to_string());
        print(&format!("left out: {path}: {}", file.reason));
    }
    for (split, class) in &report.empty_classes {
        print(&format!("no images: class {} of {split}", printable(class)));
    }
}
