//! A linear probe that starts from what the source classifier knows.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::category_relationship::{CategoryRelationship, mix_heads, mixed_logits};
use super::logistic_regression::{Images, LogisticRegression, Problem};
use super::table::{Features, LinearHead, argmax_rows, check_labels, softmax};
use crate::TransferError;

/// A head in two parts: rows of the source classifier mixed for the new classes
/// ([`CategoryRelationship`]), and a [`LogisticRegression`] for what they lack, its penalty chosen by
/// cross-validation on the training images.
///
/// With a strong penalty nothing but the source's knowledge is left, with a weak one an ordinary probe; the
/// largest penalty within one standard error of the best wins (Breiman et al. 1984). Without a source
/// classifier it is the probe alone.
#[derive(Clone, Debug, PartialEq)]
pub struct PriorProbe {
    /// Penalties to choose from, in rising order.
    pub penalties: Vec<f64>,
    /// Parts of the cross-validation; fewer where a class has fewer images.
    pub folds: usize,
    /// Times that it is repeated with other parts.
    pub repeats: usize,
    /// How the source's rows are mixed.
    pub relationship: CategoryRelationship,
    /// Seed of the parts.
    pub seed: u64,
}

impl Default for PriorProbe {
    fn default() -> Self {
        Self {
            penalties: vec![1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0],
            folds: 5,
            repeats: 3,
            relationship: CategoryRelationship::default(),
            seed: 0,
        }
    }
}

/// A fitted head, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedProbe {
    /// The head, for features as they are.
    pub head: LinearHead,
    /// The penalty that was chosen.
    pub penalty: f64,
    /// Its place among the penalties.
    pub chosen: usize,
    /// Mean log loss of each penalty on held-out training images; empty where a class has a single image.
    pub log_losses: Vec<f64>,
    /// Share of held-out training images that each penalty's heads call right; empty as above.
    pub accuracies: Vec<f64>,
    /// Mixtures of source classes `[classes, source_classes]`, where there is a source classifier.
    pub mixtures: Option<Vec<f64>>,
}

impl PriorProbe {
    /// Fits features `[n, dim]` to labels `[n]`, each below `classes`, starting from `source`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for a single
    /// class, a class without an image, or features that are all zero.
    pub fn fit(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
        source: Option<&LinearHead>,
    ) -> Result<FittedProbe, TransferError> {
        check_labels("prior probe", labels, features.len(), classes)?;
        if self.penalties.is_empty() {
            return Err(TransferError::Degenerate {
                method: "prior probe",
                reason: "no penalty to choose from; give at least one".into(),
            });
        }
        let work = Work {
            probe: self,
            problem: Problem::new(features)?,
            source_logits: match source {
                Some(head) => Some(single(head.logits(features)?, head.classes())?),
                None => None,
            },
            labels,
            classes,
        };
        let HeldOut { losses, accuracies } = work.held_out();
        let log_losses: Vec<f64> = losses.iter().map(|losses| mean(losses)).collect();
        // Without a comparison the source's word is the safest: the strongest penalty.
        let chosen = match losses.is_empty() {
            true => self.penalties.len() - 1,
            false => choose(&losses),
        };
        let all: Vec<usize> = (0..labels.len()).collect();
        let (mixtures, offset) = work.prior(&all);
        let start = vec![0.0; classes * (work.problem.rank + 1)];
        let residual = work.solve(self.penalties[chosen], &all, offset.as_deref(), start);
        let mut head = work.problem.head(features, &residual, classes);
        if let (Some(mixtures), Some(source)) = (&mixtures, source) {
            let prior = mix_heads(mixtures, source);
            let add = |sum: &mut [f32], other: &[f32]| {
                sum.iter_mut()
                    .zip(other)
                    .for_each(|(sum, other)| *sum += other);
            };
            add(&mut head.weight, &prior.weight);
            add(&mut head.bias, &prior.bias);
        }
        Ok(FittedProbe {
            head,
            penalty: self.penalties[chosen],
            chosen,
            log_losses,
            accuracies,
            mixtures,
        })
    }
}

impl FittedProbe {
    /// Share of held-out training images that heads of the chosen penalty call right; none where a class has a
    /// single image.
    pub fn held_out_accuracy(&self) -> Option<f64> {
        self.accuracies.get(self.chosen).copied()
    }

    /// Mean log loss of the chosen penalty on held-out training images; none where a class has a single image.
    pub fn held_out_log_loss(&self) -> Option<f64> {
        self.log_losses.get(self.chosen).copied()
    }
}

/// What heads say of images that they didn't see.
#[derive(Default)]
struct HeldOut {
    /// For each penalty, the log loss of every image, mean over the repeats.
    losses: Vec<Vec<f64>>,
    /// For each penalty, the share of images called right.
    accuracies: Vec<f64>,
}

struct Guess {
    penalty: usize,
    row: usize,
    loss: f64,
    is_right: bool,
}

struct Work<'a> {
    probe: &'a PriorProbe,
    problem: Problem,
    source_logits: Option<Features>,
    labels: &'a [usize],
    classes: usize,
}

impl Work<'_> {
    /// Mixtures from the images `rows`, and the logits that they give all images.
    fn prior(&self, rows: &[usize]) -> (Option<Vec<f64>>, Option<Vec<f64>>) {
        let Some(logits) = &self.source_logits else {
            return (None, None);
        };
        let relationship = &self.probe.relationship;
        let mixtures = relationship.fit_rows(logits, self.labels, self.classes, rows);
        let offset = logits
            .rows()
            .flat_map(|z| mixed_logits(&mixtures, z))
            .collect();
        (Some(mixtures), Some(offset))
    }

    fn solve(&self, l2: f64, rows: &[usize], offset: Option<&[f64]>, start: Vec<f64>) -> Vec<f64> {
        let regression = LogisticRegression::new(l2);
        let images = Images {
            rows,
            labels: self.labels,
            weights: None,
        };
        self.problem
            .solve(&regression, &images, self.classes, offset, start)
    }

    fn held_out(&self) -> HeldOut {
        let (penalties, repeats) = (&self.probe.penalties, self.probe.repeats);
        let parts: Vec<Vec<usize>> = (0..repeats)
            .flat_map(|repeat| self.parts(repeat as u64))
            .collect();
        if parts.is_empty() {
            return HeldOut::default();
        }
        let mut losses = vec![vec![0.0; self.labels.len()]; penalties.len()];
        let mut right = vec![0usize; penalties.len()];
        let found: Vec<Vec<Guess>> = parts.par_iter().map(|part| self.guesses(part)).collect();
        for guess in found.into_iter().flatten() {
            losses[guess.penalty][guess.row] += guess.loss / repeats as f64;
            right[guess.penalty] += usize::from(guess.is_right);
        }
        let guesses = (repeats * self.labels.len()) as f64;
        let accuracies = right.iter().map(|right| *right as f64 / guesses).collect();
        HeldOut { losses, accuracies }
    }

    /// For the images of one part, by heads fitted to all others.
    fn guesses(&self, part: &[usize]) -> Vec<Guess> {
        let rest: Vec<usize> = (0..self.labels.len())
            .filter(|row| part.binary_search(row).is_err())
            .collect();
        let (_, offset) = self.prior(&rest);
        let mut solution = vec![0.0; self.classes * (self.problem.rank + 1)];
        let mut found = Vec::new();
        // From the strongest penalty to the weakest: each solution is close to the next one's.
        for (penalty, l2) in self.probe.penalties.iter().enumerate().rev() {
            solution = self.solve(*l2, &rest, offset.as_deref(), solution);
            for row in part {
                let mut logits =
                    self.problem
                        .logits_of(*row, &solution, self.classes, offset.as_deref());
                let label = self.labels[*row];
                let true_logit = logits[label];
                let is_right = argmax_rows(&logits, self.classes) == [label];
                found.push(Guess {
                    penalty,
                    row: *row,
                    loss: softmax(&mut logits) - true_logit,
                    is_right,
                });
            }
        }
        found
    }

    /// Parts of the images with the classes' shares, each part sorted; every class keeps an image outside
    /// of each part. None where some class has a single image.
    fn parts(&self, repeat: u64) -> Vec<Vec<usize>> {
        let counts = (0..self.classes)
            .map(|class| self.labels.iter().filter(|label| **label == class).count());
        let folds = self.probe.folds.min(counts.min().unwrap_or(0));
        if folds < 2 {
            return Vec::new();
        }
        let seed = self.probe.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ repeat;
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut parts = vec![Vec::new(); folds];
        let mut next = 0;
        for class in 0..self.classes {
            let mut rows: Vec<usize> = (0..self.labels.len())
                .filter(|row| self.labels[*row] == class)
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
}

/// The last (strongest) penalty whose losses are within one standard error of the best one's, image by image.
fn choose(losses: &[Vec<f64>]) -> usize {
    let means: Vec<f64> = losses.iter().map(|losses| mean(losses)).collect();
    let best = (0..means.len())
        .min_by(|a, b| means[*a].total_cmp(&means[*b]))
        .unwrap_or(0);
    let is_close = |candidate: usize| {
        let differences: Vec<f64> = losses[candidate]
            .iter()
            .zip(&losses[best])
            .map(|(loss, best)| loss - best)
            .collect();
        let mean = mean(&differences);
        let n = differences.len() as f64;
        let squares: f64 = differences.iter().map(|d| (d - mean) * (d - mean)).sum();
        mean <= (squares / (n - 1.0).max(1.0)).sqrt() / n.sqrt()
    };
    (0..losses.len())
        .rev()
        .find(|candidate| is_close(*candidate))
        .unwrap_or(best)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn single(values: Vec<f64>, dim: usize) -> Result<Features, TransferError> {
    Features::new(values.into_iter().map(|value| value as f32).collect(), dim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::RngExt;

    use super::*;

    const DIM: usize = 100;

    /// Source class `s` looks along axis `s`. Target images of class `c` lie along axis `axis(c)`, in noise.
    fn images(count: usize, axis: impl Fn(usize) -> usize, seed: u64) -> (Features, Vec<usize>) {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let labels: Vec<usize> = (0..count).map(|i| i % 2).collect();
        let mut values = Vec::new();
        for label in &labels {
            for j in 0..DIM {
                let noise: f32 = generator.random_range(-1.2..1.2);
                values.push(noise + if j == axis(*label) { 1.0 } else { 0.0 });
            }
        }
        (Features::new(values, DIM).unwrap(), labels)
    }

    fn source() -> LinearHead {
        let classes = DIM - 2;
        let mut weight = vec![0.0; classes * DIM];
        for class in 0..classes {
            weight[class * DIM + class] = 3.0;
        }
        LinearHead {
            weight,
            bias: vec![0.0; classes],
        }
    }

    fn accuracy(head: &LinearHead, features: &Features, labels: &[usize]) -> f64 {
        let logits = head.logits(features).unwrap();
        let right = labels
            .iter()
            .enumerate()
            .filter(|(row, label)| {
                let row = &logits[row * 2..row * 2 + 2];
                usize::from(row[1] > row[0]) == **label
            })
            .count();
        right as f64 / labels.len() as f64
    }

    #[test]
    fn few_images_of_classes_that_the_source_knows_need_the_source() {
        let (test, test_labels) = images(400, |class| [4, 7][class], 1000);
        let probe = PriorProbe::default();
        let mean_accuracy = |source: Option<&LinearHead>| {
            let of = |seed| {
                let (train, labels) = images(20, |class| [4, 7][class], seed);
                let fitted = probe.fit(&train, &labels, 2, source).unwrap();
                accuracy(&fitted.head, &test, &test_labels)
            };
            (0..10).map(of).sum::<f64>() / 10.0
        };
        let with = mean_accuracy(Some(&source()));
        let without = mean_accuracy(None);
        assert!(with > without + 0.03, "{with} against {without}");
    }

    #[test]
    fn classes_that_the_source_does_not_know_are_learnt_from_the_images() {
        // The last two axes belong to no source class.
        let (train, labels) = images(400, |class| DIM - 2 + class, 0);
        let (test, test_labels) = images(400, |class| DIM - 2 + class, 1000);
        let fitted = PriorProbe::default()
            .fit(&train, &labels, 2, Some(&source()))
            .unwrap();
        let found = accuracy(&fitted.head, &test, &test_labels);
        assert!(found > 0.7, "{found}");
        assert!(fitted.penalty < 1.0);
    }

    #[test]
    fn the_same_seed_gives_the_same_head() {
        let (train, labels) = images(40, |class| class, 0);
        let fit = || {
            PriorProbe::default()
                .fit(&train, &labels, 2, Some(&source()))
                .unwrap()
        };
        assert_eq!(fit(), fit());
    }

    #[test]
    fn one_image_a_class_works_without_cross_validation() {
        let (train, labels) = images(2, |class| class, 0);
        let fitted = PriorProbe::default()
            .fit(&train, &labels, 2, Some(&source()))
            .unwrap();
        assert!(fitted.head.weight.iter().all(|value| value.is_finite()));
    }
}
