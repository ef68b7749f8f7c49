//! Batches in a fixed order, made ahead by worker threads.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::batch::{HostBatch, Skipped};
use crate::dataset::ImageDataset;
use crate::decode::OnBadFile;
use crate::error::Error;
use crate::mix::Mix;
use crate::plan::{Plan, with_repeats};
use crate::prefetch::Prefetch;
use crate::sampler::Sampler;

/// Turns a dataset into batches.
///
/// The contents of a batch are a function of (seed, epoch, view) and the options that say what is loaded;
/// `workers` and `prefetch` only affect the speed.
///
/// ```no_run
/// # fn main() -> Result<(), rekindle_imagefolder::Error> {
/// use rekindle_imagefolder::{ImageDataset, ImageFolder, Loader, Pipeline, Preprocess};
///
/// let folder = ImageFolder::open("hymenoptera/train")?;
/// let pipeline = Pipeline::imagenet_train(&Preprocess::IMAGENET);
/// let loader = Loader::new(ImageDataset::new(&folder, pipeline)?)
///     .batch_size(32)
///     .workers(2)
///     .shuffle(42);
/// for epoch in 0..25 {
///     for batch in loader.epoch(epoch) {
///         let batch = batch?;
///         assert_eq!(batch.images.len(), batch.len() * 3 * 224 * 224);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Loader {
    dataset: Arc<ImageDataset>,
    batch_size: usize,
    workers: usize,
    prefetch: usize,
    sampler: Sampler,
    seed: u64,
    view: u64,
    drop_last: bool,
    mix: Option<Mix>,
    on_bad_file: OnBadFile,
    hash_contents: bool,
    skipped: Arc<Mutex<Vec<Skipped>>>,
}

impl Loader {
    /// Creates a loader with batches of 32 in the dataset's order, as many workers as processors (at most four), seed
    /// 0, and an error at the first bad file.
    pub fn new(dataset: impl Into<Arc<ImageDataset>>) -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            dataset: dataset.into(),
            batch_size: 32,
            workers: processors.min(4),
            prefetch: 2,
            sampler: Sampler::Sequential,
            seed: 0,
            view: 0,
            drop_last: false,
            mix: None,
            on_bad_file: OnBadFile::Fail,
            hash_contents: false,
            skipped: Arc::default(),
        }
    }

    /// Images per batch, at least 1.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.batch_size = images;
        self
    }

    /// Threads that make batches; with 0 each batch is made when it is asked for.
    pub fn workers(mut self, threads: usize) -> Self {
        self.workers = threads;
        self
    }

    /// Batches that may lie ready (default: 2). At most `prefetch + workers` batches are in memory
    /// beside the one that was handed out; one of 32 images of 224 x 224 takes 19 MB.
    pub fn prefetch(mut self, batches: usize) -> Self {
        self.prefetch = batches;
        self
    }

    /// Visits the images in an order drawn anew for each epoch, and seeds all random draws.
    pub fn shuffle(self, seed: u64) -> Self {
        self.sampler(Sampler::Shuffled).seed(seed)
    }

    /// Seeds all random draws: order, augmentation, mixing.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the order of the images.
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.sampler = sampler;
        self
    }

    /// Sets the view of each image (default: 0). Other views are other augmentations in the same epoch.
    pub fn view(mut self, view: u64) -> Self {
        self.view = view;
        self
    }

    /// Leaves out a last batch that is not full (default: no).
    pub fn drop_last(mut self, yes: bool) -> Self {
        self.drop_last = yes;
        self
    }

    /// Mixes the images of each batch.
    pub fn mix(mut self, mix: Mix) -> Self {
        self.mix = Some(mix);
        self
    }

    /// Sets the policy for files that cannot be decoded.
    pub fn on_bad_file(mut self, policy: OnBadFile) -> Self {
        self.on_bad_file = policy;
        self
    }

    /// Gives each batch the hash of what every image was decoded from, from the same reading of the file (default: no).
    pub fn hash_contents(mut self, yes: bool) -> Self {
        self.hash_contents = yes;
        self
    }

    /// Returns the dataset.
    pub fn dataset(&self) -> &Arc<ImageDataset> {
        &self.dataset
    }

    /// Batches per epoch (fewer may come where every file of a batch is skipped).
    pub fn batches(&self) -> usize {
        let images = self.sampler.len(self.dataset.len());
        if self.drop_last {
            images / self.batch_size.max(1)
        } else {
            images.div_ceil(self.batch_size.max(1))
        }
    }

    /// Returns the order of an epoch.
    ///
    /// # Errors
    ///
    /// As [`Sampler::order`].
    pub fn order(&self, epoch: u64) -> Result<Vec<usize>, Error> {
        self.sampler.order(self.dataset.labels(), self.seed, epoch)
    }

    /// Returns every file that was skipped so far, once each, by position in the dataset.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.skipped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Checks everything that can be checked before the first batch.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`], [`Error::VariableSize`].
    pub fn validate(&self) -> Result<(), Error> {
        self.plan(0).map(|_| ())
    }

    /// Starts an epoch and returns its batches, in order; one of which no file can be used doesn't come, see
    /// [`Epoch::take_skipped`]. After an error nothing more comes. Dropping the iterator early stops the workers once
    /// each has finished its current image.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(epoch, 0)
    }

    /// Starts an epoch like [`epoch`](Self::epoch), but at the batch numbered `first_batch`. The batches are
    /// the same as if those before it had been made, so that an epoch can be resumed in the middle.
    pub fn epoch_from(&self, epoch: u64, first_batch: usize) -> Epoch {
        let remaining = self.batches().saturating_sub(first_batch);
        let made = self.plan(epoch).and_then(|plan| {
            let plan = Arc::new(plan);
            if self.workers == 0 {
                Ok(Batches::OnDemand {
                    plan,
                    next: first_batch,
                })
            } else {
                Prefetch::start(plan, first_batch, self.workers, self.prefetch).map(Batches::Ahead)
            }
        });
        let batches = made.unwrap_or_else(|error| Batches::Failed(Some(error)));
        Epoch {
            batches,
            remaining,
            pending: Vec::new(),
            skipped: Arc::clone(&self.skipped),
        }
    }

    fn plan(&self, epoch: u64) -> Result<Plan, Error> {
        if self.batch_size == 0 {
            let reason = "is 0, expected at least 1".to_string();
            return Err(Error::InvalidOption {
                option: "batch_size",
                reason,
            });
        }
        if let Some(mix) = &self.mix {
            mix.validate()?;
        }
        let size = self
            .dataset
            .pipeline()
            .output_size()
            .ok_or(Error::VariableSize)?;
        let mut order = self.order(epoch)?;
        if self.drop_last {
            order.truncate(order.len() / self.batch_size * self.batch_size);
        }
        Ok(Plan {
            dataset: Arc::clone(&self.dataset),
            order: with_repeats(&order, self.dataset.len()),
            size,
            batch_size: self.batch_size,
            seed: self.seed,
            epoch,
            view: self.view,
            mix: self.mix,
            on_bad_file: self.on_bad_file,
            hash_contents: self.hash_contents,
        })
    }
}

/// The batches of one epoch; see [`Loader::epoch`].
#[derive(Debug)]
pub struct Epoch {
    batches: Batches,
    remaining: usize,
    /// Skipped files of batches that did not come.
    pending: Vec<Skipped>,
    skipped: Arc<Mutex<Vec<Skipped>>>,
}

#[derive(Debug)]
enum Batches {
    OnDemand { plan: Arc<Plan>, next: usize },
    Ahead(Prefetch),
    Failed(Option<Error>),
}

impl Batches {
    /// Returns the next batch; `Ok(None)` for one that nobody waits for any more.
    fn next(&mut self) -> Option<Result<Option<HostBatch>, Error>> {
        match self {
            Batches::OnDemand { plan, next } => {
                let number = *next;
                *next += 1;
                (number < plan.batches()).then(|| plan.make(number, &|| false))
            }
            Batches::Ahead(prefetch) => prefetch.next(),
            Batches::Failed(error) => error.take().map(Err),
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<HostBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.batches.next()? {
                Ok(batch) => {
                    self.remaining = self.remaining.saturating_sub(1);
                    let Some(mut batch) = batch else { continue };
                    self.remember(&batch.skipped);
                    self.pending.append(&mut batch.skipped);
                    if !batch.is_empty() {
                        batch.skipped = std::mem::take(&mut self.pending);
                        return Some(Ok(batch));
                    }
                }
                Err(error) => {
                    self.batches = Batches::Failed(None);
                    self.remaining = 0;
                    return Some(Err(error));
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining.max(1)))
    }
}

impl Epoch {
    /// Takes the files that were skipped since the last batch that came. Ask after the end: batches of which no file
    /// can be used don't come, and nothing comes after the last ones.
    pub fn take_skipped(&mut self) -> Vec<Skipped> {
        std::mem::take(&mut self.pending)
    }

    fn remember(&self, skipped: &[Skipped]) {
        if skipped.is_empty() {
            return;
        }
        let mut known = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        for file in skipped {
            if let Err(place) = known.binary_search_by_key(&file.index, |known| known.index) {
                known.insert(place, file.clone());
            }
        }
    }
}
