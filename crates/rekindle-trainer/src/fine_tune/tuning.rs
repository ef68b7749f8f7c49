//! The second stage: trains the network where held-out images show that it pays.

use std::sync::Arc;

use rekindle_imagefolder::{ImageDataset, Loader, OnBadFile, Pipeline, Transform};
use rekindle_models::Preprocess;
use rekindle_nn::Network;
use rekindle_transfer::features::stratified_folds;
use rekindle_transfer::{Classifier, Strategy};
use serde_json::{Value, json};

use super::probing::Probed;
use super::run::{Run, predictions};
use crate::adapt::with_fresh_head;
use crate::checkpoint::{Weights, with_weights};
use crate::data::eval_pipeline;
use crate::events::{EndReason, Event, Observer, Trial};
use crate::feed::Feed;
use crate::optimizer::Optimizer;
use crate::pace::Pace;
use crate::pooled::Pooled;
use crate::trainer::Trainer;
use crate::{
    Anneal, Predictions, Predictor, Recipe, Schedule, Temperature, TrainerError, TransferData,
};

/// Passes over the images that must fit, trial and final training together.
const LEAST_EPOCHS: f64 = 3.0;

/// Passes of the trial at most, and of the final training.
const MOST_EPOCHS: usize = 16;

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
    /// What the clock decided.
    plans: Value,
}

/// How long a training may be.
struct Steps {
    /// When it has to be over, in seconds.
    end: f64,
    /// Seconds that an image takes, as far as is known.
    per_image: f64,
    most: usize,
    /// The head's learning rate at its highest.
    rate: f64,
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
        let trial_end = begun + FOR_TRIAL * (end - begun);
        let name = format!("fine-tuning of {}", probed.pretrained.architecture);
        let trial = self.trial(probed, &held_out, trial_end, per_image, &name)?;
        let Some(trial) = trial else {
            return self.leave_untrained("its loss became no number");
        };
        let (right, others) = (mean(&trial.scored.right), mean(&trial.probe.right));
        let (loss, other_loss) = (mean(&trial.scored.losses), mean(&trial.probe.losses));
        let kept = right >= others && loss < other_loss;
        self.tell(&Event::Tried(Trial {
            what: name,
            why: format!("{epochs:.0} passes over the images fit into the budget"),
            images: held_out.len(),
            accuracy: Some(right),
            loss: Some(loss),
            gain: Some(right - others),
            kept,
            seconds: self.clock().seconds() - begun,
        }))?;
        if !kept {
            return Ok(None);
        }
        // What there is so far, should the rest be interrupted.
        let so_far = with_weights(self.fresh(probed), &trial.weights);
        self.keep(probed, &so_far)?;
        let (trained, last_plans) = self.train_on(probed, &trial.weights, end, per_image)?;
        Ok(Some(Tuned {
            classifier: with_weights(self.fresh(probed), &trained),
            gain: shrunk(right - others, held_out.len()),
            spread: standard_error(&trial.scored.right, &trial.probe.right),
            decided: json!({
                "held_out": held_out.len(),
                "mirrored": probed.may_mirror(),
                "trial_steps": trial.plans,
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
            rate: RATE,
        };
        let measured = self.train(probed, start, &all, steps, Relay::counting)?;
        Ok(measured.map(|(_, pace)| pace.seconds_per_step() / BATCH as f64))
    }

    /// When training has to be over; none without a budget.
    fn end_of_training(&self, probed: &Probed<'b>) -> Option<f64> {
        let budget = self.choices.budget?.as_secs_f64();
        let look = probed.seconds_per_image * probed.data.val.len() as f64;
        Some(budget - look - FOR_WRITING - SPARE * budget)
    }

    /// The recipe that networks are trained by.
    fn recipe(&self, rate: f64) -> Recipe {
        Recipe {
            batch_size: BATCH,
            optimizer: Optimizer::AdamW { weight_decay: 0.01 },
            learning_rate: rate,
            schedule: Schedule::OneCycle {
                pct_start: 0.25,
                div_factor: 25.0,
                final_div_factor: 1e3,
                anneal: Anneal::Cosine,
                three_phase: false,
            },
            label_smoothing: 0.1,
            workers: self.choices.workers,
            on_bad_file: OnBadFile::Skip,
            seed: self.choices.seed,
            ..Recipe::tutorial()
        }
    }

    /// Trains on all images but `held_out` (rows of the features), and measures on these. None where training
    /// diverged.
    fn trial(
        &mut self,
        probed: &Probed<'b>,
        held_out: &[usize],
        end: f64,
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
            &probed.found.chosen(),
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
            rate: RATE,
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
            plans: plans(&pace),
        }))
    }

    /// Goes on from `trained` with all training images.
    fn train_on(
        &mut self,
        probed: &Probed<'b>,
        trained: &Weights,
        end: f64,
        per_image: f64,
    ) -> Result<(Weights, Value), TrainerError> {
        let start = with_weights(self.fresh(probed), trained);
        let all: Vec<usize> = (0..probed.seen.labels.len()).collect();
        let steps = Steps {
            end,
            per_image,
            most: MOST_EPOCHS * all.len().div_ceil(BATCH),
            rate: RATE / 2.0,
        };
        Ok(
            match self.train(probed, start, &all, steps, Relay::telling)? {
                Some((weights, pace)) => (weights, plans(&pace)),
                None => (trained.clone(), Value::Null),
            },
        )
    }

    /// Trains `start` on `rows` of the features; none where that diverged.
    fn train(
        &mut self,
        probed: &Probed<'b>,
        start: Classifier<Network>,
        rows: &[usize],
        steps: Steps,
        relay: fn() -> Relay,
    ) -> Result<Option<(Weights, Pace)>, TrainerError> {
        let indices: Vec<usize> = rows.iter().map(|row| probed.seen.indices[*row]).collect();
        let pipeline = augmentation(&probed.data.preprocess, probed.may_mirror());
        let train = probed.data.train.with_pipeline(pipeline)?.subset(&indices);
        let data = TransferData {
            train: Arc::new(train),
            ..probed.data.clone()
        };
        let recipe = self.recipe(steps.rate);
        let per_step = steps.per_image * BATCH as f64;
        let pace = Pace::new(&self.clock(), steps.end, per_step, steps.most);
        let relayed = RelayTo {
            relay: relay(),
            run: self,
        };
        let interrupt = relayed.run.choices.interrupt.clone();
        let fitted = Trainer::new(start, data)
            .strategy(Strategy::FineTuning {
                backbone_rate: BACKBONE,
            })
            .recipe(recipe)
            .interrupt(interrupt)
            .observer(relayed)
            .paced(pace)
            .fit();
        let fitted = match fitted {
            Err(TrainerError::Diverged { .. } | TrainerError::BrokenWeights { .. }) => {
                return Ok(None);
            }
            fitted => fitted?,
        };
        if fitted.outcome.reason == EndReason::Interrupted {
            return Err(TrainerError::Interrupted {
                kept: String::new(),
            });
        }
        Ok(fitted.pace.map(|pace| (fitted.best_weights, pace)))
    }

    /// Predictions for the images of `dataset` by the whole network.
    pub(super) fn answers(
        &self,
        classifier: &Classifier<Network>,
        dataset: &Arc<ImageDataset>,
    ) -> Result<Predictions, TrainerError> {
        let loader = Loader::new(Arc::clone(dataset))
            .batch_size(BATCH)
            .workers(self.choices.workers)
            .on_bad_file(OnBadFile::Skip);
        let feed = Feed::Images(loader);
        let batches = feed.epoch(0, &self.choices.device);
        Predictor::new(classifier).predict_until(batches, &self.choices.interrupt, |_| ())
    }

    /// The pretrained network with a head of no meaning, sharing nothing with any other.
    fn fresh(&self, probed: &Probed<'b>) -> Classifier<Network> {
        let classes = probed.data.classes.len();
        with_fresh_head(probed.pretrained, classes, self.choices.seed)
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

/// Images of a step.
const BATCH: usize = 16;

/// Learning rate of the head at its highest.
const RATE: f64 = 3e-3;

/// The backbone's rate over the head's.
const BACKBONE: f64 = 0.1;

/// Random parts of a picture from a third of it on, mirrored where that means the same.
fn augmentation(preprocess: &Preprocess, mirror: bool) -> Pipeline {
    let mut transforms = Pipeline::imagenet_train(preprocess).0;
    transforms
        .retain(|transform| mirror || !matches!(transform, Transform::RandomHorizontalFlip { .. }));
    for transform in &mut transforms {
        if let Transform::RandomResizedCrop { scale, .. } = transform {
            *scale = (0.35, 1.0);
        }
    }
    Pipeline(transforms)
}

/// What of a training inside of a run is told of the run itself.
struct Relay {
    /// Tells epochs as the run's own; else only how many images are done.
    epochs: bool,
    images: usize,
}

impl Relay {
    fn counting() -> Self {
        Self {
            epochs: false,
            images: 0,
        }
    }

    fn telling() -> Self {
        Self {
            epochs: true,
            images: 0,
        }
    }
}

struct RelayTo<'c, 'a, 'b> {
    relay: Relay,
    run: &'c mut Run<'a, 'b>,
}

impl Observer for RelayTo<'_, '_, '_> {
    fn on_event(&mut self, event: &Event) {
        let told = match event {
            Event::BatchEnded { images, .. } if !self.relay.epochs => {
                self.relay.images += images;
                self.run.tell(&Event::PhaseAdvanced {
                    done: self.relay.images,
                })
            }
            Event::EpochEnded { metrics } if self.relay.epochs => {
                let before = self.run.last_epoch.replace(metrics.clone());
                match before {
                    Some(metrics) => self.run.tell(&Event::EpochEnded { metrics }),
                    None => Ok(()),
                }
            }
            Event::EpochStarted { .. } | Event::BatchEnded { .. } | Event::StageStarted(_)
                if self.relay.epochs =>
            {
                self.run.tell(event)
            }
            Event::SkippedFile { .. } => self.run.tell(event),
            _ => Ok(()),
        };
        self.run.told = std::mem::replace(&mut self.run.told, Ok(())).and(told);
    }
}

/// What the clock decided: before which step how many were planned.
fn plans(pace: &Pace) -> Value {
    let plans = pace.plans().iter();
    json!(
        plans
            .map(|plan| [plan.done, plan.steps])
            .collect::<Vec<_>>()
    )
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
