//! The second stage: trains the network where held-out images show that it pays.

use std::sync::Arc;

use rekindle_nn::Network;
use rekindle_transfer::Classifier;
use rekindle_transfer::features::stratified_folds;
use serde_json::{Value, json};

use super::probing::{Probed, predictions};
use super::run::Run;
use super::training::{BATCH, Relay, Steps, plans};
use crate::checkpoint::{Weights, with_weights};
use crate::data::eval_pipeline;
use crate::events::{Event, Trial};
use crate::pooled::Pooled;
use crate::{Predictions, Temperature, TrainerError};

/// Learning rates of the head at their highest, and why.
const FAST: (f64, &str) = (3e-3, "there is time to learn much");
const GENTLE: (f64, &str) = (1e-3, "gentle, near to what the source knows");

/// Passes that fit from which on the fast rate is tried first: in few its network stays behind the probe.
const MANY_EPOCHS: f64 = 12.0;

/// Passes over the images that must fit, trial and final training together.
const LEAST_EPOCHS: f64 = 3.0;

/// Passes over all images that the final training is worth.
const LEAST_LAST_EPOCHS: f64 = 1.0;

/// Passes of the trial at most, and of the final training.
const MOST_EPOCHS: usize = 20;

/// Share of the training time that goes into the trial.
const FOR_TRIAL: f64 = 0.6;

/// Parts of the images of which the trial holds out one.
const FOLDS: usize = 5;

/// Times that an image takes longer to learn from than to look at, at least. What it is on this machine is measured.
const LEARN_OVER_LOOK: f64 = 2.0;

/// Steps that are made to know how long one takes.
const MEASURED_STEPS: usize = 4;

/// Seconds that writing the result takes.
const FOR_WRITING: f64 = 0.3;

/// Share of the budget that is left for what nobody foresees.
const SPARE: f64 = 0.02;

/// A network that was trained, and what its trial says of it.
pub(super) struct Tuned {
    pub classifier: Classifier<Network>,
    /// How much more of the held-out images it names right than the probe does.
    pub gain: f64,
    /// Standard error of that.
    pub spread: f64,
    /// What the clock and the trial decided, for the record.
    pub decided: Value,
}

/// A network that was trained on some of the images, beside the probe on the same ones.
struct Trained {
    weights: Weights,
    scored: Scored,
    probe: Scored,
    /// The head's learning rate at its highest.
    rate: f64,
    /// What the clock decided.
    plans: Value,
}

/// What a classifier says of held-out images.
struct Scored {
    right: Vec<f64>,
    losses: Vec<f64>,
}

impl<'a, 'b> Run<'a, 'b> {
    /// Trains the network by the recipe on a part of the training images, compares it with the probe on the rest, and
    /// where it is better trains it on with all images until the budget ends. `None` where the probe stays.
    pub(super) fn tune(&mut self, probed: &Probed<'b>) -> Result<Option<Tuned>, TrainerError> {
        let Some(end) = self.end_of_training(probed) else {
            return Ok(None);
        };
        let begun = self.clock().seconds();
        let labels = &probed.seen.labels;
        let images = labels.len() as f64;
        let parts = stratified_folds(labels, probed.data.classes.len(), FOLDS, self.choices.seed);
        let Some(held_out) = parts.into_iter().next() else {
            return self
                .leave_untrained("a class has a single image, so that none can be held out");
        };
        let passes = |seconds: f64, per_image: f64| seconds / (per_image * images).max(1e-9);
        let at_best = passes(end - begun, LEARN_OVER_LOOK * probed.seconds_per_image);
        if at_best < LEAST_EPOCHS {
            return self.leave_untrained(&too_short(at_best));
        }
        let Some(per_image) = self.seconds_per_image(probed, end)? else {
            return self.leave_untrained("its loss is no number");
        };
        let begun = self.clock().seconds();
        let epochs = passes(end - begun, per_image);
        if epochs < LEAST_EPOCHS {
            return self.leave_untrained(&too_short(epochs));
        }
        let Some(best) = self.best_trial(probed, &held_out, (begun, end), per_image)? else {
            return Ok(None);
        };
        // What there is so far, should the rest be interrupted.
        let so_far = with_weights(self.fresh(probed), &best.weights);
        self.keep(probed, &so_far)?;
        let left = passes(end - self.clock().seconds(), per_image);
        let (trained, last_plans) = match left >= LEAST_LAST_EPOCHS {
            true => self.train_on(probed, &best, end, per_image)?,
            false => (best.weights.clone(), Value::Null),
        };
        let gain = mean(&best.scored.right) - mean(&best.probe.right);
        Ok(Some(Tuned {
            classifier: with_weights(self.fresh(probed), &trained),
            gain: shrunk(gain, held_out.len()),
            spread: standard_error(&best.scored.right, &best.probe.right),
            decided: json!({
                "held_out": held_out.len(),
                "mirrored": probed.may_mirror(),
                "learning_rate": best.rate,
                "trial_steps": best.plans,
                "steps": last_plans,
            }),
        }))
    }

    /// Tries one learning rate after the other, as the time allows, and returns the trial that is best on the held-out
    /// images; none where the probe is.
    fn best_trial(
        &mut self,
        probed: &Probed<'b>,
        held_out: &[usize],
        (begun, end): (f64, f64),
        per_image: f64,
    ) -> Result<Option<Trained>, TrainerError> {
        let images = probed.seen.labels.len() as f64;
        let trial_end = begun + FOR_TRIAL * (end - begun);
        let (mut best, mut took): (Option<Trained>, f64) = (None, 0.0);
        let many = (end - begun) / (per_image * images).max(1e-9) >= MANY_EPOCHS;
        let rates = if many { [FAST, GENTLE] } else { [GENTLE, FAST] };
        for (rate, why) in rates {
            let now = self.clock().seconds();
            // Without a better network than the probe there is no final training to leave time for.
            let until = match best {
                None if took > 0.0 => end,
                _ => trial_end,
            };
            let is_possible = match best {
                None => until - now >= LEAST_EPOCHS * per_image * images,
                Some(_) => until - now >= took,
            };
            if took > 0.0 && !is_possible {
                break;
            }
            let name = format!(
                "fine-tuning of {} at {rate}",
                probed.pretrained.architecture
            );
            let Some(trial) = self.trial(probed, held_out, (until, rate), per_image, &name)? else {
                let message = format!("{name} is not kept: its loss became no number");
                self.tell(&Event::Note { message })?;
                continue;
            };
            took = self.clock().seconds() - now;
            let rival = best.as_ref().map_or(&trial.probe, |best| &best.scored);
            let kept = trial.scored.is_better_than(rival);
            self.tell(&Event::Tried(Trial {
                what: name,
                why: why.into(),
                images: held_out.len(),
                accuracy: Some(mean(&trial.scored.right)),
                loss: Some(mean(&trial.scored.losses)),
                gain: Some(mean(&trial.scored.right) - mean(&rival.right)),
                kept,
                seconds: took,
            }))?;
            if kept {
                best = Some(trial);
            }
        }
        Ok(best)
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
        end: f64,
    ) -> Result<Option<f64>, TrainerError> {
        let head = probed.found.head.clone();
        let start = self.fresh(probed).with_head(head.weight, head.bias)?;
        let guess = LEARN_OVER_LOOK * probed.seconds_per_image;
        let all: Vec<usize> = (0..probed.seen.labels.len()).collect();
        let steps = Steps {
            end,
            per_image: guess,
            most: MEASURED_STEPS,
            rate: GENTLE.0,
        };
        let measured = self.train(probed, start, &all, steps, Relay::counting)?;
        Ok(measured.map(|(_, pace)| pace.seconds_per_step() / BATCH as f64))
    }

    /// When training has to be over; none without a budget.
    fn end_of_training(&self, probed: &Probed<'b>) -> Option<f64> {
        let budget = self.choices.budget?.as_secs_f64();
        let look = probed.seconds_per_image * probed.data.val.len() as f64;
        // A report of the run looks at the validation images once more.
        let looks = 1.0 + f64::from(u8::from(self.choices.directory.is_some()));
        Some(budget - looks * look - FOR_WRITING - SPARE * budget)
    }

    /// Trains on all images but `held_out` (rows of the features), and measures on these. None where training
    /// diverged.
    fn trial(
        &mut self,
        probed: &Probed<'b>,
        held_out: &[usize],
        (end, rate): (f64, f64),
        per_image: f64,
        name: &str,
    ) -> Result<Option<Trained>, TrainerError> {
        let seen = &probed.seen;
        let rest: Vec<usize> = (0..seen.labels.len())
            .filter(|row| held_out.binary_search(row).is_err())
            .collect();
        let label =
            |rows: &[usize]| -> Vec<usize> { rows.iter().map(|row| seen.labels[*row]).collect() };
        let mirrored = probed
            .mirrored
            .as_ref()
            .map(|mirrored| mirrored.features.select(&rest));
        let head = probed.search.fit_as(
            &probed.found,
            &seen.features.select(&rest),
            &label(&rest),
            probed.data.classes.len(),
            probed.source.as_ref(),
            mirrored.as_ref(),
        )?;
        let start = self
            .fresh(probed)
            .with_head(head.weight.clone(), head.bias.clone())?;

        self.tell(&Event::PhaseStarted {
            name: name.to_string(),
            items: None,
        })?;
        let begun = self.clock().seconds();
        let steps = Steps {
            end,
            per_image,
            most: MOST_EPOCHS * rest.len().div_ceil(BATCH),
            rate,
        };
        let trained = self.train(probed, start, &rest, steps, Relay::counting)?;
        self.tell(&Event::PhaseEnded {
            name: name.to_string(),
            seconds: self.clock().seconds() - begun,
        })?;
        let Some((weights, pace)) = trained else {
            return Ok(None);
        };
        let indices: Vec<usize> = held_out.iter().map(|row| seen.indices[*row]).collect();
        let plain = eval_pipeline(&probed.data.preprocess);
        let plain = probed.data.train.with_pipeline(plain)?;
        let dataset = Arc::new(plain.subset(&indices));
        let classifier = with_weights(self.fresh(probed), &weights);
        let features = seen.features.select(held_out);
        let held_out = Pooled {
            labels: label(held_out),
            indices,
            features,
        };
        Ok(Some(Trained {
            scored: score(&self.answers(&classifier, &dataset)?)?,
            probe: score(&predictions(&head, &held_out)?)?,
            weights,
            rate,
            plans: plans(&pace),
        }))
    }

    /// Goes on from a trial with all training images, at half its rate.
    fn train_on(
        &mut self,
        probed: &Probed<'b>,
        trial: &Trained,
        end: f64,
        per_image: f64,
    ) -> Result<(Weights, Value), TrainerError> {
        let start = with_weights(self.fresh(probed), &trial.weights);
        let all: Vec<usize> = (0..probed.seen.labels.len()).collect();
        let steps = Steps {
            end,
            per_image,
            most: MOST_EPOCHS * all.len().div_ceil(BATCH),
            rate: trial.rate / 2.0,
        };
        Ok(
            match self.train(probed, start, &all, steps, Relay::telling)? {
                Some((weights, pace)) => (weights, plans(&pace)),
                None => (trial.weights.clone(), Value::Null),
            },
        )
    }
}

impl Scored {
    /// Whether this one answers no fewer images right, at a lower loss.
    fn is_better_than(&self, other: &Self) -> bool {
        mean(&self.right) >= mean(&other.right) && mean(&self.losses) < mean(&other.losses)
    }
}

/// Scores answers at the temperature that suits all of them, so that the order of the classes alone counts.
fn score(found: &Predictions) -> Result<Scored, TrainerError> {
    let temperature = Temperature::fit(&found.probabilities, &found.labels, found.classes)?;
    let (mut right, mut losses) = (Vec::new(), Vec::new());
    let rows = found.probabilities.chunks_exact(found.classes);
    for (row, label) in rows.zip(&found.labels) {
        let logit = |p: &f32| f64::from(p.max(f32::MIN_POSITIVE)).ln() / temperature.value;
        let logits: Vec<f64> = row.iter().map(logit).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        losses.push(largest + sum.ln() - logits[*label]);
        right.push(f64::from(u8::from(logits[*label] >= largest)));
    }
    Ok(Scored { right, losses })
}

fn too_short(epochs: f64) -> String {
    format!(
        "{epochs:.1} passes over the images fit into the time that is left, and fewer than {LEAST_EPOCHS:.0} don't pay"
    )
}

/// A gain on so many images, drawn towards none: on few it is luck as much as anything.
fn shrunk(gain: f64, images: usize) -> f64 {
    gain * images as f64 / (images as f64 + 20.0)
}

/// Standard error of the mean difference between two answers to the same images.
fn standard_error(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().max(2) as f64;
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let mean = mean(&differences);
    let squares: f64 = differences.iter().map(|d| (d - mean) * (d - mean)).sum();
    (squares / (n - 1.0) / n).sqrt()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
