//! Supplies batches: freshly decoded images, or cached activations.

use std::borrow::Cow;
use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_imagefolder::{Epoch, HostBatch, ImageDataset, Loader, Skipped, Task};

use rekindle_transfer::Entry;
use rekindle_transfer::features::{FeatureCache, Row, RowPlace};

use crate::TrainerError;
use crate::loss::Targets;

/// Images, or activations behind a frozen prefix, on their way into a classifier.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[n, channels, height, width]`, on a device without autodiff; of no meaning without `indices`.
    pub x: Tensor<4>,
    /// Entry at which `x` enters the classifier: [`Entry::IMAGES`] for images.
    pub start: Entry,
    /// Targets of the images.
    pub targets: Targets,
    /// Positions in the data set. Empty in one that comes last and only tells of skipped files.
    pub indices: Vec<usize>,
    /// The batch's number in its epoch, from 0; batches whose files are all bad count, but don't come.
    pub number: usize,
    /// Files that were left out because they are bad, since the batch before this one.
    pub skipped: Vec<Skipped>,
}

/// One batch after the other, once through the data.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Batch, TrainerError>> + 'a>;

/// A source of batches for training or validation.
pub enum Feed {
    /// Decoded and augmented anew in every epoch.
    Images(Loader),
    /// Activations that are computed already.
    Activations(ActivationFeed),
}

impl Feed {
    /// Batches per epoch.
    pub fn batches(&self) -> usize {
        match self {
            Feed::Images(loader) => loader.batches(),
            Feed::Activations(feed) => feed.images.div_ceil(feed.batch_size),
        }
    }

    /// Images per epoch.
    pub fn images(&self) -> usize {
        match self {
            Feed::Images(loader) => loader.dataset().len(),
            Feed::Activations(feed) => feed.images,
        }
    }

    /// Returns the images' data set.
    pub fn dataset(&self) -> &Arc<ImageDataset> {
        match self {
            Feed::Images(loader) => loader.dataset(),
            Feed::Activations(feed) => feed.loader.dataset(),
        }
    }

    /// Returns the batches of an epoch, counted from 0, on `device` (without autodiff).
    pub fn epoch(&self, epoch: usize, device: &Device) -> Batches<'_> {
        self.epoch_from(epoch, 0, device)
    }

    /// Starts an epoch like [`epoch`](Self::epoch), but at batch `first`, to go on where a run was interrupted.
    pub fn epoch_from(&self, epoch: usize, first: usize, device: &Device) -> Batches<'_> {
        let device = device.clone().without_autodiff();
        match self {
            Feed::Images(loader) => Box::new(ImageBatches {
                epoch: loader.epoch_from(epoch as u64, first),
                task: loader.dataset().task(),
                next: first,
                device,
            }),
            Feed::Activations(feed) => feed.epoch(epoch, first, device),
        }
    }
}

/// A loader's batches, and one without images where the last files were all skipped.
struct ImageBatches {
    epoch: Epoch,
    task: Task,
    next: usize,
    device: Device,
}

impl Iterator for ImageBatches {
    type Item = Result<Batch, TrainerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(batch) = self.epoch.next() {
            return Some(batch.map_err(TrainerError::from).and_then(|batch| {
                self.next = batch.number + 1;
                image_batch(batch, self.task, &self.device)
            }));
        }
        let skipped = self.epoch.take_skipped();
        (!skipped.is_empty()).then(|| {
            Ok(Batch {
                x: Tensor::zeros([1, 3, 1, 1], &self.device),
                start: Entry::IMAGES,
                targets: Targets::default(),
                indices: Vec::new(),
                number: self.next,
                skipped,
            })
        })
    }
}

pub(crate) fn image_batch(
    batch: HostBatch,
    task: Task,
    device: &Device,
) -> Result<Batch, TrainerError> {
    let shape = [batch.len(), batch.channels(), batch.height, batch.width];
    let labels = batch
        .labels
        .iter()
        .map(|label| usize::try_from(*label).unwrap_or(0))
        .collect();
    Ok(Batch {
        x: Tensor::from_data(TensorData::new(batch.images, shape), device),
        start: Entry::IMAGES,
        targets: Targets {
            labels,
            soft: batch.soft_targets,
            weights: batch.weights,
            task,
            positive_weights: None,
            class_shares: None,
        },
        indices: batch.indices,
        number: batch.number,
        skipped: batch.skipped,
    })
}

/// Activations of every usable image, in as many views as were kept, in memory or on disk.
#[derive(Debug)]
pub struct Activations {
    start: Entry,
    views: Vec<Arc<KeptView>>,
}

/// One view of every image.
#[derive(Debug)]
pub(crate) struct KeptView {
    pub cache: FeatureCache,
    /// Position of the activations for each image of the data set; none for a bad file.
    pub places: Vec<Option<RowPlace>>,
    /// Images that went through the frozen part, as opposed to those whose activations were there.
    pub computed: usize,
    /// The bad files.
    pub skipped: Vec<Skipped>,
}

impl KeptView {
    /// Returns the first so many numbers of each image's activations.
    pub fn columns(&self, columns: usize) -> Result<Self, TrainerError> {
        let mut cache = FeatureCache::in_memory();
        let mut places = Vec::with_capacity(self.places.len());
        for (index, place) in self.places.iter().enumerate() {
            let Some(place) = place else {
                places.push(None);
                continue;
            };
            let row = Row {
                content: index.to_string(),
                draw: None,
            };
            let values = self.cache.read(*place)?;
            cache.insert(row.clone(), &[columns, 1, 1], &values[..columns])?;
            places.push(cache.find(&row));
        }
        Ok(Self {
            cache,
            places,
            computed: self.computed,
            skipped: self.skipped.clone(),
        })
    }
}

impl Activations {
    pub(crate) fn new(start: Entry, views: Vec<Arc<KeptView>>) -> Self {
        Self { start, views }
    }

    /// Returns the entry at which they enter a classifier.
    pub fn start(&self) -> Entry {
        self.start
    }

    /// Views of each image.
    pub fn views(&self) -> usize {
        self.views.len()
    }

    /// Returns the shape `[channels, height, width]` of one image's activations.
    pub fn shape(&self) -> [usize; 3] {
        let shape = self
            .views
            .first()
            .map_or(&[][..], |view| view.cache.row_shape());
        shape.try_into().unwrap_or([0; 3])
    }

    /// Returns the bad files, once per view.
    pub fn skipped(&self) -> impl Iterator<Item = &Skipped> {
        self.views.iter().flat_map(|view| &view.skipped)
    }

    /// Returns how many images went through the frozen part, summed over the views; the others were kept from before.
    pub fn computed(&self) -> usize {
        self.views.iter().map(|view| view.computed).sum()
    }

    /// Returns true if an image has activations in all views.
    pub fn is_usable(&self, index: usize) -> bool {
        self.views
            .iter()
            .all(|view| matches!(view.places.get(index), Some(Some(_))))
    }

    /// Positions in the data set of the images that have activations.
    pub fn usable(&self) -> impl Iterator<Item = usize> {
        let images = self.views.first().map_or(0, |view| view.places.len());
        (0..images).filter(|index| self.is_usable(*index))
    }

    /// Returns one view of an image, row-major; empty where it is not usable.
    ///
    /// # Errors
    ///
    /// Those of reading, where they lie on the disk.
    pub fn row(&self, index: usize, view: usize) -> Result<Cow<'_, [f32]>, TrainerError> {
        let kept = &self.views[view];
        match kept.places.get(index) {
            Some(Some(place)) => Ok(kept.cache.read(*place)?),
            _ => Ok(Cow::Borrowed(&[])),
        }
    }
}

/// Batches of kept activations, in the order that a loader would have taken the images.
#[derive(Debug)]
pub struct ActivationFeed {
    activations: Activations,
    loader: Loader,
    batch_size: usize,
    /// Counted once, for it is asked for at every batch.
    images: usize,
}

impl ActivationFeed {
    /// Batches of `batch_size` in the order of `loader`; in epoch `e` every image shows its view
    /// `e` modulo the number of views.
    pub fn new(activations: Activations, loader: Loader, batch_size: usize) -> Self {
        Self {
            images: activations.usable().count(),
            activations,
            loader,
            batch_size,
        }
    }

    /// Returns the activations.
    pub fn activations(&self) -> &Activations {
        &self.activations
    }

    fn epoch(&self, epoch: usize, first: usize, device: Device) -> Batches<'_> {
        let order = match self.loader.order(epoch as u64) {
            Ok(order) => order,
            Err(error) => return Box::new(std::iter::once(Err(error.into()))),
        };
        let usable: Vec<usize> = order
            .into_iter()
            .filter(|index| self.activations.is_usable(*index))
            .collect();
        let view = epoch % self.activations.views().max(1);
        let chunks: Vec<Vec<usize>> = usable.chunks(self.batch_size).map(<[_]>::to_vec).collect();
        let numbered = chunks.into_iter().enumerate().skip(first);
        Box::new(numbered.map(move |(number, indices)| {
            Ok(Batch {
                number,
                ..self.batch(indices, view, &device)?
            })
        }))
    }

    fn batch(
        &self,
        indices: Vec<usize>,
        view: usize,
        device: &Device,
    ) -> Result<Batch, TrainerError> {
        let [channels, height, width] = self.activations.shape();
        let mut values = Vec::with_capacity(indices.len() * channels * height * width);
        for index in &indices {
            values.extend_from_slice(&self.activations.row(*index, view)?);
        }
        let dataset = self.loader.dataset();
        let data = TensorData::new(values, [indices.len(), channels, height, width]);
        Ok(Batch {
            x: Tensor::from_data(data, device),
            start: self.activations.start(),
            targets: Targets {
                labels: indices
                    .iter()
                    .map(|index| dataset.labels()[*index].unwrap_or(0))
                    .collect(),
                soft: dataset.targets().map(|_| {
                    let rows = indices.iter().filter_map(|at| dataset.targets_of(*at));
                    rows.flatten().copied().collect()
                }),
                task: dataset.task(),
                positive_weights: None,
                class_shares: None,
                weights: dataset
                    .weights()
                    .map(|weights| indices.iter().map(|index| weights[*index]).collect()),
            },
            indices,
            number: 0,
            skipped: Vec::new(),
        })
    }
}
