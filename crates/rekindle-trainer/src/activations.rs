//! Running the frozen part once over all images, with a cache.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, Loader, OnBadFile, Pipeline, Sampler, Skipped};
use rekindle_transfer::features::{CacheKey, FeatureCache, Row};
use rekindle_transfer::{Backbone, FrozenPrefix};

use crate::feed::{Activations, Feed, KeptView};
use crate::recipe::Cache;
use crate::shortage::{contained, host};
use crate::{Interrupt, SharedFeatures, TrainerError};

/// Images that go through the frozen part together.
const BATCH: usize = 16;

/// What decides activations besides the images.
pub(crate) struct FrozenPart<B: Backbone> {
    pub prefix: FrozenPrefix<B>,
    /// Its name in a cache's key.
    pub cut: String,
    /// Digest of the weights.
    pub weights: String,
    pub device: Device,
}

/// How images are to be seen: the first view plain, the others augmented.
pub(crate) struct Views<'a> {
    pub dataset: &'a Arc<ImageDataset>,
    pub plain: Pipeline,
    pub count: usize,
    pub seed: u64,
    pub workers: usize,
    pub on_bad_file: OnBadFile,
    /// Ends the work after a batch; a cache on disk keeps the rows so far.
    pub interrupt: &'a Interrupt,
    /// Where the plain view may be known already, and is kept if not; for features in memory.
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
        let mut kept = Vec::with_capacity(views.count);
        let shared = views.shared.filter(|_| *cache == Cache::Memory);
        for view in 0..views.count {
            let known = shared
                .filter(|_| view == 0)
                .map(|shared| (shared, self.key(&plain)));
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
            let cache = match cache {
                Cache::Disk(folder) => self.open_cache(folder, dataset.pipeline(), views.seed)?,
                Cache::Memory | Cache::Off => FeatureCache::in_memory(),
            };
            let computed = self.one_view(&loader, view, cache, views.interrupt, &mut progress)?;
            let computed = Arc::new(computed);
            if let Some((shared, key)) = known {
                shared.keep(views.dataset, key, &computed);
            }
            kept.push(computed);
        }
        Ok(Activations::new(self.prefix.stages(), kept))
    }

    fn one_view(
        &self,
        loader: &Loader,
        view: usize,
        mut cache: FeatureCache,
        interrupt: &Interrupt,
        progress: &mut impl FnMut(usize),
    ) -> Result<KeptView, TrainerError> {
        let dataset = loader.dataset();
        // Pictures as they are before they are decoded: one that changes meanwhile is computed afresh next time.
        let rows: Vec<Row> = (0..dataset.len())
            .map(|index| row_of(dataset, index, view))
            .collect();
        let missing: Vec<usize> = (0..rows.len())
            .filter(|index| cache.find(&rows[*index]).is_none())
            .collect();
        progress(rows.len() - missing.len());
        let mut skipped: Vec<Skipped> = Vec::new();
        let feed = Feed::Images(loader.clone().sampler(Sampler::Indices(missing)));
        for batch in feed.epoch(0, &self.device) {
            if interrupt.requested() {
                cache.save()?;
            }
            interrupt.check()?;
            let batch = batch?;
            let count = batch.indices.len();
            progress(count + batch.skipped.len());
            skipped.extend(batch.skipped);
            if count == 0 {
                continue;
            }
            let (shape, values) = contained(false, &batch.x, || {
                let output = self.prefix.forward(batch.x.clone())?;
                Ok((output.dims(), host(output)?))
            })?;
            let length = values.len() / count;
            for (index, values) in batch.indices.iter().zip(values.chunks_exact(length)) {
                cache.insert(rows[*index].clone(), &shape[1..], values)?;
            }
        }
        cache.save()?;
        Ok(KeptView {
            places: rows.iter().map(|row| cache.find(row)).collect(),
            cache,
            skipped,
        })
    }

    /// What decides the activations of the images of a plain data set.
    fn key(&self, plain: &ImageDataset) -> String {
        let quantization = self.prefix.quantization().unwrap_or_default();
        let pipeline = serde_json::to_string(plain.pipeline()).unwrap_or_default();
        let (cut, weights) = (&self.cut, &self.weights);
        format!("{weights} {cut} {quantization} {pipeline}")
    }

    fn open_cache(
        &self,
        folder: &Path,
        pipeline: &Pipeline,
        seed: u64,
    ) -> Result<FeatureCache, TrainerError> {
        let cut = match self.prefix.quantization() {
            Some(digest) => format!("{}, int8 {digest}", self.cut),
            None => self.cut.clone(),
        };
        let key = CacheKey {
            weights: self.weights.clone(),
            cut,
            transform: serde_json::to_string(pipeline).unwrap_or_default(),
            // A plain picture looks the same under every seed.
            seed: if pipeline.is_random() { seed } else { 0 },
        };
        Ok(FeatureCache::open(folder, key)?)
    }
}

fn row_of(dataset: &ImageDataset, index: usize, view: usize) -> Row {
    let path = dataset.path(index);
    Row {
        image: path.map_or_else(|| format!("#{index}"), rekindle_files::names::escape),
        stamp: path.map_or_else(String::new, stamp),
        view,
    }
}

/// Size and modification time of a file: changes when the picture does.
fn stamp(path: &Path) -> String {
    let Ok(metadata) = fs::metadata(path) else {
        return "unreadable".to_string();
    };
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_nanos());
    format!("{}-{modified}", metadata.len())
}
