//! A validation part for a table without one.

use std::collections::BTreeMap;

use super::ImageTable;
use crate::error::Error;
use crate::rng::{SampleRng, Stream};

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
        let (train, val) = images.split_indices(fraction, seed)?;
        let of = |indices: Vec<usize>| indices.into_iter().map(|at| rows[at]).collect();
        return Ok((of(train), of(val)));
    }
    by_group(table, rows, fraction, seed)
}

/// Takes groups in a random order, each where it brings the classes' counts closer to the wanted ones and leaves some of
/// each class to learn from.
fn by_group(
    table: &ImageTable,
    rows: &[usize],
    fraction: f64,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>), Error> {
    let refuse = |reason: String| {
        Err(Error::InvalidOption {
            option: "val_fraction",
            reason,
        })
    };
    if !(fraction > 0.0 && fraction < 1.0) {
        return refuse(format!("{fraction} is not between 0 and 1"));
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
        return refuse(format!(
            "{} images in {number} groups are too few to hold some out; name a validation part",
            rows.len()
        ));
    }
    train.sort_unstable();
    val.sort_unstable();
    Ok((train, val))
}
