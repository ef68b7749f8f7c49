//! Features or logits of every image in a folder, as a table.

use std::path::{Path, PathBuf};

use rekindle_files::names::escape;
use rekindle_imagefolder::Skipped;
use rekindle_models::Pretrained;
use rekindle_weights::{TensorOut, write_safetensors};

use crate::TrainerError;

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
    /// Images that went through the network; the features of the others were in the cache.
    pub computed: usize,
}

impl FeatureTable {
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
