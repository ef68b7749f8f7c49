//! Chooses a score by leaving classes out, one at a time.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::auroc::auroc;
use super::detector::UnknownDetector;
use super::nearest_known::evenly;
use super::score::UnknownScore;
use crate::TransferError;
use crate::error::degenerate;
use crate::features::audit::best_temperature;
use crate::features::held_out::stratified_folds;
use crate::features::logistic_regression::LogisticRegression;
use crate::features::table::{Features, check_dim};

const METHOD: &str = "choice of a score for unknown classes";

/// Inverse penalty of the probes, on features of length 1.
const INVERSE_PENALTY: f64 = 10.0;

/// Logarithms of the lowest and the highest temperature of the probes.
const TEMPERATURES: (f64, f64) = (-3.0, 3.0);

/// Chooses among the [`UnknownScore`]s by training images alone.
///
/// A class is left out, a linear probe is fitted on a part of the others, and each score has to tell the images of the class
/// from held-out images of the others. What counts is the area under the ROC curve, mean over the classes that are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenSetSearch {
    /// Classes that are left out in turn, at most; of more, as many at random.
    pub left_out: usize,
    /// One in so many images of the other classes is held out.
    pub folds: usize,
    /// Images that are looked at, at most; of more, an even selection of each class.
    pub images: usize,
    /// Classes that take part, at most; of more, as many at random.
    pub classes: usize,
    /// How many features, the first of all, distances are measured in; all by default.
    pub own: Option<usize>,
    /// Seed of the folds and of the classes that are taken.
    pub seed: u64,
}

/// How well a score tells classes that were left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredUnknown {
    /// The score.
    pub score: UnknownScore,
    /// Area under the ROC curve, 0.5 for chance to 1, mean over the classes that were left out.
    pub auroc: f64,
}

/// The result of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundUnknownScore {
    /// Every score that could be compared, the best first.
    pub compared: Vec<ScoredUnknown>,
    /// Number of classes that were left out, one at a time.
    pub left_out: usize,
}

impl Default for OpenSetSearch {
    fn default() -> Self {
        Self {
            left_out: 20,
            folds: 3,
            images: 2000,
            classes: 100,
            own: None,
            seed: 0,
        }
    }
}

impl FoundUnknownScore {
    /// Returns the best score.
    pub fn chosen(&self) -> UnknownScore {
        self.compared[0].score
    }
}

impl OpenSetSearch {
    /// Neighbours of [`UnknownScore::NearestNeighbors`], where there are as many images.
    pub const NEIGHBORS: usize = 3;

    /// Compares the scores on `features` `[n, dim]` with a class below `classes` each. Classes with a single image don't take
    /// part. With two classes one is left to learn from, so that only the scores of features are compared.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for fewer than two classes of at
    /// least two images, fewer than two folds, or features that don't vary; [`TransferError::WrongLength`] for more
    /// [own](Self::own) features than there are.
    pub fn run(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<FoundUnknownScore, TransferError> {
        check_dim("labels", labels.len(), features.len())?;
        if let Some(label) = labels.iter().find(|label| **label >= classes) {
            return degenerate(METHOD, format!("label {label} with {classes} classes"));
        }
        if self.folds < 2 || self.left_out == 0 {
            return degenerate(
                METHOD,
                format!(
                    "{} folds and {} classes to leave out; give at least 2 and 1",
                    self.folds, self.left_out
                ),
            );
        }
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let taken = self.classes_taken(labels, classes, &mut generator)?;
        let rows = self.rows_taken(labels, &taken);
        let features = features.select(&rows);
        let place = |row: &usize| taken.binary_search(&labels[*row]).unwrap_or_default();
        let labels: Vec<usize> = rows.iter().map(place).collect();
        let mut order: Vec<usize> = (0..taken.len()).collect();
        order.shuffle(&mut generator);
        order.truncate(self.left_out);
        let rounds: Vec<Vec<(UnknownScore, f64)>> = order
            .par_iter()
            .map(|class| self.round(&features, &labels, taken.len(), *class))
            .collect::<Result<_, TransferError>>()?;
        let mean = |score: UnknownScore| {
            let all = rounds.iter().flatten().filter(|(of, _)| *of == score);
            let all: Vec<f64> = all.map(|(_, auroc)| *auroc).collect();
            let auroc = all.iter().sum::<f64>() / all.len() as f64;
            (all.len() == rounds.len()).then_some(ScoredUnknown { score, auroc })
        };
        let mut compared: Vec<ScoredUnknown> =
            UnknownScore::ALL.into_iter().filter_map(mean).collect();
        // Stable: of equal ones the cheapest comes first.
        compared.sort_by(|a, b| b.auroc.total_cmp(&a.auroc));
        Ok(FoundUnknownScore {
            compared,
            left_out: order.len(),
        })
    }

    /// The classes of at least two images, in rising order.
    fn classes_taken(
        &self,
        labels: &[usize],
        classes: usize,
        generator: &mut Xoshiro256PlusPlus,
    ) -> Result<Vec<usize>, TransferError> {
        let mut counts = vec![0usize; classes];
        labels.iter().for_each(|label| counts[*label] += 1);
        let mut taken: Vec<usize> = (0..classes).filter(|class| counts[*class] > 1).collect();
        if taken.len() < 2 {
            return degenerate(
                METHOD,
                format!(
                    "{} of {classes} classes with at least two training images; give two such classes, one to leave \
                     out and one to learn from",
                    taken.len()
                ),
            );
        }
        taken.shuffle(generator);
        taken.truncate(self.classes.max(2));
        taken.sort_unstable();
        Ok(taken)
    }

    /// The rows of these classes, at least two of each.
    fn rows_taken(&self, labels: &[usize], taken: &[usize]) -> Vec<usize> {
        let of_taken: Vec<usize> = (0..labels.len())
            .filter(|row| taken.binary_search(&labels[*row]).is_ok())
            .collect();
        let own: Vec<usize> = of_taken.iter().map(|row| labels[*row]).collect();
        let mut rows: Vec<usize> = evenly(&own, self.images)
            .into_iter()
            .map(|at| of_taken[at])
            .collect();
        for class in taken {
            let kept = rows.iter().filter(|row| labels[**row] == *class).count();
            let missing = 2usize.saturating_sub(kept);
            let others = of_taken
                .iter()
                .filter(|row| labels[**row] == *class && !rows.contains(*row));
            let others: Vec<usize> = others.take(missing).copied().collect();
            rows.extend(others);
        }
        rows.sort_unstable();
        rows
    }

    /// The area under the curve of each score where `class` is left out.
    fn round(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
        class: usize,
    ) -> Result<Vec<(UnknownScore, f64)>, TransferError> {
        let (unknown, known): (Vec<usize>, Vec<usize>) =
            (0..labels.len()).partition(|row| labels[*row] == class);
        let names: Vec<usize> = known
            .iter()
            .map(|row| labels[*row] - usize::from(labels[*row] > class))
            .collect();
        let seed = self.seed ^ (class as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let parts = stratified_folds(&names, classes - 1, self.folds, seed);
        let Some(held_out) = parts.first() else {
            return Ok(Vec::new()); // Every class has two images.
        };
        let is_held_out = |at: &usize| held_out.binary_search(at).is_ok();
        let (held, fitted): (Vec<usize>, Vec<usize>) = (0..known.len()).partition(is_held_out);
        let of = |part: &[usize]| -> (Features, Vec<usize>) {
            let rows: Vec<usize> = part.iter().map(|at| known[*at]).collect();
            let names = part.iter().map(|at| names[*at]).collect();
            (features.select(&rows), names)
        };
        let ((train, train_labels), (known, known_labels)) = (of(&fitted), of(&held));
        let unknown = features.select(&unknown);
        let probe = Probe::fit(&train, &train_labels, classes - 1)?;
        let logits = match &probe {
            Some(probe) => Some((
                probe.logits(&known)?,
                probe.logits(&unknown)?,
                probe.temperature(&known, &known_labels)?,
            )),
            None => None,
        };
        let measured = match self.own {
            Some(own) if own != train.dim() => &train.columns(0..own)?,
            _ => &train,
        };
        let mut found = Vec::new();
        for score in UnknownScore::ALL {
            let (of_known, of_unknown, temperature) = match (&logits, score.needs_features()) {
                (Some((known, unknown, temperature)), false) => (known, unknown, *temperature),
                (None, false) => continue,
                (_, true) => (&known, &unknown, 1.0),
            };
            let detector =
                UnknownDetector::fit(score, measured, &train_labels, classes - 1, temperature)?;
            let scores = |rows: &Features| -> Result<Vec<f64>, TransferError> {
                rows.rows().map(|row| detector.score(row, row)).collect()
            };
            let area = auroc(&scores(of_unknown)?, &scores(of_known)?);
            found.extend(area.map(|area| (score, area)));
        }
        Ok(found)
    }
}

/// A logistic regression on features of length 1.
struct Probe {
    head: crate::features::LinearHead,
}

impl Probe {
    /// None for a single class, which needs no telling apart.
    fn fit(
        features: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<Option<Self>, TransferError> {
        if classes < 2 {
            return Ok(None);
        }
        let features = features.l2_normalized();
        let regression = LogisticRegression {
            max_iterations: 200,
            ..LogisticRegression::with_inverse_penalty(INVERSE_PENALTY, &features)
        };
        let head = regression.fit(&features, labels, classes)?;
        Ok(Some(Self { head }))
    }

    /// `[n, classes]`.
    fn logits(&self, features: &Features) -> Result<Features, TransferError> {
        let logits = self.head.logits(&features.l2_normalized())?;
        let narrow = logits.iter().map(|logit| *logit as f32).collect();
        Features::new(narrow, self.head.classes())
    }

    /// The temperature that suits these images best.
    fn temperature(&self, features: &Features, labels: &[usize]) -> Result<f64, TransferError> {
        let logits = self.head.logits(&features.l2_normalized())?;
        let all: Vec<usize> = (0..labels.len()).collect();
        let classes = self.head.classes();
        Ok(best_temperature(&logits, labels, classes, &all, TEMPERATURES).0)
    }
}
