//! Running the frozen part once over all images, with a cache.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, Loader, OnBadFile, Pipeline, Sampler, Skipped};
use rekindle_transfer::features::{CacheKey, FeatureCache, Row};
use rekindle_transfer::{Backbone, FrozenPrefix};

use crate::TrainerError;
use crate::feed::{Activations, Feed};
use crate::recipe::Cache;

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
}

impl<B: Backbone> FrozenPart<B> {
    /// Activations of every image in every view; what the cache has is not computed again.
    pub(crate) fn activations(
        &self,
        views: &Views<'_>,
        cache: &Cache,
        mut progress: impl FnMut(usize),
    ) -> Result<Activations, TrainerError> {
        let mut table = Table::new(views.dataset.len(), views.count);
        let plain = Arc::new(views.dataset.with_pipeline(views.plain.clone())?);
        for view in 0..views.count {
            let dataset = if view == 0 { &plain } else { views.dataset };
            let loader = Loader::new(Arc::clone(dataset))
                .batch_size(BATCH)
                .workers(views.workers)
                .seed(views.seed)
                .view(view as u64)
                .on_bad_file(views.on_bad_file);
            let kept = match cache {
                Cache::Disk(folder) => {
                    Some(self.open_cache(folder, dataset.pipeline(), views.seed)?)
                }
                Cache::Memory | Cache::Off => None,
            };
            self.one_view(&loader, view, kept, &mut table, &mut progress)?;
        }
        Ok(Activations {
            shape: table.shape,
            start: self.prefix.stages(),
            views: views.count,
            skipped: std::mem::take(&mut table.skipped),
            rows: table.finish(),
        })
    }

    fn one_view(
        &self,
        loader: &Loader,
        view: usize,
        mut cache: Option<FeatureCache>,
        table: &mut Table,
        progress: &mut impl FnMut(usize),
    ) -> Result<(), TrainerError> {
        let dataset = loader.dataset();
        let rows: Vec<Row> = (0..dataset.len())
            .map(|index| row_of(dataset, index, view))
            .collect();
        let mut missing = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            match cache
                .as_ref()
                .and_then(|cache| Some((cache, cache.get(row)?)))
            {
                Some((cache, values)) => table.push(index, cache.row_shape(), values),
                None => missing.push(index),
            }
        }
        progress(rows.len() - missing.len());
        let feed = Feed::Images(loader.clone().sampler(Sampler::Indices(missing)));
        for batch in feed.epoch(0, &self.device) {
            let batch = batch?;
            let count = batch.indices.len();
            progress(count + batch.skipped.len());
            table.skipped.extend(batch.skipped);
            if count == 0 {
                continue;
            }
            let output = self.prefix.forward(batch.x)?;
            let shape = output.dims();
            let values: Vec<f32> = output.into_data().iter::<f32>().collect();
            let length = values.len() / count;
            for (index, values) in batch.indices.iter().zip(values.chunks_exact(length)) {
                table.push(*index, &shape[1..], values);
                if let Some(cache) = &mut cache {
                    cache.insert(rows[*index].clone(), &shape[1..], values)?;
                }
            }
        }
        match &mut cache {
            Some(cache) => Ok(cache.save()?),
            None => Ok(()),
        }
    }

    fn open_cache(
        &self,
        folder: &Path,
        pipeline: &Pipeline,
        seed: u64,
    ) -> Result<FeatureCache, TrainerError> {
        let key = CacheKey {
            weights: self.weights.clone(),
            cut: self.cut.clone(),
            transform: serde_json::to_string(pipeline).unwrap_or_default(),
            // A plain picture looks the same under every seed.
            seed: if pipeline.is_random() { seed } else { 0 },
        };
        Ok(FeatureCache::open(folder, key)?)
    }
}

/// Rows that grow view by view.
struct Table {
    shape: [usize; 3],
    rows: Vec<Vec<f32>>,
    views: usize,
    skipped: Vec<Skipped>,
}

impl Table {
    fn new(images: usize, views: usize) -> Self {
        Self {
            shape: [0; 3],
            rows: vec![Vec::new(); images],
            views,
            skipped: Vec::new(),
        }
    }

    fn push(&mut self, index: usize, shape: &[usize], values: &[f32]) {
        for (extent, found) in self.shape.iter_mut().zip(shape) {
            *extent = *found;
        }
        self.rows[index].extend_from_slice(values);
    }

    /// An image that is bad in any view is left out in all.
    fn finish(self) -> Vec<Option<Vec<f32>>> {
        let length = self.shape.iter().product::<usize>() * self.views;
        self.rows
            .into_iter()
            .map(|row| (row.len() == length && length > 0).then_some(row))
            .collect()
    }
}

fn row_of(dataset: &ImageDataset, index: usize, view: usize) -> Row {
    let path = dataset.path(index);
    Row {
        image: path.map_or_else(|| format!("#{index}"), |path| path.display().to_string()),
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
