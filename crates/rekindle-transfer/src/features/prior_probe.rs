//! A linear probe that starts from what the source classifier knows.

use super::category_relationship::{CategoryRelationship, mix_heads};
use super::held_out::{Contest, HeldOut, Scoring, excess, repeated_folds};
use super::logistic_regression::{Precision, Problem};
use super::table::{Features, LinearHead, check_labels};
use crate::TransferError;

/// A head in two parts: rows of the source classifier mixed for the new classes
/// ([`CategoryRelationship`]), and a [`LogisticRegression`](super::LogisticRegression) for what they lack, its penalty chosen by
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
    /// Mixture of the source's rows for each class.
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
        let contest = Contest {
            problem: Problem::new(features)?,
            source_logits: source_logits(features, source)?,
            relationship: self.relationship,
            lengths: None,
            labels,
            weights: None,
            classes,
            views: 1,
        };
        let parts = repeated_folds(labels, None, classes, (self.folds, self.repeats), self.seed);
        let held_out = contest.held_out(&self.penalties, &parts, None, Scoring::AsTheyAre);
        // Without a comparison the source's word is the safest: the strongest penalty.
        let chosen = match held_out.is_empty() {
            true => self.penalties.len() - 1,
            false => choose(&held_out),
        };
        let path = &[self.penalties[chosen]];
        let (head, mixtures) = fitted(&contest, features, source, path, Precision::Full)?;
        Ok(FittedProbe {
            head,
            penalty: self.penalties[chosen],
            chosen,
            log_losses: held_out.iter().map(HeldOut::log_loss).collect(),
            accuracies: held_out.iter().map(HeldOut::accuracy).collect(),
            mixtures,
        })
    }
}

impl FittedProbe {
    /// Returns the share of held-out training images that heads of the chosen penalty call right; none where a class
    /// has a single image.
    pub fn held_out_accuracy(&self) -> Option<f64> {
        self.accuracies.get(self.chosen).copied()
    }

    /// Returns the mean log loss of the chosen penalty on held-out training images; none where a class has a single
    /// image.
    pub fn held_out_log_loss(&self) -> Option<f64> {
        self.log_losses.get(self.chosen).copied()
    }
}

/// Returns the source's logits of all features.
pub(super) fn source_logits(
    features: &Features,
    source: Option<&LinearHead>,
) -> Result<Option<Features>, TransferError> {
    let Some(head) = source else {
        return Ok(None);
    };
    let values = head.logits(features)?;
    let values = values.into_iter().map(|value| value as f32).collect();
    Features::new(values, head.classes()).map(Some)
}

/// Returns the head of the last of `penalties` for all images, by way of those before it, with the mixtures of source
/// classes that it starts from.
pub(super) fn fitted(
    contest: &Contest<'_>,
    features: &Features,
    source: Option<&LinearHead>,
    penalties: &[f64],
    precision: Precision,
) -> Result<(LinearHead, Option<Vec<f64>>), TransferError> {
    let all: Vec<usize> = (0..contest.labels.len()).collect();
    let (mixtures, offset) = contest.prior(&all);
    let mut residual = vec![0.0; contest.classes * (contest.problem.rank + 1)];
    for penalty in penalties {
        residual = contest.solve(*penalty, &all, offset.as_deref(), residual, precision);
    }
    let mut head = contest.problem.head(features, &residual, contest.classes);
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
    Ok((head, mixtures))
}

/// Returns the last (strongest) penalty whose losses are within one standard error of the best one's, image by image.
fn choose(held_out: &[HeldOut]) -> usize {
    let best = (0..held_out.len())
        .min_by(|a, b| held_out[*a].log_loss().total_cmp(&held_out[*b].log_loss()))
        .unwrap_or(0);
    let is_close = |candidate: usize| {
        let (mean, error) = excess(&held_out[candidate].losses, &held_out[best].losses);
        mean <= error
    };
    (0..held_out.len())
        .rev()
        .find(|candidate| is_close(*candidate))
        .unwrap_or(best)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

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
