//! Labels that are probably wrong, by what classifiers say of images that they did not learn from.

use serde::{Deserialize, Serialize};

use crate::TransferError;
use crate::error::degenerate;
use crate::features::table::{argmax_rows, check_dim};

const METHOD: &str = "confident learning";

/// What a probability may lack of a threshold, so that rounding decides nothing.
const SLACK: f64 = 1e-6;

/// The least that a class's threshold can be.
const LOWEST_THRESHOLD: f64 = 2.0 * SLACK;

/// Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels"):
/// finds labels that are probably wrong from probabilities that each image was given by a classifier which did not learn
/// from it.
///
/// The threshold of a class is the mean probability of the class among the images that bear its label. An image counts for
/// the class whose threshold it reaches, of several for the most probable one; so a class that classifiers are rarely
/// sure of needs less.
///
/// ```
/// use rekindle_transfer::features::ConfidentLearning;
///
/// // The last image is called 0, and looks like the others of class 1.
/// let probabilities = [0.9, 0.1, 0.8, 0.2, 0.2, 0.8, 0.1, 0.9, 0.1, 0.9];
/// let issues = ConfidentLearning::default().find(&probabilities, &[0, 0, 1, 1, 0], 2)?;
/// assert_eq!((issues.len(), issues[0].index, issues[0].suggested), (1, 4, 1));
/// # Ok::<(), rekindle_transfer::TransferError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfidentLearning {
    /// Which of the images outside of the diagonal are taken.
    pub prune_by: PruneBy,
}

/// How images are taken whose label is probably wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PruneBy {
    /// Those that count for another class than their label.
    #[default]
    Confidence,
    /// As many of each pair of label and class as the estimated joint distribution says, by the largest margin of the class's
    /// probability over that of the label.
    NoiseRate,
}

/// A label that is probably wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelIssue {
    /// The image's position.
    pub index: usize,
    /// The label that it bears.
    pub given: usize,
    /// The most probable class, which is another.
    pub suggested: usize,
    /// Probability of the given label, 0 to 1: the lower, the more surely it is wrong.
    pub quality: f64,
}

impl ConfidentLearning {
    /// Finds labels that are probably wrong among `labels` `[n]`, the most surely wrong first, by `probabilities`
    /// `[n, classes]`, row-major, of classifiers that didn't see the image. An image whose most probable class is its label
    /// is never among them.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for fewer than two classes, a
    /// label that is no class, or a number that is no probability.
    pub fn find(
        &self,
        probabilities: &[f64],
        labels: &[usize],
        classes: usize,
    ) -> Result<Vec<LabelIssue>, TransferError> {
        let thresholds = confident_thresholds(probabilities, labels, classes)?;
        let guesses = guesses(probabilities, classes, &thresholds);
        let row = |index: usize| &probabilities[index * classes..(index + 1) * classes];
        let taken: Vec<usize> = match self.prune_by {
            PruneBy::Confidence => (0..labels.len())
                .filter(|index| guesses[*index].is_some_and(|guess| guess != labels[*index]))
                .collect(),
            PruneBy::NoiseRate => by_noise_rate(probabilities, labels, classes, &guesses),
        };
        let mut issues: Vec<LabelIssue> = taken
            .into_iter()
            .filter_map(|index| {
                let (row, given) = (row(index), labels[index]);
                let suggested = argmax_rows(row, classes)[0];
                // A tie speaks for the label.
                let is_wrong = row[suggested] > row[given] + SLACK;
                is_wrong.then_some(LabelIssue {
                    index,
                    given,
                    suggested,
                    quality: row[given],
                })
            })
            .collect();
        issues.sort_by(|a, b| a.quality.total_cmp(&b.quality).then(a.index.cmp(&b.index)));
        Ok(issues)
    }

    /// Returns how many images of each label belong to each class, `[classes, classes]` with a row for each label: the
    /// images that count for a class, scaled so that a row adds up to its label's images.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn confident_joint(
        probabilities: &[f64],
        labels: &[usize],
        classes: usize,
    ) -> Result<Vec<usize>, TransferError> {
        let thresholds = confident_thresholds(probabilities, labels, classes)?;
        let guesses = guesses(probabilities, classes, &thresholds);
        Ok(joint(labels, classes, &guesses))
    }
}

/// The mean probability of each class among the images of its label; 2, which nothing reaches, where there is none.
fn confident_thresholds(
    probabilities: &[f64],
    labels: &[usize],
    classes: usize,
) -> Result<Vec<f64>, TransferError> {
    if classes < 2 {
        return degenerate(
            METHOD,
            format!("{classes} class(es); at least two are needed"),
        );
    }
    check_dim("probabilities", probabilities.len(), labels.len() * classes)?;
    if let Some(label) = labels.iter().find(|label| **label >= classes) {
        return degenerate(METHOD, format!("label {label} with {classes} classes"));
    }
    let is_wrong = |p: &f64| !(-SLACK..=1.0 + SLACK).contains(p);
    if let Some(at) = probabilities.iter().position(is_wrong) {
        return degenerate(
            METHOD,
            format!(
                "image {} has the probability {}; probabilities are from 0 to 1",
                at / classes,
                probabilities[at]
            ),
        );
    }
    let (mut sums, mut counts) = (vec![0.0; classes], vec![0usize; classes]);
    for (row, label) in probabilities.chunks_exact(classes).zip(labels) {
        sums[*label] += row[*label];
        counts[*label] += 1;
    }
    let mean = |(sum, count): (f64, usize)| match count {
        0 => 2.0,
        _ => (sum / count as f64).max(LOWEST_THRESHOLD),
    };
    Ok(sums.into_iter().zip(counts).map(mean).collect())
}

/// The class that each image counts for; none where it reaches no threshold.
fn guesses(probabilities: &[f64], classes: usize, thresholds: &[f64]) -> Vec<Option<usize>> {
    let of = |row: &[f64]| {
        let reached = |class: &usize| row[*class] >= thresholds[*class] - SLACK;
        let mut reached = (0..classes).filter(reached);
        match (reached.next(), reached.next()) {
            (Some(_), Some(_)) => Some(argmax_rows(row, classes)[0]),
            (only, _) => only,
        }
    };
    probabilities.chunks_exact(classes).map(of).collect()
}

/// Images by label and class, with row sums as the labels have images.
fn joint(labels: &[usize], classes: usize, guesses: &[Option<usize>]) -> Vec<usize> {
    let (mut counts, mut images) = (vec![0.0; classes * classes], vec![0usize; classes]);
    for (label, guess) in labels.iter().zip(guesses) {
        images[*label] += 1;
        if let Some(guess) = guess {
            counts[label * classes + guess] += 1.0;
        }
    }
    for (class, (row, images)) in counts.chunks_exact_mut(classes).zip(&images).enumerate() {
        row[class] = f64::max(row[class], 1.0);
        let sum: f64 = row.iter().sum();
        row.iter_mut()
            .for_each(|count| *count = *count / sum * *images as f64);
    }
    let rounded = counts.chunks_exact(classes).flat_map(round_keeping_sum);
    rounded.collect()
}

/// Rounds numbers so that their sum stays, moving those first that rounding has changed most.
fn round_keeping_sum(values: &[f64]) -> Vec<usize> {
    let mut rounded: Vec<f64> = values.iter().map(|value| value.round_ties_even()).collect();
    let wanted = values.iter().sum::<f64>().round_ties_even();
    loop {
        let missing = wanted - rounded.iter().sum::<f64>();
        if missing.abs() < 0.5 || values.is_empty() {
            return rounded
                .into_iter()
                .map(|value| value.max(0.0) as usize)
                .collect();
        }
        let step = missing.signum();
        let mut order: Vec<usize> = (0..values.len()).collect();
        let change = |at: &usize| step * (values[*at] - rounded[*at]);
        // Of equal changes the last is raised first, and the first lowered first.
        if step > 0.0 {
            order.reverse();
        }
        order.sort_by(|a, b| change(b).total_cmp(&change(a)));
        for at in order.into_iter().take(missing.abs() as usize) {
            rounded[at] += step;
        }
    }
}

/// The images of the largest margins, as many as the joint distribution says of each pair.
fn by_noise_rate(
    probabilities: &[f64],
    labels: &[usize],
    classes: usize,
    guesses: &[Option<usize>],
) -> Vec<usize> {
    let counts = joint(labels, classes, guesses);
    let mut is_taken = vec![false; labels.len()];
    for given in 0..classes {
        let images: Vec<usize> = (0..labels.len())
            .filter(|at| labels[*at] == given)
            .collect();
        // At least one image stays of each label.
        if images.len() <= 1 {
            continue;
        }
        for other in (0..classes).filter(|other| *other != given) {
            let count = counts[given * classes + other];
            let margin = |at: &usize| {
                probabilities[at * classes + other] - probabilities[at * classes + given]
            };
            let mut order = images.clone();
            order.sort_by(|a, b| margin(b).total_cmp(&margin(a)));
            order.iter().take(count).for_each(|at| is_taken[*at] = true);
        }
    }
    (0..labels.len()).filter(|at| is_taken[*at]).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sums_stay_when_they_are_rounded() {
        assert_eq!(round_keeping_sum(&[0.4, 0.4, 2.2]), [0, 1, 2]);
        assert_eq!(round_keeping_sum(&[1.5, 1.5, 0.0]), [1, 2, 0]);
        assert_eq!(round_keeping_sum(&[0.5, 0.5]), [0, 1]);
        assert_eq!(round_keeping_sum(&[]), [0; 0]);
    }

    #[test]
    fn wrong_input_is_an_error_and_a_label_without_images_none() {
        let find = |p: &[f64], labels: &[usize], classes| {
            ConfidentLearning::default().find(p, labels, classes)
        };
        assert!(find(&[1.0], &[0], 1).is_err());
        assert!(find(&[0.5, 0.5], &[0, 1], 2).is_err());
        assert!(find(&[0.5, 0.5], &[2], 2).is_err());
        assert!(find(&[f64::NAN, 0.5], &[0], 2).is_err());
        assert!(find(&[0.5, 1.5], &[0], 2).is_err());
        assert!(find(&[], &[], 2).unwrap().is_empty());
        // Nothing counts for class 2, which no image is called.
        let issues = find(
            &[0.1, 0.0, 0.9, 0.8, 0.2, 0.0, 0.1, 0.9, 0.0],
            &[0, 0, 1],
            3,
        )
        .unwrap();
        assert!(issues.is_empty(), "{issues:?}");
    }
}
