//! A trained classifier read from its file: all that is needed to ask it about pictures.

mod coverage;
mod labels;
mod memory;
mod numbers;
mod unknown;

pub use labels::EvaluatedLabels;
pub use memory::Classified;
pub use numbers::EvaluatedNumbers;
pub use unknown::{FittedUnknown, UnknownCheck};

use unknown::Rejecting;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::prelude::*;
use rekindle_files::names::show;
use rekindle_imagefolder::{
    Ignored, ImageDataset, ImageFolder, ImageTable, Layout, Listing, Loader, OnBadFile, Sample,
    ScanOptions, Skipped, TableOptions, TablePart, Task,
};
use rekindle_models::{Preprocess, Pretrained};
use rekindle_nn::{GraphError, Network};
use rekindle_transfer::Classifier;
use rekindle_weights::{LoadOptions, ModelInfo, NetworkSource};
use serde::Deserialize;
use serde_json::Value;

use crate::data::{HeldOut, VALIDATION_SHARE, eval_pipeline, held_out};
use crate::feed::Feed;
use crate::inspect::{Inspection, inspect, logistic, scaled, softmax};
use crate::metrics::Temperature;
use crate::predictor::ranked;
use crate::test_views::{CHUNK, inspect_in_views};
use crate::{Evaluation, Interrupt, Predictions, RunDirectory, TestViews, TrainerError};

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

/// Answer of a model to one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The picture's file.
    pub path: PathBuf,
    /// One probability a class, of several labels each by itself; or the number that the model gives; or why the file can't be
    /// read.
    pub probabilities: Result<Vec<f32>, String>,
    /// Whether it looks like none of the classes; none for a model that doesn't [reject](Model::rejecting), and for a file
    /// that can't be read.
    pub unknown: Option<UnknownCheck>,
}

/// Evaluation of a model on labelled images.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The answer to each image.
    pub predictions: Predictions,
    /// Accuracy, per-class scores, calibration.
    pub evaluation: Evaluation,
    /// Effect that temperature scaling would have.
    pub temperature: Temperature,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
    /// Files that the scan of the folder left out.
    pub ignored: Vec<Ignored>,
    /// Where the images were found; its text says so in one line.
    pub layout: Listing,
    /// Measured on the images alone that training had held out of this very folder.
    pub is_held_out: bool,
    /// How unknown each image looks, in the order of the predictions; none for a model that doesn't
    /// [reject](Model::rejecting).
    pub unknown_scores: Option<Vec<f64>>,
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
    /// [`TrainerError::UnusableData`] for views that this version doesn't know.
    pub fn file_views(&self) -> Result<TestViews, TrainerError> {
        let Some(name) = &self.test_views else {
            return Ok(TestViews::Plain);
        };
        name.parse().map_err(|_| TrainerError::UnusableData {
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
    /// [`TrainerError::UnusableData`] where the file has no temperature, for numbers, and for more than one view, since the
    /// temperature was fitted on answers to one.
    pub fn calibrated(self) -> Result<Self, TrainerError> {
        let refuse = |found: String, advice| {
            Err(TrainerError::UnusableData {
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

    /// Asks about pictures; `answer` hears of each one in the order of `paths`, but of files that can't be read
    /// right after their batch.
    ///
    /// # Errors
    ///
    /// A model that doesn't take RGB pictures; [`TrainerError::OutOfDeviceMemory`], and [`TrainerError::Interrupted`]. A
    /// file that can't be read is an [`Answer`], not an error.
    pub fn predict(
        &self,
        paths: &[PathBuf],
        mut answer: impl FnMut(Answer),
    ) -> Result<(), TrainerError> {
        self.require_plain_views()?;
        if self.views != TestViews::Plain {
            return self.predict_in_views(paths, answer);
        }
        let dataset = self.unlabelled(paths)?;
        let loader = Loader::new(dataset)
            .batch_size(BATCH)
            .on_bad_file(OnBadFile::Skip);
        let predictor = crate::Predictor::new(&self.classifier);
        let named = |error: TrainerError| error.with_architecture(&self.architecture);
        for batch in Feed::Images(loader).epoch(0, &self.device) {
            self.interrupt.check()?;
            let batch = batch?;
            if !batch.indices.is_empty() {
                let rows = self.rows(&predictor, &batch).map_err(named)?;
                for (at, index) in batch.indices.iter().enumerate() {
                    let logits = scaled(rows.logits(at), self.divisor);
                    answer(Answer {
                        path: paths[*index].clone(),
                        probabilities: Ok(self.probabilities(&logits)),
                        unknown: self.check_unknown(&rows, at)?,
                    });
                }
            }
            for skipped in batch.skipped {
                answer(Answer {
                    path: skipped.path,
                    probabilities: Err(skipped.reason),
                    unknown: None,
                });
            }
        }
        Ok(())
    }

    /// Predicts like [`predict`](Self::predict), in chunks of pictures that are looked at in all views.
    fn predict_in_views(
        &self,
        paths: &[PathBuf],
        mut answer: impl FnMut(Answer),
    ) -> Result<(), TrainerError> {
        let pipelines = self.views.pipelines(&self.preprocess);
        for chunk in paths.chunks(CHUNK) {
            let dataset = Arc::new(self.unlabelled(chunk)?);
            let (network, interrupt) = (&self.classifier, &self.interrupt);
            let found = inspect_in_views(network, &dataset, &pipelines, interrupt, |_| ())
                .map_err(|error| error.with_architecture(&self.architecture))?;
            let rows = found.logits.chunks_exact(found.classes);
            for (index, row) in found.indices.iter().zip(rows) {
                answer(Answer {
                    path: chunk[*index].clone(),
                    probabilities: Ok(self.probabilities(row)),
                    unknown: None,
                });
            }
            for skipped in found.skipped {
                answer(Answer {
                    path: skipped.path,
                    probabilities: Err(skipped.reason),
                    unknown: None,
                });
            }
        }
        Ok(())
    }

    /// What logits say, by the task.
    fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        match self.task {
            Task::SingleLabel => softmax(logits).0,
            Task::MultiLabel => logits.iter().map(|logit| logistic(*logit)).collect(),
            Task::Regression => logits.to_vec(),
        }
    }

    fn unlabelled(&self, paths: &[PathBuf]) -> Result<ImageDataset, TrainerError> {
        let samples = paths.iter().map(|path| Sample {
            path: path.clone(),
            label: None,
        });
        let folder = ImageFolder::from_samples(Path::new("."), Vec::new(), samples.collect())?;
        Ok(ImageDataset::new(&folder, eval_pipeline(&self.preprocess))?)
    }

    /// Measures the model on a table of pictures, on a folder with one folder a class, or on the validation part of a data set, as
    /// [`Layout::find`] finds it. Labels are matched by name; classes of the model without images are fine. Of a folder
    /// without parts that the model was trained on, the images that training held out are taken, as long as there are as
    /// many as then.
    ///
    /// # Errors
    ///
    /// Those of scanning; class folders that the model doesn't know; [`TrainerError::UnusableData`] without one
    /// image that can be read.
    pub fn evaluate(
        &self,
        folder: impl AsRef<Path>,
        progress: impl FnMut(usize),
    ) -> Result<Evaluated, TrainerError> {
        if folder.as_ref().is_file() {
            return self.evaluate_table(folder, &TableOptions::default(), progress);
        }
        self.require_task(Task::SingleLabel, "evaluate")?;
        let layout = Layout::find(folder)?;
        let listing = Listing::Folder(layout.clone());
        match self.held_out(&listing)? {
            Some(part) => self.evaluate_part(part.images, listing, true, progress),
            None => {
                let part = self.labelled(layout.evaluation_folder()?)?;
                self.evaluate_part(part, listing, false, progress)
            }
        }
    }

    /// As [`evaluate`](Self::evaluate), on the pictures of a table: its validation part, or all. Labels that the model
    /// doesn't know are an error.
    ///
    /// # Errors
    ///
    /// Those of [`ImageTable::open_with`], and [`TrainerError::UnusableData`] without one image that can be read.
    pub fn evaluate_table(
        &self,
        table: impl AsRef<Path>,
        options: &TableOptions,
        progress: impl FnMut(usize),
    ) -> Result<Evaluated, TrainerError> {
        self.require_task(Task::SingleLabel, "evaluate")?;
        let table = ImageTable::open_with(table, &self.table_options(options))?;
        let part = table.open_evaluation().images;
        let listing = Listing::Table(Box::new(table));
        match self.held_out(&listing)? {
            Some(part) => self.evaluate_part(part.images, listing, true, progress),
            None => self.evaluate_part(part, listing, false, progress),
        }
    }

    fn evaluate_part(
        &self,
        folder: ImageFolder,
        layout: Listing,
        is_held_out: bool,
        progress: impl FnMut(usize),
    ) -> Result<Evaluated, TrainerError> {
        let dataset = ImageDataset::new(&folder, eval_pipeline(&self.preprocess))?;
        let dataset = Arc::new(dataset);
        self.require_plain_views()?;
        let mut inspection = self.inspected_unscaled(&dataset, progress)?;
        let unknown_scores = self.unknown_scores(&inspection, &dataset)?;
        inspection.scale(self.divisor);
        let predictions = inspection.predictions(&dataset);
        if predictions.labels.is_empty() {
            return Err(TrainerError::UnusableData {
                what: show(folder.root()),
                found: format!("none of its {} images can be read", folder.len()),
                advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
            });
        }
        let Predictions {
            probabilities,
            labels,
            classes,
            ..
        } = &predictions;
        Ok(Evaluated {
            evaluation: Evaluation::from_probabilities(probabilities, labels, *classes)?,
            temperature: Temperature::fit(probabilities, labels, *classes)?,
            predictions,
            skipped: inspection.skipped,
            ignored: folder.ignored().to_vec(),
            layout,
            is_held_out,
            unknown_scores,
        })
    }

    /// Every image's logits, in the model's views and at its temperature.
    fn inspected(
        &self,
        dataset: &Arc<ImageDataset>,
        progress: impl FnMut(usize),
    ) -> Result<Inspection, TrainerError> {
        let mut inspection = self.inspected_unscaled(dataset, progress)?;
        inspection.scale(self.divisor);
        Ok(inspection)
    }

    fn inspected_unscaled(
        &self,
        dataset: &Arc<ImageDataset>,
        progress: impl FnMut(usize),
    ) -> Result<Inspection, TrainerError> {
        let (network, interrupt) = (&self.classifier, &self.interrupt);
        let inspection = match self.views {
            TestViews::Plain => {
                let keep = self.needs_features();
                inspect(network, dataset, |_| keep, interrupt, progress)
            }
            views => {
                let pipelines = views.pipelines(&self.preprocess);
                inspect_in_views(network, dataset, &pipelines, interrupt, progress)
            }
        };
        inspection.map_err(|error| error.with_architecture(&self.architecture))
    }

    /// Of the folder that the model was trained on, the images that training held out, where it held out some: the others
    /// would flatter it.
    fn held_out(&self, listing: &Listing) -> Result<Option<TablePart>, TrainerError> {
        let provenance = self.provenance.as_deref().unwrap_or_default();
        let provenance: Value = serde_json::from_str(provenance).unwrap_or_default();
        let recorded = HeldOut::deserialize(&provenance["data"]["held_out"]).ok();
        let Some(recorded) = recorded.filter(|_| listing.holds_out()) else {
            return Ok(None);
        };
        if recorded != held_out(listing.given(), recorded.seed) {
            return Ok(None);
        }
        let (_, part) = listing.open_split(VALIDATION_SHARE, recorded.seed)?;
        let is_same = provenance["data"]["val_images"] == part.images.len()
            && self.classes.as_deref() == Some(part.images.classes());
        Ok(is_same.then_some(part))
    }

    /// Returns the images of a folder with the model's own labels.
    fn labelled(&self, folder: &Path) -> Result<ImageFolder, TrainerError> {
        let count = self.classifier.num_classes();
        if self.classes.is_some() {
            let options = ScanOptions {
                classes: self.classes.clone(),
                ..ScanOptions::default()
            };
            return Ok(ImageFolder::open_with(folder, &options)?);
        }
        let scanned = ImageFolder::open(folder)?;
        if scanned.classes().len() == count {
            return Ok(scanned);
        }
        Err(TrainerError::UnusableData {
            what: show(folder),
            found: format!(
                "{} class folders, but the model has {count} classes and its file names none",
                scanned.classes().len()
            ),
            advice: "give a folder with the classes that the model was trained on",
        })
    }
}

impl Answer {
    /// Returns the `count` most probable classes with their probabilities; none where the file couldn't be read.
    pub fn top(&self, count: usize) -> Vec<(usize, f32)> {
        let Ok(probabilities) = &self.probabilities else {
            return Vec::new();
        };
        let mut order = ranked(probabilities);
        order.truncate(count);
        order
    }
}

/// Returns every image that is named or lies in a named folder, at any depth.
///
/// # Errors
///
/// Those of scanning a folder; a file is taken as it is.
pub fn image_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TrainerError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let folder = ImageFolder::flat(path)?;
            found.extend(folder.samples().iter().map(|sample| sample.path.clone()));
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

/// Returns the file itself, or the best weights of a run directory.
///
/// # Errors
///
/// [`TrainerError::NotARunDirectory`] for another folder.
pub fn weights_file(path: impl AsRef<Path>) -> Result<PathBuf, TrainerError> {
    let path = path.as_ref();
    if path.is_dir() {
        return Ok(RunDirectory::open(path)?.best_weights_path());
    }
    Ok(path.to_path_buf())
}
