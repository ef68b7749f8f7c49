//! A batch in the computer's memory, and on a device.

use std::path::PathBuf;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rekindle_files::names;
use serde::{Deserialize, Serialize};

use crate::content::ContentHash;

/// Images that share a size, in the computer's memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// Normalised values, `[n, channels, height, width]`.
    pub images: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// One class per image; -1 without.
    pub labels: Vec<i64>,
    /// Each image's position in the dataset.
    pub indices: Vec<usize>,
    /// Target probabilities `[n, classes]`, where images were mixed.
    pub soft_targets: Option<Vec<f32>>,
    /// Weight of each image, where the dataset has weights.
    pub weights: Option<Vec<f32>>,
    /// Hash of each image's file content, if the loader was asked to [compute it](crate::Loader::hash_contents).
    pub contents: Option<Vec<ContentHash>>,
    /// The batch's number in its epoch, from zero.
    pub number: usize,
    /// Images that were left out because their files are bad: of this batch, and of batches before it that did not come
    /// because none of their files can be used.
    pub skipped: Vec<Skipped>,
}

/// A file that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Position in the dataset.
    pub index: usize,
    /// The file.
    #[serde(with = "names::path")]
    pub path: PathBuf,
    /// The reason, for people; names the file.
    pub reason: String,
}

/// A batch as a network takes it.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// `[n, channels, height, width]`; 3 channels for RGB.
    pub images: Tensor<4>,
    /// Classes `[n]`; -1 without.
    pub targets: Tensor<1, Int>,
    /// Each image's position in the dataset.
    pub indices: Vec<usize>,
    /// Target probabilities `[n, classes]`, where images were mixed.
    pub soft_targets: Option<Tensor<2>>,
    /// Weights `[n]`, where the dataset has them.
    pub weights: Option<Tensor<1>>,
}

impl HostBatch {
    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Returns the number of channels of an image, 3 for RGB; 3 as well where there are no images.
    pub fn channels(&self) -> usize {
        let values = self
            .images
            .len()
            .checked_div(self.len() * self.height * self.width);
        values.unwrap_or(3)
    }

    /// Returns true if there are no images.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Moves the batch to a device; the images' buffer is handed over, not copied.
    #[allow(clippy::wrong_self_convention)] // by value, to hand the buffer over
    pub fn to_device(self, device: &Device) -> ImageBatch {
        let n = self.len();
        let shape = [n, self.channels(), self.height, self.width];
        let images = TensorData::new(self.images, shape);
        let soft_targets = self.soft_targets.map(|probabilities| {
            let classes = probabilities.len() / n.max(1);
            Tensor::from_data(TensorData::new(probabilities, [n, classes]), device)
        });
        let weights = self
            .weights
            .map(|weights| Tensor::from_data(TensorData::new(weights, [n]), device));
        ImageBatch {
            images: Tensor::from_data(images, device),
            targets: Tensor::<1, Int>::from_data(TensorData::new(self.labels, [n]), device),
            indices: self.indices,
            soft_targets,
            weights,
        }
    }
}
