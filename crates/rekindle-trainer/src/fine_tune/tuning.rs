//! The second stage: trains the network where held-out images show that it pays.

use rekindle_imagefolder::Task;
use rekindle_nn::Network;
use rekindle_transfer::Classifier;
use rekindle_transfer::features::{grouped_folds, stratified_folds};
use serde_json::{Value, json};

use super::contest::Span;
use super::methods::{BATCH, Method};
use super::probing::Probed;
use super::reduced::Probes;
use super::run::Run;
use super::training::{Relay, Steps, plans};
use super::trial::{Contender, mixed};
use crate::TrainerError;
use crate::checkpoint::{Weights, weights_of, with_weights};
use crate::data::TransferData;
use crate::events::Event;

/// Passes over the images that must fit, trials and final training together.
pub(super) const LEAST_EPOCHS: f64 = 3.0;

/// Passes over all images that the final training is worth.
const LEAST_LAST_EPOCHS: f64 = 1.0;

/// Passes of a trial at most, and of the final training.
const MOST_EPOCHS: usize = 30;

/// Steps of a trial that are never too many, however few the images.
const STEPS: usize = 300;

/// Parts of the images of which a trial holds out one.
const FOLDS: usize = 5;

/// The rate of the final training over that of the trials, whose weights it begins with.
pub(super) const LAST_RATE: f64 = 0.5;

/// Times that an image takes longer to learn from than to look at. What it is on this machine is measured.
const LEARN_OVER_LOOK: f64 = 2.0;

/// Steps that are made to know how long one takes.
const MEASURED_STEPS: usize = 4;

/// Images that could be looked at in the time of showing the mistakes, a dozen, with gradients.
const FOR_MISTAKES: f64 = 60.0;

/// Seconds that writing the result takes.
const FOR_WRITING: f64 = 0.3;

/// Share of the budget that is left for what nobody foresees.
const SPARE: f64 = 0.02;

/// A network that was trained, and what its trials say of it.
pub(super) struct Tuned {
    pub classifier: Classifier<Network>,
    /// The images as it sees them.
    pub data: TransferData,
    /// Accuracy on the held-out images minus the probe's.
    pub gain: f64,
    /// Standard error of that.
    pub spread: f64,
    /// The threshold of each label, where pictures have several.
    pub thresholds: Option<Vec<f64>>,
    /// Decisions of the clock and of the trials, for the record.
    pub decided: Value,
}

impl<'a, 'b> Run<'a, 'b> {
    /// Trains the network on a part of the training images in one way or several, compares it with the probe on the rest,
    /// and where it is better trains it on with all images until the budget ends. `None` where the probe stays.
    ///
    /// Where networks side by side are the alternative, it is compared with their probe, and early enough that they can still
    /// look at the validation images.
    pub(super) fn tune(
        &mut self,
        probed: &Probed<'b>,
        joined: Option<&Probed<'b>>,
    ) -> Result<Option<Tuned>, TrainerError> {
        let Some(end) = self.end_of_training(probed) else {
            return Ok(None);
        };
        let latest = joined.and_then(|joined| self.end_of_training(joined));
        let latest = latest.unwrap_or(end).min(end);
        let begun = self.clock().seconds();
        let labels = &probed.seen.labels;
        let images = labels.len() as f64;
        let seed = self.choices.seed;
        let classes = match probed.data.task() {
            Task::SingleLabel | Task::Ordinal => probed.data.classes.len(),
            // Parts at random.
            Task::MultiLabel | Task::Regression => 1,
        };
        let parts = match &probed.search.groups {
            Some(groups) => grouped_folds(labels, groups, classes, FOLDS, seed),
            None => stratified_folds(labels, classes, FOLDS, seed),
        };
        if parts.is_empty() {
            return self.leave_untrained(
                "a class has a single image or group, so that none can be held out",
            );
        }
        let passes = |seconds: f64, per_image: f64| seconds / (per_image * images).max(1e-9);
        // Smaller pictures may take no longer to learn from than whole ones to look at.
        let at_best = passes(end - begun, probed.seconds_per_image);
        if at_best < LEAST_EPOCHS {
            return self.leave_untrained(&too_short(at_best));
        }
        let reduced = self.probe_reduced(probed)?;
        let probes = Probes {
            whole: probed,
            reduced: reduced.as_ref(),
            joined,
        };
        let whole = Method::of_whole_pictures(probed.pretrained);
        let Some(per_image) = self.seconds_per_image(probed, whole, end)? else {
            return self.leave_untrained("its loss is no number");
        };
        let begun = self.clock().seconds();
        let epochs = passes(end - begun, per_image);
        let span = Span::new([begun, latest, end], epochs);
        let of_trial = epochs * span.share();
        let side = reduced.as_ref().map(|reduced| reduced.data.preprocess.crop);
        let methods = Method::all(probed.pretrained, side, of_trial, labels.len());
        let per_image = per_image * methods[0].cost(whole);
        let epochs = passes(end - begun, per_image);
        let of_first = passes(latest - begun, per_image).min(epochs / 2.0);
        if of_first < LEAST_EPOCHS / 2.0 {
            return self.leave_untrained(&too_short(2.0 * of_first));
        }
        let Some(mut best) = self.contest(&probes, &parts, &methods, span, per_image)? else {
            return Ok(None);
        };
        let left = passes(latest - self.clock().seconds(), best.per_image);
        if !best.is_ahead() && left >= LEAST_LAST_EPOCHS {
            self.give_more_time(&probes, &parts[0], &mut best, latest)?;
        }
        if !best.is_ahead() {
            return Ok(None);
        }
        let Some(mean) = best.mean_weights() else {
            return Ok(None);
        };
        let probed = probes.at(best.method.scale);
        // What there is so far, should the rest be interrupted.
        let so_far = mixed(&weights_of(&probed.classifier), &mean, best.share());
        let thresholds = best.thresholds(probed.data.classes.len());
        let so_far = with_weights(self.fresh(probed), &so_far);
        if joined.is_some() {
            self.record_network(probes.whole)?;
        }
        self.keep(probed, &so_far, thresholds.as_deref())?;
        let left = passes(end - self.clock().seconds(), best.per_image);
        let (mut trained, last_plans) = match left >= LEAST_LAST_EPOCHS {
            true => self.train_on(probed, &best, mean, end)?,
            false => (mean, Value::Null),
        };
        trained = mixed(&weights_of(&probed.classifier), &trained, best.share());
        let (lead, held_out) = (best.lead(), best.images());
        let trial_plans: Vec<&Value> = best.trials.iter().map(|trial| &trial.plans).collect();
        Ok(Some(Tuned {
            classifier: with_weights(self.fresh(probed), &trained),
            data: probed.data.clone(),
            gain: lead.expected_gain(held_out),
            spread: lead.accuracy.1,
            thresholds,
            decided: json!({
                "held_out": held_out,
                "mirrored": probed.may_mirror,
                "learning_rate": best.method.rate,
                "size": best.method.size,
                "share_of_the_way": best.share(),
                "trial_steps": trial_plans,
                "steps": last_plans,
            }),
        }))
    }

    fn leave_untrained(&mut self, reason: &str) -> Result<Option<Tuned>, TrainerError> {
        let message = format!("the network is not trained: {reason}");
        self.tell(&Event::Note { message })?;
        Ok(None)
    }

    /// Measures how long an image takes in training, by a few steps that are forgotten; none where they diverge.
    fn seconds_per_image(
        &mut self,
        probed: &Probed<'b>,
        method: Method,
        end: f64,
    ) -> Result<Option<f64>, TrainerError> {
        let head = probed.found.head.clone();
        let start = self.fresh(probed).with_head(head.weight, head.bias)?;
        let all: Vec<usize> = (0..probed.seen.labels.len()).collect();
        let steps = Steps {
            end,
            per_image: LEARN_OVER_LOOK * probed.seconds_per_image,
            most: MEASURED_STEPS,
        };
        let measured = self.train(probed, start, &all, (method, steps), Relay::counting)?;
        Ok(measured.map(|(_, pace)| pace.seconds_per_step() / BATCH as f64))
    }

    /// Returns the time when training has to be over; none without a budget.
    fn end_of_training(&self, probed: &Probed<'b>) -> Option<f64> {
        self.end_of_training_at(probed.seconds_per_image, probed.data.val.len())
    }

    /// Returns the same for a network that looks at each of the validation images for so many seconds.
    pub(super) fn end_of_training_at(&self, seconds: f64, images: usize) -> Option<f64> {
        let budget = self.choices.budget?.as_secs_f64();
        let look = seconds * images as f64;
        // A report of the run shows where some of its mistakes come from.
        let report = match self.choices.directory {
            Some(_) => seconds * FOR_MISTAKES,
            None => 0.0,
        };
        Some(budget - look - report - FOR_WRITING - SPARE * budget)
    }

    /// Goes on from the networks of the trials with all training images, at a gentler rate.
    fn train_on(
        &mut self,
        probed: &Probed<'b>,
        best: &Contender,
        mean: Weights,
        end: f64,
    ) -> Result<(Weights, Value), TrainerError> {
        let start = with_weights(self.fresh(probed), &mean);
        let all: Vec<usize> = (0..probed.seen.labels.len()).collect();
        let steps = Steps {
            end,
            per_image: best.per_image,
            most: most_steps(all.len()),
        };
        let method = best.method.at(LAST_RATE);
        Ok(
            match self.train(probed, start, &all, (method, steps), Relay::telling)? {
                Some((weights, pace)) => (weights, plans(&pace)),
                None => (mean, Value::Null),
            },
        )
    }
}

/// Steps of a training at most.
pub(super) fn most_steps(images: usize) -> usize {
    (MOST_EPOCHS * images.div_ceil(BATCH)).max(STEPS)
}

fn too_short(epochs: f64) -> String {
    // The time may be over already.
    let epochs = epochs.max(0.0);
    format!(
        "{epochs:.1} passes over the images fit into the time that is left, and fewer than {LEAST_EPOCHS:.0} don't pay"
    )
}
