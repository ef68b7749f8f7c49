//! Training and validation images of one task.

use std::path::Path;
use std::sync::Arc;

use rekindle_imagefolder::{Ignored, ImageDataset, ImageFolder, Pipeline};
use rekindle_resnet::Preprocess;
use serde_json::{Value, json};

use crate::{TrainerError, text};

/// Share of a folder without `train` and `val` that is held out for validation.
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
}

impl TransferData {
    /// Opens a folder of images: with `train` and `val` inside it (or `valid`, `validation`, `test`), or
    /// with one folder a class, of which a fifth is held out, stratified by class and by `seed`.
    ///
    /// Training images go through a random resized crop and a horizontal flip, validation images through
    /// `preprocess`, as in PyTorch's tutorial.
    ///
    /// # Errors
    ///
    /// Those of scanning, and [`TrainerError::UnusableData`] with fewer than two classes.
    pub fn open(
        folder: impl AsRef<Path>,
        preprocess: &Preprocess,
        seed: u64,
    ) -> Result<Self, TrainerError> {
        let folder = folder.as_ref();
        let mut left_out = Vec::new();
        let (train, val) = if folder.join("train").is_dir() {
            ImageFolder::open_train_val(folder)?
        } else {
            let whole = ImageFolder::open(folder)?;
            left_out.extend_from_slice(whole.ignored());
            whole.split(VALIDATION_SHARE, seed)?
        };
        let mut data = Self::from_folders(&train, &val, preprocess)?;
        data.left_out.append(&mut left_out);
        data.description["folder"] = json!(folder);
        Ok(data)
    }

    /// Two folders that are scanned already.
    ///
    /// # Errors
    ///
    /// [`TrainerError::UnusableData`] with fewer than two classes, or classes that differ.
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
        })
    }
}

/// Random resized crop, flip, normalise: the augmentation of PyTorch's tutorial.
pub fn train_pipeline(preprocess: &Preprocess) -> Pipeline {
    Pipeline::imagenet_train(preprocess.crop as u32, preprocess.mean, preprocess.std)
}

/// Resize, centre crop, normalise: what the weights were evaluated with.
pub fn eval_pipeline(preprocess: &Preprocess) -> Pipeline {
    Pipeline::imagenet_eval(
        preprocess.resize as u32,
        preprocess.crop as u32,
        preprocess.mean,
        preprocess.std,
    )
}
