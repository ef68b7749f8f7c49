//! A good classifier in one call: what the source knows of the new classes, and a probe for the rest.

mod run;

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::prelude::*;
use rekindle_models::{Preprocess, Pretrained};
use rekindle_nn::Network;
use rekindle_transfer::backbone::weights_digest;
use rekindle_transfer::features::{FittedProbe, PriorProbe};
use rekindle_transfer::{Backbone, Classifier};
use rekindle_weights::{LoadOptions, ModelInfo};
use serde_json::{Value, json};

use crate::checkpoint::weights_of;
use crate::data::TransferData;
use crate::events::RunOutcome;
use crate::identity::DataList;
use crate::origin::Origin;
use crate::recipe::Cache;
use crate::run_directory::{
    Position, RunDirectory, RunRecord, RunWriter, WeightsRecord, one_call, refuse_other_recipe,
};
use crate::trainer::classes;
use crate::{
    Interrupt, Observer, Predictions, SharedFeatures, Source, TestViews, TrainerError, fit, text,
};
use run::Run;

/// Adapts the network in `weights` to the images in `data`, with the defaults of [`FineTune`], on the CPU or
/// whatever `device` is.
///
/// ```no_run
/// use rekindle_trainer::burn::tensor::Device;
///
/// let tuned = rekindle_trainer::fine_tune("hymenoptera", "resnet18-f37072fd.pth", &Device::flex())?;
/// println!("accuracy {:.3} in {:.1} s", tuned.accuracy(), tuned.seconds);
/// tuned.save("ants-bees.safetensors")?;
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
///
/// # Errors
///
/// Those of reading the weights and the images, and classes that can't be told apart because one is empty.
pub fn fine_tune(
    data: impl AsRef<Path>,
    weights: impl AsRef<Path>,
    device: &Device,
) -> Result<FineTuned, TrainerError> {
    FineTune::new(device).run(data, weights)
}

/// The one-call recipe with its few choices.
///
/// Every training image goes through the frozen backbone once. A head is mixed from the rows of the source
/// classifier and completed by a logistic regression whose penalty is chosen by cross-validation
/// ([`PriorProbe`]): seconds, where fine-tuning takes minutes, and on small sets the better result.
///
/// With a [run directory](Self::run_directory) it is a run as any other: recorded, logged, interruptible, and its folder is
/// what [`Model::open`](crate::Model::open) and reports read. In its events, the pass over the images is one epoch.
pub struct FineTune<'a> {
    device: Device,
    probe: PriorProbe,
    test_views: TestViews,
    cache: Cache,
    quantize: bool,
    workers: usize,
    seed: u64,
    title: String,
    directory: Option<PathBuf>,
    observers: Vec<Box<dyn Observer + 'a>>,
    interrupt: Interrupt,
    shared: Option<SharedFeatures>,
    load_options: LoadOptions,
    accepts_changed_data: bool,
    /// Told once the run has begun.
    warning: Option<String>,
}

/// What the one-call recipe leaves.
pub struct FineTuned {
    /// Backbone and new head.
    pub classifier: Classifier<Network>,
    /// Names in the order of the logits.
    pub classes: Vec<String>,
    /// What a picture goes through before the network sees it.
    pub preprocess: Preprocess,
    /// The head and how it was found.
    pub probe: FittedProbe,
    /// What the classifier says of the validation images, each seen once, as by [`Model::predict`](crate::Model::predict).
    pub predictions: Predictions,
    /// The same over the [test views](FineTune::test_views), where these are more than the plain one.
    pub in_views: Option<Predictions>,
    /// How the run ended.
    pub outcome: RunOutcome,
    /// Seconds from the call to the result.
    pub seconds: f64,
    info: ModelInfo,
    /// The writer keeps the directory's lock as long as the result lives.
    writer: Option<RunWriter>,
}

impl<'a> FineTune<'a> {
    /// The defaults: features live in memory, validation images are seen in one plain view, seed 0, nothing is written.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone().without_autodiff(),
            probe: PriorProbe::default(),
            test_views: TestViews::Plain,
            cache: Cache::Memory,
            quantize: false,
            workers: 2,
            seed: 0,
            title: "one call".to_string(),
            directory: None,
            observers: Vec::new(),
            interrupt: Interrupt::new(),
            shared: None,
            load_options: LoadOptions::default(),
            accepts_changed_data: false,
            warning: None,
        }
    }

    /// Chooses a network in the file of weights that [`run`](Self::run) reads, where it holds several.
    pub fn load_options(self, load_options: LoadOptions) -> Self {
        Self {
            load_options,
            ..self
        }
    }

    /// Measures the classifier in these views as well, and names them in the saved file as its own choice
    /// ([`Model::file_views`](crate::Model::file_views)).
    pub fn test_views(self, test_views: TestViews) -> Self {
        Self { test_views, ..self }
    }

    /// Keeps features in a folder for later runs.
    pub fn cache(self, folder: impl AsRef<Path>) -> Self {
        Self {
            cache: Cache::Disk(folder.as_ref().to_path_buf()),
            ..self
        }
    }

    /// Computes the features that the head is fitted to in eight bits, see
    /// [`Recipe::quantize_frozen`](crate::Recipe::quantize_frozen); off by default. The network that is left, and measured,
    /// is in `f32`.
    pub fn quantize_frozen(self, quantize: bool) -> Self {
        Self { quantize, ..self }
    }

    /// Seed of the cross-validation, and of the split where the folder has none.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Threads that decode images.
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Penalties, folds and mixing of the head.
    pub fn probe(self, probe: PriorProbe) -> Self {
        Self { probe, ..self }
    }

    /// Sets the title of the run in its record.
    pub fn title(self, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..self
        }
    }

    /// Keeps record, events and the classifier in this folder, which must not exist or be empty.
    pub fn run_directory(self, path: impl AsRef<Path>) -> Self {
        Self {
            directory: Some(path.as_ref().to_path_buf()),
            ..self
        }
    }

    /// Lets `observer` hear every event; several may listen.
    pub fn observer(mut self, observer: impl Observer + 'a) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Ends the work after a batch with [`TrainerError::Interrupted`] when `interrupt` is requested; a cache in a folder
    /// keeps the features so far, and a run directory can be [resumed](Self::resume).
    pub fn interrupt(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }

    /// Takes features that an earlier run of this process left in memory, and leaves its own there.
    pub fn share_features(self, shared: &SharedFeatures) -> Self {
        Self {
            shared: Some(shared.clone()),
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

    /// Reads weights and images, finds the head, and measures it on the validation images.
    ///
    /// # Errors
    ///
    /// As [`fine_tune`], and as [`fit`](Self::fit).
    pub fn run(
        self,
        data: impl AsRef<Path>,
        weights: impl AsRef<Path>,
    ) -> Result<FineTuned, TrainerError> {
        let begun = Instant::now();
        let pretrained = Pretrained::open_with(weights, &self.load_options, &self.device)?;
        let data = TransferData::open(data, &pretrained.preprocess, self.seed)?;
        self.begin(&pretrained, &data, begun)
    }

    /// The same with weights and images that are read already; `pretrained` is not touched.
    ///
    /// # Errors
    ///
    /// Classes that can't be told apart because one is empty, images that can't be read, a run directory that exists or
    /// can't be written, and [`TrainerError::Interrupted`]. A run directory of a run that could not begin is removed.
    pub fn fit(
        self,
        pretrained: &Pretrained,
        data: &TransferData,
    ) -> Result<FineTuned, TrainerError> {
        self.begin(pretrained, data, Instant::now())
    }

    fn begin(
        mut self,
        pretrained: &Pretrained,
        data: &TransferData,
        begun: Instant,
    ) -> Result<FineTuned, TrainerError> {
        self.device = pretrained.model.device().without_autodiff();
        let writer = match &self.directory {
            None => None,
            Some(path) => {
                let (record, classes) = (self.record(pretrained, data), classes(data));
                let data = DataList::of(data);
                Some(RunDirectory::create_about(path, &record, &classes, &data)?)
            }
        };
        Run::new(self, pretrained, data, writer, begun).finish()
    }

    /// Takes up a run that was interrupted, or one that is done: both begin again, with the features that a cache in a
    /// folder kept, and end with the same bits. Its choices must be those of the record, except for workers and the place
    /// of the cache.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit), [`TrainerError::OtherRecipe`] for other choices, and as
    /// [`Trainer::resume`](crate::Trainer::resume) for other weights and pictures than those of the record.
    pub fn resume(
        mut self,
        path: impl AsRef<Path>,
        pretrained: &Pretrained,
        data: &TransferData,
    ) -> Result<FineTuned, TrainerError> {
        let begun = Instant::now();
        self.device = pretrained.model.device().without_autodiff();
        let path = path.as_ref();
        let mut writer = RunDirectory::resume(path)?;
        let record = writer.directory().record().clone();
        refuse_other_recipe(path, &record.recipe, &self.recipe())?;
        let compared = Origin {
            data,
            source: &Source::of(pretrained),
            digest: &|| digest(pretrained),
            accepts_changed_data: self.accepts_changed_data,
        }
        .check(&mut writer)?;
        self.title = record.title;
        writer.rewind(Position::default())?;
        self.warning = compared.warning;
        Run::new(self, pretrained, data, Some(writer), begun).finish()
    }

    /// All choices, for the record.
    fn recipe(&self) -> Value {
        json!({
            "penalties": self.probe.penalties,
            "folds": self.probe.folds,
            "repeats": self.probe.repeats,
            "mixing_steps": self.probe.relationship.steps,
            "mixing_rate": self.probe.relationship.rate,
            "cache": self.cache,
            "quantize_frozen": self.quantize,
            "workers": self.workers,
            "seed": self.seed,
            "test_views": self.test_views,
        })
    }

    fn record(&self, pretrained: &Pretrained, data: &TransferData) -> RunRecord {
        RunRecord {
            data: data.description.clone(),
            weights: Some(WeightsRecord {
                source: Source::of(pretrained).weights,
                sha256: pretrained.sha256.clone(),
                tensors_sha256: digest(pretrained),
            }),
            architecture: pretrained.architecture.clone(),
            strategy: one_call(),
            recipe: self.recipe(),
            seed: self.seed,
            device: text::device(&self.device),
            ..RunRecord::new(self.title.clone())
        }
    }
}

/// Hashes the backbone's live weights.
fn digest(pretrained: &Pretrained) -> String {
    let model = &pretrained.model;
    weights_digest(model, model.stage_names().len())
}

impl FineTuned {
    /// Accuracy on the validation images, 0 to 1: that of the file which [`save`](Self::save) writes, in the one plain view
    /// that [`Model`](crate::Model) takes.
    pub fn accuracy(&self) -> f64 {
        self.predictions.accuracy()
    }

    /// The same over the [test views](FineTune::test_views), where these are more than the plain one.
    pub fn accuracy_in_views(&self) -> Option<f64> {
        self.in_views.as_ref().map(Predictions::accuracy)
    }

    /// Writes the network as safetensors under the published names, with classes, preprocessing, temperature and test
    /// views.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TrainerError> {
        let weights = weights_of(&self.classifier);
        fit::write_weights(path.as_ref(), &self.classifier, &weights, &self.info)
    }

    /// The run directory, where there is one.
    pub fn directory(&self) -> Option<&Path> {
        self.writer.as_ref().map(RunWriter::path)
    }
}
