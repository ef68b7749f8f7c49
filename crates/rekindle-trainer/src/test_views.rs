//! Averages the answers to several views of a picture (test-time augmentation).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rekindle_imagefolder::{ImageDataset, Loader, OnBadFile, Pipeline, Sampler};
use rekindle_models::Preprocess;
use rekindle_transfer::{Backbone, Classifier};
use serde::{Deserialize, Serialize};

use crate::data::{TransferData, eval_pipeline};
use crate::feed::Feed;
use crate::inspect::Inspection;
use crate::{Interrupt, Predictions, Predictor, TrainerError};

/// Images that are looked at in all views before the next ones.
pub(crate) const CHUNK: usize = 128;

const BATCH: usize = 16;

/// The views of a picture whose logits are averaged for its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestViews {
    /// One, as the model's file describes it.
    #[default]
    Plain,
    /// Two: plain, and mirrored from left to right.
    Flip,
    /// Four: plain and mirrored, at the size that the weights were evaluated at and at nine sevenths of it (288 pixels
    /// for 224). Takes about five times as long as a plain view.
    FlipAndScale,
}

impl TestViews {
    /// All choices, the cheapest first.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Flip, Self::FlipAndScale];

    /// Returns the name on the command line and in files: `plain`, `flip` or `flip-and-scale`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Flip => "flip",
            Self::FlipAndScale => "flip-and-scale",
        }
    }

    /// Returns the number of views: 1, 2 or 4.
    pub fn count(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Flip => 2,
            Self::FlipAndScale => 4,
        }
    }

    /// Returns the name for a file; none where the plain view is all.
    pub(crate) fn in_file(self) -> Option<String> {
        (self != Self::Plain).then(|| self.name().to_string())
    }

    /// Returns one pipeline for each view, the plain one first.
    pub fn pipelines(self, preprocess: &Preprocess) -> Vec<Pipeline> {
        let mirrored = |preprocess: &Preprocess| eval_pipeline(preprocess).mirrored();
        let crop = preprocess.crop * 9 / 7;
        let larger = Preprocess {
            resize: (preprocess.resize * 9 / 7 / 32 * 32).max(crop),
            crop,
            ..preprocess.clone()
        };
        let all = [
            eval_pipeline(preprocess),
            mirrored(preprocess),
            eval_pipeline(&larger),
            mirrored(&larger),
        ];
        all.into_iter().take(self.count()).collect()
    }

    /// Predicts like [`predict`](Self::predict), for a figure that is shown beside that of the plain view:
    /// none for the plain view itself, and none where it was interrupted, since what was asked for first is
    /// done.
    pub(crate) fn predict_beside<B: Backbone>(
        self,
        classifier: &Classifier<B>,
        data: &TransferData,
        interrupt: &Interrupt,
    ) -> Result<Option<Predictions>, TrainerError> {
        if self == Self::Plain {
            return Ok(None);
        }
        match self.predict(classifier, &data.val, &data.preprocess, interrupt) {
            Err(TrainerError::Interrupted { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Predictions for the labelled images of `dataset`, whose own pipeline is not used.
    ///
    /// # Errors
    ///
    /// Images that don't fit the network; [`TrainerError::OutOfDeviceMemory`], and [`TrainerError::Interrupted`].
    pub fn predict<B: Backbone>(
        self,
        classifier: &Classifier<B>,
        dataset: &Arc<ImageDataset>,
        preprocess: &Preprocess,
        interrupt: &Interrupt,
    ) -> Result<Predictions, TrainerError> {
        let pipelines = self.pipelines(preprocess);
        let found = inspect_in_views(classifier, dataset, &pipelines, interrupt, |_| ())?;
        Ok(found.predictions(dataset))
    }
}

impl fmt::Display for TestViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TestViews {
    type Err = TrainerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|views| views.name() == text);
        found.ok_or_else(|| TrainerError::InvalidRecipe {
            field: "test_views",
            found: text.to_string(),
            expected: "plain, flip or flip-and-scale",
        })
    }
}

/// Logits of every image, each the mean over its views. A file that can't be read in the first view is left out; a
/// damaged one that shows a part of itself in some views is answered from these.
pub(crate) fn inspect_in_views<B: Backbone>(
    classifier: &Classifier<B>,
    dataset: &Arc<ImageDataset>,
    pipelines: &[Pipeline],
    interrupt: &Interrupt,
    mut progress: impl FnMut(usize),
) -> Result<Inspection, TrainerError> {
    let predictor = Predictor::new(classifier);
    let classes = classifier.num_classes();
    let device = classifier.head.weight.lazy_device().without_autodiff();
    let mut found = Inspection {
        classes,
        ..Inspection::default()
    };
    let views = pipelines
        .iter()
        .map(|pipeline| Ok(Arc::new(dataset.with_pipeline(pipeline.clone())?)))
        .collect::<Result<Vec<_>, TrainerError>>()?;
    let all: Vec<usize> = (0..dataset.len()).collect();
    for chunk in all.chunks(CHUNK) {
        // For each image of the chunk, the sum of its logits and the number of views in it.
        let mut sums = vec![(vec![0.0; classes], 0); chunk.len()];
        for (number, view) in views.iter().enumerate() {
            let loader = Loader::new(Arc::clone(view))
                .batch_size(BATCH)
                .on_bad_file(OnBadFile::Skip)
                .sampler(Sampler::Indices(chunk.to_vec()));
            for batch in Feed::Images(loader).epoch(0, &device) {
                interrupt.check()?;
                let batch = batch?;
                if number == 0 {
                    found.skipped.extend(batch.skipped.iter().cloned());
                }
                if batch.indices.is_empty() {
                    continue;
                }
                let logits = predictor.logit_values(&batch)?;
                for (index, row) in batch.indices.iter().zip(logits.chunks_exact(classes)) {
                    let (sum, count) = &mut sums[index - chunk[0]];
                    if number > 0 && *count == 0 {
                        continue;
                    }
                    *count += 1;
                    for (total, logit) in sum.iter_mut().zip(row) {
                        *total += f64::from(*logit);
                    }
                }
            }
        }
        for (index, (sum, count)) in chunk.iter().zip(&sums).filter(|(_, (_, count))| *count > 0) {
            let mean = sum.iter().map(|total| (total / *count as f64) as f32);
            found.logits.extend(mean);
            found.indices.push(*index);
        }
        progress(chunk.len());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_read_back() {
        for views in TestViews::ALL {
            assert_eq!(views.name().parse::<TestViews>().unwrap(), views);
            let json = serde_json::to_string(&views).unwrap();
            assert_eq!(json, format!("\"{views}\""));
            assert_eq!(views.pipelines(&Preprocess::IMAGENET).len(), views.count());
        }
        let message = "five-crops".parse::<TestViews>().unwrap_err().to_string();
        assert!(message.contains("five-crops") && message.contains("flip-and-scale"));
    }
}
