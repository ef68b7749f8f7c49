//! Reads every file before a run: which are bad, and which appear more than once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use rekindle_files::names;
use serde::{Deserialize, Serialize};

use crate::content::ContentHash;
use crate::decode::{DecodeOptions, decode_channels, decode_file, read};
use crate::error::Error;
use crate::folder::{Ignored, ImageFolder, Sample};
use crate::table::TablePart;
use crate::task::Task;

/// Result of verifying a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Number of files that were read.
    pub checked: usize,
    /// Files that cannot be decoded, in the folders' order.
    pub bad: Vec<BadFile>,
    /// Images with the same pixels, in the order of their first file.
    pub duplicates: Vec<Duplicate>,
    /// Files and folders that the scans left out.
    pub ignored: Vec<Ignored>,
    /// Classes or labels without images, as (split, class).
    pub empty_classes: Vec<(String, String)>,
}

/// A file that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadFile {
    /// The folder's name, as it was given.
    pub split: String,
    /// The file.
    #[serde(with = "names::path")]
    pub path: PathBuf,
    /// The reason, for people; names the file.
    pub reason: String,
}

/// Files that hold the same pixels (compressed bytes and metadata may differ).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// SHA-256 in hexadecimal digits: over size and decoded pixels, or over the file's bytes from [`same_files`].
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
    #[serde(with = "names::path")]
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

    /// Returns true if there is no bad file, no leak and no conflicting label.
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
    let files = files_of(folders);
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
    let mut good = Vec::new();
    for (index, hash) in hashes.into_iter().enumerate() {
        match hash {
            Ok(hash) => good.push((hash, index)),
            Err(reason) => report.bad.push(BadFile {
                split: files[index].0.to_string(),
                path: files[index].2.path.clone(),
                reason,
            }),
        }
    }
    report.duplicates = groups(good)
        .into_iter()
        .map(|(hash, group)| duplicate(&hash, &group, &files))
        .collect();
    for (split, folder) in folders {
        report.ignored.extend_from_slice(folder.ignored());
        // Where no image has a label, there are several of each, or numbers: the folder doesn't know which.
        if folder.samples().iter().any(|sample| sample.label.is_some()) {
            let counts = folder.class_counts();
            report.empty_classes.extend(empty(split, folder, &counts));
        }
    }
    report
}

/// Verifies as [`verify`] does, with the labels that a table has beside one class per image: of several labels, those
/// without an image are [`Report::empty_classes`]; of numbers, there are none.
pub fn verify_parts(
    parts: &[(&str, &TablePart)],
    options: &DecodeOptions,
    progress: impl Fn(usize, usize) + Sync,
) -> Report {
    let folders: Vec<(&str, &ImageFolder)> =
        parts.iter().map(|(split, p)| (*split, &p.images)).collect();
    let mut report = verify(&folders, options, progress);
    report.empty_classes = parts
        .iter()
        .filter(|(_, part)| part.task != Task::Regression)
        .flat_map(|(split, part)| empty(split, &part.images, &part.class_counts()))
        .collect();
    report
}

/// The classes without images, as (split, class).
fn empty(split: &str, folder: &ImageFolder, counts: &[usize]) -> Vec<(String, String)> {
    let classes = folder.classes().iter().zip(counts);
    classes
        .filter(|(_, count)| **count == 0)
        .map(|(class, _)| (split.to_string(), class.clone()))
        .collect()
}

/// Finds files of the same bytes that lie in different folders or classes, without decoding any: cheap enough to be
/// done before every run. Files that can't be read are passed over.
///
/// Sizes are compared first, then the last kilobytes, and whole files only where these agree.
pub fn same_files(folders: &[(&str, &ImageFolder)]) -> Vec<Duplicate> {
    let files = files_of(folders);
    let place = |index: usize| (files[index].0, class_of(&files[index]));
    let differ = |group: &[usize]| group.iter().any(|index| place(*index) != place(group[0]));
    // Splits groups of files by what `read` gives, and keeps those that tell something.
    let narrow = |candidates: Vec<usize>, read: &(dyn Fn(&Path) -> io::Result<String> + Sync)| {
        let keys: Vec<(String, usize)> = candidates
            .into_par_iter()
            .filter_map(|index| Some((read(&files[index].2.path).ok()?, index)))
            .collect();
        let mut groups = groups(keys);
        groups.retain(|(_, group)| differ(group));
        groups
    };
    let all = |groups: Vec<(String, Vec<usize>)>| -> Vec<usize> {
        groups.into_iter().flat_map(|(_, group)| group).collect()
    };
    let same_size = narrow((0..files.len()).collect(), &|path| {
        Ok(fs::metadata(path)?.len().to_string())
    });
    let same_end = narrow(all(same_size), &end_of);
    narrow(all(same_end), &|path| {
        Ok(ContentHash::of(&fs::read(path)?).to_string())
    })
    .into_iter()
    .map(|(hash, group)| duplicate(&hash, &group, &files))
    .collect()
}

type File<'a> = (&'a str, &'a ImageFolder, &'a Sample);

fn files_of<'a>(folders: &[(&'a str, &'a ImageFolder)]) -> Vec<File<'a>> {
    folders
        .iter()
        .flat_map(|(split, folder)| folder.samples().iter().map(move |s| (*split, *folder, s)))
        .collect()
}

fn class_of<'a>((_, folder, sample): &File<'a>) -> Option<&'a String> {
    folder.classes().get(sample.label?)
}

/// Indices by key, where two or more share one, in the order of the first of each.
fn groups(keys: Vec<(String, usize)>) -> Vec<(String, Vec<usize>)> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (key, index) in keys {
        groups.entry(key).or_default().push(index);
    }
    let mut groups: Vec<(String, Vec<usize>)> = groups
        .into_iter()
        .filter(|(_, group)| group.len() > 1)
        .collect();
    groups.sort_by_key(|(_, group)| group[0]);
    groups
}

/// Computes a digest of a file's size and last kilobytes, where compressed pictures differ.
fn end_of(path: &Path) -> io::Result<String> {
    const END: u64 = 4096;
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(END)))?;
    let mut end = size.to_le_bytes().to_vec();
    file.take(END).read_to_end(&mut end)?;
    Ok(ContentHash::of(&end).to_string())
}

/// Computes the hash of an image's size and pixels, or why there are none.
fn content_hash(sample: &Sample, options: &DecodeOptions) -> Result<String, String> {
    let hash = || match options.channels {
        None => Ok(ContentHash::of_pixels(&decode_file(&sample.path, options)?)),
        Some(channels) => {
            let bytes = read(&sample.path)?;
            let image = decode_channels(&sample.path, &bytes, channels, options)?;
            Ok(ContentHash::of_planes(&image))
        }
    };
    hash()
        .map(|hash| hash.to_string())
        .map_err(|error: Error| error.to_string())
}

fn duplicate(hash: &str, group: &[usize], files: &[File<'_>]) -> Duplicate {
    let files: Vec<DuplicateFile> = group
        .iter()
        .map(|index| {
            let (split, _, sample) = files[*index];
            DuplicateFile {
                split: split.to_string(),
                path: sample.path.clone(),
                class: class_of(&files[*index]).cloned(),
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
