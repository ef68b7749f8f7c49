//! Training and validation images of one task.

mod checks;

use std::path::Path;
use std::sync::Arc;

use rekindle_files::names::escape;
use rekindle_imagefolder::{
    Augmentation, Ignored, ImageDataset, ImageFolder, Listing, Pipeline, TablePart, Task,
};
use rekindle_models::Preprocess;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use checks::refuse_unreadable;
use checks::{nothing_to_read, unreadable, warnings};

use crate::{TargetScale, TrainerError, text};

/// Share of a folder without a validation part that is held out for validation.
pub const VALIDATION_SHARE: f64 = 0.2;

/// Class names shown in an error.
const SHOWN: usize = 10;

/// Bytes of decoded pictures that are kept, so that small sets are decoded once.
const DECODED_CACHE: usize = 512 << 20;

/// Training and validation images with the same classes.
#[derive(Clone)]
pub struct TransferData {
    /// Augmented, to learn from.
    pub train: Arc<ImageDataset>,
    /// Plain, to measure by.
    pub val: Arc<ImageDataset>,
    /// Names in the order of the logits.
    pub classes: Vec<String>,
    /// Preprocessing of pictures in validation.
    pub preprocess: Preprocess,
    /// Origin of the images and their number, for `run.json`.
    pub description: Value,
    /// Files and folders that the scan left out, and why.
    pub left_out: Vec<Ignored>,
    /// Where [`open`](Self::open) found the images; its text says so in one line.
    pub layout: Option<Listing>,
    /// What [`open`](Self::open) noticed that makes results doubtful, one sentence each: images in training and
    /// validation alike, images under two classes, classes that validation lacks.
    pub warnings: Vec<String>,
    /// Mean and deviation of the training images' numbers, where numbers are learned.
    pub target_scale: Option<TargetScale>,
}

/// Where the description has the scale of the numbers.
const TARGET_SCALE: &str = "target_scale";

impl TransferData {
    /// Opens a folder of images, wherever [`Layout::find`](rekindle_imagefolder::Layout::find) finds its training and
    /// validation part, or a [table](rekindle_imagefolder::ImageTable) of them. Without a
    /// validation part a fifth is held out, stratified by class and by `seed`.
    ///
    /// Training images go through a random resized crop and a horizontal flip, validation images through
    /// `preprocess`, as in PyTorch's tutorial.
    ///
    /// # Errors
    ///
    /// Those of scanning, and [`TrainerError::UnusableData`] with fewer than two classes, where not one image of a
    /// class can be read, or none to validate on.
    pub fn open(
        folder: impl AsRef<Path>,
        preprocess: &Preprocess,
        seed: u64,
    ) -> Result<Self, TrainerError> {
        Self::from_listing(&Listing::open(folder)?, preprocess, seed)
    }

    /// Opens images that are listed already, such as by a table that is read with options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_listing(
        listing: &Listing,
        preprocess: &Preprocess,
        seed: u64,
    ) -> Result<Self, TrainerError> {
        let (train, val) = listing.open_split(VALIDATION_SHARE, seed)?;
        let mut data = Self::from_parts(&train, &val, preprocess)?;
        data.warnings = warnings(&train, &val, &preprocess.into());
        let place = listing.given();
        match listing.table().filter(|table| !table.is_folder()) {
            None => data.description["folder"] = json!(escape(place)),
            Some(table) => {
                data.description["table"] = json!({
                    "file": escape(place),
                    "options": table.options(),
                });
            }
        }
        data.description["layout"] = json!(listing.to_string());
        if listing.holds_out() {
            data.description["held_out"] = json!(held_out(place, seed));
        }
        data.layout = Some(listing.clone());
        Ok(data)
    }

    /// Two folders that are scanned already.
    ///
    /// # Errors
    ///
    /// [`TrainerError::UnusableData`] with fewer than two classes or classes that differ, where not one image of a
    /// class can be read, or none to validate on.
    pub fn from_folders(
        train: &ImageFolder,
        val: &ImageFolder,
        preprocess: &Preprocess,
    ) -> Result<Self, TrainerError> {
        Self::from_parts(&train.clone().into(), &val.clone().into(), preprocess)
    }

    /// Two parts of a listing, with their targets; the weights count in training alone.
    ///
    /// # Errors
    ///
    /// As [`from_folders`](Self::from_folders).
    pub fn from_parts(
        train: &TablePart,
        val: &TablePart,
        preprocess: &Preprocess,
    ) -> Result<Self, TrainerError> {
        let dataset = |part: &TablePart, pipeline| {
            part.dataset(pipeline)
                .map(|set| set.cache_bytes(DECODED_CACHE))
        };
        let unweighted = TablePart {
            weights: None,
            ..val.clone()
        };
        let data = Self::from_datasets(
            dataset(train, train_pipeline(preprocess))?,
            dataset(&unweighted, eval_pipeline(preprocess))?,
            preprocess,
        )?;
        let (train, val) = (&train.images, &val.images);
        let options = preprocess.into();
        refuse_unreadable(train, &options)?;
        let dark = unreadable(val, &options);
        let counts = val.class_counts();
        let measured = counts.iter().filter(|count| **count > 0).count();
        if measured == dark.len() && data.val.task().is_single_label() {
            return Err(nothing_to_read("validation images", dark.first()));
        }
        Ok(Self {
            left_out: [train.ignored(), val.ignored()].concat(),
            ..data
        })
    }

    /// Data sets with pipelines of their own.
    ///
    /// # Errors
    ///
    /// As [`from_folders`](Self::from_folders).
    pub fn from_datasets(
        train: ImageDataset,
        val: ImageDataset,
        preprocess: &Preprocess,
    ) -> Result<Self, TrainerError> {
        if train.task() != val.task() {
            return Err(TrainerError::UnusableData {
                what: "validation images".into(),
                found: format!(
                    "the task is {}, but {} in training",
                    val.task(),
                    train.task()
                ),
                advice: "give both the same kind of labels",
            });
        }
        let classes = train.classes().to_vec();
        if train.task() == Task::Regression && classes.len() > 1 {
            return Err(TrainerError::UnusableData {
                what: "training images".into(),
                found: format!(
                    "{} numbers an image ({})",
                    classes.len(),
                    text::listed(&classes, SHOWN)
                ),
                advice: "give one: a network is trained for one number an image",
            });
        }
        let target_scale = TargetScale::of_dataset(&train)?;
        let least = match train.task() {
            Task::SingleLabel | Task::Ordinal => 2,
            Task::MultiLabel | Task::Regression => 1,
        };
        if classes.len() < least {
            return Err(TrainerError::UnusableData {
                what: "training images".into(),
                found: text::counted(classes.len(), "class", "classes"),
                advice: "put the images into one folder per class, at least two",
            });
        }
        if val.classes() != classes {
            return Err(TrainerError::UnusableData {
                what: "validation images".into(),
                found: format!(
                    "the classes are {}, but those of training {}",
                    text::listed(val.classes(), SHOWN),
                    text::listed(&classes, SHOWN)
                ),
                advice: "use the same class folders in both",
            });
        }
        let mut description = json!({
            "train_images": train.len(),
            "val_images": val.len(),
            "classes": classes,
            "train_counts": train.class_counts(),
            "val_counts": val.class_counts(),
        });
        if train.task() != Task::SingleLabel {
            description["task"] = json!(train.task());
        }
        if let Some(scale) = target_scale {
            description[TARGET_SCALE] = json!(scale);
        }
        Ok(Self {
            train: Arc::new(train),
            val: Arc::new(val),
            classes,
            preprocess: preprocess.clone(),
            description,
            left_out: Vec::new(),
            layout: None,
            warnings: Vec::new(),
            target_scale,
        })
    }

    /// Takes the scale of the numbers from the record of a run in place of that of the present images, where it has one.
    pub(crate) fn keep_scale(&mut self, recorded: &Value) {
        let recorded = TargetScale::deserialize(&recorded[TARGET_SCALE]).ok();
        if let (Some(scale), Some(_)) = (recorded, self.target_scale) {
            self.target_scale = Some(scale);
            self.description[TARGET_SCALE] = json!(scale);
        }
    }

    /// What is to be learned of the images.
    pub fn task(&self) -> Task {
        self.train.task()
    }

    /// The task as files of weights say it: not at all for one class a picture.
    pub(crate) fn task_in_file(&self) -> Option<String> {
        (self.task() != Task::SingleLabel).then(|| self.task().to_string())
    }

    /// The same images as a network of another preprocessing sees them, in training and in validation as
    /// [`open`](Self::open) has it.
    ///
    /// # Errors
    ///
    /// Those of a preprocessing out of range.
    pub fn seen_by(&self, preprocess: &Preprocess) -> Result<Self, TrainerError> {
        if *preprocess == self.preprocess {
            return Ok(self.clone());
        }
        Ok(Self {
            train: Arc::new(self.train.with_pipeline(train_pipeline(preprocess))?),
            val: Arc::new(self.val.with_pipeline(eval_pipeline(preprocess))?),
            preprocess: preprocess.clone(),
            ..self.clone()
        })
    }

    /// Returns the same images with other random changes to those that are learnt from.
    ///
    /// # Errors
    ///
    /// Those of a preprocessing or a probability out of range.
    pub fn augmented(&self, augmentation: &Augmentation) -> Result<Self, TrainerError> {
        augmentation.validate()?;
        let pipeline = augmentation.pipeline(&self.preprocess);
        Ok(Self {
            train: Arc::new(self.train.with_pipeline(pipeline)?),
            ..self.clone()
        })
    }
}

/// The part of a folder that was held out, by the folder's own place in the file system and the seed.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldOut {
    pub folder: String,
    pub seed: u64,
}

pub(crate) fn held_out(folder: &Path, seed: u64) -> HeldOut {
    let place = folder.canonicalize();
    HeldOut {
        folder: escape(place.as_deref().unwrap_or(folder)),
        seed,
    }
}

/// Random resized crop, flip, normalise: the augmentation of PyTorch's tutorial.
pub fn train_pipeline(preprocess: &Preprocess) -> Pipeline {
    Pipeline::imagenet_train(preprocess)
}

/// Resize, centre crop, normalise: what the weights were evaluated with.
pub fn eval_pipeline(preprocess: &Preprocess) -> Pipeline {
    Pipeline::imagenet_eval(preprocess)
}
