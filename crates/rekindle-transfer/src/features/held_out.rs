//! Cross-validation of linear heads: what heads of each penalty say of images that they did not see.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::category_relationship::{CategoryRelationship, mixed_logits};
use super::logistic_regression::{Images, LogisticRegression, Precision, Problem};
use super::table::{Features, argmax_rows, softmax};
use crate::TransferError;
use crate::error::degenerate;

/// Splits images into `folds` parts that keep the shares of the classes, each part in rising order. Fewer parts where a
/// class has fewer images, so that each class keeps one outside of every part; none where a class has a single image.
///
/// ```
/// use rekindle_transfer::features::stratified_folds;
///
/// let parts = stratified_folds(&[0, 0, 0, 1, 1, 1], 2, 3, 0);
/// assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
/// assert!(stratified_folds(&[0, 0, 1], 2, 3, 0).is_empty());
/// ```
pub fn stratified_folds(
    labels: &[usize],
    classes: usize,
    folds: usize,
    seed: u64,
) -> Vec<Vec<usize>> {
    let counts = (0..classes).map(|class| labels.iter().filter(|label| **label == class).count());
    let folds = folds.min(counts.min().unwrap_or(0));
    if folds < 2 {
        return Vec::new();
    }
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut parts = vec![Vec::new(); folds];
    let mut next = 0;
    for class in 0..classes {
        let mut rows: Vec<usize> = (0..labels.len())
            .filter(|row| labels[*row] == class)
            .collect();
        rows.shuffle(&mut generator);
        for row in rows {
            parts[next % folds].push(row);
            next += 1;
        }
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts
}

/// Splits as [`stratified_folds`] with each group of images whole in one part. The parts are as even in each class as the
/// groups allow; fewer parts where a class would have no image outside of one, and none where that can't be helped.
///
/// ```
/// use rekindle_transfer::features::grouped_folds;
///
/// let parts = grouped_folds(&[0, 0, 1, 1, 0, 1], &[0, 0, 1, 1, 2, 3], 2, 2, 0);
/// assert_eq!(parts.len(), 2);
/// assert!(parts.iter().all(|part| part.contains(&0) == part.contains(&1)));
/// ```
pub fn grouped_folds(
    labels: &[usize],
    groups: &[usize],
    classes: usize,
    folds: usize,
    seed: u64,
) -> Vec<Vec<usize>> {
    let mut by_group: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, group) in groups.iter().enumerate() {
        by_group.entry(*group).or_default().push(row);
    }
    let mut by_group: Vec<Vec<usize>> = by_group.into_values().collect();
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
    by_group.shuffle(&mut generator);
    by_group.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let count = |rows: &[usize]| {
        let mut counts = vec![0.0f64; classes];
        for row in rows {
            counts[labels[*row]] += 1.0;
        }
        counts
    };
    let totals = count(&(0..labels.len()).collect::<Vec<_>>());
    for folds in (2..=folds.min(by_group.len())).rev() {
        let mut parts = vec![(vec![0.0f64; classes], Vec::new()); folds];
        for rows in &by_group {
            let counts = count(rows);
            // How much a part is above its share already in the classes of the group; then its size.
            let crowding = |(held, rows): &(Vec<f64>, Vec<usize>)| {
                let of = |class: usize| held[class] * counts[class] / totals[class].max(1.0);
                ((0..classes).map(of).sum::<f64>(), rows.len())
            };
            let emptiest = (0..folds).min_by(|a, b| {
                let (a, b) = (crowding(&parts[*a]), crowding(&parts[*b]));
                a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
            });
            let (held, members) = &mut parts[emptiest.unwrap_or(0)];
            held.iter_mut().zip(&counts).for_each(|(a, b)| *a += b);
            members.extend_from_slice(rows);
        }
        let leaves_some = |(held, _): &(Vec<f64>, Vec<usize>)| {
            held.iter().zip(&totals).all(|(held, total)| held < total)
        };
        if parts.iter().all(leaves_some) {
            let mut parts: Vec<Vec<usize>> = parts.into_iter().map(|(_, rows)| rows).collect();
            parts.iter_mut().for_each(|part| part.sort_unstable());
            return parts;
        }
    }
    Vec::new()
}

/// Returns the positions of all labels in an order of which any beginning has the classes in their shares, behind two images of
/// each: for a part of the images that stands for all. A function of `seed`.
///
/// ```
/// use rekindle_transfer::features::stratified_order;
///
/// let labels = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1];
/// let some = &stratified_order(&labels, 0)[..6];
/// assert_eq!(some.iter().filter(|row| labels[**row] == 1).count(), 3);
/// ```
pub fn stratified_order(labels: &[usize], seed: u64) -> Vec<usize> {
    let classes = labels.iter().max().map_or(0, |largest| largest + 1);
    let mut counts = vec![0usize; classes];
    labels.iter().for_each(|label| counts[*label] += 1);
    let mut rows: Vec<usize> = (0..labels.len()).collect();
    rows.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let mut ranks = vec![0usize; classes];
    let mut placed: Vec<(f64, usize)> = Vec::with_capacity(rows.len());
    for row in rows {
        let (rank, count) = (&mut ranks[labels[row]], counts[labels[row]]);
        let place = match *rank {
            0 | 1 => 0.0,
            rank => (rank as f64 + 0.5) / count as f64,
        };
        *rank += 1;
        placed.push((place, row));
    }
    // Stable, so that equal places keep the order that was drawn.
    placed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    placed.into_iter().map(|(_, row)| row).collect()
}

/// The parts of several cross-validations, one after the other; with groups, each is whole in one part.
pub(super) fn repeated_folds(
    labels: &[usize],
    groups: Option<&[usize]>,
    classes: usize,
    (folds, repeats): (usize, usize),
    seed: u64,
) -> Vec<Vec<usize>> {
    let of = |repeat: u64| {
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ repeat;
        match groups {
            Some(groups) => grouped_folds(labels, groups, classes, folds, seed),
            None => stratified_folds(labels, classes, folds, seed),
        }
    };
    (0..repeats as u64).flat_map(of).collect()
}

/// Features on which heads are compared, with all that their penalty doesn't change.
pub(super) struct Contest<'a> {
    pub problem: Problem,
    /// The source classifier's logits of each row, to start from.
    pub source_logits: Option<Features>,
    pub relationship: CategoryRelationship,
    /// Factors on the logits of the images in use, where a head is fitted to other lengths than it is used on.
    pub lengths: Option<Vec<f64>>,
    /// Labels of the images.
    pub labels: &'a [usize],
    /// How much each image counts in fits; all the same without.
    pub weights: Option<&'a [f64]>,
    pub classes: usize,
    /// Rows of each image: row `i + k * images` shows image `i`. Heads are fitted to all, and measured on the first.
    pub views: usize,
}

/// Predictions of heads of one penalty for images that they did not see.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeldOut {
    pub penalty: f64,
    /// Temperature that logits were divided by before they were scored.
    pub temperature: f64,
    /// Log loss of each image, mean over the repeats.
    pub losses: Vec<f64>,
    /// Share of the repeats in which each image is named right.
    pub right: Vec<f64>,
}

/// Logits of an image that the head did not see.
struct Guess {
    row: usize,
    logits: Vec<f64>,
}

/// Scoring of answers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scoring {
    /// The answers as they are: a head that is too sure, or not sure enough, pays for it.
    AsTheyAre,
    /// The answers at the temperature that suits all of them: only the order of the classes counts.
    AtBestTemperature,
}

impl Contest<'_> {
    /// Mixtures from the images `rows`, and the logits that they give all rows.
    pub fn prior(&self, rows: &[usize]) -> (Option<Vec<f64>>, Option<Vec<f64>>) {
        let Some(logits) = &self.source_logits else {
            return (None, None);
        };
        let labels = self.row_labels();
        let mixtures = self
            .relationship
            .fit_rows(logits, &labels, self.classes, rows);
        let offset = mixed_logits(&mixtures, logits);
        (Some(mixtures), Some(offset))
    }

    /// Fits a head to the images `images` in all their views.
    pub fn solve(
        &self,
        l2: f64,
        images: &[usize],
        offset: Option<&[f64]>,
        start: Vec<f64>,
        precision: Precision,
    ) -> Vec<f64> {
        let labels = self.row_labels();
        let rows = self.rows_of(images);
        let weights = self.weights.map(|weights| weights.repeat(self.views));
        let images = Images {
            rows: &rows,
            labels: &labels,
            weights: weights.as_deref(),
        };
        let regression = LogisticRegression::new(l2);
        self.problem
            .solve(&regression, &images, self.classes, offset, start, precision)
    }

    /// Compares `penalties`, in rising order, from the strongest to the weakest: each solution is close to the next one's.
    /// With `patience`, weaker ones are left out once so many in turn are worse than the best.
    pub fn held_out(
        &self,
        penalties: &[f64],
        parts: &[Vec<usize>],
        patience: Option<usize>,
        scoring: Scoring,
    ) -> Vec<HeldOut> {
        if parts.is_empty() {
            return Vec::new();
        }
        let images = self.labels.len();
        let repeats = parts.iter().map(Vec::len).sum::<usize>() as f64 / images as f64;
        let rest_of = |part: &Vec<usize>| -> Vec<usize> {
            (0..images)
                .filter(|row| part.binary_search(row).is_err())
                .collect()
        };
        let prepared: Vec<_> = parts
            .par_iter()
            .map(|part| {
                let rest = rest_of(part);
                let (_, offset) = self.prior(&rest);
                (rest, offset)
            })
            .collect();
        let mut solutions = vec![vec![0.0; self.classes * (self.problem.rank + 1)]; parts.len()];
        let (mut found, mut best, mut worse) = (Vec::new(), f64::INFINITY, 0);
        for l2 in penalties.iter().rev() {
            let guesses: Vec<Vec<Guess>> = (solutions.par_iter_mut().zip(parts).zip(&prepared))
                .map(|((solution, part), (rest, offset))| {
                    let start = std::mem::take(solution);
                    let precision = match scoring {
                        Scoring::AsTheyAre => Precision::Full,
                        Scoring::AtBestTemperature => Precision::Coarse,
                    };
                    *solution = self.solve(*l2, rest, offset.as_deref(), start, precision);
                    self.guesses(part, solution, offset.as_deref())
                })
                .collect();
            let guesses: Vec<Guess> = guesses.into_iter().flatten().collect();
            let temperature = match scoring {
                Scoring::AsTheyAre => 1.0,
                Scoring::AtBestTemperature => self.temperature(&guesses),
            };
            let mut held_out = HeldOut {
                penalty: *l2,
                temperature,
                losses: vec![0.0; images],
                right: vec![0.0; images],
            };
            for guess in guesses {
                let is_right = argmax_rows(&guess.logits, self.classes) == [self.labels[guess.row]];
                held_out.losses[guess.row] += self.loss(&guess, temperature) / repeats;
                held_out.right[guess.row] += f64::from(u8::from(is_right)) / repeats;
            }
            let loss = held_out.log_loss();
            found.push(held_out);
            worse = if loss > best { worse + 1 } else { 0 };
            best = best.min(loss);
            if patience.is_some_and(|patience| worse >= patience) {
                break;
            }
        }
        found.reverse();
        found
    }

    fn guesses(&self, part: &[usize], solution: &[f64], offset: Option<&[f64]>) -> Vec<Guess> {
        let guess = |row: &usize| {
            let mut logits = self.problem.logits_of(*row, solution, self.classes, offset);
            if let Some(lengths) = &self.lengths {
                logits.iter_mut().for_each(|logit| *logit *= lengths[*row]);
            }
            Guess { row: *row, logits }
        };
        part.iter().map(guess).collect()
    }

    fn loss(&self, guess: &Guess, temperature: f64) -> f64 {
        let mut logits: Vec<f64> = guess.logits.iter().map(|z| z / temperature).collect();
        let true_logit = logits[self.labels[guess.row]];
        softmax(&mut logits) - true_logit
    }

    /// Computes the temperature of the lowest mean loss, which is convex in its inverse: golden sections of its
    /// logarithm.
    fn temperature(&self, guesses: &[Guess]) -> f64 {
        const STEPS: usize = 24;
        let ratio = (5.0f64.sqrt() - 1.0) / 2.0;
        let loss = |log: f64| {
            let of = |guess: &Guess| self.loss(guess, log.exp());
            guesses.iter().map(of).sum::<f64>()
        };
        let (mut low, mut high) = (-3.0, 3.0);
        let inner = |low: f64, high: f64| (high - ratio * (high - low), low + ratio * (high - low));
        for _ in 0..STEPS {
            let (left, right) = inner(low, high);
            match loss(left) <= loss(right) {
                true => high = right,
                false => low = left,
            }
        }
        (0.5 * (low + high)).exp()
    }

    fn rows_of(&self, images: &[usize]) -> Vec<usize> {
        let count = self.labels.len();
        (0..self.views)
            .flat_map(|view| images.iter().map(move |image| image + view * count))
            .collect()
    }

    fn row_labels(&self) -> Vec<usize> {
        self.labels.repeat(self.views)
    }
}

impl HeldOut {
    pub fn log_loss(&self) -> f64 {
        mean(&self.losses)
    }

    pub fn accuracy(&self) -> f64 {
        mean(&self.right)
    }
}

/// Refuses penalties of which none can be chosen, or that are not above 0.
pub(super) fn check_penalties(
    method: &'static str,
    penalties: &[f64],
) -> Result<(), TransferError> {
    let is_possible = |penalty: &f64| penalty.is_finite() && *penalty > 0.0;
    match !penalties.is_empty() && penalties.iter().all(is_possible) {
        true => Ok(()),
        false => degenerate(
            method,
            format!("penalties {penalties:?}; give at least one, all above 0"),
        ),
    }
}

/// Returns how much higher `losses` are than `others` on the mean of the same images, and the standard error of that.
pub(super) fn excess(losses: &[f64], others: &[f64]) -> (f64, f64) {
    let differences: Vec<f64> = losses.iter().zip(others).map(|(a, b)| a - b).collect();
    let mean = mean(&differences);
    let n = differences.len() as f64;
    let squares: f64 = differences.iter().map(|d| (d - mean) * (d - mean)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt() / n.sqrt())
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
