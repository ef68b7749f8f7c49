//! Everything that decides what a batch holds, and making one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::{HostBatch, Skipped};
use crate::dataset::ImageDataset;
use crate::decode::OnBadFile;
use crate::error::{Error, panic_message};
use crate::mix::Mix;
use crate::rng::SampleRng;

/// Pairs each index with the number of times that it came before.
pub(crate) fn with_repeats(order: &[usize], images: usize) -> Vec<(usize, u64)> {
    let mut seen = vec![0; images];
    order
        .iter()
        .map(|&index| {
            seen[index] += 1;
            (index, seen[index] - 1)
        })
        .collect()
}

/// One epoch's plan; shared by the workers and never changed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dataset: Arc<ImageDataset>,
    /// Indices of the images, each with the number of times that it came before in this epoch.
    pub(crate) order: Vec<(usize, u64)>,
    pub(crate) size: (usize, usize),
    pub(crate) batch_size: usize,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    pub(crate) view: u64,
    pub(crate) mix: Option<Mix>,
    pub(crate) on_bad_file: OnBadFile,
    pub(crate) hash_contents: bool,
}

impl Plan {
    pub(crate) fn batches(&self) -> usize {
        self.order.len().div_ceil(self.batch_size)
    }

    /// Makes a batch. `Ok(None)` once `stopped` says that nobody waits for it any more. A panic
    /// becomes an error.
    pub(crate) fn make(
        &self,
        number: usize,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<HostBatch>, Error> {
        catch_unwind(AssertUnwindSafe(|| self.assemble(number, stopped))).unwrap_or_else(
            |payload| {
                Err(Error::WorkerPanicked {
                    batch: number,
                    message: panic_message(payload),
                })
            },
        )
    }

    fn assemble(
        &self,
        number: usize,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<HostBatch>, Error> {
        let start = number * self.batch_size;
        let wanted = &self.order[start..(start + self.batch_size).min(self.order.len())];
        let (height, width) = self.size;
        let length = self.dataset.num_channels() * height * width;
        let mut images = Vec::with_capacity(wanted.len() * length);
        let mut indices = Vec::with_capacity(wanted.len());
        let mut skipped = Vec::new();
        let mut contents = self.hash_contents.then(Vec::new);
        for &(index, repeat) in wanted {
            if stopped() {
                return Ok(None);
            }
            let place = indices.len() * length;
            // Cleared piece by piece, so that each is still near when it is written.
            images.resize(place + length, 0.0);
            // An image that comes again in the same epoch is augmented otherwise.
            let view = self.view.wrapping_add(repeat << 32);
            let mut rng = SampleRng::for_sample(self.seed, self.epoch, index as u64, view);
            let hash = self.hash_contents;
            let out = &mut images[place..];
            match self.dataset.render_into(index, &mut rng, hash, out) {
                Ok(content) => {
                    indices.push(index);
                    if let Some(contents) = &mut contents {
                        contents.extend(content);
                    }
                }
                Err(error) if error.is_bad_file() && self.on_bad_file == OnBadFile::Skip => {
                    let path = self
                        .dataset
                        .path(index)
                        .map_or_else(PathBuf::new, Path::to_path_buf);
                    skipped.push(Skipped {
                        index,
                        path,
                        reason: error.to_string(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        images.truncate(indices.len() * length);

        let label = |index: &usize| self.dataset.labels()[*index].map_or(-1, |label| label as i64);
        let weights = self.dataset.weights();
        let mut batch = HostBatch {
            images,
            height,
            width,
            labels: indices.iter().map(label).collect(),
            weights: weights.map(|weights| indices.iter().map(|index| weights[*index]).collect()),
            soft_targets: self.dataset.targets().map(|_| {
                let rows = indices.iter().filter_map(|at| self.dataset.targets_of(*at));
                rows.flatten().copied().collect()
            }),
            indices,
            contents,
            number,
            skipped,
        };
        if let Some(mix) = &self.mix {
            mix.apply(
                &mut batch,
                self.dataset.classes().len(),
                self.seed,
                self.epoch,
            )?;
        }
        Ok(Some(batch))
    }
}
