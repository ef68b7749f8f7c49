//! Folds for cross-validation.

use crate::error::Error;
use crate::rng::{SampleRng, Stream};
use crate::said::counted;
use crate::table::TablePart;
use crate::task::Task;

/// Bins of a number's values that are spread over folds like classes.
const BINS: usize = 10;

impl TablePart {
    /// Assigns each picture to one of `count` folds by `seed`: every class is spread evenly, and pictures of one group
    /// (those of `groups`, which count from 0, or else the table's own) stay together.
    ///
    /// Without groups each class is dealt out, so that its numbers in two folds differ by 1 at most, and so do the folds'
    /// sizes. Groups, and pictures with several labels, go one by one to the fold that leaves the classes most even
    /// (as scikit-learn's `StratifiedGroupKFold`). Numbers to learn are spread by tenths of their range of ranks.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for fewer than two folds, groups of another length, or a class or a whole set with fewer
    /// pictures or groups than folds.
    pub fn folds(
        &self,
        count: usize,
        groups: Option<&[usize]>,
        seed: u64,
    ) -> Result<Vec<usize>, Error> {
        let refuse = |reason: String| {
            Err(Error::InvalidOption {
                option: "folds",
                reason,
            })
        };
        let pictures = self.images.len();
        if count < 2 {
            return refuse(format!("{count} is too few; at least 2 are needed"));
        }
        let groups = groups.or(self.groups.as_deref());
        if let Some(groups) = groups.filter(|groups| groups.len() != pictures) {
            return refuse(format!("{} groups for {pictures} images", groups.len()));
        }
        let classes = self.strata();
        let units = Units::new(&classes, groups, pictures);
        let rarest = units.rarest();
        if let Some((class, found)) = rarest.filter(|(_, found)| *found < count) {
            let what = match groups {
                Some(_) => counted(found, "group", "groups"),
                None => counted(found, "image", "images"),
            };
            let advice = match found {
                0 | 1 => "give more images".to_string(),
                most => format!("take at most {most} folds, or more images"),
            };
            let of = match self.task {
                Task::Regression => String::new(),
                _ => format!(" of {}", self.images.classes()[class]),
            };
            return refuse(format!(
                "{what}{of} can't be spread over {count} folds; {advice}"
            ));
        }
        let mut order: Vec<usize> = (0..units.members.len()).collect();
        SampleRng::keyed(seed, Stream::Split, &[count as u64]).shuffle(&mut order);
        let of_units = match (groups, self.task) {
            (None, Task::SingleLabel | Task::Ordinal | Task::Regression) => {
                deal(&units, &order, count)
            }
            _ => spread(&units, &order, count),
        };
        let mut folds = vec![0; pictures];
        for (unit, fold) in units.members.iter().zip(of_units) {
            unit.iter().for_each(|picture| folds[*picture] = fold);
        }
        Ok(folds)
    }

    /// The classes of each picture, by which they are spread.
    fn strata(&self) -> Vec<Vec<usize>> {
        let width = self.images.classes().len().max(1);
        match (self.task, &self.targets) {
            (Task::MultiLabel, Some(targets)) => targets
                .chunks(width)
                .map(|row| (0..width).filter(|at| row[*at] > 0.5).collect())
                .collect(),
            (Task::Regression, Some(targets)) => {
                let first: Vec<f32> = targets.chunks(width).map(|row| row[0]).collect();
                bins(&first).into_iter().map(|bin| vec![bin]).collect()
            }
            _ => {
                let labels = self.images.samples().iter();
                labels
                    .map(|sample| sample.label.into_iter().collect())
                    .collect()
            }
        }
    }
}

/// The tenth that each value is in by its rank; of few values fewer bins, so that each has some for every fold.
fn bins(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let bins = (values.len() / BINS).clamp(1, BINS);
    let mut found = vec![0; values.len()];
    for (rank, at) in order.into_iter().enumerate() {
        found[at] = rank * bins / values.len();
    }
    found
}

/// Pictures that stay together, and how many of each class they are.
struct Units {
    members: Vec<Vec<usize>>,
    /// `[units, classes]`.
    counts: Vec<Vec<f64>>,
    classes: usize,
}

impl Units {
    fn new(strata: &[Vec<usize>], groups: Option<&[usize]>, pictures: usize) -> Self {
        let of = |picture: usize| groups.map_or(picture, |groups| groups[picture]);
        let number = (0..pictures).map(of).max().map_or(0, |most| most + 1);
        let mut members = vec![Vec::new(); number];
        (0..pictures).for_each(|picture| members[of(picture)].push(picture));
        members.retain(|members: &Vec<usize>| !members.is_empty());
        let classes = strata.iter().flatten().max().map_or(1, |most| most + 1);
        let counts = members.iter().map(|members| {
            let mut counts = vec![0.0; classes];
            for class in members.iter().flat_map(|picture| &strata[*picture]) {
                counts[*class] += 1.0;
            }
            counts
        });
        Self {
            counts: counts.collect(),
            members,
            classes,
        }
    }

    /// The class that the fewest units have, and their number.
    fn rarest(&self) -> Option<(usize, usize)> {
        let having = |class: usize| {
            let counts = self.counts.iter();
            counts.filter(|counts| counts[class] > 0.0).count()
        };
        (0..self.classes)
            .map(|class| (class, having(class)))
            .filter(|(_, found)| *found > 0)
            .min_by_key(|(_, found)| *found)
    }
}

/// Deals the units of one class after the other.
fn deal(units: &Units, order: &[usize], count: usize) -> Vec<usize> {
    let class_of = |unit: &usize| {
        let counts = &units.counts[*unit];
        counts.iter().position(|count| *count > 0.0)
    };
    let mut order = order.to_vec();
    order.sort_by_key(class_of);
    let mut folds = vec![0; order.len()];
    for (turn, unit) in order.into_iter().enumerate() {
        folds[unit] = turn % count;
    }
    folds
}

/// Gives one unit after the other, those of the most uneven counts first, to the fold that leaves every class's shares the
/// most even; among equal folds to the smallest.
fn spread(units: &Units, order: &[usize], count: usize) -> Vec<usize> {
    let totals: Vec<f64> = (0..units.classes)
        .map(|class| units.counts.iter().map(|counts| counts[class]).sum())
        .map(|total: f64| total.max(1.0))
        .collect();
    let mut order = order.to_vec();
    let unevenness = |unit: &usize| deviation(units.counts[*unit].iter().copied());
    order.sort_by(|a, b| unevenness(b).total_cmp(&unevenness(a)));
    let mut held = vec![vec![0.0; units.classes]; count];
    let mut folds = vec![0; units.members.len()];
    for unit in order {
        let counts = &units.counts[unit];
        let mut best: Option<(usize, f64, f64)> = None;
        for fold in 0..count {
            let with = |at: usize, class: usize| {
                let more = if at == fold { counts[class] } else { 0.0 };
                (held[at][class] + more) / totals[class]
            };
            let uneven = (0..units.classes)
                .map(|class| deviation((0..count).map(|at| with(at, class))))
                .sum::<f64>()
                / units.classes as f64;
            let size = held[fold].iter().sum::<f64>();
            let is_better = best.is_none_or(|(_, least, smallest)| {
                let is_equal = (uneven - least).abs() <= 1e-8 + 1e-5 * least.abs();
                if is_equal {
                    size < smallest
                } else {
                    uneven < least
                }
            });
            if is_better {
                best = Some((fold, uneven, size));
            }
        }
        let fold = best.map_or(0, |(fold, ..)| fold);
        held[fold].iter_mut().zip(counts).for_each(|(a, b)| *a += b);
        folds[unit] = fold;
    }
    folds
}

/// Standard deviation of a few numbers, over their number.
fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    (values.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Labels and groups, and the folds that `StratifiedGroupKFold(n_splits=3)` of scikit-learn 1.9 makes of them, by
    // tests/reference/folds.py.
    #[rustfmt::skip]
    const LABELS: [usize; 65] = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 0, 0, 2, 0, 2, 0, 0, 0, 0, 0, 1, 2, 2, 1, 2, 1, 2, 1, 2, 1, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 1, 1, 1, 2, 2, 0, 2, 2, 0, 0, 0, 0, 0, 2, 1, 1, 2, 1, 0, 1, 0, 0, 0, 1];
    #[rustfmt::skip]
    const GROUPS: [usize; 65] = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7, 7, 8, 9, 9, 10, 10, 11, 11, 11, 11, 11, 11, 12, 12, 12, 12, 12, 12, 13, 14, 14, 14, 15, 15, 15, 15, 15, 16];
    #[rustfmt::skip]
    const FOLDS: [usize; 65] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 1, 1, 1, 1, 1, 1];

    #[test]
    fn groups_are_spread_as_scikit_learn_spreads_them() {
        let strata: Vec<Vec<usize>> = LABELS.iter().map(|label| vec![*label]).collect();
        let units = Units::new(&strata, Some(&GROUPS), LABELS.len());
        let order: Vec<usize> = (0..units.members.len()).collect();
        let of_units = spread(&units, &order, 3);
        let mut found = [0; 65];
        for (unit, fold) in units.members.iter().zip(of_units) {
            unit.iter().for_each(|picture| found[*picture] = fold);
        }
        assert_eq!(found, FOLDS);
    }

    #[test]
    fn ranks_fill_bins_evenly() {
        let values: Vec<f32> = (0..40).map(|i| ((i * 7) % 40) as f32).collect();
        let bins = bins(&values);
        for bin in 0..4 {
            assert_eq!(bins.iter().filter(|found| **found == bin).count(), 10);
        }
        let lowest = values.iter().position(|value| *value == 0.0);
        assert_eq!(lowest.map(|at| bins[at]), Some(0));
    }
}
