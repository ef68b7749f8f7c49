//! Images, their labels and their pipeline as one thing that can be indexed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataset::{Dataset, DatasetError};
use image::RgbImage;
use rayon::prelude::*;
use serde::Serialize;

use crate::cache::{Decoded, DecodedCache};
use crate::content::ContentHash;
use crate::decode::{DecodeOptions, Need, Place, decode_bytes, decode_part_of_bytes, read};
use crate::error::Error;
use crate::folder::ImageFolder;
use crate::rng::SampleRng;
use crate::sampler::class_weights;
use crate::task::Task;
use crate::transform::{FloatImage, Pipeline, Start};

/// Makes the image of an index; see [`ImageDataset::from_fn`].
type Draw = Arc<dyn Fn(usize) -> Result<RgbImage, Error> + Send + Sync>;

/// Source of the pixels.
#[derive(Clone)]
enum Source {
    Files { root: PathBuf, paths: Vec<PathBuf> },
    Memory(Vec<Arc<RgbImage>>),
    Drawn(Draw),
}

/// Labelled images and the pipeline they go through.
///
/// ```no_run
/// # fn main() -> Result<(), rekindle_imagefolder::Error> {
/// use rekindle_imagefolder::{ImageDataset, ImageFolder, Pipeline, Preprocess};
///
/// let folder = ImageFolder::open("hymenoptera/train")?;
/// let pipeline = Pipeline::imagenet_train(&Preprocess::IMAGENET);
/// let dataset = ImageDataset::new(&folder, pipeline)?.cache_bytes(200 << 20);
/// let image = dataset.render(0, 42, 0, 0)?; // index, seed, epoch, view
/// assert_eq!((image.height, image.width), (224, 224));
/// # Ok(())
/// # }
/// ```
pub struct ImageDataset {
    source: Source,
    /// The images' positions in the source, where they are some of it.
    places: Option<Arc<[usize]>>,
    labels: Vec<Option<usize>>,
    classes: Vec<String>,
    task: Task,
    /// `[n, classes]` where the task is not to name one class.
    targets: Option<Vec<f32>>,
    weights: Option<Vec<f32>>,
    groups: Option<Vec<usize>>,
    pipeline: Pipeline,
    decode: DecodeOptions,
    cache: Option<Arc<DecodedCache>>,
    seed: u64,
    epoch: AtomicU64,
}

/// Counts changes to what decoding and transforms make of the same bytes between two versions.
const RENDERING_REVISION: u32 = 1;

/// Everything that decides how an [`ImageDataset`] shows its images: equal renderings of equal content are
/// equal images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rendering<'a> {
    /// The transforms.
    pub pipeline: &'a Pipeline,
    /// Options for decoding files.
    pub decode: DecodeOptions,
    /// True if a JPEG may be decoded at a fraction of its size.
    pub reduced_scale: bool,
    /// The version of this crate, whose decoders and transforms they are.
    pub version: &'static str,
    /// Tells apart what one version did before and after a change.
    pub revision: u32,
}

/// Item that [`Dataset::get`] returns.
#[derive(Debug, Clone)]
pub struct ImageItem {
    /// The transformed image, `[3, height, width]`.
    pub image: FloatImage,
    /// The class; `None` without classes.
    pub label: Option<usize>,
    /// Position in the dataset.
    pub index: usize,
}

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
        let images = images.into_iter().map(Arc::new).collect();
        Self::build(Source::Memory(images), labels, classes, pipeline)
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
        if task == Task::SingleLabel {
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

    /// The group of each image, where they were given.
    pub fn groups(&self) -> Option<&[usize]> {
        self.groups.as_deref()
    }

    /// What is to be learned of the images.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The targets `[n, classes]`, row-major, where the task is not to name one class.
    pub fn targets(&self) -> Option<&[f32]> {
        self.targets.as_deref()
    }

    /// The targets of one image; none as for [`targets`](Self::targets).
    pub fn targets_of(&self, index: usize) -> Option<&[f32]> {
        let width = self.classes.len();
        self.targets
            .as_ref()?
            .get(index * width..(index + 1) * width)
    }

    /// The seed of [`Dataset::get`]'s augmentation; a [`Loader`](crate::Loader) has its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The epoch of [`Dataset::get`]'s augmentation.
    pub fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// The same images through another pipeline. Both share the cache: decoding knows no pipeline.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`].
    pub fn with_pipeline(&self, pipeline: Pipeline) -> Result<Self, Error> {
        pipeline.validate()?;
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
            cache: self.cache.clone(),
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

    /// The position of an image in the source, and in the cache.
    fn place(&self, index: usize) -> usize {
        self.places.as_ref().map_or(index, |places| places[index])
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns true if there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The class names, in label order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The labels, in order.
    pub fn labels(&self) -> &[Option<usize>] {
        &self.labels
    }

    /// Per-image weights, where they were given.
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    /// Images per class, or with each label; of numbers to learn, how many images have one.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        if self.task == Task::Regression {
            counts.fill(self.len());
        } else if let Some(targets) = &self.targets {
            for row in targets.chunks_exact(counts.len().max(1)) {
                let marked = counts
                    .iter_mut()
                    .zip(row)
                    .filter(|(_, target)| **target > 0.5);
                marked.for_each(|(count, _)| *count += 1);
            }
        }
        for label in self.labels.iter().flatten() {
            counts[*label] += 1;
        }
        counts
    }

    /// Loss weights that make up for unequal class sizes; see [`class_weights`].
    pub fn class_weights(&self) -> Vec<f32> {
        class_weights(&self.class_counts())
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The file of an image; `None` for images that never were files, and beyond the end.
    pub fn path(&self, index: usize) -> Option<&Path> {
        match &self.source {
            Source::Files { paths, .. } if index < self.len() => {
                paths.get(self.place(index)).map(PathBuf::as_path)
            }
            Source::Files { .. } | Source::Memory(_) | Source::Drawn(_) => None,
        }
    }

    /// The file of an image from the folder on that was scanned, the same wherever the folder lies; `None` as in
    /// [`path`](Self::path).
    pub fn relative_path(&self, index: usize) -> Option<&Path> {
        let path = self.path(index)?;
        match &self.source {
            Source::Files { root, .. } => Some(path.strip_prefix(root).unwrap_or(path)),
            Source::Memory(_) | Source::Drawn(_) => None,
        }
    }

    /// Hashes what an image is decoded from: its file, or its size and pixels where there is no file. Of an image that
    /// is held in memory, the file as it was when it was decoded.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], and those of drawing.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    pub fn content(&self, index: usize) -> Result<ContentHash, Error> {
        let place = self.place(index);
        if let Some(hash) = self.cache.as_ref().and_then(|cache| cache.content(place)) {
            return Ok(hash);
        }
        match &self.source {
            Source::Files { paths, .. } => Ok(ContentHash::of(&read(&paths[place])?)),
            Source::Memory(images) => Ok(ContentHash::of_pixels(&images[place])),
            Source::Drawn(_) => Ok(ContentHash::of_pixels(&self.decode(index)?.image)),
        }
    }

    /// The [`content`](Self::content) of every image, in order, on all processors.
    pub fn contents(&self) -> Vec<Result<ContentHash, Error>> {
        let indices = 0..self.len();
        indices
            .into_par_iter()
            .map(|index| self.content(index))
            .collect()
    }

    /// Everything that decides how an image looks besides its content and, where the pipeline
    /// [is random](Pipeline::is_random), seed, epoch, index and view.
    pub fn rendering(&self) -> Rendering<'_> {
        Rendering {
            pipeline: &self.pipeline,
            decode: self.decode,
            reduced_scale: self.may_reduce() && self.pipeline.is_random(),
            version: env!("CARGO_PKG_VERSION"),
            revision: RENDERING_REVISION,
        }
    }

    /// Bytes of decoded images that are held at the moment.
    pub fn cached_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.bytes())
    }

    /// The decoded image, before any transform.
    ///
    /// # Errors
    ///
    /// Those of [`decode_file`](crate::decode_file).
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    pub fn decoded(&self, index: usize) -> Result<Arc<RgbImage>, Error> {
        Ok(self.decode(index)?.image)
    }

    /// The decoded image, and what it was decoded from where the cache wants to know.
    fn decode(&self, index: usize) -> Result<Decoded, Error> {
        let index = self.place(index);
        if let Some(held) = self.cache.as_ref().and_then(|cache| cache.get(index)) {
            return Ok(held);
        }
        let (image, content) = match &self.source {
            Source::Memory(images) => {
                return Ok(Decoded {
                    image: Arc::clone(&images[index]),
                    content: None,
                });
            }
            Source::Files { paths, .. } => {
                let path = &paths[index];
                let bytes = read(path)?;
                let is_hashed = self.cache.as_ref().is_some_and(|c| c.wants_hashes());
                let content = is_hashed.then(|| ContentHash::of(&bytes));
                (decode_bytes(path, &bytes, &self.decode)?, content)
            }
            Source::Drawn(draw) => {
                let image = draw(index)?;
                let is_hashed = self.cache.as_ref().is_some_and(|c| c.wants_hashes());
                let content = is_hashed.then(|| ContentHash::of_pixels(&image));
                (image, content)
            }
        };
        let decoded = Decoded {
            image: Arc::new(image),
            content,
        };
        if let Some(cache) = &self.cache {
            cache.offer(index, &decoded);
        }
        Ok(decoded)
    }

    /// The image through the pipeline. The result is a function of the arguments alone.
    ///
    /// # Errors
    ///
    /// As [`decoded`](Self::decoded).
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    pub fn render(
        &self,
        index: usize,
        seed: u64,
        epoch: u64,
        view: u64,
    ) -> Result<FloatImage, Error> {
        let mut rng = SampleRng::for_sample(seed, epoch, index as u64, view);
        let apply = |start, pixels: &_, place, rng: &mut _| {
            self.pipeline.apply_from(start, pixels, place, rng)
        };
        Ok(self.with_pixels(index, &mut rng, false, apply)?.0)
    }

    /// As [`render`](Self::render), without normalisation: what to show to people.
    ///
    /// # Errors
    ///
    /// As [`decoded`](Self::decoded).
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    pub fn render_pixels(
        &self,
        index: usize,
        seed: u64,
        epoch: u64,
        view: u64,
    ) -> Result<RgbImage, Error> {
        let mut rng = SampleRng::for_sample(seed, epoch, index as u64, view);
        let apply = |start, pixels: &_, place, rng: &mut _| {
            self.pipeline
                .apply_to_pixels_from(start, pixels, place, rng)
        };
        Ok(self.with_pixels(index, &mut rng, false, apply)?.0)
    }

    /// As [`render`](Self::render), straight into a batch's buffer; where `hash` is set, with the hash of what was decoded.
    pub(crate) fn render_into(
        &self,
        index: usize,
        rng: &mut SampleRng,
        hash: bool,
        out: &mut [f32],
    ) -> Result<Option<ContentHash>, Error> {
        let apply = |start, pixels: &_, place, rng: &mut _| {
            self.pipeline
                .apply_into_from(start, pixels, place, rng, out)
        };
        let (applied, content) = self.with_pixels(index, rng, hash, apply)?;
        applied.map(|()| content)
    }

    /// Draws how the pipeline begins, and gives at least the pixels that this needs.
    fn with_pixels<T>(
        &self,
        index: usize,
        rng: &mut SampleRng,
        hash: bool,
        go_on: impl FnOnce(Start, &RgbImage, Place, &mut SampleRng) -> T,
    ) -> Result<(T, Option<ContentHash>), Error> {
        let Some(path) = self.path_to_decode_in_part(index) else {
            let (image, content) = match hash {
                true => self.hashed(index)?,
                false => (self.decode(index)?.image, None),
            };
            let start = self.pipeline.start(image.width(), image.height(), rng);
            return Ok((go_on(start, &image, Place::WHOLE, rng), content));
        };
        let bytes = read(path)?;
        let content = hash.then(|| ContentHash::of(&bytes));
        // What is in the cache must not decide about what an image looks like.
        let may_reduce = self.may_reduce();
        let mut begun = None;
        let (pixels, place) =
            decode_part_of_bytes(path, &bytes, &self.decode, &mut |width, height| {
                let start = begun.get_or_insert_with(|| self.pipeline.start(width, height, rng));
                Need {
                    scale: if may_reduce { start.need.scale } else { 1 },
                    ..start.need
                }
            })?;
        let start =
            begun.unwrap_or_else(|| self.pipeline.start(pixels.width(), pixels.height(), rng));
        Ok((go_on(start, &pixels, place, rng), content))
    }

    /// The decoded image and the hash of what it was decoded from.
    fn hashed(&self, index: usize) -> Result<(Arc<RgbImage>, Option<ContentHash>), Error> {
        // Has the cache hash what it is going to hold, and let go of what it holds unhashed.
        let place = self.place(index);
        let held = self.cache.as_ref().and_then(|cache| cache.content(place));
        let decoded = self.decode(index)?;
        let content = held.or(decoded.content);
        let content = content.unwrap_or_else(|| ContentHash::of_pixels(&decoded.image));
        Ok((decoded.image, Some(content)))
    }

    /// Returns true if a JPEG may be decoded at a fraction of its size.
    fn may_reduce(&self) -> bool {
        self.decode.reduced_scale && self.cache.is_none()
    }

    /// The file of an image that is not in memory and is not going to be.
    fn path_to_decode_in_part(&self, index: usize) -> Option<&Path> {
        let index = self.place(index);
        match (&self.source, &self.cache) {
            (Source::Files { paths, .. }, None) => Some(&paths[index]),
            (Source::Files { paths, .. }, Some(cache)) if cache.is_closed_to(index) => {
                Some(&paths[index])
            }
            _ => None,
        }
    }
}

impl Dataset<ImageItem> for ImageDataset {
    fn get(&self, index: usize) -> Result<ImageItem, DatasetError> {
        assert!(index < self.len(), "image {index} of {}", self.len());
        let epoch = self.epoch.load(Ordering::Relaxed);
        let image = self
            .render(index, self.seed, epoch, 0)
            .map_err(DatasetError::new)?;
        Ok(ImageItem {
            image,
            label: self.labels[index],
            index,
        })
    }

    fn len(&self) -> usize {
        self.labels.len()
    }
}

impl fmt::Debug for ImageDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageDataset")
            .field("images", &self.len())
            .field("classes", &self.classes)
            .field("pipeline", &self.pipeline)
            .finish_non_exhaustive()
    }
}
