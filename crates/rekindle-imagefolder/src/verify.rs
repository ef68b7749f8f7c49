//! Looking at every file before a run: which are bad, and which appear more than once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decode::{DecodeOptions, decode_file};
use crate::folder::{Ignored, ImageFolder, Sample};

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Number of files that were read.
    pub checked: usize,
    /// Files that cannot be decoded, in the folders' order.
    pub bad: Vec<BadFile>,
    /// Images with the same pixels, in the order of their first file.
    pub duplicates: Vec<Duplicate>,
    /// What the folders' scans had left out.
    pub ignored: Vec<Ignored>,
    /// Classes without images, as (split, class).
    pub empty_classes: Vec<(String, String)>,
}

/// A file that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadFile {
    /// The folder's name, as it was given.
    pub split: String,
    /// The file.
    pub path: PathBuf,
    /// The reason, for people; names the file.
    pub reason: String,
}

/// Files that hold the same pixels (compressed bytes and metadata may differ).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// SHA-256 over size and decoded pixels, in hexadecimal digits.
    pub hash: String,
    /// The files, with their folder's name and class.
    pub files: Vec<DuplicateFile>,
    /// Files of this group lie in different folders: what is tested on was trained on.
    pub across_splits: bool,
    /// Files of this group have different classes: at least one label is wrong.
    pub conflicting_labels: bool,
}

/// One of several equal images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateFile {
    /// The folder's name, as it was given.
    pub split: String,
    /// The file.
    pub path: PathBuf,
    /// Its class's name.
    pub class: Option<String>,
}

impl Report {
    /// Images that lie in several folders.
    pub fn leaks(&self) -> impl Iterator<Item = &Duplicate> {
        self.duplicates
            .iter()
            .filter(|duplicate| duplicate.across_splits)
    }

    /// No bad file, no leak, no conflicting labels.
    pub fn is_clean(&self) -> bool {
        self.bad.is_empty()
            && !self
                .duplicates
                .iter()
                .any(|d| d.across_splits || d.conflicting_labels)
    }
}

/// Decodes every file of the named folders on all processors, and lists what is wrong with them.
/// `progress` hears (done, total) after each file, from any thread.
///
/// ```no_run
/// # fn main() -> Result<(), rekindle_imagefolder::Error> {
/// use rekindle_imagefolder::{DecodeOptions, ImageFolder, verify};
///
/// let (train, val) = ImageFolder::open_train_val("hymenoptera")?;
/// let folders = [("train", &train), ("val", &val)];
/// let report = verify(&folders, &DecodeOptions::default(), |done, total| {
///     eprint!("\r{done}/{total}");
/// });
/// for bad in &report.bad {
///     println!("{}: {}", bad.split, bad.reason);
/// }
/// for leak in report.leaks() {
///     println!("in train and in val: {}", leak.files[0].path.display());
/// }
/// # Ok(())
/// # }
/// ```
pub fn verify(
    folders: &[(&str, &ImageFolder)],
    options: &DecodeOptions,
    progress: impl Fn(usize, usize) + Sync,
) -> Report {
    let files: Vec<(&str, &ImageFolder, &Sample)> = folders
        .iter()
        .flat_map(|(split, folder)| folder.samples().iter().map(move |s| (*split, *folder, s)))
        .collect();
    let done = AtomicUsize::new(0);
    let hashes: Vec<Result<String, String>> = files
        .par_iter()
        .map(|(_, _, sample)| {
            let hash = content_hash(sample, options);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
            hash
        })
        .collect();

    let mut report = Report {
        checked: files.len(),
        ..Report::default()
    };
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, hash) in hashes.iter().enumerate() {
        match hash {
            Ok(hash) => groups.entry(hash).or_default().push(index),
            Err(reason) => report.bad.push(BadFile {
                split: files[index].0.to_string(),
                path: files[index].2.path.clone(),
                reason: reason.clone(),
            }),
        }
    }
    let mut groups: Vec<(&str, Vec<usize>)> = groups
        .into_iter()
        .filter(|(_, group)| group.len() > 1)
        .collect();
    groups.sort_by_key(|(_, group)| group[0]);
    report.duplicates = groups
        .into_iter()
        .map(|(hash, group)| duplicate(hash, &group, &files))
        .collect();
    for (split, folder) in folders {
        report.ignored.extend_from_slice(folder.ignored());
        for (class, count) in folder.classes().iter().zip(folder.class_counts()) {
            if count == 0 {
                report
                    .empty_classes
                    .push((split.to_string(), class.clone()));
            }
        }
    }
    report
}

/// The hash of an image's size and pixels, or why there are none.
fn content_hash(sample: &Sample, options: &DecodeOptions) -> Result<String, String> {
    let image = decode_file(&sample.path, options).map_err(|error| error.to_string())?;
    let mut hash = Sha256::new();
    hash.update(image.width().to_le_bytes());
    hash.update(image.height().to_le_bytes());
    hash.update(image.as_raw());
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn duplicate(hash: &str, group: &[usize], files: &[(&str, &ImageFolder, &Sample)]) -> Duplicate {
    let files: Vec<DuplicateFile> = group
        .iter()
        .map(|index| {
            let (split, folder, sample) = files[*index];
            DuplicateFile {
                split: split.to_string(),
                path: sample.path.clone(),
                class: sample
                    .label
                    .and_then(|label| folder.classes().get(label))
                    .cloned(),
            }
        })
        .collect();
    Duplicate {
        hash: hash.to_string(),
        across_splits: files.iter().any(|file| file.split != files[0].split),
        conflicting_labels: files.iter().any(|file| file.class != files[0].class),
        files,
    }
}
