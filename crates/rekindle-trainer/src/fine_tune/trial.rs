//! One trial: a network trained on some of the training images, beside the probe on the same ones.

use std::sync::Arc;

use rekindle_imagefolder::Task;
use rekindle_transfer::features::{LinearHead, ProbeSearch};
use serde_json::Value;

use super::heads::predictions;
use super::methods::Method;
use super::probing::Probed;
use super::reduced::Probes;
use super::run::Run;
use super::scores::{Lead, Scored};
use super::training::{Relay, Steps, plans};
use super::{multi_label, regression};
use crate::TrainerError;
use crate::checkpoint::{Weights, weights_of, with_weights};
use crate::data::eval_pipeline;

/// Shares of the way from the probe's network to the trained one, of which the best is taken: half-way there are
/// networks that answer better than both ends (Wortsman et al. 2022, <https://arxiv.org/abs/2109.01903>), above all where a
/// training was short. It takes statistics of batch normalisation that stay.
pub(super) const SHARES: [f32; 3] = [1.0, 0.6, 0.3];

/// A network that was trained on all images but some, and what it and the probe say of these.
pub(super) struct Trial {
    pub weights: Weights,
    /// Scores by share of the way.
    scored: Vec<Scored>,
    /// The probe, fitted to the same images.
    pub probe: Scored,
    /// Decisions of the clock.
    pub plans: Value,
}

/// One way to train, in all trials of it so far.
pub(super) struct Contender {
    pub method: Method,
    /// Seconds that an image takes; with what is measured as trials go on.
    pub per_image: f64,
    pub trials: Vec<Trial>,
}

impl Contender {
    /// Compares with the probe on every image that was held out, at the best share of the way.
    pub fn lead(&self) -> Lead {
        self.lead_at(self.best())
    }

    /// Tells whether it is better than the probe: clearly on all images that were held out, or a little on each of several parts
    /// of them, by loss and by no fewer right answers. Luck seldom strikes twice.
    pub fn is_ahead(&self) -> bool {
        let is_better = |trial: &Trial| {
            let lead = trial.scored[self.best()].lead_over(&trial.probe);
            lead.loss.0 > 0.0 && lead.accuracy.0 >= 0.0
        };
        let is_repeated = self.trials.len() > 1 && self.trials.iter().all(is_better);
        is_repeated || self.lead().is_ahead()
    }

    /// Returns the best share of the way from the probe's network to the trained one.
    pub fn share(&self) -> f32 {
        SHARES[self.best()]
    }

    /// Returns the scores of one of its trials at that share.
    pub fn scored(&self, trial: usize) -> &Scored {
        &self.trials[trial].scored[self.best()]
    }

    /// Images that were held out.
    pub fn images(&self) -> usize {
        let held_out = |trial: &Trial| trial.probe.right.len();
        self.trials.iter().map(held_out).sum()
    }

    fn best(&self) -> usize {
        let bound = |at: &usize| self.lead_at(*at).bound();
        // The first of equal ones.
        (0..SHARES.len())
            .rev()
            .max_by(|a, b| bound(a).total_cmp(&bound(b)))
            .unwrap_or(0)
    }

    fn lead_at(&self, share: usize) -> Lead {
        let (mut scored, mut probe) = (Scored::default(), Scored::default());
        for trial in &self.trials {
            scored.extend(&trial.scored[share]);
            probe.extend(&trial.probe);
        }
        scored.lead_over(&probe)
    }

    /// Returns the threshold of the highest F1 for each label, by what the networks of all trials say of images that they did
    /// not see; none where pictures don't have several.
    pub fn thresholds(&self, labels: usize) -> Option<Vec<f64>> {
        let mut scored = Scored::default();
        for trial in 0..self.trials.len() {
            scored.extend(self.scored(trial));
        }
        multi_label::thresholds(&scored.answers, &scored.targets, labels)
    }

    /// Returns the mean of the networks of all trials: they began alike, and each has seen what another has not.
    pub fn mean_weights(&self) -> Option<Weights> {
        let (first, others) = self.trials.split_first()?;
        let mut mean = first.weights.clone();
        let share = 1.0 / self.trials.len() as f32;
        for (name, tensor) in &mut mean {
            for trial in others {
                let Some(other) = trial.weights.get(name) else {
                    continue;
                };
                let pairs = tensor.values.iter_mut().zip(&other.values);
                pairs.for_each(|(value, other)| *value += other);
            }
            if !others.is_empty() {
                tensor.values.iter_mut().for_each(|value| *value *= share);
            }
        }
        Some(mean)
    }
}

impl<'a, 'b> Run<'a, 'b> {
    /// Returns the head that the probe search finds on `rows` of the features, and what it says of the rows `held_out`.
    fn probe_of(
        &self,
        probed: &Probed<'b>,
        rows: &[usize],
        held_out: &[usize],
    ) -> Result<(LinearHead, Scored), TrainerError> {
        let seen = probed.seen.select(rows);
        let classes = probed.data.classes.len();
        let mirrored = probed
            .mirrored
            .as_ref()
            .map(|mirrored| mirrored.features.select(rows));
        let weights = probed.search.weights.as_ref();
        let groups = probed.search.groups.as_ref();
        let search = ProbeSearch {
            weights: weights.map(|weights| rows.iter().map(|row| weights[*row]).collect()),
            groups: groups.map(|groups| rows.iter().map(|row| groups[*row]).collect()),
            ..probed.search.clone()
        };
        let head = match probed.data.task() {
            Task::Regression => regression::fit(&search, &seen.features, &seen.targets)?.head,
            Task::MultiLabel => multi_label::fit_as(&search, &probed.found, &seen, classes)?,
            Task::SingleLabel | Task::Ordinal => search.fit_as(
                &probed.found,
                &seen.features,
                &seen.labels,
                classes,
                probed.source.as_ref(),
                mirrored.as_ref(),
            )?,
        };
        let held_out = probed.seen.select(held_out);
        let scored = Scored::of(&predictions(&head, &held_out)?)?;
        Ok((head, scored))
    }

    /// Trains on all images but `held_out` (rows of the features), from the probe's network or the weights `from` on, and
    /// measures on these, beside the probe on whole pictures, or that of networks side by side. None where training diverged.
    pub(super) fn trial(
        &mut self,
        probes: &Probes<'_, 'b>,
        held_out: &[usize],
        (method, steps): (Method, Steps),
        from: Option<&Weights>,
        name: &str,
    ) -> Result<Option<Trial>, TrainerError> {
        let probed = probes.at(method.scale);
        let seen = &probed.seen;
        let is_held_out = |row: &usize| held_out.binary_search(row).is_ok();
        let rest: Vec<usize> = (0..seen.labels.len())
            .filter(|row| !is_held_out(row))
            .collect();
        let (head, mut probe) = self.probe_of(probed, &rest, held_out)?;
        let start = self.fresh(probed).with_head(head.weight, head.bias)?;
        let to_beat = probes.joined.unwrap_or(probes.whole);
        if !std::ptr::eq(to_beat, probed) {
            (_, probe) = self.probe_of(to_beat, &rest, held_out)?;
        }
        let begun_at = weights_of(&start);
        let start = match from {
            Some(weights) => with_weights(start, weights),
            None => start,
        };
        let train =
            |run: &mut Self| run.train(probed, start, &rest, (method, steps), Relay::counting);
        let (trained, _) = self.phase(name, train)?;
        let Some((weights, pace)) = trained else {
            return Ok(None);
        };
        let plain = eval_pipeline(&probed.data.preprocess);
        let plain = probed.data.train.with_pipeline(plain)?;
        let indices: Vec<usize> = held_out.iter().map(|row| seen.indices[*row]).collect();
        let dataset = Arc::new(plain.subset(&indices));
        let mut scored = Vec::new();
        for share in SHARES {
            let mixed = mixed(&begun_at, &weights, share);
            let classifier = with_weights(self.fresh(probed), &mixed);
            scored.push(Scored::of(&self.answers(&classifier, &dataset)?)?);
        }
        Ok(Some(Trial {
            scored,
            probe,
            weights,
            plans: plans(&pace),
        }))
    }
}

/// Weights so far on the way from `start` to `end`.
pub(super) fn mixed(start: &Weights, end: &Weights, share: f32) -> Weights {
    let mut mixed = end.clone();
    if share == 1.0 {
        return mixed;
    }
    for (name, tensor) in &mut mixed {
        let Some(start) = start.get(name) else {
            continue;
        };
        for (value, start) in tensor.values.iter_mut().zip(&start.values) {
            *value = start + share * (*value - start);
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rekindle_weights::state_dict::HostTensor;

    use super::super::methods::Scale;
    use super::*;

    fn weights(values: [f32; 2]) -> Weights {
        let tensor = HostTensor {
            shape: vec![2],
            values: values.to_vec(),
        };
        Weights::from([("head.bias".to_string(), tensor)])
    }

    fn scored(loss: f64) -> Scored {
        Scored {
            right: vec![1.0; 10],
            losses: vec![loss; 10],
            ..Scored::default()
        }
    }

    fn contender(trials: &[([f64; 3], f64)]) -> Contender {
        let trial = |(at, (losses, probe)): (usize, &([f64; 3], f64))| Trial {
            weights: weights([at as f32, 1.0]),
            scored: losses.map(scored).to_vec(),
            probe: scored(*probe),
            plans: Value::Null,
        };
        Contender {
            method: Method {
                scale: Scale::Whole,
                size: 224,
                rate: 1e-3,
                why: "",
            },
            per_image: 0.0,
            trials: trials.iter().enumerate().map(trial).collect(),
        }
    }

    #[test]
    fn the_share_of_the_way_is_the_best_on_all_held_out_images() {
        let one = contender(&[([0.5, 0.3, 0.4], 0.45)]);
        assert_eq!(one.share(), SHARES[1]);
        assert!(one.lead().is_ahead());
        let both = contender(&[([0.5, 0.3, 0.4], 0.45), ([0.1, 0.6, 0.6], 0.45)]);
        assert_eq!((both.share(), both.images()), (SHARES[0], 20));
        // Of equal ones the whole way.
        assert_eq!(contender(&[([0.3; 3], 0.4)]).share(), SHARES[0]);
        let worse = contender(&[([0.5, 0.6, 0.7], 0.45)]);
        assert!(!worse.lead().is_ahead() && worse.lead().is_far_behind());
    }

    #[test]
    fn a_small_lead_counts_where_other_images_confirm_it() {
        // Better on average, and by less than a standard error.
        let mut once = contender(&[([0.4; 3], 0.4)]);
        for scored in &mut once.trials[0].scored {
            (scored.losses[0], scored.losses[1]) = (0.0, 0.6);
        }
        assert!(!once.is_ahead());
        let mut twice = contender(&[([0.4; 3], 0.4), ([0.4; 3], 0.4)]);
        for trial in &mut twice.trials {
            trial
                .scored
                .iter_mut()
                .for_each(|scored| scored.losses[0] = 0.3);
            // What is a standard error rises with a few images of other sizes.
            trial.probe.losses[1] = 0.1;
            trial.probe.losses[2] = 0.75;
        }
        assert!(
            !twice.lead().is_ahead() && twice.is_ahead(),
            "{:?}",
            twice.lead()
        );
        twice.trials[1]
            .scored
            .iter_mut()
            .for_each(|scored| scored.right[0] = 0.0);
        assert!(!twice.is_ahead());
    }

    #[test]
    fn weights_are_mixed_one_by_one() {
        let (start, end) = (weights([1.0, 2.0]), weights([3.0, 0.0]));
        assert_eq!(mixed(&start, &end, 1.0), end);
        assert_eq!(mixed(&start, &end, 0.25), weights([1.5, 1.5]));
        let mean = contender(&[([0.1; 3], 0.2), ([0.1; 3], 0.2)]).mean_weights();
        assert_eq!(mean.unwrap(), weights([0.5, 1.0]));
    }
}
