//! Describes the events that a run reports to its observers.
//!
//! The loop emits [`Event`]s; progress bar, log file and report are [`Observer`]s of them. Epochs
//! and batches count from 1, as people count; sizes are numbers of images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rekindle_files::names;
use rekindle_imagefolder::Task;
use serde::{Deserialize, Deserializer, Serialize};

use crate::early_stopping::Monitor;

/// Something that happened in a run. In JSON the field `event` names the kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The run begins, or continues after `resumed_after_epoch`.
    RunStarted(RunSummary),
    /// A file of the data set was left out.
    SkippedFile {
        /// The file.
        #[serde(with = "names::path")]
        path: PathBuf,
        /// Reason why it can't be used.
        reason: String,
    },
    /// Work around the epochs begins: reading weights, caching features.
    PhaseStarted {
        /// Name of the work in progress, such as "caching features".
        name: String,
        /// Items to go through, where that is known.
        items: Option<usize>,
    },
    /// That work goes on.
    PhaseAdvanced {
        /// Items done so far.
        done: usize,
    },
    /// That work is done.
    PhaseEnded {
        /// The name it began with.
        name: String,
        /// Duration in seconds.
        seconds: f64,
    },
    /// Other parameters than before are trained from here on.
    StageStarted(StageSummary),
    /// An epoch begins.
    EpochStarted {
        /// Its number.
        epoch: usize,
        /// Epochs of the whole run.
        epochs: usize,
        /// Batches of this epoch.
        batches: usize,
        /// Images of this epoch.
        images: usize,
    },
    /// A training batch is done.
    BatchEnded {
        /// The epoch it belongs to.
        epoch: usize,
        /// Its number in the epoch.
        batch: usize,
        /// Images in it.
        images: usize,
        /// Its mean loss.
        #[serde(deserialize_with = "nan_from_null")]
        loss: f64,
        /// Learning rate of the last parameter group, the head's.
        learning_rate: f64,
    },
    /// The pass over the validation images begins.
    ValidationStarted {
        /// The epoch it belongs to.
        epoch: usize,
        /// Batches of the pass.
        batches: usize,
        /// Images of the pass.
        images: usize,
    },
    /// A validation batch is done.
    ValidationBatchEnded {
        /// The epoch it belongs to.
        epoch: usize,
        /// Its number in the pass.
        batch: usize,
        /// Images in it.
        images: usize,
    },
    /// The pass over the validation images is done.
    Validated {
        /// The epoch it belongs to.
        epoch: usize,
        /// Mean loss.
        #[serde(deserialize_with = "nan_from_null")]
        loss: f64,
        /// Share of right answers, 0 to 1; of several labels, each label of each picture is one; NaN where numbers are
        /// learned.
        #[serde(deserialize_with = "nan_from_null")]
        accuracy: f64,
    },
    /// What the answers are worth beside their accuracy: `mean_average_precision`, `micro_f1` and `macro_f1` of several labels;
    /// `mae`, `rmse` and `r2` of numbers, in their own units; `mae`, counted in classes, and `quadratic_weighted_kappa` of
    /// classes in an order.
    Measured {
        /// The epoch it belongs to.
        epoch: usize,
        /// The figures by name.
        figures: BTreeMap<String, f64>,
    },
    /// This epoch is the best so far.
    BestImproved {
        /// The epoch.
        epoch: usize,
        /// The figure that decides.
        monitor: Monitor,
        /// Its value.
        value: f64,
        /// The best value before, where there was one.
        previous: Option<f64>,
    },
    /// An epoch, validation included, is done.
    EpochEnded {
        /// Its figures.
        #[serde(flatten)]
        metrics: EpochMetrics,
    },
    /// A checkpoint is on the disk.
    CheckpointSaved {
        /// Epochs done.
        epoch: usize,
        /// Its folder.
        #[serde(with = "names::path")]
        path: PathBuf,
    },
    /// One way to adapt a network was tried on held-out training images.
    Tried(Trial),
    /// Forecast for new images, made before the validation images are looked at.
    Forecast(Forecast),
    /// Something that was decided, and why.
    Note {
        /// One sentence.
        message: String,
    },
    /// Something that the user should know but that doesn't stop the run.
    Warning {
        /// One sentence.
        message: String,
    },
    /// The run is over.
    RunEnded(RunOutcome),
}

/// Settings of a run that is about to begin.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunSummary {
    /// Title of the run, such as "ants and bees".
    pub title: String,
    /// The strategy's name, as "fine-tuning".
    pub strategy: String,
    /// The network's name, as "resnet18".
    pub architecture: String,
    /// Origin of the weights, such as a file's name or "scratch".
    pub weights: String,
    /// The class names, in the order of the logits.
    pub classes: Vec<String>,
    /// What is learned.
    #[serde(default)]
    pub task: Task,
    /// Training images.
    pub train_images: usize,
    /// Validation images.
    pub valid_images: usize,
    /// Parameters of the network.
    pub parameters: usize,
    /// Parameters that training moves (in the first stage).
    pub trainable_parameters: usize,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Images per batch.
    pub batch_size: usize,
    /// True if the training images are augmented at random; unknown for runs of rekindle 0.1.
    #[serde(default)]
    pub augmented: Option<bool>,
    /// The device's name.
    pub device: String,
    /// The seed of everything random.
    pub seed: u64,
    /// The run directory, where there is one.
    #[serde(default, with = "names::optional_path")]
    pub directory: Option<PathBuf>,
    /// Epochs that were done before, in a resumed run.
    pub resumed_after_epoch: Option<usize>,
}

/// One stage of a strategy and what it trains: one stage for feature extraction, several for gradual unfreezing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StageSummary {
    /// Name of the stage, such as "head only".
    pub name: String,
    /// Its first epoch.
    pub first_epoch: usize,
    /// Its last epoch.
    pub last_epoch: usize,
    /// The network's parts in order, each trainable or frozen.
    pub parts: Vec<PartSummary>,
}

/// One part of the network in a stage.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PartSummary {
    /// Its name, as "layer4".
    pub name: String,
    /// Its parameters.
    pub parameters: usize,
    /// Number of parameters that training changes.
    pub trainable: usize,
    /// Its base learning rate, where it is trained.
    pub learning_rate: Option<f64>,
}

/// The figures of one epoch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// The epoch's number.
    pub epoch: usize,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Mean loss over the training images, as they passed by.
    #[serde(deserialize_with = "nan_from_null")]
    pub train_loss: f64,
    /// Share of right answers on the training images, as they passed by, 0 to 1; NaN where numbers are learned.
    #[serde(deserialize_with = "nan_from_null")]
    pub train_accuracy: f64,
    /// Mean loss over the validation images, where there are any.
    pub valid_loss: Option<f64>,
    /// Share of right answers on the validation images, 0 to 1; none where numbers are learned.
    pub valid_accuracy: Option<f64>,
    /// The figures of [`Event::Measured`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// Learning rate of the last parameter group, the head's, at the epoch's last step.
    pub learning_rate: f64,
    /// Seconds of the training pass.
    pub train_seconds: f64,
    /// Seconds of the validation pass.
    pub valid_seconds: f64,
    /// Training images per second.
    #[serde(deserialize_with = "nan_from_null")]
    pub images_per_second: f64,
    /// True if this epoch is the best so far.
    pub best: bool,
}

/// One way to adapt a network, tried on training images that it did not learn from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trial {
    /// Name of the trial, such as "fine-tuning of resnet18".
    pub what: String,
    /// Reason for the trial.
    pub why: String,
    /// Held-out training images that it was measured on.
    pub images: usize,
    /// Share of these that it names right, 0 to 1; none where nothing could be held out, and for numbers.
    pub accuracy: Option<f64>,
    /// Mean loss on these; none as above.
    pub loss: Option<f64>,
    /// Mean absolute error on these, where numbers are learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// Accuracy above that of the best before on the same images; none for the first.
    pub gain: Option<f64>,
    /// True if it takes the place of the best before.
    pub kept: bool,
    /// Duration in seconds; 0 of a probe: all probes on some features are one phase.
    pub seconds: f64,
}

/// An accuracy that is to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The expected share of right answers, 0 to 1.
    pub accuracy: f64,
    /// Lower end of the interval that holds the share on so many images with 95 % probability.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// New images that the interval is for: few scatter more.
    pub images: usize,
}

/// Outcome of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// Reason why it ended.
    pub reason: EndReason,
    /// Epochs done, earlier parts of a resumed run included.
    pub epochs: usize,
    /// The best epoch.
    pub best_epoch: Option<usize>,
    /// Its accuracy on the validation images, 0 to 1, with the thresholds of the file where images have several labels; none where
    /// numbers are learned.
    pub best_accuracy: Option<f64>,
    /// The last epoch's; of several labels at 0.5, unless it is the best one.
    pub last_accuracy: Option<f64>,
    /// Seconds from the start to here.
    pub seconds: f64,
    /// The file with the best weights, where one was written.
    #[serde(default, with = "names::optional_path")]
    pub best_weights: Option<PathBuf>,
    /// The run directory, where there is one.
    #[serde(default, with = "names::optional_path")]
    pub directory: Option<PathBuf>,
}

/// Reason why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// All epochs are done.
    Finished,
    /// The monitored figure stopped improving.
    EarlyStopping,
    /// The user asked for it.
    Interrupted,
    /// The loss is no longer a number.
    Diverged,
    /// An error that has nothing to do with the numbers: a file that went away, a full disk.
    Failed,
}

/// Somebody who wants to know. Observers must not fail: one that writes files keeps its error and
/// gives it out when asked.
pub trait Observer {
    /// Receives every event, in order, from the thread that trains.
    fn on_event(&mut self, event: &Event);
}

/// Every event, kept in memory: for tests and for the report.
impl Observer for Vec<Event> {
    fn on_event(&mut self, event: &Event) {
        self.push(event.clone());
    }
}

/// Several observers as one.
impl Observer for Vec<Box<dyn Observer>> {
    fn on_event(&mut self, event: &Event) {
        for observer in self {
            observer.on_event(event);
        }
    }
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn on_event(&mut self, event: &Event) {
        (**self).on_event(event);
    }
}

impl<O: Observer + ?Sized> Observer for Box<O> {
    fn on_event(&mut self, event: &Event) {
        (**self).on_event(event);
    }
}

impl RunSummary {
    /// Parameters that training leaves alone.
    pub fn frozen_parameters(&self) -> usize {
        self.parameters.saturating_sub(self.trainable_parameters)
    }
}

impl StageSummary {
    /// Parameters of all parts.
    pub fn parameters(&self) -> usize {
        self.parts.iter().map(|part| part.parameters).sum()
    }

    /// Parameters that this stage moves.
    pub fn trainable_parameters(&self) -> usize {
        self.parts.iter().map(|part| part.trainable).sum()
    }
}

/// JSON has no NaN and no infinity; they are written as null, and a run that diverged must still be
/// readable.
fn nan_from_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
