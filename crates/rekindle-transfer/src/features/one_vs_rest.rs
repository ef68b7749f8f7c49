//! Linear heads for several labels an image: a logistic regression of each label against the rest.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::held_out::{excess, grouped_folds, mean};
use super::lbfgs::Lbfgs;
use super::logistic_regression::{Precision, Problem};
use super::probe_search::deviations;
use super::table::{Features, LinearHead, check_dim};
use crate::TransferError;

/// A logistic regression for each label, all of one penalty, which cross-validation chooses.
///
/// Features as multiples of their mean length hold unless standardised ones are better by more than one standard error of
/// the held-out images' log loss.
///
/// ```
/// use rekindle_transfer::features::{Features, OneVsRest};
///
/// let features = Features::new(vec![1.0, 0.1, 0.9, 1.0, 0.1, 1.0, 0.0, 0.1], 2)?;
/// // The first label goes with the first feature, the second one with the second.
/// let targets = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0];
/// let found = OneVsRest::default().fit(&features, &targets, 2)?;
/// let logits = found.head.logits(&features)?;
/// assert!(logits[0] > logits[4] && logits[5] > logits[1]);
/// # Ok::<(), rekindle_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OneVsRest {
    /// Penalties to choose from, in rising order; each is on the mean loss of a label and features of mean length 1.
    pub penalties: Vec<f64>,
    /// Parts of the cross-validation; fewer where there are fewer images or groups.
    pub folds: usize,
    /// Seed of the parts.
    pub seed: u64,
    /// How much each image counts in fits, at least 0; all the same by default.
    pub weights: Option<Vec<f64>>,
    /// The group of each image, which is held out as a whole.
    pub groups: Option<Vec<usize>>,
}

/// The head that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundOneVsRest {
    /// One row a label, for features as they are.
    pub head: LinearHead,
    /// Every penalty that was tried.
    pub tried: Vec<TriedPenalty>,
    /// The chosen one's position among them.
    pub choice: usize,
    /// Probabilities of each image's labels `[n, labels]` by heads that did not see it; empty where nothing could be held
    /// out.
    pub held_out: Vec<f32>,
}

/// How one penalty did on held-out images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriedPenalty {
    /// Whether each feature is taken minus its mean and over its deviation.
    pub standardized: bool,
    /// The penalty.
    pub penalty: f64,
    /// Mean log loss of an answer; NaN where nothing could be held out.
    pub log_loss: f64,
    /// Share of right answers, from a probability of 0.5 on being yes; NaN as above.
    pub accuracy: f64,
}

impl Default for OneVsRest {
    fn default() -> Self {
        Self {
            penalties: vec![1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1],
            folds: 5,
            seed: 0,
            weights: None,
            groups: None,
        }
    }
}

/// Penalties in turn that are worse than the best before weaker ones are left out.
const PATIENCE: usize = 1;

impl OneVsRest {
    /// Fits features `[n, dim]` to targets `[n, labels]` of 0 and 1, row-major.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for features that are all zero,
    /// weights out of range, or no penalty to choose from.
    pub fn fit(
        &self,
        features: &Features,
        targets: &[f32],
        labels: usize,
    ) -> Result<FoundOneVsRest, TransferError> {
        self.fit_while(&|| true, features, targets, labels)
    }

    /// The same as long as `goes_on` says so, which is asked before standardised features are tried.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    pub fn fit_while(
        &self,
        goes_on: &dyn Fn() -> bool,
        features: &Features,
        targets: &[f32],
        labels: usize,
    ) -> Result<FoundOneVsRest, TransferError> {
        self.check(features, targets, labels)?;
        let parts = self.parts(features.len());
        let scaled = Prepared::scaled(features)?;
        let task = Labelled {
            targets,
            labels,
            weights: self.weights.as_deref(),
        };
        if parts.is_empty() {
            let penalty = self.penalties[self.penalties.len() / 2];
            let tried = TriedPenalty {
                standardized: false,
                penalty,
                log_loss: f64::NAN,
                accuracy: f64::NAN,
            };
            return Ok(FoundOneVsRest {
                head: scaled.head(&task, &[penalty]),
                tried: vec![tried],
                choice: 0,
                held_out: Vec::new(),
            });
        }
        let mut all = scaled.compare(&task, &self.penalties, &parts);
        let mut choice = lowest(&all, 0);
        if goes_on() {
            let standardized = Prepared::standardized(features)?;
            let before = all.len();
            all.extend(standardized.compare(&task, &self.penalties, &parts));
            let rival = lowest(&all, before);
            let (gain, error) = excess(&all[choice].losses, &all[rival].losses);
            if gain > error {
                choice = rival;
            }
            if all[choice].tried.standardized {
                let path = self.path(all[choice].tried.penalty);
                return Ok(found(standardized.head(&task, &path), all, choice));
            }
        }
        let path = self.path(all[choice].tried.penalty);
        Ok(found(scaled.head(&task, &path), all, choice))
    }

    /// Fits a head as one that was tried before, without a choice.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    pub fn fit_as(
        &self,
        tried: &TriedPenalty,
        features: &Features,
        targets: &[f32],
        labels: usize,
    ) -> Result<LinearHead, TransferError> {
        self.check(features, targets, labels)?;
        let prepared = match tried.standardized {
            true => Prepared::standardized(features)?,
            false => Prepared::scaled(features)?,
        };
        let task = Labelled {
            targets,
            labels,
            weights: self.weights.as_deref(),
        };
        let mut path = self.path(tried.penalty);
        if path.last() != Some(&tried.penalty) {
            path.push(tried.penalty);
        }
        Ok(prepared.head(&task, &path))
    }

    /// From the strongest penalty down to the chosen one.
    fn path(&self, penalty: f64) -> Vec<f64> {
        let stronger = self.penalties.iter().rev().copied();
        stronger.filter(|other| *other >= penalty).collect()
    }

    /// Parts to hold out, each in rising order.
    fn parts(&self, images: usize) -> Vec<Vec<usize>> {
        if let Some(groups) = &self.groups {
            return grouped_folds(&vec![0; images], groups, 1, self.folds, self.seed);
        }
        let folds = self.folds.min(images);
        if folds < 2 {
            return Vec::new();
        }
        let mut rows: Vec<usize> = (0..images).collect();
        rows.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(self.seed));
        let part = |fold: usize| {
            let mut part: Vec<usize> = rows.iter().skip(fold).step_by(folds).copied().collect();
            part.sort_unstable();
            part
        };
        (0..folds).map(part).collect()
    }

    fn check(
        &self,
        features: &Features,
        targets: &[f32],
        labels: usize,
    ) -> Result<(), TransferError> {
        let degenerate = |reason: String| {
            Err(TransferError::Degenerate {
                method: "one against the rest",
                reason,
            })
        };
        check_dim("targets", targets.len(), features.len() * labels)?;
        if labels == 0 || self.penalties.is_empty() {
            return degenerate("no label or no penalty; give at least one of each".into());
        }
        if let Some(target) = targets.iter().find(|target| !(0.0..=1.0).contains(*target)) {
            return degenerate(format!("a target is {target}; targets are 0 or 1"));
        }
        if let Some(groups) = &self.groups {
            check_dim("groups of images", groups.len(), features.len())?;
        }
        let Some(weights) = &self.weights else {
            return Ok(());
        };
        check_dim("weights of images", weights.len(), features.len())?;
        let is_wrong = |weight: &f64| !weight.is_finite() || *weight < 0.0;
        match weights.iter().any(is_wrong) || weights.iter().all(|weight| *weight == 0.0) {
            true => degenerate("weights are finite, at least 0, and not all 0".into()),
            false => Ok(()),
        }
    }
}

fn found(head: LinearHead, all: Vec<HeldOut>, choice: usize) -> FoundOneVsRest {
    FoundOneVsRest {
        head,
        tried: all.iter().map(|held_out| held_out.tried).collect(),
        held_out: all[choice].probabilities.clone(),
        choice,
    }
}

/// The one of the lowest log loss from position `first` on.
fn lowest(all: &[HeldOut], first: usize) -> usize {
    let loss = |at: &usize| all[*at].tried.log_loss;
    (first..all.len())
        .min_by(|a, b| loss(a).total_cmp(&loss(b)))
        .unwrap_or(first)
}

/// Labels of images, and how much each counts.
struct Labelled<'a> {
    targets: &'a [f32],
    labels: usize,
    weights: Option<&'a [f64]>,
}

/// What heads of one penalty say of images that they did not see.
struct HeldOut {
    tried: TriedPenalty,
    probabilities: Vec<f32>,
    /// Log loss of each image, the mean over its labels.
    losses: Vec<f64>,
}

/// Features as regressions take them.
struct Prepared {
    problem: Problem,
    features: Features,
    /// What features are over and minus; none where they are as they are.
    standard: Option<(Vec<f64>, Vec<f64>)>,
}

impl Prepared {
    fn scaled(features: &Features) -> Result<Self, TransferError> {
        Ok(Self {
            problem: Problem::new(features)?,
            features: features.clone(),
            standard: None,
        })
    }

    fn standardized(features: &Features) -> Result<Self, TransferError> {
        let shift = features.mean();
        let scale = deviations(features, &shift);
        let of = |row: &[f32]| -> Vec<f32> {
            let values = row.iter().zip(&shift).zip(&scale);
            values
                .map(|((value, shift), scale)| ((f64::from(*value) - shift) / scale) as f32)
                .collect()
        };
        let standard = Features::new(features.rows().flat_map(of).collect(), features.dim())?;
        Ok(Self {
            problem: Problem::new(&standard)?,
            features: standard,
            standard: Some((scale, shift)),
        })
    }

    /// Compares penalties from the strongest on: each solution is close to the next one's.
    fn compare(
        &self,
        task: &Labelled<'_>,
        penalties: &[f64],
        parts: &[Vec<usize>],
    ) -> Vec<HeldOut> {
        let (images, labels) = (self.features.len(), task.labels);
        let rests: Vec<Vec<usize>> = parts
            .iter()
            .map(|part| {
                let is_held_out = |row: &usize| part.binary_search(row).is_ok();
                (0..images).filter(|row| !is_held_out(row)).collect()
            })
            .collect();
        let mut solutions = vec![vec![0.0; labels * (self.problem.rank + 1)]; parts.len()];
        let (mut found, mut best, mut worse) = (Vec::new(), f64::INFINITY, 0);
        for penalty in penalties.iter().rev() {
            solutions
                .par_iter_mut()
                .zip(&rests)
                .for_each(|(solution, rest)| {
                    let start = std::mem::take(solution);
                    *solution = self.solve(task, *penalty, rest, start, Precision::Coarse);
                });
            let mut probabilities = vec![0.0; images * labels];
            let mut losses = vec![0.0; images];
            for (part, solution) in parts.iter().zip(&solutions) {
                for row in part {
                    let logits = self.problem.logits_of(*row, solution, labels, None);
                    let place = row * labels..(row + 1) * labels;
                    let truths = &task.targets[place.clone()];
                    let loss: f64 = logits
                        .iter()
                        .zip(truths)
                        .map(|(z, y)| loss(*z, f64::from(*y)))
                        .sum();
                    losses[*row] = loss / labels as f64;
                    for (out, logit) in probabilities[place].iter_mut().zip(&logits) {
                        *out = logistic(*logit) as f32;
                    }
                }
            }
            let log_loss = mean(&losses);
            let pairs = probabilities.iter().zip(task.targets);
            let right = pairs.filter(|(p, target)| (**p >= 0.5) == (**target > 0.5));
            let accuracy = right.count() as f64 / probabilities.len() as f64;
            found.push(HeldOut {
                tried: TriedPenalty {
                    standardized: self.standard.is_some(),
                    penalty: *penalty,
                    log_loss,
                    accuracy,
                },
                probabilities,
                losses,
            });
            worse = if log_loss > best { worse + 1 } else { 0 };
            best = best.min(log_loss);
            if worse > PATIENCE {
                break;
            }
        }
        found
    }

    /// The head for all images and features as they are.
    fn head(&self, task: &Labelled<'_>, path: &[f64]) -> LinearHead {
        let all: Vec<usize> = (0..self.features.len()).collect();
        let mut solution = vec![0.0; task.labels * (self.problem.rank + 1)];
        for (at, penalty) in path.iter().enumerate() {
            let precision = match at + 1 == path.len() {
                true => Precision::Full,
                false => Precision::Coarse,
            };
            solution = self.solve(task, *penalty, &all, solution, precision);
        }
        let mut head = self.problem.head(&self.features, &solution, task.labels);
        if let Some((scale, shift)) = &self.standard {
            let rows = head.weight.chunks_exact_mut(scale.len());
            for (weights, bias) in rows.zip(&mut head.bias) {
                let mut sum = 0.0;
                for ((weight, scale), shift) in weights.iter_mut().zip(scale).zip(shift) {
                    let scaled = f64::from(*weight) / scale;
                    sum += scaled * shift;
                    *weight = scaled as f32;
                }
                *bias -= sum as f32;
            }
        }
        head
    }

    /// Weights and biases `[labels, rank + 1]` fitted to some of the images, from `start` on.
    fn solve(
        &self,
        task: &Labelled<'_>,
        penalty: f64,
        rows: &[usize],
        start: Vec<f64>,
        precision: Precision,
    ) -> Vec<f64> {
        let solver = Lbfgs {
            max_iterations: 200,
            value_tolerance: match precision {
                Precision::Full => Lbfgs::default().value_tolerance,
                Precision::Coarse => 1e-5,
            },
            ..Lbfgs::default()
        };
        let (rank, labels) = (self.problem.rank, task.labels);
        let (width, count) = (rank + 1, rows.len());
        let of = |row: &usize| task.weights.map_or(1.0, |weights| weights[*row]);
        let total: f64 = rows.iter().map(of).sum::<f64>().max(f64::MIN_POSITIVE);
        let shares: Vec<f64> = rows.iter().map(|row| of(row) / total).collect();
        let mut chosen = Vec::with_capacity(count * rank);
        for row in rows {
            chosen.extend_from_slice(self.problem.row(*row));
        }
        let x = MatRef::from_row_major_slice(&chosen, count, rank);
        // Logits, then their residuals, `[n, labels]`.
        let mut scores = vec![0.0; count * labels];
        solver.minimize(start, |parameters, gradient| {
            gradient.fill(0.0);
            let weights = MatRef::from_row_major_slice(parameters, labels, width);
            let logits = MatMut::from_row_major_slice_mut(&mut scores, count, labels);
            let products = weights.subcols(0, rank).transpose();
            matmul(logits, Accum::Replace, x, products, 1.0, Par::Seq);
            let mut value = 0.0;
            for ((row, share), logits) in rows
                .iter()
                .zip(&shares)
                .zip(scores.chunks_exact_mut(labels))
            {
                let truths = &task.targets[row * labels..(row + 1) * labels];
                for (label, (logit, truth)) in logits.iter_mut().zip(truths).enumerate() {
                    let (z, y) = (*logit + parameters[label * width + rank], f64::from(*truth));
                    value += share * loss(z, y);
                    *logit = share * (logistic(z) - y);
                    gradient[label * width + rank] += *logit;
                }
            }
            let residuals = MatRef::from_row_major_slice(&scores, count, labels).transpose();
            let of_weights = MatMut::from_row_major_slice_mut(gradient, labels, width);
            let of_weights = of_weights.subcols_mut(0, rank);
            matmul(of_weights, Accum::Replace, residuals, x, 1.0, Par::Seq);
            let pairs = gradient
                .chunks_exact_mut(width)
                .zip(parameters.chunks_exact(width));
            for (target, parameters) in pairs {
                for (target, weight) in target.iter_mut().zip(&parameters[..rank]) {
                    *target += penalty * weight;
                    value += 0.5 * penalty * weight * weight;
                }
            }
            value
        })
    }
}

fn logistic(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// Cross entropy of yes and no.
fn loss(logit: f64, truth: f64) -> f64 {
    logit.max(0.0) - logit * truth + (-logit.abs()).exp().ln_1p()
}
