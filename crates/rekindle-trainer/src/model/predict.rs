//! Answers about pictures in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_imagefolder::{ImageDataset, ImageFolder, Loader, OnBadFile, Sample, Task};

use super::{BATCH, Model, UnknownCheck};
use crate::data::eval_pipeline;
use crate::feed::Feed;
use crate::inspect::{logistic, scaled, softmax};
use crate::predictor::ranked;
use crate::test_views::{CHUNK, inspect_in_views};
use crate::{TestViews, TrainerError};

/// Answer of a model to one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The picture's file.
    pub path: PathBuf,
    /// One probability a class, of several labels each by itself; or the number that the model gives; or why the file can't be
    /// read.
    pub probabilities: Result<Vec<f32>, String>,
    /// Whether it looks like none of the classes; none for a model that doesn't [reject](Model::rejecting), and for a file
    /// that can't be read.
    pub unknown: Option<UnknownCheck>,
}

impl Model {
    /// Asks about pictures; `answer` hears of each one in the order of `paths`, but of files that can't be read
    /// right after their batch.
    ///
    /// # Errors
    ///
    /// A model that doesn't take RGB pictures; [`TrainerError::OutOfDeviceMemory`], and [`TrainerError::Interrupted`]. A
    /// file that can't be read is an [`Answer`], not an error.
    pub fn predict(
        &self,
        paths: &[PathBuf],
        mut answer: impl FnMut(Answer),
    ) -> Result<(), TrainerError> {
        self.require_plain_views()?;
        if self.views != TestViews::Plain {
            return self.predict_in_views(paths, answer);
        }
        let dataset = self.unlabelled(paths)?;
        let loader = Loader::new(dataset)
            .batch_size(BATCH)
            .on_bad_file(OnBadFile::Skip);
        let predictor = crate::Predictor::new(&self.classifier);
        let named = |error: TrainerError| error.with_architecture(&self.architecture);
        for batch in Feed::Images(loader).epoch(0, &self.device) {
            self.interrupt.check()?;
            let batch = batch?;
            if !batch.indices.is_empty() {
                let rows = self.rows(&predictor, &batch).map_err(named)?;
                for (at, index) in batch.indices.iter().enumerate() {
                    let logits = scaled(rows.logits(at), self.divisor);
                    answer(Answer {
                        path: paths[*index].clone(),
                        probabilities: Ok(self.probabilities(&logits)),
                        unknown: self.check_unknown(&rows, at)?,
                    });
                }
            }
            for skipped in batch.skipped {
                answer(Answer {
                    path: skipped.path,
                    probabilities: Err(skipped.reason),
                    unknown: None,
                });
            }
        }
        Ok(())
    }

    /// Predicts like [`predict`](Self::predict), in chunks of pictures that are looked at in all views.
    fn predict_in_views(
        &self,
        paths: &[PathBuf],
        mut answer: impl FnMut(Answer),
    ) -> Result<(), TrainerError> {
        let pipelines = self.views.pipelines(&self.preprocess);
        for chunk in paths.chunks(CHUNK) {
            let dataset = Arc::new(self.unlabelled(chunk)?);
            let (network, interrupt) = (&self.classifier, &self.interrupt);
            let found = inspect_in_views(network, &dataset, &pipelines, interrupt, |_| ())
                .map_err(|error| error.with_architecture(&self.architecture))?;
            let rows = found.logits.chunks_exact(found.classes);
            for (index, row) in found.indices.iter().zip(rows) {
                answer(Answer {
                    path: chunk[*index].clone(),
                    probabilities: Ok(self.probabilities(row)),
                    unknown: None,
                });
            }
            for skipped in found.skipped {
                answer(Answer {
                    path: skipped.path,
                    probabilities: Err(skipped.reason),
                    unknown: None,
                });
            }
        }
        Ok(())
    }

    /// What logits say, by the task.
    pub(super) fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        match self.task {
            Task::SingleLabel | Task::Ordinal => softmax(logits).0,
            Task::MultiLabel => logits.iter().map(|logit| logistic(*logit)).collect(),
            Task::Regression => logits.to_vec(),
        }
    }

    pub(super) fn unlabelled(&self, paths: &[PathBuf]) -> Result<ImageDataset, TrainerError> {
        let samples = paths.iter().map(|path| Sample {
            path: path.clone(),
            label: None,
        });
        let folder = ImageFolder::from_samples(Path::new("."), Vec::new(), samples.collect())?;
        Ok(ImageDataset::new(&folder, eval_pipeline(&self.preprocess))?)
    }
}

impl Answer {
    /// Returns the `count` most probable classes with their probabilities; none where the file couldn't be read.
    pub fn top(&self, count: usize) -> Vec<(usize, f32)> {
        let Ok(probabilities) = &self.probabilities else {
            return Vec::new();
        };
        let mut order = ranked(probabilities);
        order.truncate(count);
        order
    }
}

/// Returns every image that is named or lies in a named folder, at any depth.
///
/// # Errors
///
/// Those of scanning a folder; a file is taken as it is.
pub fn image_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TrainerError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let folder = ImageFolder::flat(path)?;
            found.extend(folder.samples().iter().map(|sample| sample.path.clone()));
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}
