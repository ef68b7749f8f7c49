//! Images, their labels and their pipeline as one thing that can be indexed.

mod build;
mod render;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataset::{Dataset, DatasetError};
use image::RgbImage;
use rekindle_preprocess::Channels;
use serde::Serialize;

use crate::cache::DecodedCache;
use crate::decode::DecodeOptions;
use crate::error::Error;
use crate::picture::Picture;
use crate::planes::FloatImage;
use crate::sampler::class_weights;
use crate::task::Task;
use crate::transform::Pipeline;

/// Makes the image of an index; see [`ImageDataset::from_fn`].
type Draw = Arc<dyn Fn(usize) -> Result<RgbImage, Error> + Send + Sync>;

/// Source of the pixels.
#[derive(Clone)]
enum Source {
    Files {
        root: PathBuf,
        paths: Arc<[PathBuf]>,
    },
    Memory(Vec<Picture>),
    Drawn(Draw),
}

impl Source {
    /// Whether it is the very same, as clones are.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Files { root, paths },
                Self::Files {
                    root: of_other,
                    paths: others,
                },
            ) => root == of_other && Arc::ptr_eq(paths, others),
            (Self::Memory(images), Self::Memory(others)) => {
                let pairs = images.iter().zip(others);
                images.len() == others.len() && pairs.into_iter().all(|(a, b)| a.is(b))
            }
            (Self::Drawn(draw), Self::Drawn(other)) => {
                std::ptr::addr_eq(Arc::as_ptr(draw), Arc::as_ptr(other))
            }
            _ => false,
        }
    }
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
const RENDERING_REVISION: u32 = 2;

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
    /// The transformed image, `[channels, height, width]`.
    pub image: FloatImage,
    /// The class; `None` without classes.
    pub label: Option<usize>,
    /// Position in the dataset.
    pub index: usize,
}

impl ImageDataset {
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
        let labels = self.labels.iter().copied();
        self.task
            .class_counts(self.classes.len(), labels, self.targets.as_deref())
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

    /// Tells whether both have the same images in the same order, from the same source in this process: pipelines and labels may be
    /// others.
    pub fn has_images_of(&self, other: &Self) -> bool {
        self.places == other.places && self.source.is(&other.source)
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

    /// The channels that are taken of a picture; none for RGB of 8 bits.
    pub fn channels(&self) -> Option<Channels> {
        self.pipeline.channels().or(self.decode.channels)
    }

    /// The number of channels of an image, 3 for RGB.
    pub fn num_channels(&self) -> usize {
        self.channels().map_or(3, |channels| channels.count)
    }

    /// Bytes of decoded images that are held at the moment.
    pub fn cached_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.bytes())
    }

    /// The position of an image in the source, and in the cache.
    fn place(&self, index: usize) -> usize {
        self.places.as_ref().map_or(index, |places| places[index])
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
