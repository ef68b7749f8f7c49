//! Training and validation images of one task.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use rekindle_files::names::{escape, printable, show};
use rekindle_imagefolder::{
    Augmentation, DecodeOptions, Ignored, ImageDataset, ImageFolder, Layout, Pipeline, decode_file,
    same_files,
};
use rekindle_models::Preprocess;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{TrainerError, text};

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
    /// What pictures go through in validation.
    pub preprocess: Preprocess,
    /// Where the images come from and how many there are, for `run.json`.
    pub description: Value,
    /// Files and folders that the scan left out, and why.
    pub left_out: Vec<Ignored>,
    /// Where [`open`](Self::open) found the images; its text says so in one line.
    pub layout: Option<Layout>,
    /// What [`open`](Self::open) noticed that makes results doubtful, one sentence each: images in training and
    /// validation alike, images under two classes, classes that validation lacks.
    pub warnings: Vec<String>,
}

impl TransferData {
    /// Opens a folder of images, wherever [`Layout::find`] finds its training and validation part. Without a
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
        let folder = folder.as_ref();
        let layout = Layout::find(folder)?;
        let (train, val) = layout.open_split(VALIDATION_SHARE, seed)?;
        let mut data = Self::from_folders(&train, &val, preprocess)?;
        data.warnings = warnings(&train, &val);
        data.description["folder"] = json!(escape(folder));
        data.description["layout"] = json!(layout.to_string());
        if layout.holds_out() {
            data.description["held_out"] = json!(held_out(folder, seed));
        }
        data.layout = Some(layout);
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
        let dataset = |folder: &ImageFolder, pipeline| {
            ImageDataset::new(folder, pipeline).map(|set| set.cache_bytes(DECODED_CACHE))
        };
        let data = Self::from_datasets(
            dataset(train, train_pipeline(preprocess))?,
            dataset(val, eval_pipeline(preprocess))?,
            preprocess,
        )?;
        refuse_unreadable(train)?;
        let dark = unreadable(val);
        let counts = val.class_counts();
        if counts.iter().filter(|count| **count > 0).count() == dark.len() {
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
        let classes = train.classes().to_vec();
        if classes.len() < 2 {
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
        let description = json!({
            "train_images": train.len(),
            "val_images": val.len(),
            "classes": classes,
            "train_counts": train.class_counts(),
            "val_counts": val.class_counts(),
        });
        Ok(Self {
            train: Arc::new(train),
            val: Arc::new(val),
            classes,
            preprocess: preprocess.clone(),
            description,
            left_out: Vec::new(),
            layout: None,
            warnings: Vec::new(),
        })
    }
}

impl TransferData {
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
}

impl TransferData {
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

/// A class of which not one image can be read.
struct Unreadable {
    class: String,
    images: usize,
    /// Why its first image can't be.
    reason: String,
}

/// Refuses training images of which one class has none that can be read: nothing could be learned of it.
pub(crate) fn refuse_unreadable(train: &ImageFolder) -> Result<(), TrainerError> {
    match unreadable(train).first() {
        None => Ok(()),
        first => Err(nothing_to_read("training images", first)),
    }
}

/// The classes without one readable image, in label order. One image of each is decoded, more only where that fails.
fn unreadable(folder: &ImageFolder) -> Vec<Unreadable> {
    let mut files: Vec<Vec<&Path>> = vec![Vec::new(); folder.classes().len()];
    for sample in folder.samples() {
        if let Some(label) = sample.label {
            files[label].push(&sample.path);
        }
    }
    let dark = |(files, class): (&Vec<&Path>, &String)| {
        let mut first = None;
        for path in files {
            match decode_file(path, &DecodeOptions::default()) {
                Ok(_) => return None,
                Err(error) => first.get_or_insert(error.to_string()),
            };
        }
        first.map(|reason| Unreadable {
            class: class.clone(),
            images: files.len(),
            reason,
        })
    };
    let classes = files.par_iter().zip(folder.classes());
    classes.filter_map(dark).collect()
}

fn nothing_to_read(what: &str, class: Option<&Unreadable>) -> TrainerError {
    TrainerError::UnusableData {
        what: what.to_string(),
        found: match class {
            None => "there are none".to_string(),
            Some(found) => format!(
                "none of the {} of class {} can be read (the first is {})",
                text::counted(found.images, "image", "images"),
                printable(&found.class),
                found.reason
            ),
        },
        advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
    }
}

/// What is cheap to find out and makes results doubtful.
fn warnings(train: &ImageFolder, val: &ImageFolder) -> Vec<String> {
    let mut warnings = Vec::new();
    let same = same_files(&[("training", train), ("validation", val)]);
    let example = |files: &[rekindle_imagefolder::DuplicateFile]| {
        let other = files
            .iter()
            .find(|file| (&file.split, &file.class) != (&files[0].split, &files[0].class));
        let other = other.unwrap_or(&files[0]);
        format!("{} and {}", show(&files[0].path), show(&other.path))
    };
    let across: Vec<_> = same.iter().filter(|found| found.across_splits).collect();
    if let Some(first) = across.first() {
        warnings.push(format!(
            "{} in training and in validation, which makes results too good (such as {})",
            text::counted(across.len(), "image", "images"),
            example(&first.files)
        ));
    }
    let conflicting: Vec<_> = same
        .iter()
        .filter(|found| found.conflicting_labels)
        .collect();
    if let Some(first) = conflicting.first() {
        warnings.push(format!(
            "{} in more than one class (such as {})",
            text::counted(conflicting.len(), "image", "images"),
            example(&first.files)
        ));
    }
    let dark: Vec<String> = unreadable(val).into_iter().map(|dark| dark.class).collect();
    let classes = val.classes().iter().zip(val.class_counts());
    let lacking: Vec<String> = classes
        .filter(|(class, count)| *count == 0 || dark.contains(class))
        .map(|(class, _)| printable(class))
        .collect();
    if !lacking.is_empty() {
        warnings.push(format!(
            "validation has no image that can be read of {}, so nothing is measured there",
            text::listed(&lacking, 12)
        ));
    }
    warnings
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
