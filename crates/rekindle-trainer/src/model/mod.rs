//! A trained classifier read from its file: all that is needed to ask it about pictures.

mod coverage;
mod evaluate;
mod held_out;
mod labels;
mod memory;
mod numbers;
mod predict;
mod quantized;
mod unknown;

pub use evaluate::Evaluated;
pub use labels::EvaluatedLabels;
pub use memory::Classified;
pub use numbers::EvaluatedNumbers;
pub use predict::{Answer, image_files};
pub use quantized::{QuantizationLoss, QuantizedModel};
pub use unknown::{FittedUnknown, UnknownCheck};

use std::path::{Path, PathBuf};

use burn::prelude::*;
use rekindle_files::names::show;
use rekindle_imagefolder::Task;
use rekindle_models::{Preprocess, Pretrained};
use rekindle_nn::{GraphError, Network};
use rekindle_transfer::Classifier;
use rekindle_weights::{LoadOptions, ModelInfo, NetworkSource};

use crate::{Interrupt, RunDirectory, TestViews, TrainerError};
use unknown::Rejecting;

/// Images that go through the network together.
const BATCH: usize = 16;

/// A classifier with its classes and its preprocessing, from a file of weights or a run directory and nothing else.
///
/// ```no_run
/// use rekindle_trainer::burn::tensor::Device;
/// use rekindle_trainer::Model;
///
/// let model = Model::open("ants-bees.safetensors", &Device::flex())?;
/// model.predict(&["photo.jpg".into()], |answer| {
///     if let Some((class, probability)) = answer.top(1).first() {
///         println!("{} {probability:.2}", model.class_name(*class));
///     }
/// })?;
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug)]
pub struct Model {
    /// The network with its head.
    pub classifier: Classifier<Network>,
    /// Names in the order of the logits, where the file knows them.
    pub classes: Option<Vec<String>>,
    /// Preprocessing of a picture before the network sees it.
    pub preprocess: Preprocess,
    /// The network's published name, or a description of one that has none.
    pub architecture: String,
    /// Origin of the weights as the file states it; JSON if rekindle wrote it.
    pub provenance: Option<String>,
    /// Temperature that logits are divided by so that confidence agrees with accuracy, if the file states it;
    /// used only by a [`calibrated`](Self::calibrated) model.
    pub temperature: Option<f64>,
    /// The name of the views that the file was made for, where it has a choice; see [`file_views`](Self::file_views).
    pub test_views: Option<String>,
    /// What the outputs mean: one class a picture, yes and no for each label, or a number.
    pub task: Task,
    /// The threshold of each label, where the file knows it; see [`threshold`](Self::threshold).
    pub thresholds: Option<Vec<f64>>,
    /// Scores of validation images, where the file knows them; see [`conformal`](Self::conformal).
    pub conformal_scores: Option<Vec<u16>>,
    /// Absolute errors of validation images, where the file knows them; see [`conformal_residuals`](Self::conformal_residuals).
    pub residuals: Option<Vec<f32>>,
    /// How pictures of unknown classes are told, where the file knows it; see [`rejecting`](Self::rejecting).
    pub unknown_detector: Option<String>,
    /// The file of weights.
    pub path: PathBuf,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Position of the network within the file, and what was left out.
    pub found: NetworkSource,
    device: Device,
    views: TestViews,
    divisor: f64,
    rejecting: Option<Rejecting>,
    interrupt: Interrupt,
}

impl Model {
    /// Reads a file of weights in any of the known formats, or the best weights of a run directory.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::open`]; [`TrainerError::NotARunDirectory`] for another folder, and
    /// [`TrainerError::UnusableWeights`] for weights without a classifier.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self, TrainerError> {
        Self::open_with(path, &LoadOptions::default(), device)
    }

    /// Opens a model like [`open`](Self::open); `options` choose among several networks in the file.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(
        path: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, TrainerError> {
        let path = weights_file(path)?;
        Self::from_pretrained(Pretrained::open_with(path, options, device)?)
    }

    /// Makes a model of a network that was read already.
    ///
    /// # Errors
    ///
    /// [`TrainerError::UnusableWeights`] for weights without a classifier.
    pub fn from_pretrained(pretrained: Pretrained) -> Result<Self, TrainerError> {
        let device = pretrained.model.device();
        let task = match pretrained.task.as_deref().unwrap_or_default() {
            "" => Task::SingleLabel,
            name => name.parse().map_err(|_| TrainerError::UnusableWeights {
                what: show(&pretrained.path),
                found: format!("these weights are for a task called {name:?}"),
                advice: "use a version of rekindle that knows it",
            })?,
        };
        let classifier = Classifier::from_network(pretrained.model).ok_or_else(|| {
            TrainerError::UnusableWeights {
                what: show(&pretrained.path),
                found: pretrained
                    .found
                    .headless
                    .clone()
                    .unwrap_or_else(|| "these weights have no classifier".into()),
                advice: "train one first (`rekindle train`), or only extract features (`rekindle features`)",
            }
        })?;
        Ok(Self {
            classifier,
            classes: pretrained.classes,
            preprocess: pretrained.preprocess,
            architecture: pretrained.architecture,
            provenance: pretrained.provenance,
            temperature: pretrained.temperature,
            test_views: pretrained.test_views,
            task,
            thresholds: pretrained.thresholds,
            conformal_scores: pretrained.conformal_scores,
            residuals: pretrained.residuals,
            unknown_detector: pretrained.unknown_detector,
            path: pretrained.path,
            sha256: pretrained.sha256,
            found: pretrained.found,
            device,
            views: TestViews::Plain,
            divisor: 1.0,
            rejecting: None,
            interrupt: Interrupt::new(),
        })
    }

    /// Averages the answers to several views of each picture. By default, a picture is looked at once, whatever the
    /// file's own choice is.
    pub fn in_views(self, views: TestViews) -> Self {
        Self { views, ..self }
    }

    /// Returns the views that answers are averaged over.
    pub fn views(&self) -> TestViews {
        self.views
    }

    /// Returns the views that the file was made for ([`Recipe::test_views`](crate::Recipe::test_views)); one plain
    /// view where it has no choice.
    ///
    /// # Errors
    ///
    /// [`TrainerError::UnusableWeights`] for views that this version doesn't know.
    pub fn file_views(&self) -> Result<TestViews, TrainerError> {
        let Some(name) = &self.test_views else {
            return Ok(TestViews::Plain);
        };
        name.parse().map_err(|_| TrainerError::UnusableWeights {
            what: format!("model {}", show(&self.path)),
            found: format!("made for views called {name:?}"),
            advice: "choose plain, flip or flip-and-scale",
        })
    }

    /// Scales answers by the temperature in the file: probabilities change, the most probable class doesn't. Call it
    /// after [`in_views`](Self::in_views), if at all.
    ///
    /// # Errors
    ///
    /// [`TrainerError::ModelLacks`] where the file has no temperature, for numbers, and for more than one view, since the
    /// temperature was fitted on answers to one.
    pub fn calibrated(self) -> Result<Self, TrainerError> {
        let refuse = |found: String, advice| {
            Err(TrainerError::ModelLacks {
                what: format!("model {}", show(&self.path)),
                found,
                advice,
            })
        };
        if self.task == Task::Regression {
            return refuse(
                "it gives numbers, which have no confidence to calibrate".into(),
                "ask for answers as they are; intervals say how sure they are (--coverage)",
            );
        }
        if self.views != TestViews::Plain {
            return refuse(
                format!(
                    "its temperature is that of plain views, not of {}",
                    self.views
                ),
                "ask for calibrated answers, or for several views",
            );
        }
        match self.temperature {
            Some(divisor) => Ok(Self { divisor, ..self }),
            None => refuse(
                "its file holds no temperature".into(),
                "train with this version of rekindle, which fits one, or ask for answers as they are",
            ),
        }
    }

    /// Ends [`predict`](Self::predict) and [`evaluate`](Self::evaluate) after a batch with
    /// [`TrainerError::Interrupted`] when `interrupt` is requested.
    pub fn interrupt(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }

    /// Returns the name of a class, or its number where the file has no names.
    pub fn class_name(&self, class: usize) -> String {
        let named = self.classes.as_ref().and_then(|names| names.get(class));
        named.cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Returns every class's name.
    pub fn class_names(&self) -> Vec<String> {
        (0..self.classifier.num_classes())
            .map(|class| self.class_name(class))
            .collect()
    }

    /// Returns the metadata for a file of this model.
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            architecture: Some(self.architecture.clone()),
            classes: self.classes.clone(),
            preprocess: Some(self.preprocess.clone()),
            provenance: self.provenance.clone(),
            temperature: self.temperature,
            test_views: self.test_views.clone(),
            task: (self.task != Task::SingleLabel).then(|| self.task.to_string()),
            thresholds: self.thresholds.clone(),
            conformal_scores: self.conformal_scores.clone(),
            residuals: self.residuals.clone(),
            unknown_detector: self.unknown_detector.clone(),
        }
    }

    /// Returns the network with its head in place, to write it out.
    ///
    /// # Errors
    ///
    /// [`GraphError::Classifier`] for a head that was exchanged for one of another length.
    pub fn network(&self) -> Result<Network, GraphError> {
        self.classifier.clone().into_network()
    }
}

/// Returns the file itself, or the best weights of a run directory.
///
/// # Errors
///
/// [`TrainerError::NotARunDirectory`] for another folder, and [`TrainerError::UnusableWeights`] for a run that has no best
/// weights yet.
pub fn weights_file(path: impl AsRef<Path>) -> Result<PathBuf, TrainerError> {
    let path = path.as_ref();
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let weights = RunDirectory::open(path)?.best_weights_path();
    // A link whose target wasn't fetched has an error of its own.
    match weights.symlink_metadata().is_ok() {
        true => Ok(weights),
        false => Err(TrainerError::UnusableWeights {
            what: show(path),
            found: "this run has no best weights: no epoch of it is finished, or they were removed"
                .into(),
            advice: "resume it (the same command with --resume), or begin it again",
        }),
    }
}
