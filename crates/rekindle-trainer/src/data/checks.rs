//! What makes a data set unusable, or its results doubtful.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;
use rekindle_files::names::{printable, show};
use rekindle_imagefolder::{
    DecodeOptions, ImageFolder, TablePart, Task, decode_channels, decode_file, same_files,
    undecoded_format, unlisted_format,
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
pub(crate) fn refuse_unreadable(
    train: &ImageFolder,
    options: &DecodeOptions,
) -> Result<(), TrainerError> {
    match unreadable(train, options).first() {
        None => Ok(()),
        first => Err(nothing_to_read("training images", first)),
    }
}

/// The classes without one readable image, in label order. One image of each is decoded, more only where that fails.
pub(super) fn unreadable(folder: &ImageFolder, options: &DecodeOptions) -> Vec<Unreadable> {
    let mut files: Vec<Vec<&Path>> = vec![Vec::new(); folder.classes().len()];
    for sample in folder.samples() {
        if let Some(label) = sample.label {
            files[label].push(&sample.path);
        }
    }
    let dark = |(files, class): (&Vec<&Path>, &String)| {
        let mut first = None;
        for path in files {
            match decode_file(path, options) {
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
pub(super) fn warnings(train: &TablePart, val: &TablePart, options: &DecodeOptions) -> Vec<String> {
    let mut warnings: Vec<String> = shared_groups(train, val).into_iter().collect();
    warnings.extend(unlisted([&train.images, &val.images]));
    warnings.extend(unlikely_white(&train.images, options));
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
    let dark = unreadable(val, options).into_iter();
    let dark: Vec<String> = dark.map(|dark| dark.class).collect();
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

/// Training images whose largest number is looked for.
const PROBED_FOR_WHITE: usize = 32;

/// Says that the numbers of pictures at the depth of their files use little of the range up to white, or go far beyond it.
fn unlikely_white(train: &ImageFolder, options: &DecodeOptions) -> Option<String> {
    let channels = options.channels?;
    let samples = train.samples();
    let every = samples.len().div_ceil(PROBED_FOR_WHITE).max(1);
    let probed: Vec<&Path> = samples
        .iter()
        .step_by(every)
        .map(|one| &*one.path)
        .collect();
    let largest = |path: &&Path| {
        let bytes = std::fs::read(path).ok()?;
        let image = decode_channels(path, &bytes, channels, options).ok()?;
        image.values.into_iter().reduce(f32::max)
    };
    let most = probed
        .par_iter()
        .filter_map(largest)
        .reduce_with(f32::max)?;
    let is_likely = most > 0.25 && most <= 4.0;
    (!is_likely).then(|| {
        format!(
            "the largest number in {} is {} of white; --white NUMBER says which number is white in such files, such as 4095 \
             for 12 bits",
            text::counted(probed.len(), "training image", "training images"),
            text::figure(f64::from(most))
        )
    })
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
