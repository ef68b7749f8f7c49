//! A run of training, put together piece by piece.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use burn::prelude::*;
use rekindle_imagefolder::Task;
use rekindle_transfer::backbone::weights_digest;
use rekindle_transfer::{Backbone, Classifier, Strategy};
use rekindle_weights::ModelInfo;
use serde_json::{Value, json};

use crate::announce::tell;
use crate::data::TransferData;
use crate::events::Event;
use crate::fit;
use crate::fitted::Fitted;
use crate::identity::DataList;
use crate::loss::Criterion;
use crate::origin::Origin;
use crate::pace::Pace;
use crate::recipe::require;
use crate::run_directory::{
    ClassesRecord, RunDirectory, RunRecord, WeightsRecord, refuse_other_recipe,
};
use crate::source::Source;
use crate::{Cache, Interrupt, Observer, Recipe, SharedFeatures, TrainerError, text};

/// Trains a classifier on data, by a strategy and a recipe.
///
/// ```no_run
/// use rekindle_trainer::burn::tensor::Device;
/// use rekindle_models::Pretrained;
/// use rekindle_trainer::{Progress, ProgressMode, Recipe, Source, Trainer, TransferData};
/// use rekindle_transfer::{Classifier, Strategy};
///
/// let device = Device::flex();
/// let pretrained = Pretrained::open("resnet18-f37072fd.pth", &device)?;
/// let data = TransferData::open("hymenoptera", &pretrained.preprocess, 0)?;
/// let source = Source::of(&pretrained);
/// let classifier = Classifier::new(
///     pretrained.model.reset_classifier(0, 0), data.classes.len(), 0, &device,
/// );
/// let fitted = Trainer::new(classifier, data)
///     .source(source)
///     .strategy(Strategy::FeatureExtraction)
///     .recipe(Recipe::tutorial())
///     .observer(Progress::new(ProgressMode::Auto))
///     .run_directory("runs/ants-bees")
///     .fit()?;
/// println!("best accuracy {:.3}", fitted.best_accuracy());
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
pub struct Trainer<'a, B: Backbone> {
    pub(crate) classifier: Classifier<B>,
    pub(crate) data: TransferData,
    pub(crate) source: Source,
    pub(crate) strategy: Strategy,
    pub(crate) recipe: Recipe,
    /// Whether the recipe is of the caller's choice, and not the strategy's default.
    is_recipe_given: bool,
    /// Minimised in place of the recipe's loss.
    pub(crate) criterion: Option<Arc<dyn Criterion>>,
    pub(crate) device: Device,
    pub(crate) title: String,
    pub(crate) observers: Vec<Box<dyn Observer + 'a>>,
    pub(crate) interrupt: Interrupt,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) more_devices: Vec<Device>,
    /// Seed of fresh weights, where it isn't the recipe's.
    pub(crate) fresh_seed: Option<u64>,
    pub(crate) accepts_changed_data: bool,
    /// True if a resumed run measures by other validation images than before.
    pub(crate) is_val_changed: bool,
    pub(crate) shared: Option<SharedFeatures>,
    /// Ends the training at a given time, whatever the recipe's epochs.
    pub(crate) pace: Option<Pace>,
    /// True if each epoch is measured on the validation images; if not, those stay unread and the last
    /// weights are the best.
    pub(crate) validates: bool,
}

impl<'a, B: Backbone> Trainer<'a, B> {
    /// A trainer that fine-tunes by the strategy's [default recipe](Recipe::of), on the device of `classifier`, silently and
    /// without leaving anything on the disk.
    pub fn new(classifier: Classifier<B>, data: TransferData) -> Self {
        Self {
            device: classifier.head.weight.lazy_device().without_autodiff(),
            classifier,
            data,
            source: Source::default(),
            strategy: Strategy::fine_tuning(),
            recipe: Recipe::modern(),
            is_recipe_given: false,
            criterion: None,
            title: "transfer".to_string(),
            observers: Vec::new(),
            interrupt: Interrupt::new(),
            directory: None,
            checkpoint_interval: Duration::from_secs(10),
            more_devices: Vec::new(),
            fresh_seed: None,
            accepts_changed_data: false,
            is_val_changed: false,
            shared: None,
            pace: None,
            validates: true,
        }
    }

    /// Sets the origin of the weights, for the record. Under [`Strategy::FromScratch`], which uses none, only
    /// the architecture is kept.
    pub fn source(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// Sets the strategy: what is frozen in which epoch. Under [`Strategy::FromScratch`] backbone and head
    /// begin with fresh weights, whatever they came with: functions of the recipe's seed, or of that of
    /// [`adapt`](Self::adapt).
    pub fn strategy(self, strategy: Strategy) -> Self {
        let recipe = match self.is_recipe_given {
            true => self.recipe,
            false => Recipe::of(&strategy),
        };
        Self {
            strategy,
            recipe,
            ..self
        }
    }

    /// Sets optimiser, schedule, epochs and the rest (default: [`Recipe::of`] the strategy, for numbers
    /// and classes in an order [changed to suit them](Recipe::for_task)).
    pub fn recipe(self, recipe: Recipe) -> Self {
        Self {
            recipe,
            is_recipe_given: true,
            ..self
        }
    }

    /// Minimises a loss of your own, whatever the recipe's. Losses on the validation images are those of the data's task all the
    /// same, so that runs can be compared. A run that was begun with one is resumed with one of the same name.
    ///
    /// ```no_run
    /// # use rekindle_trainer::{Loss, Trainer, TrainerError, TransferData};
    /// # fn train<B: rekindle_transfer::Backbone>(trainer: Trainer<'_, B>) -> Result<(), TrainerError> {
    /// // Any type with the trait Criterion.
    /// let fitted = trainer.criterion(Loss::Focal { gamma: 3.0 }).fit()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn criterion(self, criterion: impl Criterion + 'static) -> Self {
        Self {
            criterion: Some(Arc::new(criterion)),
            ..self
        }
    }

    /// Sets the title of the run.
    pub fn title(self, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..self
        }
    }

    /// Lets `observer` hear every event; several may listen.
    pub fn observer(mut self, observer: impl Observer + 'a) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Stops after the current batch when `interrupt` is requested, having saved what is needed to go on.
    pub fn interrupt(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }

    /// Keeps record, metrics, checkpoints and the best weights in this folder, which must not exist or be
    /// empty.
    pub fn run_directory(self, path: impl AsRef<Path>) -> Self {
        Self {
            directory: Some(path.as_ref().to_path_buf()),
            ..self
        }
    }

    /// Shares every batch with these devices, beside the classifier's own: each takes an equal part of the images, and
    /// the optimiser steps on the mean gradient. See [`Learner::with_devices`](crate::Learner::with_devices) for what that
    /// means for batch normalisation.
    pub fn more_devices(self, devices: impl Into<Vec<Device>>) -> Self {
        Self {
            more_devices: devices.into(),
            ..self
        }
    }

    /// Takes features that an earlier run of this process left in memory, and leaves its own there, where the recipe keeps
    /// features in memory.
    pub fn share_features(self, shared: &SharedFeatures) -> Self {
        Self {
            shared: Some(shared.clone()),
            ..self
        }
    }

    /// Trains as many steps as `pace` plans, measured on no validation image.
    pub(crate) fn paced(self, pace: Pace) -> Self {
        Self {
            pace: Some(pace),
            validates: false,
            ..self
        }
    }

    /// Saves a checkpoint at the end of an epoch once this much time has passed since the last (default: 10 seconds,
    /// because epochs on kept activations take milliseconds); zero saves after every epoch.
    pub fn checkpoint_interval(self, checkpoint_interval: Duration) -> Self {
        Self {
            checkpoint_interval,
            ..self
        }
    }

    /// Lets [`resume`](Self::resume) go on with pictures, labels or classes that are not those the run began with (default:
    /// no). The record then says so. The number of classes must be the same.
    pub fn accept_changed_data(self, accept: bool) -> Self {
        Self {
            accepts_changed_data: accept,
            ..self
        }
    }

    /// Trains to the end, to an early stop, or until interrupted. With a run directory, every picture is read once before,
    /// so that the record says what the run is about.
    ///
    /// # Errors
    ///
    /// [`TransferError::NotReinitialisable`](rekindle_transfer::TransferError::NotReinitialisable) for
    /// [`Strategy::FromScratch`] with a backbone that can't have fresh weights;
    /// A recipe or strategy out of range, bad images, a run directory that can't be written, and
    /// [`TrainerError::Diverged`] when the loss stops being a number. [`TrainerError::OutOfDeviceMemory`] says what needs
    /// less, and where what was saved is.
    pub fn fit(mut self) -> Result<Fitted<B>, TrainerError> {
        self.suit_task();
        self.recipe.validate()?;
        self.recipe.check_task(self.data.task())?;
        // No folder is left behind by a strategy that can't be followed.
        self.strategy
            .plan(&self.classifier.backbone.stage_names(), 0)?;
        self.refresh()?;
        let writer = match &self.directory {
            None => None,
            Some(path) => {
                let data = DataList::of(&self.data);
                let (record, classes) = (self.record(), classes(&self.data));
                Some(RunDirectory::create_about(path, &record, &classes, &data)?)
            }
        };
        fit::run(self, writer, None)
    }

    /// Makes the strategy's default recipe one for what is to be learned, where it was not chosen.
    pub(crate) fn suit_task(&mut self) {
        let task = self.data.task();
        if !self.is_recipe_given && matches!(task, Task::Ordinal | Task::Regression) {
            self.recipe = self.recipe.clone().for_task(task);
        }
    }

    /// Gives the images the recipe's augmentation, and the classifier fresh weights where the strategy asks for them.
    pub(crate) fn refresh(&mut self) -> Result<(), TrainerError> {
        if let Some(augmentation) = &self.recipe.augment {
            self.data = self.data.augmented(augmentation)?;
        }
        if self.strategy.is_transfer() {
            return Ok(());
        }
        let seed = self.fresh_seed.unwrap_or(self.recipe.seed);
        self.classifier = self.classifier.clone().reinitialise(seed)?;
        self.source = Source {
            architecture: std::mem::take(&mut self.source.architecture),
            ..Source::default()
        };
        Ok(())
    }

    /// Goes on with a run that was interrupted or killed, from its last checkpoint to its end. Strategy and
    /// recipe are those of the record; classifier and data must be the ones that the run began with.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit); [`TrainerError::NotARunDirectory`]; [`TrainerError::OtherWeights`] where the weights are not
    /// those of the record; [`TrainerError::UnusableData`] where the number of classes is another; [`TrainerError::ChangedData`], which names the first
    /// differences, where labels, classes or the list of pictures are not those of the record, unless
    /// [accepted](Self::accept_changed_data). Files that hold another picture under the same name and label are told by a
    /// [warning](crate::Event::Warning), as is a run from before 0.2, which kept no list.
    pub fn resume(self, path: impl AsRef<Path>) -> Result<Fitted<B>, TrainerError> {
        self.resume_with(path, |_| ())
    }

    /// Resumes like [`resume`](Self::resume), with a recipe that `change` has modified. Epochs may be added,
    /// workers and the place of a cache may change; the run's record then says so. A schedule that runs over
    /// the whole training is stretched from here on, which a [warning](Event::Warning) says.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume), [`TrainerError::OtherRecipe`] for any other change, and
    /// [`TrainerError::InvalidRecipe`] for fewer epochs than are done.
    pub fn resume_with(
        mut self,
        path: impl AsRef<Path>,
        change: impl FnOnce(&mut Recipe),
    ) -> Result<Fitted<B>, TrainerError> {
        let path = path.as_ref();
        let mut writer = RunDirectory::resume(path)?;
        let mut record = writer.directory().record().clone();
        let recipe = record.recipe.as_object_mut();
        let criterion = recipe.and_then(|recipe| recipe.remove(CRITERION));
        self.strategy = record.parsed_strategy(path)?;
        self.recipe = record.parsed_recipe(path)?;
        self.title = record.title.clone();
        let recorded = self.recipe.clone();
        change(&mut self.recipe);
        self.recipe.validate()?;
        self.recipe.check_task(self.data.task())?;
        let before = with_criterion(json!(recorded), criterion.unwrap_or_default());
        let found = with_criterion(json!(self.recipe), self.criterion_name());
        refuse_other_recipe(path, &before, &found)?;
        self.refresh()?;
        self.directory = Some(path.to_path_buf());
        let checkpoint = writer.directory().latest_checkpoint()?;
        let position = checkpoint
            .as_ref()
            .map_or_else(Default::default, |checkpoint| checkpoint.position());
        let done = position.epochs + usize::from(position.batches > 0);
        require(
            self.recipe.epochs >= done,
            "epochs",
            format!(
                "{}, but the run is in epoch {done} already",
                self.recipe.epochs
            ),
            "at least as many as were begun",
        )?;
        // A network goes on with the units that it began with, whatever was added to the data since.
        self.data.keep_scale(&record.data);
        let compared = Origin {
            data: &self.data,
            source: &self.source,
            digest: &|| self.digest(),
            accepts_changed_data: self.accepts_changed_data,
        }
        .check(&mut writer)?;
        self.is_val_changed = compared.is_val_changed;
        writer.rewind(position)?;
        if self.recipe != recorded {
            let mut record = writer.directory().record().clone();
            record.recipe = self.recipe_record();
            writer.replace_record(record)?;
        }
        let mut writer = Some(writer);
        if let Some(message) = compared.warning {
            tell(&mut self, &mut writer, &Event::Warning { message })?;
        }
        if self.recipe.is_stretched(&recorded, done) {
            let message = format!(
                "the schedule runs over {} epochs from here on; the epochs before had the rates of a run over {}",
                self.recipe.epochs, recorded.epochs
            );
            tell(&mut self, &mut writer, &Event::Warning { message })?;
        }
        fit::run(self, writer, checkpoint)
    }

    /// Stages whose activations are computed once and kept: those that stay frozen, where the recipe keeps any.
    pub(crate) fn kept_stages(&self) -> Result<usize, TrainerError> {
        if self.recipe.cache == Cache::Off {
            return Ok(0);
        }
        let names = self.classifier.backbone.stage_names();
        Ok(self.strategy.always_frozen(&names, self.recipe.epochs)?)
    }

    /// Returns the recipe as a run's record has it, with the name of the loss where that is of the caller's own.
    fn recipe_record(&self) -> Value {
        match &self.criterion {
            Some(_) => with_criterion(json!(self.recipe), self.criterion_name()),
            None => json!(self.recipe),
        }
    }

    fn criterion_name(&self) -> Value {
        let criterion = self.criterion.as_ref();
        json!(criterion.map(|criterion| criterion.name()))
    }

    /// Hashes the backbone's live weights.
    fn digest(&self) -> String {
        let backbone = &self.classifier.backbone;
        weights_digest(backbone, backbone.stage_names().len())
    }

    fn record(&self) -> RunRecord {
        let weights = self.strategy.is_transfer().then(|| WeightsRecord {
            source: self.source.weights.clone(),
            sha256: self.source.sha256.clone(),
            tensors_sha256: self.digest(),
        });
        RunRecord {
            data: self.data.description.clone(),
            weights,
            architecture: self.source.architecture.clone(),
            strategy: json!(self.strategy),
            recipe: self.recipe_record(),
            seed: self.recipe.seed,
            device: text::device(&self.device),
            ..RunRecord::new(self.title.clone())
        }
    }

    /// Returns the metadata for a file of this run's weights.
    pub(crate) fn model_info(&self) -> ModelInfo {
        ModelInfo {
            architecture: Some(self.source.architecture.clone()),
            classes: Some(self.data.classes.clone()),
            preprocess: Some(self.data.preprocess.clone()),
            provenance: Some(
                json!({
                    "source": self.source.weights,
                    "sha256": self.source.sha256,
                    "strategy": self.strategy,
                    "recipe": self.recipe_record(),
                    "data": self.data.description,
                })
                .to_string(),
            ),
            test_views: self.recipe.test_views.in_file(),
            task: self.data.task_in_file(),
            ..ModelInfo::default()
        }
    }
}

/// Key of a loss of the caller's own beside those of a recipe.
const CRITERION: &str = "criterion";

fn with_criterion(mut recipe: Value, name: Value) -> Value {
    recipe[CRITERION] = name;
    recipe
}

pub(crate) fn classes(data: &TransferData) -> ClassesRecord {
    ClassesRecord::new(data.classes.clone(), json!(data.preprocess))
}
