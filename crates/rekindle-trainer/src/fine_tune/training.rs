//! Trains inside of a run: until the clock says so, with the events that the run's observers get.

use std::sync::Arc;

use rekindle_imagefolder::{ImageDataset, Loader, OnBadFile};
use rekindle_nn::Network;
use rekindle_transfer::{Backbone, Classifier, FrozenPrefix};
use serde_json::{Value, json};

use super::methods::{BATCH, Method};
use super::probing::Probed;
use super::run::Run;
use crate::adapt::with_fresh_head;
use crate::checkpoint::Weights;
use crate::events::{EndReason, Event, Observer};
use crate::feed::Feed;
use crate::inspect::{Inspection, inspect_loaded, is_sampled};
use crate::pace::Pace;
use crate::trainer::Trainer;
use crate::{Predictions, Predictor, TrainerError, TransferData};

/// Limits on the length of a training.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    /// Time when it has to be over, in seconds.
    pub end: f64,
    /// Seconds that an image takes, as far as is known.
    pub per_image: f64,
    pub most: usize,
}

impl<'a, 'b> Run<'a, 'b> {
    /// Trains `start` on `rows` of the features; none where that diverged.
    pub(super) fn train(
        &mut self,
        probed: &Probed<'b>,
        start: Classifier<Network>,
        rows: &[usize],
        (method, steps): (Method, Steps),
        relay: fn() -> Relay,
    ) -> Result<Option<(Weights, Pace)>, TrainerError> {
        let indices: Vec<usize> = rows.iter().map(|row| probed.seen.indices[*row]).collect();
        let pipeline = method.augmentation(&probed.data.preprocess, probed.may_mirror);
        let train = probed.data.train.with_pipeline(pipeline)?.subset(&indices);
        let data = TransferData {
            train: Arc::new(train),
            ..probed.data.clone()
        };
        let recipe = method.recipe(&self.choices, data.task());
        let start = match data.target_scale {
            Some(scale) => scale.out_of_units(start)?,
            None => start,
        };
        let per_step = steps.per_image * BATCH as f64;
        let pace = Pace::new(&self.clock(), steps.end, per_step, steps.most);
        let relayed = RelayTo {
            relay: relay(),
            run: self,
        };
        let interrupt = relayed.run.choices.interrupt.clone();
        let fitted = Trainer::new(start, data)
            .strategy(Method::strategy())
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
            self.partial = Some(fitted.best_weights);
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
        let feed = Feed::Images(self.loader(dataset));
        let batches = feed.epoch(0, &self.choices.device);
        Predictor::new(classifier).predict_until(batches, &self.choices.interrupt, |_| ())
    }

    /// Looks at the validation images with a network that was trained.
    pub(super) fn inspect(
        &self,
        classifier: &Classifier<Network>,
        dataset: &Arc<ImageDataset>,
    ) -> Result<Inspection, TrainerError> {
        let backbone = &classifier.backbone;
        let whole = FrozenPrefix::new(backbone, backbone.stage_names().len())?;
        let is_kept = |index| is_sampled(index, dataset.len());
        let (loader, interrupt) = (self.loader(dataset), &self.choices.interrupt);
        inspect_loaded(classifier, &whole, loader, is_kept, interrupt, |_| ())
    }

    fn loader(&self, dataset: &Arc<ImageDataset>) -> Loader {
        Loader::new(Arc::clone(dataset))
            .batch_size(BATCH)
            .workers(self.choices.workers)
            .on_bad_file(OnBadFile::Skip)
    }

    /// Returns the pretrained network with a head of no meaning, sharing nothing with any other.
    pub(super) fn fresh(&self, probed: &Probed<'b>) -> Classifier<Network> {
        let classes = probed.data.classes.len();
        with_fresh_head(probed.pretrained, classes, self.choices.seed)
    }
}

/// Events of an inner training that are passed on to the run's observers.
pub(super) struct Relay {
    /// Tells epochs as the run's own; else only how many images are done.
    epochs: bool,
    images: usize,
}

impl Relay {
    pub fn counting() -> Self {
        Self {
            epochs: false,
            images: 0,
        }
    }

    pub fn telling() -> Self {
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

/// Returns the decisions of the clock: the number of steps planned, and the step before which it was planned.
pub(super) fn plans(pace: &Pace) -> Value {
    let plans = pace.plans().iter();
    json!(
        plans
            .map(|plan| [plan.done, plan.steps])
            .collect::<Vec<_>>()
    )
}
