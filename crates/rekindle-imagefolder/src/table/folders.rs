//! Folders that are read as a table: one folder per label, and a picture in the folder of each label that it has; or one folder
//! per class, and an order of these.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::columns::{Columns, Labels};
use super::decimal::Decimal;
use super::rows::Row;
use super::{ImageTable, TableOptions, order};
use crate::content::ContentHash;
use crate::error::Error;
use crate::folder::{ImageFolder, Sample};
use crate::layout::{Layout, LayoutKind};
use crate::part::Role;
use crate::task::Task;

/// Lists the pictures of a folder. Where they may have several labels, files of the same bytes in several class folders of one
/// part are one picture.
pub(super) fn open(path: &Path, options: &TableOptions) -> Result<ImageTable, Error> {
    let task = check(options)?;
    let layout = Layout::find(path)?;
    if options.classes.is_none() {
        // Refuses empty classes, and a folder without a part to learn from.
        layout.open_training()?;
    }
    let parts = parts(&layout)?;
    let classes = match (&options.classes, parts.first()) {
        (Some(classes), _) => classes.clone(),
        (None, Some((_, first))) if task == Task::Ordinal => {
            order::ordered(first.classes().to_vec(), options, Decimal::Point)?
        }
        (None, Some((_, first))) => first.classes().to_vec(),
        (None, None) => Vec::new(),
    };
    let mut rows = Vec::new();
    for (part, images) in &parts {
        match task {
            Task::Ordinal => files(*part, images, &classes, &mut rows)?,
            _ => pictures(*part, images, &classes, &mut rows)?,
        }
    }
    let several = rows
        .iter()
        .filter(|row| row.targets.iter().sum::<f32>() > 1.0)
        .count();
    let is_split = parts.iter().any(|(part, _)| part.is_some());
    let (said, hint) = match task {
        Task::Ordinal => (
            "one folder per class".to_string(),
            order::hint(&classes, options, Decimal::Point),
        ),
        _ => (
            format!(
                "one folder per label, {several} of {} pictures in several",
                rows.len()
            ),
            (several == 0).then(|| {
                "no picture stands in more than one folder; where each has one class, leave --task out"
                    .to_string()
            }),
        ),
    };
    Ok(ImageTable {
        path: path.to_path_buf(),
        root: layout.root().to_path_buf(),
        options: options.clone(),
        task,
        classes,
        columns_said: said,
        columns: Columns {
            file: 0,
            labels: Labels::One(0),
            split: is_split.then_some(0),
            weight: None,
            group: None,
            index: Vec::new(),
        },
        rows,
        hint,
    })
}

/// Refuses options that a folder can't follow; returns what is to be learned.
fn check(options: &TableOptions) -> Result<Task, Error> {
    let refuse = |option, reason: &str| {
        Err(Error::InvalidOption {
            option,
            reason: reason.into(),
        })
    };
    let task = options.checked_task()?;
    if !matches!(task, Task::MultiLabel | Task::Ordinal) {
        return refuse(
            "task",
            "a folder is read as a table where pictures have several labels, which multi-label asks for, or where classes are \
             in an order (ordinal)",
        );
    }
    let columns = [
        &options.file,
        &options.label,
        &options.separator,
        &options.split,
        &options.weight,
        &options.group,
    ];
    if columns.iter().any(|column| column.is_some()) || !options.labels.is_empty() {
        return refuse(
            "columns",
            "a folder has none; leave them out, or give a table",
        );
    }
    match options.root {
        None => Ok(task),
        Some(_) => refuse("root", "it goes with a table; name the folder alone"),
    }
}

/// The parts of a layout, the one to learn from first.
fn parts(layout: &Layout) -> Result<Vec<(Option<Role>, ImageFolder)>, Error> {
    let role = match layout.kind() {
        LayoutKind::Parts { .. } | LayoutKind::Classes => None,
        LayoutKind::Training(_) => Some(Role::Training),
        LayoutKind::Validation(_) => Some(Role::Validation),
        // Says what it found instead of class folders.
        LayoutKind::Domains(_) | LayoutKind::Flat => {
            layout.open_training()?;
            None
        }
    };
    let found = layout.open_parts()?.into_iter();
    let is_split = found.len() > 1;
    let named = found
        .enumerate()
        .map(|(at, (_, images))| match (is_split, at) {
            (false, _) => (role, images),
            (true, 0) => (Some(Role::Training), images),
            (true, _) => (Some(Role::Validation), images),
        });
    Ok(named.collect())
}

/// Adds the files of one part to `rows`, each with its class.
fn files(
    part: Option<Role>,
    images: &ImageFolder,
    classes: &[String],
    rows: &mut Vec<Row>,
) -> Result<(), Error> {
    let places = places(images, classes)?;
    let of = |(at, sample): (usize, &Sample)| Row {
        label: sample.label.and_then(|label| places[label]),
        ..row(part, at, sample)
    };
    rows.extend(images.samples().iter().enumerate().map(of));
    Ok(())
}

/// Where each class of a part stands among all; one with pictures that isn't among these is an error.
fn places(images: &ImageFolder, classes: &[String]) -> Result<Vec<Option<usize>>, Error> {
    let place = |name: &String| classes.iter().position(|class| class == name);
    let places: Vec<Option<usize>> = images.classes().iter().map(place).collect();
    let counts = images.class_counts();
    let named = images.classes().iter().zip(&places).zip(&counts);
    let unknown: Vec<String> = named
        .filter(|((_, place), count)| place.is_none() && **count > 0)
        .map(|((name, _), _)| name.clone())
        .collect();
    match unknown.is_empty() {
        true => Ok(places),
        false => Err(Error::UnknownClasses {
            path: images.root().to_path_buf(),
            unknown,
            expected: classes.to_vec(),
        }),
    }
}

/// The row of the picture that is the `at`-th of its part, before its labels are known.
fn row(part: Option<Role>, at: usize, sample: &Sample) -> Row {
    Row {
        line: at as u64 + 1,
        path: sample.path.clone(),
        part,
        weight: 1.0,
        group: 0,
        label: None,
        targets: Vec::new(),
    }
}

/// Adds the pictures of one part to `rows`, in the order of their first files.
fn pictures(
    part: Option<Role>,
    images: &ImageFolder,
    classes: &[String],
    rows: &mut Vec<Row>,
) -> Result<(), Error> {
    let places = places(images, classes)?;
    let first = rows.len();
    let mut seen: HashMap<usize, usize> = HashMap::new();
    let twins = twins(images.samples())?;
    for (sample, twin) in images.samples().iter().zip(&twins) {
        let label = sample.label.and_then(|label| places[label]);
        let at = *seen.entry(*twin).or_insert_with(|| {
            rows.push(Row {
                targets: vec![0.0; classes.len()],
                ..row(part, rows.len() - first, sample)
            });
            rows.len() - 1
        });
        if let Some(label) = label {
            rows[at].targets[label] = 1.0;
        }
    }
    Ok(())
}

/// Returns for each file the first one with the same bytes. Files whose size no other has are not read.
fn twins(samples: &[Sample]) -> Result<Vec<usize>, Error> {
    let read = |path: &PathBuf, source| Error::Read {
        path: path.clone(),
        source,
    };
    let sizes: Vec<u64> = samples
        .par_iter()
        .map(|sample| match std::fs::metadata(&sample.path) {
            Ok(found) => Ok(found.len()),
            Err(source) => Err(read(&sample.path, source)),
        })
        .collect::<Result<_, _>>()?;
    let mut alike: BTreeMap<u64, usize> = BTreeMap::new();
    for size in &sizes {
        *alike.entry(*size).or_default() += 1;
    }
    let hashes: Vec<Option<ContentHash>> = samples
        .par_iter()
        .zip(&sizes)
        .map(|(sample, size)| match alike[size] {
            1 => Ok(None),
            _ => match std::fs::read(&sample.path) {
                Ok(bytes) => Ok(Some(ContentHash::of(&bytes))),
                Err(source) => Err(read(&sample.path, source)),
            },
        })
        .collect::<Result<_, _>>()?;
    let mut first: HashMap<ContentHash, usize> = HashMap::new();
    let twin = |(at, hash): (usize, &Option<ContentHash>)| match hash {
        Some(hash) => *first.entry(*hash).or_insert(at),
        None => at,
    };
    Ok(hashes.iter().enumerate().map(twin).collect())
}
