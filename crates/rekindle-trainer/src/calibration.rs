//! The images on which the ranges of frozen activations are measured.

use std::sync::Arc;

use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, Loader, OnBadFile, Pipeline, Sampler};
use rekindle_transfer::{Backbone, FrozenPrefix};

use crate::TrainerError;
use crate::feed::Feed;

/// Images at most, evenly spread over the data set, which has them class by class.
const IMAGES: usize = 64;
const BATCH: usize = 16;

/// The first `stages` of `backbone`; in eight bits where there are images to measure ranges on.
pub(crate) fn prefix<B: Backbone>(
    backbone: &B,
    stages: usize,
    calibration: Option<&[Tensor<4>]>,
) -> Result<FrozenPrefix<B>, TrainerError> {
    Ok(match calibration {
        Some(images) => FrozenPrefix::quantized(backbone, stages, images)?,
        None => FrozenPrefix::new(backbone, stages)?,
    })
}

/// Some images of `dataset` as `pipeline`, which draws nothing at random, shows them; the same ones every time.
pub(crate) fn calibration(
    dataset: &Arc<ImageDataset>,
    pipeline: Pipeline,
    workers: usize,
    device: &Device,
) -> Result<Vec<Tensor<4>>, TrainerError> {
    let plain = dataset.with_pipeline(pipeline)?;
    let (all, count) = (dataset.len(), dataset.len().min(IMAGES));
    let indices = (0..count).map(|i| i * all / count).collect();
    let loader = Loader::new(Arc::new(plain))
        .batch_size(BATCH)
        .workers(workers)
        .on_bad_file(OnBadFile::Skip)
        .sampler(Sampler::Indices(indices));
    let mut images = Vec::new();
    for batch in Feed::Images(loader).epoch(0, device) {
        let batch = batch?;
        if !batch.indices.is_empty() {
            images.push(batch.x);
        }
    }
    Ok(images)
}
