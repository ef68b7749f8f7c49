//! The best classifier that a given time can buy: probes on frozen features, and training where that pays.

mod candidate;
mod contest;
mod forecast;
mod heads;
mod interim;
mod leave;
mod levels;
mod methods;
mod multi_label;
mod probing;
mod record;
mod reduced;
mod regression;
mod result;
mod resume;
mod run;
mod scores;
mod side_by_side;
mod subset;
mod told;
mod training;
mod trial;
mod tuning;

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::prelude::*;
use rekindle_models::{Preprocess, Pretrained};
use rekindle_transfer::features::ProbeSearch;
use rekindle_weights::LoadOptions;

use crate::data::TransferData;
use crate::identity::DataList;
use crate::pace::Clock;
use crate::recipe::{Cache, require};
use crate::run_directory::RunDirectory;
use crate::trainer::classes;
use crate::{Interrupt, Observer, SharedFeatures, TestViews, TrainerError};
use candidate::Candidates;
use probing::no_network;
pub use result::FineTuned;
use run::Run;

/// Adapts the network in `weights` to the images in `data`, with the defaults of [`Fit`], on the CPU or whatever `device`
/// is: two minutes at most, seconds where training would not pay.
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
    Fit::new(device).run(data, weights)
}

/// The best classifier that a budget of time can buy.
///
/// 1. Every training image goes through the frozen backbone once, and several linear heads compete by cross-validation
///    ([`ProbeSearch`]); of a convolutional network, on features of two levels as well
///    ([`with_multilevel_features`](rekindle_nn::Network::with_multilevel_features)), which the network then keeps where they win. Of several networks the one whose head has the lowest log loss on held-out images goes on,
///    or all of them [side by side](rekindle_nn::Network::side_by_side), where a head on the features of all has a lower one
///    and there is the time for it.
/// 2. Where at least three passes over the images fit into what is left, the network is trained on four fifths of them: from
///    the best head on, by AdamW and one cycle, ten times the rate for the head, normalised by the source's own statistics
///    ([`Strategy::FixedStatistics`](rekindle_transfer::Strategy)); on smaller pictures where few passes fit, and for smaller ones in use as
///    well where a probe on these is about as good. What is better
///    on the held-out fifth goes on: the probe, or a network on the way from it to the trained one. With more time, another
///    rate and other fifths are tried. The trained one goes on with all images to the end of the budget.
/// 3. The validation images are looked at once, at the end: no choice is made on them. A [forecast](FineTuned::forecast)
///    is told before.
///
/// Of several labels an image, the head is a logistic regression of each
/// ([`OneVsRest`](rekindle_transfer::features::OneVsRest)), and each label's threshold is that of the highest F1 on images held out. Of
/// numbers, the head is that of ridge regression ([`RidgeRegression`](rekindle_transfer::features::RidgeRegression)), and squared
/// errors take the place of log losses.
///
/// Where the budget is too short to look at all training images, it is as many of them as it is long enough for, in the
/// shares of the classes; a warning says so.
///
/// The budget counts from [`new`](Self::new) to the saved file, and is kept on a busy machine as well: time is measured as
/// training goes, and the schedule follows. What the clock decided is in the record. With a
/// [run directory](Self::run_directory) it is a run as any other; interrupted, it leaves the best so far, and
/// [goes on](Self::resume) from what it had trained.
///
/// ```no_run
/// use std::time::Duration;
///
/// use rekindle_trainer::Fit;
/// use rekindle_trainer::burn::tensor::Device;
///
/// let tuned = Fit::new(&Device::flex())
///     .budget(Duration::from_secs(600))
///     .run("hymenoptera", "resnet18-f37072fd.pth")?;
/// for trial in &tuned.trials {
///     println!("{}: {:?}", trial.what, trial.accuracy);
/// }
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
pub struct Fit<'a> {
    device: Device,
    /// None leaves the network as it is.
    budget: Option<Duration>,
    clock: Clock,
    probe: ProbeSearch,
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
    keeps_size: bool,
    keeps_architecture: bool,
    accepts_changed_data: bool,
    /// Told once the run has begun.
    warning: Option<String>,
}

/// The budget where none is given.
const BUDGET: Duration = Duration::from_secs(120);

impl<'a> Fit<'a> {
    /// Begins with the defaults: two minutes from now on, features live in memory, validation images are seen in one
    /// plain view, seed 0, nothing is written.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone().without_autodiff(),
            budget: Some(BUDGET),
            clock: Clock::started(),
            probe: ProbeSearch::default(),
            test_views: TestViews::Plain,
            cache: Cache::Memory,
            quantize: false,
            workers: 2,
            seed: 0,
            title: "fit".to_string(),
            directory: None,
            observers: Vec::new(),
            interrupt: Interrupt::new(),
            shared: None,
            load_options: LoadOptions::default(),
            keeps_size: false,
            keeps_architecture: false,
            accepts_changed_data: false,
            warning: None,
        }
    }

    /// Sets the time from [`new`](Self::new) to the saved file, two minutes by default.
    pub fn budget(self, budget: Duration) -> Self {
        Self {
            budget: Some(budget),
            ..self
        }
    }

    /// Leaves the network as it is, whatever the time: the probe is all. That is a matter of seconds, and the one way whose
    /// result is a function of the seed alone.
    pub fn without_training(self) -> Self {
        Self {
            budget: None,
            ..self
        }
    }

    /// Tells the time by `clock` instead of the processor's, from whatever beginning.
    pub fn clock(self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self {
            clock: Clock::of(clock),
            ..self
        }
    }

    /// Chooses a network in the file of weights that [`run`](Self::run) reads, where it holds several.
    pub fn load_options(self, load_options: LoadOptions) -> Self {
        Self {
            load_options,
            ..self
        }
    }

    /// Leaves pictures in the size that the weights ask for. By default a network may be trained for smaller ones, which the
    /// [result](FineTuned::preprocess) and its file then say, where a probe on these is about as good: it learns several times
    /// as many of them.
    pub fn keep_size(self) -> Self {
        Self {
            keeps_size: true,
            ..self
        }
    }

    /// Leaves the network as it is published but for the classes of its head, so that other programs read its file as weights of
    /// that architecture. By default a convolutional network may get
    /// [features of two levels](rekindle_nn::Network::with_multilevel_features), which its file and its ONNX then describe.
    pub fn keep_architecture(self) -> Self {
        Self {
            keeps_architecture: true,
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

    /// Sets the seed of the cross-validation, and of the split where the folder has none.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Threads that decode images.
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Kinds of heads to compare, their penalties and folds; its seed and repeats are those of the run.
    pub fn probe(self, probe: ProbeSearch) -> Self {
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

    /// Ends the work after a batch when `interrupt` is requested: with the best so far, or before there is any with
    /// [`TrainerError::Interrupted`]; a cache in a folder then keeps the features so far.
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

    /// Reads weights and images, adapts the network, and measures it on the validation images.
    ///
    /// # Errors
    ///
    /// As [`fine_tune`], and as [`fit`](Self::fit).
    pub fn run(
        self,
        data: impl AsRef<Path>,
        weights: impl AsRef<Path>,
    ) -> Result<FineTuned, TrainerError> {
        self.run_best_of(data, &[weights])
    }

    /// Runs with the best of several networks, or with several side by side. The first is tried in any case, others as the budget
    /// allows, those of the fewest multiplications before others.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); [`TrainerError::UnusableData`] without weights.
    pub fn run_best_of(
        self,
        data: impl AsRef<Path>,
        weights: &[impl AsRef<Path>],
    ) -> Result<FineTuned, TrainerError> {
        let opened = weights
            .iter()
            .map(|weights| Pretrained::open_with(weights, &self.load_options, &self.device));
        let networks: Vec<Pretrained> = opened.collect::<Result<_, _>>()?;
        let preprocess = networks.first().map(|first| first.preprocess.clone());
        let data =
            TransferData::open(data, &preprocess.unwrap_or(Preprocess::IMAGENET), self.seed)?;
        self.fit_best_of(&networks, &data)
    }

    /// Runs like [`run`](Self::run), with weights and images that are read already; `pretrained` is not touched.
    ///
    /// # Errors
    ///
    /// Classes that can't be told apart because one is empty, images that can't be read, a run directory that exists or
    /// can't be written, [`TrainerError::InvalidRecipe`] for an empty budget, and [`TrainerError::Interrupted`] before there
    /// is a first head. A run directory of a run that could not begin is removed.
    pub fn fit(
        self,
        pretrained: &Pretrained,
        data: &TransferData,
    ) -> Result<FineTuned, TrainerError> {
        self.fit_best_of(std::slice::from_ref(pretrained), data)
    }

    /// Runs like [`fit`](Self::fit), with the best of several networks. `data` is as the first one sees it.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit); [`TrainerError::UnusableData`] without a network.
    pub fn fit_best_of(
        mut self,
        networks: &[Pretrained],
        data: &TransferData,
    ) -> Result<FineTuned, TrainerError> {
        require(
            self.budget.is_none_or(|budget| budget > Duration::ZERO),
            "budget",
            "0 seconds",
            "above 0",
        )?;
        let first = networks.first().ok_or_else(no_network)?;
        self.device = first.model.device().without_autodiff();
        let writer = match &self.directory {
            None => None,
            Some(path) => {
                let (record, classes) = (self.record(first, data), classes(data));
                let data = DataList::of(data);
                Some(RunDirectory::create_about(path, &record, &classes, &data)?)
            }
        };
        let is_reducible = self.budget.is_some() && !self.keeps_size;
        let candidates = Candidates::new(networks, is_reducible);
        Run::new(self, &candidates, data, writer).finish()
    }
}
