//! Everything that decides a training run but the data, the weights and the strategy.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rekindle_imagefolder::{Augmentation, Mix, OnBadFile, Task};
use rekindle_transfer::Strategy;
use serde::{Deserialize, Serialize};

use crate::optimizer::Optimizer;
use crate::{EarlyStopping, Loss, Monitor, Schedule, TestViews, TrainerError};

/// Options of a training run: plain data, printed into `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per batch.
    pub batch_size: usize,
    /// The optimiser, with its momentum and weight decay.
    pub optimizer: Optimizer,
    /// Base learning rate; each stage's is that times the strategy's factor.
    pub learning_rate: f64,
    /// The head's rate over the base rate: a head that starts from random weights can take larger steps than a network
    /// that was trained.
    pub head_rate: f64,
    /// The rate's course over the run.
    pub schedule: Schedule,
    /// What is minimised; by default the loss of the data's task ([`Loss::of_task`](crate::Loss::of_task)).
    pub loss: Option<Loss>,
    /// Share of the target that is spread over all classes, in [0, 1) (Szegedy et al. 2016); of several labels, over yes and
    /// no of each; 0 for numbers.
    pub label_smoothing: f64,
    /// Largest Euclidean norm of all gradients together; larger ones are scaled down to it.
    pub clip_norm: Option<f64>,
    /// Batches whose gradients are averaged before a step of the optimiser.
    pub accumulate: usize,
    /// Decay of the moving average of the weights that is validated and kept in place of the weights themselves, in
    /// [0, 1); none by default.
    pub moving_average: Option<f64>,
    /// A rule for stopping before the last epoch.
    pub early_stopping: Option<EarlyStopping>,
    /// The figure that makes a model the best.
    pub monitor: Monitor,
    /// Random changes to training images; none leaves the data's own pipeline as it is.
    pub augment: Option<Augmentation>,
    /// Mixing the images of a batch.
    pub mix: Option<Mix>,
    /// Weighs each class by the inverse of its share, so that rare ones count as much as frequent ones; of several labels,
    /// weighs yes against no by how many pictures have the label.
    pub balance_classes: bool,
    /// Weights of classes by name, in place of those; a class that isn't named weighs 1. Of several labels, that of yes.
    pub class_weights: BTreeMap<String, f64>,
    /// Shows every class equally often ([`Sampler::Balanced`](rekindle_imagefolder::Sampler::Balanced)), with as many images per
    /// epoch as there are: those of small classes come several times, those of large ones wait for a later epoch.
    pub balanced_sampler: bool,
    /// A place to keep activations of stages that stay frozen.
    pub cache: Cache,
    /// Views per image that are kept: the plain picture, and `views - 1` random augmentations of it.
    pub views: usize,
    /// Runs frozen stages in eight bits: on a CPU two to four times as fast, and a little off, see
    /// [`Network::quantize_stages`](rekindle_nn::Network::quantize_stages). Ranges are measured on up to 64 training
    /// images. Validation measures the `f32` weights that a run leaves. On machines, devices and backbones that have no kernels for that, training
    /// refuses to begin.
    pub quantize_frozen: bool,
    /// Threads that decode and augment.
    pub workers: usize,
    /// Leaves a file that can't be decoded out with a warning, as by default, or ends the run.
    pub on_bad_file: OnBadFile,
    /// Seed of everything random.
    pub seed: u64,
    /// The views that the best weights are measured in as well, beside the plain one that the run's accuracy is of, and
    /// that their file names as its own choice.
    pub test_views: TestViews,
}

/// A place to keep activations of a frozen prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cache {
    /// Nowhere: every epoch runs the frozen stages on freshly augmented images.
    #[default]
    Off,
    /// In memory, for this run.
    Memory,
    /// In a folder, for later runs as well.
    Disk(#[serde(with = "rekindle_files::names::path")] PathBuf),
}

impl Default for Recipe {
    fn default() -> Self {
        Self::tutorial()
    }
}

impl Recipe {
    /// The recipe of PyTorch's transfer-learning tutorial: 25 epochs of SGD with momentum 0.9 at 0.001 on
    /// batches of four, a tenth of the rate after every seventh epoch.
    pub fn tutorial() -> Self {
        Self {
            epochs: 25,
            batch_size: 4,
            optimizer: Optimizer::Sgd {
                momentum: 0.9,
                nesterov: false,
                weight_decay: 0.0,
            },
            learning_rate: 1e-3,
            head_rate: 1.0,
            schedule: Schedule::tutorial(),
            loss: None,
            label_smoothing: 0.0,
            clip_norm: None,
            accumulate: 1,
            moving_average: None,
            early_stopping: None,
            monitor: Monitor::Accuracy,
            augment: None,
            mix: None,
            balance_classes: false,
            class_weights: BTreeMap::new(),
            balanced_sampler: false,
            cache: Cache::Off,
            views: 1,
            quantize_frozen: false,
            workers: 2,
            on_bad_file: OnBadFile::Skip,
            seed: 0,
            test_views: TestViews::Plain,
        }
    }

    /// Returns a recipe of today's good practice: AdamW with weight decay 0.01 and one cycle up to 3e-4, ten times that for
    /// the head, on batches of 16, with 10 % label smoothing and light augmentation.
    pub fn modern() -> Self {
        Self {
            epochs: 12,
            batch_size: 16,
            optimizer: Optimizer::AdamW { weight_decay: 0.01 },
            learning_rate: 3e-4,
            head_rate: 10.0,
            schedule: Schedule::one_cycle(),
            label_smoothing: 0.1,
            augment: Some(Augmentation::default()),
            ..Self::tutorial()
        }
    }

    /// Returns the default recipe of a strategy: [`modern`](Self::modern), with more epochs where these are cheap or have
    /// everything to learn, and one rate for all where the few parameters that learn in the network are as far from their
    /// values as the head's.
    ///
    /// ```
    /// use rekindle_trainer::Recipe;
    /// use rekindle_transfer::Strategy;
    ///
    /// assert_eq!(Recipe::of(&Strategy::fine_tuning()), Recipe::modern());
    /// assert_eq!(Recipe::of(&Strategy::FromScratch).head_rate, 1.0);
    /// ```
    pub fn of(strategy: &Strategy) -> Self {
        let modern = Self::modern();
        match strategy {
            Strategy::FeatureExtraction => Self {
                epochs: 30,
                ..modern
            },
            Strategy::BitFit { .. } | Strategy::BatchNormOnly { .. } => Self {
                learning_rate: 3e-3,
                head_rate: 1.0,
                ..modern
            },
            Strategy::FromScratch => Self {
                epochs: 30,
                learning_rate: 1e-3,
                head_rate: 1.0,
                ..modern
            },
            _ => modern,
        }
    }

    /// Returns the recipe with what suits a task where that isn't one class a picture: the figure to watch, and no label
    /// smoothing of numbers.
    ///
    /// ```
    /// use rekindle_imagefolder::Task;
    /// use rekindle_trainer::{Monitor, Recipe};
    ///
    /// let recipe = Recipe::modern().for_task(Task::Regression);
    /// assert_eq!((recipe.monitor, recipe.label_smoothing), (Monitor::Mae, 0.0));
    /// ```
    pub fn for_task(mut self, task: Task) -> Self {
        if task == Task::SingleLabel {
            return self;
        }
        self.monitor = Monitor::of_task(task);
        if let Some(stopping) = &mut self.early_stopping {
            stopping.monitor = self.monitor;
        }
        if task == Task::Regression {
            self.label_smoothing = 0.0;
        }
        self
    }

    /// Whether the rates of the first `epochs` differ from those of `other` because the schedule runs over another
    /// number of epochs.
    pub(crate) fn is_stretched(&self, other: &Recipe, epochs: usize) -> bool {
        const STEPS: usize = 4;
        let factor = |recipe: &Recipe, step| recipe.schedule.factor(step, STEPS, recipe.epochs);
        (0..epochs * STEPS).any(|step| factor(self, step) != factor(other, step))
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidRecipe`] and [`TrainerError::InvalidSchedule`] name the first field that is
    /// out of its range.
    pub fn validate(&self) -> Result<(), TrainerError> {
        require(self.epochs > 0, "epochs", self.epochs, "at least 1")?;
        require(
            self.batch_size > 0,
            "batch_size",
            self.batch_size,
            "at least 1",
        )?;
        require(
            self.accumulate > 0,
            "accumulate",
            self.accumulate,
            "at least 1",
        )?;
        require(self.views > 0, "views", self.views, "at least 1")?;
        require(
            self.learning_rate.is_finite() && self.learning_rate > 0.0,
            "learning_rate",
            self.learning_rate,
            "a finite number above 0",
        )?;
        require(
            self.head_rate.is_finite() && self.head_rate > 0.0,
            "head_rate",
            self.head_rate,
            "a finite number above 0",
        )?;
        require(
            (0.0..1.0).contains(&self.label_smoothing),
            "label_smoothing",
            self.label_smoothing,
            "at least 0 and below 1",
        )?;
        if let Some(norm) = self.clip_norm {
            require(
                norm.is_finite() && norm > 0.0,
                "clip_norm",
                norm,
                "a finite number above 0",
            )?;
        }
        if let Some(decay) = self.moving_average {
            require(
                (0.0..1.0).contains(&decay),
                "moving_average",
                decay,
                "at least 0 and below 1",
            )?;
        }
        if let Some(stopping) = &self.early_stopping {
            require(
                stopping.patience > 0,
                "early_stopping.patience",
                stopping.patience,
                "at least 1",
            )?;
            require(
                stopping.min_delta.is_finite() && stopping.min_delta >= 0.0,
                "early_stopping.min_delta",
                stopping.min_delta,
                "a finite number, at least 0",
            )?;
        }
        require(
            self.class_weights.is_empty() || !self.balance_classes,
            "class_weights",
            "set together with balance_classes",
            "one of the two",
        )?;
        for (class, weight) in &self.class_weights {
            require(
                weight.is_finite() && *weight >= 0.0,
                "class_weights",
                format!("{weight} for {class}"),
                "finite numbers of at least 0",
            )?;
        }
        if let Some(augment) = &self.augment {
            augment.validate()?;
        }
        if let Some(mix) = &self.mix {
            mix.validate()?;
            require(
                self.cache == Cache::Off,
                "mix",
                "set together with a cache",
                "unset: kept activations can't be mixed",
            )?;
        }
        if let Some(loss) = self.loss {
            loss.validate()?;
        }
        self.optimizer.validate()?;
        self.schedule.validate()
    }
}

impl Recipe {
    /// Checks that loss, monitored figure and the rest are those of a task.
    pub(crate) fn check_task(&self, task: Task) -> Result<(), TrainerError> {
        if let Some(loss) = self.loss {
            loss.check_task(task)?;
        }
        require(
            task.is_single_label() || !self.balanced_sampler,
            "balanced_sampler",
            "set, where pictures don't have one class each",
            match task {
                Task::Regression => "unset: numbers have no classes to balance",
                _ => "unset; balance_classes weighs several labels",
            },
        )?;
        let stopping = self.early_stopping.map(|stopping| stopping.monitor);
        for monitor in std::iter::once(self.monitor).chain(stopping) {
            require(
                monitor.is_of(task),
                "monitor",
                format!("the {}, where {}", monitor.name(), learned(task)),
                match task {
                    Task::SingleLabel => "accuracy, balanced accuracy, loss or macro F1",
                    Task::Ordinal => "mae, kappa, accuracy, balanced accuracy, loss or macro F1",
                    Task::MultiLabel => "mean average precision, accuracy, loss or macro F1",
                    Task::Regression => "mae, rmse or loss",
                },
            )?;
        }
        if task != Task::Regression {
            return Ok(());
        }
        require(
            self.label_smoothing == 0.0,
            "label_smoothing",
            self.label_smoothing,
            "0, as a number has no other classes to spread it over",
        )?;
        require(
            self.mix.is_none(),
            "mix",
            "set, where a number is learned from each picture",
            "unset: what a mixed picture measures is not known",
        )?;
        require(
            !self.balance_classes,
            "balance_classes",
            "set, where a number is learned from each picture",
            "unset; a table's column of weights says how much each picture counts",
        )
    }
}

/// What is learned of each picture, as part of a sentence.
fn learned(task: Task) -> &'static str {
    match task {
        Task::SingleLabel => "pictures have one label each",
        Task::Ordinal => "classes are in an order",
        Task::MultiLabel => "pictures have several labels",
        Task::Regression => "numbers are learned",
    }
}

/// One condition of a recipe.
pub(crate) fn require(
    holds: bool,
    field: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<(), TrainerError> {
    if holds {
        return Ok(());
    }
    Err(TrainerError::InvalidRecipe {
        field,
        found: found.to_string(),
        expected,
    })
}
