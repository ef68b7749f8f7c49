//! Running the frozen part once over all images, with a cache.

use std::path::Path;
use std::sync::Arc;

use burn::prelude::*;
use rekindle_imagefolder::{
    ContentHash, ImageDataset, Loader, OnBadFile, Pipeline, Sampler, Skipped, Task,
};
use rekindle_transfer::features::{CacheKey, FeatureCache, Row};
use rekindle_transfer::{Backbone, FrozenPrefix};
use serde_json::json;

use crate::feed::{Activations, KeptView, image_batch};
use crate::out_of_memory::{contained, host};
use crate::recipe::Cache;
use crate::{Interrupt, SharedFeatures, TrainerError};

/// Images that go through the frozen part together.
const BATCH: usize = 16;

/// Files that are hashed between two looks at the interrupt.
const HASHED_AT_ONCE: usize = 4096;

/// Images after which a cache on disk is brought up to date: a process that is killed loses no more.
const SAVED_EVERY: usize = 1024;

/// Everything besides the images that activations depend on.
pub(crate) struct FrozenPart<B: Backbone> {
    pub prefix: FrozenPrefix<B>,
    /// A part whose activations are the first so many numbers of this one's: what is shared is shared under its name too.
    pub beginning: Option<(FrozenPrefix<B>, usize)>,
    pub device: Device,
}

/// Views of the images to compute: the first plain, the others augmented.
pub(crate) struct Views<'a> {
    pub dataset: &'a Arc<ImageDataset>,
    pub plain: Pipeline,
    pub count: usize,
    pub seed: u64,
    pub workers: usize,
    pub on_bad_file: OnBadFile,
    /// Ends the work after a batch; a cache on disk keeps the rows so far.
    pub interrupt: &'a Interrupt,
    /// Cache of the plain view for features in memory: read if it is known already, and filled if not.
    pub shared: Option<&'a SharedFeatures>,
}

impl<B: Backbone> FrozenPart<B> {
    /// Activations of every image in every view; what the cache has is not computed again.
    pub(crate) fn activations(
        &self,
        views: &Views<'_>,
        cache: &Cache,
        mut progress: impl FnMut(usize),
    ) -> Result<Activations, TrainerError> {
        let plain = Arc::new(views.dataset.with_pipeline(views.plain.clone())?);
        let mut contents = Contents::default();
        let mut kept = Vec::with_capacity(views.count);
        let shared = views.shared.filter(|_| *cache == Cache::Memory);
        for view in 0..views.count {
            let known = match shared.filter(|_| view == 0) {
                Some(shared) => {
                    let key = self.key(&self.prefix, &plain, views.seed)?;
                    Some((shared, key.digest()))
                }
                None => None,
            };
            if let Some((shared, key)) = &known
                && let Some(found) = shared.find(views.dataset, key)
            {
                progress(found.places.len());
                kept.push(found);
                continue;
            }
            let dataset = if view == 0 { &plain } else { views.dataset };
            let loader = Loader::new(Arc::clone(dataset))
                .batch_size(BATCH)
                .workers(views.workers)
                .seed(views.seed)
                .view(view as u64)
                .on_bad_file(views.on_bad_file);
            let (caches, rows) = match cache {
                Cache::Disk(folder) => {
                    let caches = self.open_caches(folder, dataset, views.seed)?;
                    let rows = contents.rows(dataset, view, &caches.own, views.interrupt)?;
                    (caches, rows)
                }
                // What lives as long as the run needs no other name than its place.
                Cache::Memory | Cache::Off => {
                    let caches = Caches {
                        own: FeatureCache::in_memory(),
                        beginning: None,
                    };
                    (caches, Rows::ByPlace(dataset.len()))
                }
            };
            let computed = self.one_view(&loader, rows, caches, views.interrupt, &mut progress)?;
            let computed = Arc::new(computed);
            if let Some((shared, key)) = known {
                shared.keep(views.dataset, key, &computed);
                if let Some((beginning, columns)) = &self.beginning {
                    let key = self.key(beginning, &plain, views.seed)?.digest();
                    let first = Arc::new(computed.columns(*columns)?);
                    shared.keep(views.dataset, key, &first);
                }
            }
            kept.push(computed);
        }
        Ok(Activations::new(self.prefix.exit(), kept))
    }

    fn one_view(
        &self,
        loader: &Loader,
        mut rows: Rows,
        mut caches: Caches,
        interrupt: &Interrupt,
        progress: &mut impl FnMut(usize),
    ) -> Result<KeptView, TrainerError> {
        let images = loader.dataset().len();
        let is_missing = |index: &usize| {
            let row = rows.of(*index);
            row.is_none_or(|row| caches.own.find(&row).is_none())
        };
        let missing: Vec<usize> = (0..images).filter(is_missing).collect();
        progress(images - missing.len());
        let mut skipped: Vec<Skipped> = Vec::new();
        let (mut computed, mut saved) = (0, 0);
        let loader = loader
            .clone()
            .sampler(Sampler::Indices(missing))
            .hash_contents(matches!(rows, Rows::ByContent { .. }));
        let mut batches = loader.epoch(0);
        for batch in &mut batches {
            if interrupt.requested() {
                caches.save()?;
            }
            interrupt.check()?;
            let mut batch = batch?;
            let contents = batch.contents.take();
            let batch = image_batch(batch, Task::SingleLabel, &self.device)?;
            let count = batch.indices.len();
            progress(count + batch.skipped.len());
            skipped.extend(batch.skipped);
            let (shape, values) = contained(false, &batch.x, || {
                let output = self.prefix.forward(batch.x.clone())?;
                Ok((output.dims(), host(output)?))
            })?;
            // A picture is kept under the content that was decoded, though it may have had another before.
            for (index, content) in batch.indices.iter().zip(contents.into_iter().flatten()) {
                rows.set_content(*index, content);
            }
            let length = values.len() / count;
            for (index, values) in batch.indices.iter().zip(values.chunks_exact(length)) {
                if let Some(row) = rows.of(*index) {
                    caches.insert(row, &shape[1..], values)?;
                }
            }
            computed += count;
            if computed - saved >= SAVED_EVERY {
                caches.save()?;
                saved = computed;
            }
        }
        let last = batches.take_skipped();
        progress(last.len());
        skipped.extend(last);
        caches.save()?;
        let cache = caches.own;
        Ok(KeptView {
            places: (0..images)
                .map(|index| cache.find(&rows.of(index)?))
                .collect(),
            cache,
            computed,
            skipped,
        })
    }

    /// Names what decides activations: the live weights up to the cut, and how pictures are seen.
    fn key(
        &self,
        prefix: &FrozenPrefix<B>,
        dataset: &ImageDataset,
        seed: u64,
    ) -> Result<CacheKey, TrainerError> {
        let pipeline = dataset.pipeline();
        let size = pipeline
            .output_size()
            .ok_or(rekindle_imagefolder::Error::VariableSize)?;
        // A plain picture looks the same under every seed.
        let seed = pipeline.is_random().then_some(seed);
        let view = json!({"rendering": dataset.rendering(), "seed": seed}).to_string();
        Ok(CacheKey::of(prefix, &self.device, size, &view)?)
    }

    fn open_caches(
        &self,
        folder: &Path,
        dataset: &ImageDataset,
        seed: u64,
    ) -> Result<Caches, TrainerError> {
        let open = |prefix: &FrozenPrefix<B>| {
            let key = self.key(prefix, dataset, seed)?;
            Ok::<_, TrainerError>(FeatureCache::open(folder, key)?)
        };
        let beginning = match &self.beginning {
            Some((prefix, columns)) => Some((open(prefix)?, *columns)),
            None => None,
        };
        Ok(Caches {
            own: open(&self.prefix)?,
            beginning,
        })
    }
}

/// Where activations are kept.
struct Caches {
    own: FeatureCache,
    /// That of the part whose activations are the first so many numbers.
    beginning: Option<(FeatureCache, usize)>,
}

impl Caches {
    fn insert(&mut self, row: Row, shape: &[usize], values: &[f32]) -> Result<(), TrainerError> {
        if let Some((cache, columns)) = &mut self.beginning
            && cache.find(&row).is_none()
        {
            cache.insert(row.clone(), &[*columns, 1, 1], &values[..*columns])?;
        }
        Ok(self.own.insert(row, shape, values)?)
    }

    fn save(&mut self) -> Result<(), TrainerError> {
        if let Some((cache, _)) = &mut self.beginning {
            cache.save()?;
        }
        Ok(self.own.save()?)
    }
}

/// Names under which the images of a view are cached.
enum Rows {
    /// Position among this number of images.
    ByPlace(usize),
    /// Content, where it is known already.
    ByContent {
        contents: Vec<Option<ContentHash>>,
        /// The number of the view, where positions decide how an image is augmented.
        view: Option<usize>,
    },
}

impl Rows {
    fn of(&self, index: usize) -> Option<Row> {
        match self {
            Self::ByPlace(images) => (index < *images).then(|| Row {
                content: index.to_string(),
                draw: None,
            }),
            Self::ByContent { contents, view } => Some(Row {
                content: contents.get(index).copied().flatten()?.to_string(),
                draw: view.map(|view| (index, view)),
            }),
        }
    }

    fn set_content(&mut self, index: usize, content: ContentHash) {
        if let Self::ByContent { contents, .. } = self {
            contents[index] = Some(content);
        }
    }
}

/// The content of every image of a data set, read when it is first needed.
#[derive(Default)]
struct Contents(Option<Vec<Option<ContentHash>>>);

impl Contents {
    /// The rows of one view. Where the cache has none yet, nothing is to be looked up, and each file is hashed as it is
    /// read to be decoded.
    fn rows(
        &mut self,
        dataset: &ImageDataset,
        view: usize,
        cache: &FeatureCache,
        interrupt: &Interrupt,
    ) -> Result<Rows, TrainerError> {
        let contents = match (&self.0, cache.is_empty()) {
            (Some(known), _) => known.clone(),
            (None, true) => vec![None; dataset.len()],
            (None, false) => self.0.insert(read(dataset, interrupt)?).clone(),
        };
        Ok(Rows::ByContent {
            contents,
            view: dataset.pipeline().is_random().then_some(view),
        })
    }
}

/// Hashes every file.
fn read(
    dataset: &ImageDataset,
    interrupt: &Interrupt,
) -> Result<Vec<Option<ContentHash>>, TrainerError> {
    let mut contents = Vec::with_capacity(dataset.len());
    while contents.len() < dataset.len() {
        interrupt.check()?;
        let end = dataset.len().min(contents.len() + HASHED_AT_ONCE);
        let found = dataset.contents_of(contents.len()..end);
        contents.extend(found.into_iter().map(Result::ok));
    }
    Ok(contents)
}
