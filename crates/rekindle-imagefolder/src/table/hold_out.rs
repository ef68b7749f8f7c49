//! A validation part for a table without one.

use std::collections::BTreeMap;
use std::path::Path;

use super::ImageTable;
use crate::error::Error;
use crate::rng::{SampleRng, Stream};
use crate::said::counted;

/// Splits rows into those to learn from and those to measure by, both in the table's order: class by class as
/// [`ImageFolder::split`](crate::ImageFolder::split), or group by group.
pub(super) fn split(
    table: &ImageTable,
    rows: &[usize],
    fraction: f64,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>), Error> {
    if table.columns.group.is_none() {
        let images = table.part(rows).images;
        let split = images.split_indices(fraction, seed);
        let (train, val) = split.map_err(|error| about(&table.path, error))?;
        let of = |indices: Vec<usize>| indices.into_iter().map(|at| rows[at]).collect();
        return Ok((of(train), of(val)));
    }
    by_group(table, rows, fraction, seed)
}

/// The same error about the table rather than about its pictures' folder.
fn about(table: &Path, error: Error) -> Error {
    match error {
        Error::TooFewToSplit { found, advice, .. } => Error::TooFewToSplit {
            path: table.to_path_buf(),
            found,
            advice,
        },
        error => error,
    }
}

/// Takes groups in a random order, each where it brings the classes' counts closer to the wanted ones and leaves some of
/// each class to learn from.
fn by_group(
    table: &ImageTable,
    rows: &[usize],
    fraction: f64,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>), Error> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::InvalidOption {
            option: "val_fraction",
            reason: format!("{fraction} is not between 0 and 1"),
        });
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for row in rows {
        groups.entry(table.rows[*row].group).or_default().push(*row);
    }
    let classes = table.classes.len().max(1);
    let count = |rows: &[usize]| {
        let mut counts = vec![0.0f64; classes];
        for row in rows {
            counts[table.rows[*row].label.unwrap_or(0)] += 1.0;
        }
        counts
    };
    let wanted: Vec<f64> = count(rows).iter().map(|count| count * fraction).collect();
    let mut left = count(rows);
    let mut taken = vec![0.0; classes];
    let mut order: Vec<(usize, Vec<usize>)> = groups.into_iter().collect();
    SampleRng::keyed(seed, Stream::Split, &[]).shuffle(&mut order);
    let number = order.len();
    let (mut train, mut val) = (Vec::new(), Vec::new());
    let distance = |counts: &[f64]| -> f64 {
        let pairs = counts.iter().zip(&wanted);
        pairs.map(|(count, wanted)| (count - wanted).powi(2)).sum()
    };
    for (_, group) in order {
        let counts = count(&group);
        let with: Vec<f64> = taken.iter().zip(&counts).map(|(a, b)| a + b).collect();
        let leaves_some = left
            .iter()
            .zip(&counts)
            .all(|(left, count)| *count == 0.0 || left > count);
        if leaves_some && distance(&with) < distance(&taken) {
            left.iter_mut()
                .zip(&counts)
                .for_each(|(left, count)| *left -= count);
            taken = with;
            val.extend(group);
        } else {
            train.extend(group);
        }
    }
    if val.is_empty() || train.is_empty() {
        return Err(Error::TooFewToSplit {
            path: table.path.clone(),
            found: format!(
                "{} in {}",
                counted(rows.len(), "image", "images"),
                counted(number, "group", "groups")
            ),
            advice: "give more groups, each class in two or more, or name a validation part (a column split)",
        });
    }
    train.sort_unstable();
    val.sort_unstable();
    Ok((train, val))
}
