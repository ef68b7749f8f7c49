//! One pass over labelled images for everything that the report, an evaluation and a table of features need.

use std::sync::Arc;

use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, Loader, OnBadFile, Skipped, Task};
use rekindle_transfer::{Backbone, Classifier, FrozenPrefix};

use crate::feed::Feed;
use crate::out_of_memory::{contained, host};
use crate::{Interrupt, Predictions, TrainerError};

/// Images that go through the network together.
const BATCH: usize = 32;

/// Images that a map of features shows; of more, as many evenly.
const SAMPLED: usize = 1000;

/// Tells whether an image is one of at most a thousand, evenly taken, of a set of `images`.
pub fn is_sampled(index: usize, images: usize) -> bool {
    index.is_multiple_of(images.div_ceil(SAMPLED).max(1))
}

/// Results of a classifier on a set of images, in the set's order; files that can't be decoded are left out.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Pooled features `[kept, width]`.
    pub features: Vec<f32>,
    /// The images that these are of, as places in `indices`.
    pub kept: Vec<usize>,
    /// Logits `[n, classes]`.
    pub logits: Vec<f32>,
    /// Number of classes.
    pub classes: usize,
    /// Positions in the set.
    pub indices: Vec<usize>,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
}

/// Runs the images through the network; `progress` hears how many more are done. Features are kept of the images,
/// by their position in the set, for which `keep` says so: of a million, all would fill the memory.
pub fn inspect<B: Backbone>(
    classifier: &Classifier<B>,
    dataset: &Arc<ImageDataset>,
    keep: impl Fn(usize) -> bool,
    interrupt: &Interrupt,
    progress: impl FnMut(usize),
) -> Result<Inspection, TrainerError> {
    let backbone = &classifier.backbone;
    let whole = FrozenPrefix::new(backbone, backbone.stage_names().len())?;
    inspect_by(classifier, &whole, dataset, keep, interrupt, progress)
}

/// Inspects like [`inspect`], with features by `whole`, all stages of the classifier's backbone.
pub(crate) fn inspect_by<B: Backbone>(
    classifier: &Classifier<B>,
    whole: &FrozenPrefix<B>,
    dataset: &Arc<ImageDataset>,
    keep: impl Fn(usize) -> bool,
    interrupt: &Interrupt,
    progress: impl FnMut(usize),
) -> Result<Inspection, TrainerError> {
    let loader = Loader::new(Arc::clone(dataset))
        .batch_size(BATCH)
        .on_bad_file(OnBadFile::Skip);
    inspect_loaded(classifier, whole, loader, keep, interrupt, progress)
}

/// Inspects like [`inspect_by`] what a loader gives.
pub(crate) fn inspect_loaded<B: Backbone>(
    classifier: &Classifier<B>,
    whole: &FrozenPrefix<B>,
    loader: Loader,
    keep: impl Fn(usize) -> bool,
    interrupt: &Interrupt,
    mut progress: impl FnMut(usize),
) -> Result<Inspection, TrainerError> {
    let classifier = classifier.valid();
    let device = classifier.head.weight.lazy_device().without_autodiff();
    let mut found = Inspection {
        classes: classifier.num_classes(),
        ..Inspection::default()
    };
    for batch in Feed::Images(loader).epoch(0, &device) {
        interrupt.check()?;
        let batch = batch?;
        progress(batch.indices.len() + batch.skipped.len());
        found.skipped.extend(batch.skipped);
        if batch.indices.is_empty() {
            continue;
        }
        let (logits, features) = contained(false, &batch.x, || {
            let pooled = whole.forward(batch.x.clone())?.flatten::<2>(1, 3);
            let logits = host(classifier.head.forward(pooled.clone()))?;
            Ok((logits, host(pooled)?))
        })?;
        found.logits.extend(logits);
        let width = classifier.backbone.num_features();
        for (row, index) in features.chunks_exact(width).zip(batch.indices) {
            if keep(index) {
                found.features.extend_from_slice(row);
                found.kept.push(found.indices.len());
            }
            found.indices.push(index);
        }
    }
    Ok(found)
}

impl Inspection {
    /// Divides logits by a temperature.
    pub(crate) fn scale(&mut self, temperature: f64) {
        self.logits = scaled(&self.logits, temperature);
    }

    /// Returns probabilities, or numbers, against what is known of the images in `dataset`; images without a label are left out.
    pub fn predictions(&self, dataset: &ImageDataset) -> Predictions {
        let rows = self.logits.chunks_exact(self.classes.max(1));
        let images = rows.zip(&self.indices).filter_map(|(row, index)| {
            if dataset.task().is_single_label() {
                let label = dataset.labels()[*index]?;
                return Some((row, *index, label, &[][..]));
            }
            let targets = dataset.targets_of(*index).unwrap_or_default();
            Some((row, *index, 0, targets))
        });
        Predictions::of_logits(dataset.task(), self.classes, images)
    }
}

impl Predictions {
    /// Turns each image's logits into its answer, by its position in the data set, its class (of no meaning where images have several
    /// labels or numbers) and its targets (none where they have one class).
    pub(crate) fn of_logits<'t, R: AsRef<[f32]>>(
        task: Task,
        classes: usize,
        images: impl Iterator<Item = (R, usize, usize, &'t [f32])>,
    ) -> Self {
        let mut found = Self {
            classes,
            task,
            ..Self::default()
        };
        for (logits, index, label, targets) in images {
            let logits = logits.as_ref();
            match task {
                Task::MultiLabel => {
                    found.loss += binary_loss(logits, targets);
                    let answers = logits.iter().map(|logit| logistic(*logit));
                    found.probabilities.extend(answers);
                }
                Task::Regression => {
                    found.loss += squared_error(logits, targets);
                    found.probabilities.extend_from_slice(logits);
                }
                Task::SingleLabel | Task::Ordinal => {
                    let (probabilities, log_sum) = softmax(logits);
                    found.loss += match task {
                        Task::Ordinal => squared_emd(&probabilities, label),
                        _ => log_sum - f64::from(logits[label]),
                    };
                    found.probabilities.extend(probabilities);
                }
            }
            found.targets.extend_from_slice(targets);
            found.labels.push(label);
            found.indices.push(index);
        }
        found.loss /= found.labels.len().max(1) as f64;
        found
    }
}

/// Logits divided by a temperature.
pub(crate) fn scaled(logits: &[f32], temperature: f64) -> Vec<f32> {
    let divided = |logit: &f32| (f64::from(*logit) / temperature) as f32;
    logits.iter().map(divided).collect()
}

/// The probability that a logit of yes or no speaks of.
pub(crate) fn logistic(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

/// Cross entropy of yes and no, summed over the labels.
pub(crate) fn binary_loss(logits: &[f32], targets: &[f32]) -> f64 {
    let of = |(logit, target): (&f32, &f32)| {
        let (logit, target) = (f64::from(*logit), f64::from(*target));
        logit.max(0.0) - logit * target + (-logit.abs()).exp().ln_1p()
    };
    logits.iter().zip(targets).map(of).sum()
}

/// Squared earth mover's distance between probabilities and the true class.
pub(crate) fn squared_emd(probabilities: &[f32], label: usize) -> f64 {
    let mut below = 0.0;
    let of = |(class, p): (usize, &f32)| {
        below += f64::from(*p);
        let truth = if class >= label { 1.0 } else { 0.0 };
        (below - truth).powi(2)
    };
    probabilities.iter().enumerate().map(of).sum()
}

/// Squared error of numbers, summed over these.
pub(crate) fn squared_error(answers: &[f32], numbers: &[f32]) -> f64 {
    let pairs = answers.iter().zip(numbers);
    pairs
        .map(|(answer, number)| (f64::from(*answer) - f64::from(*number)).powi(2))
        .sum()
}

/// Probabilities of a row of logits, and the logarithm of the sum of their exponentials.
pub(crate) fn softmax(logits: &[f32]) -> (Vec<f32>, f64) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .collect();
    let sum: f64 = powers.iter().sum();
    let row = powers.iter().map(|power| (power / sum) as f32).collect();
    (row, f64::from(largest) + sum.ln())
}
