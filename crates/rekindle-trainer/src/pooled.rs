//! Pooled features of labelled images by a frozen network.

use std::time::Instant;

use rekindle_imagefolder::{ImageDataset, Task};
use rekindle_nn::Network;
use rekindle_transfer::features::{Features, LinearHead};

use crate::TrainerError;
use crate::activations::{FrozenPart, Views};
use crate::events::Event;
use crate::feed::Activations;
use crate::recipe::Cache;

/// Features of the images that could be read.
pub(crate) struct Pooled {
    pub features: Features,
    /// What is to be learned.
    pub task: Task,
    /// Of no meaning where images have several labels or numbers.
    pub labels: Vec<usize>,
    /// Targets `[n, labels]` where images have several labels, or numbers; else empty.
    pub targets: Vec<f32>,
    /// Positions in the data set.
    pub indices: Vec<usize>,
}

impl Pooled {
    /// Returns the images at these rows, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let width = self.targets.len() / self.labels.len().max(1);
        let targets = |row: &usize| &self.targets[row * width..(row + 1) * width];
        Self {
            features: self.features.select(rows),
            task: self.task,
            labels: rows.iter().map(|row| self.labels[*row]).collect(),
            targets: rows.iter().flat_map(targets).copied().collect(),
            indices: rows.iter().map(|row| self.indices[*row]).collect(),
        }
    }

    /// The weights of these images, where `dataset`, whose they are, has some.
    pub fn weights(&self, dataset: &ImageDataset) -> Option<Vec<f64>> {
        let weights = dataset.weights()?;
        let of = |index: &usize| f64::from(weights[*index]);
        Some(self.indices.iter().map(of).collect())
    }

    /// The groups of these images, likewise.
    pub fn groups(&self, dataset: &ImageDataset) -> Option<Vec<usize>> {
        let groups = dataset.groups()?;
        Some(self.indices.iter().map(|index| groups[*index]).collect())
    }
}

/// Sends the images' one plain view through `part`, telling `emit` how far it is; keeps those with a label.
pub(crate) fn pooled(
    part: &FrozenPart<Network>,
    views: &Views<'_>,
    cache: &Cache,
    name: &str,
    emit: &mut dyn FnMut(&Event),
) -> Result<Pooled, TrainerError> {
    let dataset = views.dataset;
    let is_labelled =
        |index: usize| dataset.targets_of(index).is_some() || dataset.labels()[index].is_some();
    let activations = kept(part, views, cache, name, emit)?;
    let indices = readable(&activations, name, &is_labelled)?;
    let own = |index: &usize| dataset.targets_of(*index).unwrap_or_default();
    Ok(Pooled {
        features: rows(&activations, &indices)?,
        task: dataset.task(),
        labels: indices
            .iter()
            .map(|index| dataset.labels()[*index].unwrap_or(0))
            .collect(),
        targets: indices.iter().flat_map(own).copied().collect(),
        indices,
    })
}

/// Sends the images' one plain view through `part`, telling `emit` how far it is and which files are bad.
pub(crate) fn kept(
    part: &FrozenPart<Network>,
    views: &Views<'_>,
    cache: &Cache,
    name: &str,
    emit: &mut dyn FnMut(&Event),
) -> Result<Activations, TrainerError> {
    let begun = Instant::now();
    emit(&Event::PhaseStarted {
        name: name.to_string(),
        items: Some(views.dataset.len()),
    });
    let mut done = 0;
    let activations = part.activations(views, cache, |count| {
        done += count;
        emit(&Event::PhaseAdvanced { done });
    })?;
    emit(&Event::PhaseEnded {
        name: name.to_string(),
        seconds: begun.elapsed().as_secs_f64(),
    });
    for file in activations.skipped() {
        let (path, reason) = (file.path.clone(), file.reason.clone());
        emit(&Event::SkippedFile { path, reason });
    }
    Ok(activations)
}

/// Positions of the images that have features and for which `keep` says so: at least one.
pub(crate) fn readable(
    activations: &Activations,
    name: &str,
    keep: &dyn Fn(usize) -> bool,
) -> Result<Vec<usize>, TrainerError> {
    let indices: Vec<usize> = activations.usable().filter(|index| keep(*index)).collect();
    if indices.is_empty() {
        return Err(TrainerError::UnusableData {
            what: name.to_string(),
            found: match activations.skipped().next() {
                None => "not one image that can be read".into(),
                Some(first) => format!(
                    "not one image that can be read (the first: {})",
                    first.reason
                ),
            },
            advice: "give pictures that can be read; `rekindle verify` lists every bad file of a folder and its reason",
        });
    }
    Ok(indices)
}

/// The features of some images, in that order.
pub(crate) fn rows(activations: &Activations, indices: &[usize]) -> Result<Features, TrainerError> {
    let dim = activations.shape().iter().product();
    let mut values = Vec::with_capacity(indices.len() * dim);
    for index in indices {
        values.extend_from_slice(&activations.row(*index, 0)?);
    }
    Ok(Features::new(values, dim)?)
}

/// Splits a network into its features and its classifier, as a head for these.
pub(crate) fn split(model: Network) -> (Network, Option<LinearHead>) {
    let (model, head) = model.split_classifier();
    (model, head.map(|head| LinearHead::of(&head)))
}
