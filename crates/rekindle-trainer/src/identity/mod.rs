//! Identifies the pictures of a run: place, class and content of each.

mod changes;

pub use changes::DataChanges;

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_files::names;
use rekindle_imagefolder::{ContentHash, ImageDataset, Task};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::TransferData;

/// Every picture of a data set, computed from the pictures themselves: the content of `data.jsonl` in a run directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataList {
    /// Class names, in the order of the logits.
    pub classes: Vec<String>,
    /// Training and validation images in their order, training first.
    pub images: Vec<ImageRecord>,
}

/// One picture of a data set: a line of `data.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Part of the data set it belongs to.
    pub part: Part,
    /// The file from the folder on that was scanned, [escaped](rekindle_files::names), with `/` between folders; `#` and a position for a picture that
    /// never was a file.
    pub path: String,
    /// Its class's name, or its labels with `; ` between them, or its numbers; none for a picture without a label.
    pub class: Option<String>,
    /// How much it counts, where the data set says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// SHA-256 of the file; none where it could not be read.
    pub sha256: Option<ContentHash>,
}

/// The parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Images to learn from.
    Train,
    /// Images to measure by.
    Val,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
        }
    }
}

/// A [`DataList`] as one hash, with one for each part: what `run.json` holds as `data.identity`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataIdentity {
    /// SHA-256 over the class names and the hashes below.
    pub sha256: String,
    /// SHA-256 over path, class and content of every training image, in their order.
    pub train: String,
    /// The same of the validation images.
    pub val: String,
}

impl DataList {
    /// Reads every picture of `data`, on all processors.
    pub fn of(data: &TransferData) -> Self {
        let mut images = part(&data.train, Part::Train);
        images.extend(part(&data.val, Part::Val));
        Self {
            classes: data.classes.clone(),
            images,
        }
    }

    /// Returns the list as one hash.
    pub fn identity(&self) -> DataIdentity {
        let of_part = |part: Part| {
            let mut hasher = Sha256::new();
            for image in self.images.iter().filter(|image| image.part == part) {
                text(&mut hasher, Some(&image.path));
                text(&mut hasher, image.class.as_deref());
                if image.weight.is_some() {
                    text(&mut hasher, image.weight.as_deref());
                }
                match &image.sha256 {
                    Some(content) => hasher.update(content.bytes()),
                    None => text(&mut hasher, None),
                }
            }
            hexadecimal(hasher)
        };
        let (train, val) = (of_part(Part::Train), of_part(Part::Val));
        let mut hasher = Sha256::new();
        for name in self.classes.iter().chain([&train, &val]) {
            text(&mut hasher, Some(name));
        }
        DataIdentity {
            sha256: hexadecimal(hasher),
            train,
            val,
        }
    }

    /// Returns the differences from the pictures of `before`.
    pub fn changes_since(&self, before: &Self) -> DataChanges {
        DataChanges::between(before, self)
    }

    fn by_place(&self) -> BTreeMap<(Part, &str), &ImageRecord> {
        self.images
            .iter()
            .map(|image| ((image.part, image.path.as_str()), image))
            .collect()
    }
}

fn part(dataset: &ImageDataset, part: Part) -> Vec<ImageRecord> {
    let contents = dataset.contents().into_iter().enumerate();
    let record = |(index, content): (usize, Result<ContentHash, _>)| ImageRecord {
        part,
        path: match dataset.relative_path(index) {
            Some(path) => portable(path),
            None => format!("#{index}"),
        },
        class: label(dataset, index),
        weight: dataset.weights().map(|weights| weights[index].to_string()),
        sha256: content.ok(),
    };
    contents.map(record).collect()
}

/// What a picture is to be recognised as, as text.
fn label(dataset: &ImageDataset, index: usize) -> Option<String> {
    let names = dataset.classes();
    let Some(targets) = dataset.targets_of(index) else {
        return dataset.labels()[index].map(|label| names[label].clone());
    };
    let said: Vec<String> = match dataset.task() {
        Task::Regression => targets.iter().map(f32::to_string).collect(),
        _ => {
            let marked = names
                .iter()
                .zip(targets)
                .filter(|(_, target)| **target > 0.5);
            marked.map(|(name, _)| name.clone()).collect()
        }
    };
    Some(said.join("; "))
}

/// A relative path as text, with `/` between its parts on every system.
fn portable(path: &Path) -> String {
    let parts = path.components().map(names::escape);
    parts.collect::<Vec<_>>().join("/")
}

/// Feeds a text with its length, so that two texts don't run into each other.
fn text(hasher: &mut Sha256, text: Option<&str>) {
    hasher.update(
        text.map_or(u64::MAX, |text| text.len() as u64)
            .to_le_bytes(),
    );
    hasher.update(text.unwrap_or_default());
}

fn hexadecimal(hasher: Sha256) -> String {
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
