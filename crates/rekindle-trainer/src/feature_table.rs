//! Extracts features or logits for every image in a folder, as a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_files::names::{escape, show};
use rekindle_imagefolder::{ImageDataset, ImageFolder, Skipped};
use rekindle_models::Pretrained;
use rekindle_transfer::{Backbone, Classifier};
use rekindle_weights::{TensorOut, write_safetensors};

use crate::calibration::{calibration, prefix};
use crate::data::eval_pipeline;
use crate::inspect::inspect_by;
use crate::{Interrupt, TrainerError};

/// Threads that decode the images to measure ranges on.
const WORKERS: usize = 2;

/// The numbers of the network that go into the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeatureLayer {
    /// The head's input: the last stage, averaged over the picture.
    #[default]
    Pooled,
    /// The classifier's logits.
    Logits,
}

/// One row per image, in the folder's order; files that can't be decoded have none.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureTable {
    /// The kind of numbers.
    pub layer: FeatureLayer,
    /// `[n, width]`, row-major.
    pub values: Vec<f32>,
    /// Numbers per row.
    pub width: usize,
    /// An index into `classes` for each row; none in a folder without classes.
    pub labels: Vec<Option<usize>>,
    /// Each row's file, relative to the folder.
    pub paths: Vec<PathBuf>,
    /// The folder's classes.
    pub classes: Vec<String>,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
}

impl FeatureTable {
    /// Runs every image of `folder` through the network; `progress` hears how many more are done.
    ///
    /// # Errors
    ///
    /// [`TrainerError::UnusableWeights`] for logits of weights without a classifier, [`TrainerError::UnusableData`] where no
    /// image can be read.
    pub fn compute(
        pretrained: &Pretrained,
        folder: &ImageFolder,
        layer: FeatureLayer,
        progress: impl FnMut(usize),
    ) -> Result<Self, TrainerError> {
        let interrupt = Interrupt::new();
        Self::compute_until(pretrained, folder, layer, false, &interrupt, progress)
    }

    /// Computes features like [`compute`](Self::compute), in eight bits, with ranges measured on up to 64
    /// images of the folder: on a CPU two to four times as fast, and slightly inexact, see
    /// [`Network::quantize_stages`](rekindle_nn::Network::quantize_stages).
    ///
    /// # Errors
    ///
    /// As [`compute`](Self::compute), and [`TransferError::NotQuantizable`](rekindle_transfer::TransferError::NotQuantizable)
    /// where the network can't run so.
    pub fn compute_quantized(
        pretrained: &Pretrained,
        folder: &ImageFolder,
        layer: FeatureLayer,
        progress: impl FnMut(usize),
    ) -> Result<Self, TrainerError> {
        let interrupt = Interrupt::new();
        Self::compute_until(pretrained, folder, layer, true, &interrupt, progress)
    }

    /// Computes features like [`compute`](Self::compute), or in eight bits with `quantize`, unless
    /// `interrupt` is requested between two batches.
    ///
    /// # Errors
    ///
    /// As [`compute_quantized`](Self::compute_quantized), and [`TrainerError::Interrupted`].
    pub fn compute_until(
        pretrained: &Pretrained,
        folder: &ImageFolder,
        layer: FeatureLayer,
        quantize: bool,
        interrupt: &Interrupt,
        progress: impl FnMut(usize),
    ) -> Result<Self, TrainerError> {
        let (backbone, head) = pretrained.model.clone().split_classifier();
        if layer == FeatureLayer::Logits && head.is_none() {
            return Err(TrainerError::UnusableWeights {
                what: show(&pretrained.path),
                found: "these weights have no classifier, so there are no logits".into(),
                advice: "extract pooled features, or give weights with a classifier",
            });
        }
        let classifier = match head {
            Some(head) => Classifier { backbone, head },
            None => {
                let device = backbone.device();
                Classifier::new(backbone, 1, 0, &device)
            }
        };
        let pipeline = eval_pipeline(&pretrained.preprocess);
        let dataset = Arc::new(ImageDataset::new(folder, pipeline.clone())?);
        let backbone = &classifier.backbone;
        let stages = backbone.stage_names().len();
        let images = quantize
            .then(|| calibration(&dataset, pipeline, WORKERS, &backbone.device()))
            .transpose()?;
        let whole = prefix(backbone, stages, images.as_deref())?;
        let found = inspect_by(&classifier, &whole, &dataset, |_| true, interrupt, progress)?;
        if found.indices.is_empty() {
            return Err(TrainerError::UnusableData {
                what: show(folder.root()),
                found: format!("none of its {} images can be read", folder.len()),
                advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
            });
        }
        let values = match layer {
            FeatureLayer::Pooled => found.features,
            FeatureLayer::Logits => found.logits,
        };
        let samples = found.indices.iter().map(|index| &folder.samples()[*index]);
        let relative = |path: &Path| {
            path.strip_prefix(folder.root())
                .unwrap_or(path)
                .to_path_buf()
        };
        Ok(Self {
            layer,
            width: values.len() / found.indices.len(),
            values,
            labels: samples.clone().map(|sample| sample.label).collect(),
            paths: samples.map(|sample| relative(&sample.path)).collect(),
            classes: folder.classes().to_vec(),
            skipped: found.skipped,
        })
    }

    /// Writes the table as safetensors: `features` or `logits` `[n, width]` (f32) and `labels` `[n]` (i64, -1
    /// without classes); the metadata has `paths` ([escaped](rekindle_files::names::escape)) and `classes` as JSON lists, and `architecture`,
    /// `weights_sha256` and `preprocess` of `pretrained`.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn save(
        &self,
        path: impl AsRef<Path>,
        pretrained: &Pretrained,
    ) -> Result<(), TrainerError> {
        let count = self.labels.len();
        let labels = self.labels.iter();
        let labels: Vec<i64> = labels
            .map(|label| label.map_or(-1, |label| label as i64))
            .collect();
        let name = match self.layer {
            FeatureLayer::Pooled => "features",
            FeatureLayer::Logits => "logits",
        };
        let paths: Vec<String> = self.paths.iter().map(escape).collect();
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        let metadata = [
            ("paths", json(serde_json::to_string(&paths))),
            ("classes", json(serde_json::to_string(&self.classes))),
            ("architecture", pretrained.architecture.clone()),
            ("weights_sha256", pretrained.sha256.clone()),
            (
                "preprocess",
                json(serde_json::to_string(&pretrained.preprocess)),
            ),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_string(), value));
        let tensors = vec![
            TensorOut::f32(name, [count, self.width], &self.values),
            TensorOut::i64("labels", [count], &labels),
        ];
        Ok(write_safetensors(path, tensors, &metadata.into())?)
    }
}
