//! What makes a data set unusable, or its results doubtful.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;
use rekindle_files::names::{printable, show};
use rekindle_imagefolder::{
    DecodeOptions, ImageFolder, TablePart, Task, decode_file, same_files, undecoded_format,
    unlisted_format,
};

use crate::{TrainerError, text};

/// A class of which not one image can be read.
pub(super) struct Unreadable {
    class: String,
    images: usize,
    /// Why its first image can't be.
    reason: String,
}

/// Refuses training images of which one class has none that can be read: nothing could be learned of it.
pub(crate) fn refuse_unreadable(train: &ImageFolder) -> Result<(), TrainerError> {
    match unreadable(train).first() {
        None => Ok(()),
        first => Err(nothing_to_read("training images", first)),
    }
}

/// The classes without one readable image, in label order. One image of each is decoded, more only where that fails.
pub(super) fn unreadable(folder: &ImageFolder) -> Vec<Unreadable> {
    let mut files: Vec<Vec<&Path>> = vec![Vec::new(); folder.classes().len()];
    for sample in folder.samples() {
        if let Some(label) = sample.label {
            files[label].push(&sample.path);
        }
    }
    let dark = |(files, class): (&Vec<&Path>, &String)| {
        let mut first = None;
        for path in files {
            match decode_file(path, &DecodeOptions::default()) {
                Ok(_) => return None,
                Err(error) => first.get_or_insert(error.to_string()),
            };
        }
        first.map(|reason| Unreadable {
            class: class.clone(),
            images: files.len(),
            reason,
        })
    };
    let classes = files.par_iter().zip(folder.classes());
    classes.filter_map(dark).collect()
}

pub(super) fn nothing_to_read(what: &str, class: Option<&Unreadable>) -> TrainerError {
    TrainerError::UnusableData {
        what: what.to_string(),
        found: match class {
            None => "there are none".to_string(),
            Some(found) => format!(
                "none of the {} of class {} can be read (the first is {})",
                text::counted(found.images, "image", "images"),
                printable(&found.class),
                found.reason
            ),
        },
        advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
    }
}

/// What is cheap to find out and makes results doubtful.
pub(super) fn warnings(train: &TablePart, val: &TablePart) -> Vec<String> {
    let mut warnings: Vec<String> = shared_groups(train, val).into_iter().collect();
    warnings.extend(unlisted([&train.images, &val.images]));
    let has_classes = val.task != Task::Regression;
    let counts = val.class_counts();
    let (train, val) = (&train.images, &val.images);
    let same = same_files(&[("training", train), ("validation", val)]);
    let example = |files: &[rekindle_imagefolder::DuplicateFile]| {
        let other = files
            .iter()
            .find(|file| (&file.split, &file.class) != (&files[0].split, &files[0].class));
        let other = other.unwrap_or(&files[0]);
        format!("{} and {}", show(&files[0].path), show(&other.path))
    };
    let across: Vec<_> = same.iter().filter(|found| found.across_splits).collect();
    if let Some(first) = across.first() {
        warnings.push(format!(
            "{} in training and in validation, which makes results too good (such as {})",
            text::counted(across.len(), "image", "images"),
            example(&first.files)
        ));
    }
    let conflicting: Vec<_> = same
        .iter()
        .filter(|found| found.conflicting_labels)
        .collect();
    if let Some(first) = conflicting.first() {
        warnings.push(format!(
            "{} in more than one class (such as {}); pictures that have several are learned with --task multi-label",
            text::counted(conflicting.len(), "image", "images"),
            example(&first.files)
        ));
    }
    let dark: Vec<String> = unreadable(val).into_iter().map(|dark| dark.class).collect();
    let classes = val.classes().iter().zip(counts);
    let lacking: Vec<String> = classes
        .filter(|(class, count)| *count == 0 || dark.contains(class))
        .map(|(class, _)| printable(class))
        .collect();
    if !lacking.is_empty() && has_classes {
        warnings.push(format!(
            "validation has no image that can be read of {}, so nothing is measured there",
            text::listed(&lacking, 12)
        ));
    }
    warnings
}

/// Says that pictures which belong together are in both parts.
fn shared_groups(train: &TablePart, val: &TablePart) -> Option<String> {
    let of =
        |part: &TablePart| -> BTreeSet<usize> { part.groups.iter().flatten().copied().collect() };
    let shared = of(train).intersection(&of(val)).count();
    (shared > 0).then(|| {
        format!(
            "{} in training and in validation, which makes results too good",
            text::counted(shared, "group has pictures", "groups have pictures")
        )
    })
}

/// Tells of pictures that a phone or a camera left in a format that is not decoded, and of GIFs, which are not taken from
/// folders: they are missing in what is learned.
fn unlisted(parts: [&ImageFolder; 2]) -> Vec<String> {
    let left_out = parts.into_iter().flat_map(ImageFolder::ignored);
    // Parts of one folder list the same files.
    let named: BTreeSet<(&Path, &str)> = left_out
        .filter_map(|file| Some((&*file.path, unlisted_format(&file.path)?)))
        .collect();
    let (undecoded, gifs): (Vec<_>, Vec<_>) = named
        .into_iter()
        .partition(|(path, _)| undecoded_format(path).is_some());
    let said = |files: &[(&Path, &str)], why: &str| {
        let (first, _) = files.first()?;
        let formats: BTreeSet<&str> = files.iter().map(|(_, format)| *format).collect();
        let formats: Vec<&str> = formats.into_iter().collect();
        Some(format!(
            "{} left out, since {} is not {why} (such as {}); convert it to JPEG or PNG",
            text::counted(files.len(), "picture is", "pictures are"),
            text::listed(&formats, 5),
            show(first)
        ))
    };
    [
        said(&undecoded, "decoded"),
        said(&gifs, "taken from folders"),
    ]
    .into_iter()
    .flatten()
    .collect()
}
