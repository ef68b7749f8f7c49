//! Makes data sets: of a folder, of images in memory, of some of another's images.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use image::RgbImage;

use super::{ImageDataset, Source};
use crate::cache::DecodedCache;
use crate::decode::DecodeOptions;
use crate::error::Error;
use crate::folder::ImageFolder;
use crate::picture::Picture;
use crate::planes::FloatImage;
use crate::task::Task;
use crate::transform::Pipeline;

impl ImageDataset {
    /// The images of a folder.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`].
    pub fn new(folder: &ImageFolder, pipeline: Pipeline) -> Result<Self, Error> {
        let paths = folder
            .samples()
            .iter()
            .map(|sample| sample.path.clone())
            .collect();
        let labels = folder.samples().iter().map(|sample| sample.label).collect();
        let root = folder.root().to_path_buf();
        Self::build(
            Source::Files { root, paths },
            labels,
            folder.classes().to_vec(),
            pipeline,
        )
    }

    /// Images that are in memory already, such as drawn ones.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`]; [`Error::InvalidOption`] where the numbers of images and labels
    /// differ or a label is beyond the classes.
    pub fn from_images(
        images: Vec<RgbImage>,
        labels: Vec<Option<usize>>,
        classes: Vec<String>,
        pipeline: Pipeline,
    ) -> Result<Self, Error> {
        if images.len() != labels.len() {
            return Err(Error::InvalidOption {
                option: "labels",
                reason: format!("{} labels for {} images", labels.len(), images.len()),
            });
        }
        let images = images
            .into_iter()
            .map(|image| Picture::Rgb(Arc::new(image)));
        Self::build(Source::Memory(images.collect()), labels, classes, pipeline)
    }

    /// Pictures that are decoded already [at their full depth](crate::decode_channels), for a pipeline that takes
    /// [as many channels](crate::Transform::Channels).
    ///
    /// # Errors
    ///
    /// As [`from_images`](Self::from_images), and [`Error::InvalidOption`] for pictures of other channels than the pipeline's.
    pub fn from_planes(
        images: Vec<FloatImage>,
        labels: Vec<Option<usize>>,
        classes: Vec<String>,
        pipeline: Pipeline,
    ) -> Result<Self, Error> {
        let wrong = |option, reason| Err(Error::InvalidOption { option, reason });
        if images.len() != labels.len() {
            return wrong(
                "labels",
                format!("{} labels for {} images", labels.len(), images.len()),
            );
        }
        let expected = pipeline.channels().map_or(0, |channels| channels.count);
        if let Some(other) = images.iter().find(|image| image.channels() != expected) {
            return wrong(
                "images",
                format!(
                    "{} channels, where the pipeline takes {expected}",
                    other.channels()
                ),
            );
        }
        let images = images
            .into_iter()
            .map(|image| Picture::Deep(Arc::new(image)));
        Self::build(Source::Memory(images.collect()), labels, classes, pipeline)
    }

    /// Images that `draw` makes when they are needed, one for each label. It must give the same
    /// image for the same index.
    ///
    /// # Errors
    ///
    /// As [`from_images`](Self::from_images).
    pub fn from_fn(
        labels: Vec<Option<usize>>,
        classes: Vec<String>,
        pipeline: Pipeline,
        draw: impl Fn(usize) -> Result<RgbImage, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        Self::build(Source::Drawn(Arc::new(draw)), labels, classes, pipeline)
    }

    fn build(
        source: Source,
        labels: Vec<Option<usize>>,
        classes: Vec<String>,
        pipeline: Pipeline,
    ) -> Result<Self, Error> {
        pipeline.validate()?;
        if let Some(label) = labels
            .iter()
            .flatten()
            .find(|label| **label >= classes.len())
        {
            return Err(Error::InvalidOption {
                option: "labels",
                reason: format!("label {label} with {} classes", classes.len()),
            });
        }
        Ok(Self {
            source,
            places: None,
            labels,
            classes,
            task: Task::SingleLabel,
            targets: None,
            weights: None,
            groups: None,
            pipeline,
            decode: DecodeOptions::default(),
            cache: None,
            seed: 0,
            epoch: AtomicU64::new(0),
        })
    }

    /// Sets the options for decoding files.
    pub fn decode_options(mut self, options: DecodeOptions) -> Self {
        self.decode = options;
        // Images decoded otherwise may be in it, or another data set may go on with it.
        self.cache = self.cache.map(|cache| Arc::new(cache.emptied()));
        self
    }

    /// Keeps decoded images in memory, up to so many bytes (default: 0). An image takes three
    /// bytes per pixel of its file: 244 photographs of 500 x 375 about 137 MB.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache = (bytes > 0).then(|| Arc::new(DecodedCache::new(bytes)));
        self
    }

    /// Gives each image a weight, which batches carry along.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] where the numbers of images and weights differ, or a weight is
    /// negative or not finite.
    pub fn with_weights(mut self, weights: Vec<f32>) -> Result<Self, Error> {
        let wrong = |reason| {
            Err(Error::InvalidOption {
                option: "weights",
                reason,
            })
        };
        if weights.len() != self.labels.len() {
            return wrong(format!(
                "{} weights for {} images",
                weights.len(),
                self.labels.len()
            ));
        }
        if let Some(weight) = weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
            return wrong(format!("{weight} is not a finite number of at least 0"));
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// Gives each image targets `[n, classes]`, row-major, which batches carry along: 0 or 1 for each label, or numbers.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] where their number is not that of images and classes, a target is not finite, or the task
    /// is to name one class, which labels do.
    pub fn with_targets(mut self, task: Task, targets: Vec<f32>) -> Result<Self, Error> {
        let wrong = |reason| {
            Err(Error::InvalidOption {
                option: "targets",
                reason,
            })
        };
        if task.is_single_label() {
            return wrong(format!("they are not for {task}; give labels"));
        }
        let expected = self.labels.len() * self.classes.len();
        if targets.len() != expected {
            return wrong(format!(
                "{} numbers for {} images and {} names",
                targets.len(),
                self.labels.len(),
                self.classes.len()
            ));
        }
        if let Some(target) = targets.iter().find(|target| !target.is_finite()) {
            return wrong(format!("{target} is not a finite number"));
        }
        (self.task, self.targets) = (task, Some(targets));
        Ok(self)
    }

    /// Says that the classes are in an order, from the lowest to the highest ([`Task::Ordinal`]). It is for images of one class
    /// each: targets that were given are left out.
    pub fn with_ordered_classes(mut self) -> Self {
        (self.task, self.targets) = (Task::Ordinal, None);
        self
    }

    /// Says which images belong together, such as those of one patient: where some are held out to choose by, a group is
    /// held out as a whole.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] where the numbers of images and groups differ.
    pub fn with_groups(mut self, groups: Vec<usize>) -> Result<Self, Error> {
        if groups.len() != self.labels.len() {
            return Err(Error::InvalidOption {
                option: "groups",
                reason: format!("{} groups for {} images", groups.len(), self.labels.len()),
            });
        }
        self.groups = Some(groups);
        Ok(self)
    }

    /// The seed of [`get`](burn::data::dataset::Dataset::get)'s augmentation; a [`Loader`](crate::Loader) has its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The epoch of [`get`](burn::data::dataset::Dataset::get)'s augmentation.
    pub fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// The same images through another pipeline. Both share the cache, unless they take other channels.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`].
    pub fn with_pipeline(&self, pipeline: Pipeline) -> Result<Self, Error> {
        pipeline.validate()?;
        let is_decoded_alike = pipeline.channels() == self.pipeline.channels();
        let cache = self.cache.as_ref().map(|cache| match is_decoded_alike {
            true => Arc::clone(cache),
            false => Arc::new(cache.emptied()),
        });
        Ok(Self {
            source: self.source.clone(),
            places: self.places.clone(),
            labels: self.labels.clone(),
            classes: self.classes.clone(),
            task: self.task,
            targets: self.targets.clone(),
            weights: self.weights.clone(),
            groups: self.groups.clone(),
            pipeline,
            decode: self.decode,
            cache,
            seed: self.seed,
            epoch: AtomicU64::new(self.epoch.load(Ordering::Relaxed)),
        })
    }

    /// Some of the images, in the order of `indices`, with the same classes, pipeline and cache. Random draws go by the
    /// new positions.
    ///
    /// # Panics
    ///
    /// If an index is not below [`len`](Self::len).
    pub fn subset(&self, indices: &[usize]) -> Self {
        let weights = self.weights.as_ref();
        Self {
            source: self.source.clone(),
            places: Some(indices.iter().map(|index| self.place(*index)).collect()),
            labels: indices.iter().map(|index| self.labels[*index]).collect(),
            classes: self.classes.clone(),
            task: self.task,
            targets: self.targets.as_ref().map(|_| {
                let rows = indices.iter().filter_map(|index| self.targets_of(*index));
                rows.flatten().copied().collect()
            }),
            weights: weights.map(|weights| indices.iter().map(|index| weights[*index]).collect()),
            groups: (self.groups.as_ref())
                .map(|groups| indices.iter().map(|index| groups[*index]).collect()),
            pipeline: self.pipeline.clone(),
            decode: self.decode,
            cache: self.cache.clone(),
            seed: self.seed,
            epoch: AtomicU64::new(self.epoch.load(Ordering::Relaxed)),
        }
    }
}
