//! Pooled features of labelled images by a frozen network.

use std::time::Instant;

use rekindle_imagefolder::ImageDataset;
use rekindle_nn::Network;
use rekindle_transfer::features::{Features, LinearHead};

use crate::TrainerError;
use crate::activations::{FrozenPart, Views};
use crate::events::Event;
use crate::recipe::Cache;

/// Features of the images that could be read.
pub(crate) struct Pooled {
    pub features: Features,
    /// Of no meaning where images have several labels.
    pub labels: Vec<usize>,
    /// Targets `[n, labels]` where images have several labels; else empty.
    pub targets: Vec<f32>,
    /// Positions in the data set.
    pub indices: Vec<usize>,
}

impl Pooled {
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

/// Sends the images' one plain view through `part`, telling `emit` how far it is.
pub(crate) fn pooled(
    part: &FrozenPart<Network>,
    views: &Views<'_>,
    cache: &Cache,
    name: &str,
    emit: &mut dyn FnMut(&Event),
) -> Result<Pooled, TrainerError> {
    let dataset = views.dataset;
    let begun = Instant::now();
    emit(&Event::PhaseStarted {
        name: name.to_string(),
        items: Some(dataset.len()),
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
    let (mut values, mut labels, mut indices) = (Vec::new(), Vec::new(), Vec::new());
    let mut targets = Vec::new();
    for index in activations.usable() {
        let own = dataset.targets_of(index);
        targets.extend_from_slice(own.unwrap_or_default());
        if let Some(label) = own.map(|_| 0).or(dataset.labels()[index]) {
            values.extend_from_slice(&activations.row(index, 0)?);
            labels.push(label);
            indices.push(index);
        }
    }
    if indices.is_empty() {
        return Err(TrainerError::UnusableData {
            what: name.to_string(),
            found: "not one image that can be read".into(),
            advice: "run a scan of the folder: it lists every bad file and its reason",
        });
    }
    Ok(Pooled {
        features: Features::new(values, activations.shape().iter().product())?,
        labels,
        targets,
        indices,
    })
}

/// Splits a network into its features and its classifier, as a head for these.
pub(crate) fn split(model: Network) -> (Network, Option<LinearHead>) {
    let (model, head) = model.split_classifier();
    (model, head.map(|head| LinearHead::of(&head)))
}
