//! Pictures of classes that the model doesn't know.

use std::path::Path;
use std::sync::Arc;

use rekindle_files::names::show;
use rekindle_imagefolder::{ImageDataset, Skipped, Task};
use rekindle_transfer::features::{Features, OpenSetSearch, UnknownDetector};
use rekindle_weights::{UNKNOWN_DETECTOR, set_metadata};
use serde::Serialize;

use super::Model;
use crate::data::eval_pipeline;
use crate::feed::Batch;
use crate::inspect::{Inspection, inspect};
use crate::{Predictor, TestViews, TrainerError, TransferData};

/// Training images that are looked at, at most.
const MOST_IMAGES: usize = 20_000;

/// How unknown a picture looks to a model that [rejects](Model::rejecting) those of unknown classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UnknownCheck {
    /// The picture's score; higher is more unknown.
    pub score: f64,
    /// The score above which a picture is unknown.
    pub threshold: f64,
}

impl UnknownCheck {
    /// Returns true if the picture looks like none of the model's classes.
    pub fn is_unknown(&self) -> bool {
        // A score that is no number is not that of a known picture.
        self.score > self.threshold || self.score.is_nan()
    }
}

/// A detector of unknown classes, fitted to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedUnknown {
    /// The detector with its score, the best of those that were compared.
    pub detector: UnknownDetector,
    /// Classes that were left out, one at a time, to compare the scores.
    pub left_out: usize,
    /// Training images that it was fitted on.
    pub train_images: usize,
    /// Validation images that thresholds are quantiles of.
    pub held_out_images: usize,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
}

impl FittedUnknown {
    /// Keeps the detector in a safetensors file of the model, among its metadata: every tensor stays as it is.
    ///
    /// # Errors
    ///
    /// A file that is no safetensors, or that can't be written; it is then unchanged.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), TrainerError> {
        let path = path.as_ref();
        let json = serde_json::to_string(&self.detector)
            .map_err(|error| TrainerError::writer(path, error.into()))?;
        set_metadata(path, UNKNOWN_DETECTOR, &json).map_err(TrainerError::of_writing)
    }
}

/// What a model that rejects asks each picture.
#[derive(Debug, Clone)]
pub(super) struct Rejecting {
    detector: Arc<UnknownDetector>,
    threshold: f64,
}

/// Logits and features of a batch.
pub(super) struct Rows {
    logits: Vec<f32>,
    classes: usize,
    /// Empty where nothing needs them.
    features: Vec<f32>,
    width: usize,
}

impl Rows {
    pub fn logits(&self, at: usize) -> &[f32] {
        &self.logits[at * self.classes..][..self.classes]
    }

    pub fn features(&self, at: usize) -> &[f32] {
        match self.features.is_empty() {
            true => &[],
            false => &self.features[at * self.width..][..self.width],
        }
    }
}

impl Model {
    /// Asks of each picture whether it is of a class that the model doesn't know, so that at most the share `rejected` of
    /// pictures of known classes is taken for one: [`Answer::unknown`](super::Answer::unknown) and
    /// [`Classified::unknown`](super::Classified::unknown). Call it after [`in_views`](Self::in_views), if at all.
    ///
    /// # Errors
    ///
    /// Those of [`detector`](Self::detector) and [`UnknownDetector::threshold`]; [`TrainerError::ModelLacks`] for more than
    /// one view, since the scores in the file are those of plain views.
    pub fn rejecting(self, rejected: f64) -> Result<Self, TrainerError> {
        let detector = self.detector()?;
        let threshold = detector.threshold(rejected)?;
        let rejecting = Some(Rejecting {
            detector: Arc::new(detector),
            threshold,
        });
        let model = Self { rejecting, ..self };
        model.require_plain_views()?;
        Ok(model)
    }

    /// Returns the detector of unknown classes in the model's file.
    ///
    /// # Errors
    ///
    /// [`TrainerError::ModelLacks`] where the file has none, or the model gives several labels or numbers;
    /// [`TrainerError::UnusableWeights`] for one that can't be used.
    pub fn detector(&self) -> Result<UnknownDetector, TrainerError> {
        self.require_classes()?;
        let Some(kept) = &self.unknown_detector else {
            return Err(TrainerError::ModelLacks {
                what: format!("model {}", show(&self.path)),
                found: "its file doesn't say how unknown classes are told".into(),
                advice: "run `rekindle reject RUN` with the folder of its run, which adds that to the weights there",
            });
        };
        let damaged = |found: String| TrainerError::UnusableWeights {
            what: show(&self.path),
            found: format!("its detector of unknown classes can't be used: {found}"),
            advice: "run `rekindle reject RUN` with the folder of its run, which makes it anew",
        };
        let detector: UnknownDetector =
            serde_json::from_str(kept).map_err(|error| damaged(error.to_string()))?;
        let [features, classes] = self.classifier.head.weight.dims();
        detector
            .check(classes, features)
            .map_err(|error| damaged(error.to_string()))?;
        Ok(detector)
    }

    /// Fits a detector of unknown classes: chooses the score that tells classes best which are left out of the training
    /// images one at a time ([`OpenSetSearch`]), and takes the scores of the validation images for its thresholds. Distances are
    /// those of the network's [own features](rekindle_nn::Graph::own_features).
    /// `progress` hears how many more images are looked at. [`FittedUnknown::write`] keeps it in the model's file.
    ///
    /// `data` is what the model was trained on. At most 20,000 training images are looked at, an even selection of each class.
    /// Where the whole network was trained, it has learned from the training images, so that the choice is made on features
    /// that know them too well.
    ///
    /// # Errors
    ///
    /// [`TrainerError::ModelLacks`] for a model of several labels or numbers; [`TrainerError::UnusableData`] for other classes than
    /// the model's, or no validation image that can be read; those of [`OpenSetSearch::run`], and [`TrainerError::Interrupted`].
    pub fn fit_unknown(
        &self,
        data: &TransferData,
        seed: u64,
        mut progress: impl FnMut(usize),
    ) -> Result<FittedUnknown, TrainerError> {
        self.require_classes()?;
        if self.class_names() != data.classes {
            return Err(TrainerError::UnusableData {
                what: format!("images for model {}", show(&self.path)),
                found: "other classes than the model's".into(),
                advice: "give the images that the model was trained on",
            });
        }
        let plain = eval_pipeline(&self.preprocess);
        let labels = data.train.labels();
        let chosen = evenly(labels, MOST_IMAGES);
        let train = data.train.subset(&chosen).with_pipeline(plain.clone())?;
        let (train, labels, mut skipped) = self.looked_at(train, &mut progress)?;
        let classes = data.classes.len();
        let features = Features::new(train.features, self.classifier.head.weight.dims()[0])?;
        // Distances in what was appended to a network's own features say less.
        let own = self.classifier.backbone.graph().own_features();
        let search = OpenSetSearch {
            own: Some(own),
            seed,
            ..OpenSetSearch::default()
        };
        let found = search.run(&features, &labels, classes)?;
        self.interrupt.check()?;
        let temperature = self.temperature.unwrap_or(1.0);
        let detector = UnknownDetector::fit(
            found.chosen(),
            &features.columns(0..own)?,
            &labels,
            classes,
            temperature,
        )?;
        let (val, _, unread) = self.looked_at(data.val.with_pipeline(plain)?, &mut progress)?;
        skipped.extend(unread);
        let scores = scores(&detector, &val)?;
        if scores.is_empty() {
            return Err(TrainerError::UnusableData {
                what: "validation images".into(),
                found: "not one that can be read".into(),
                advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
            });
        }
        Ok(FittedUnknown {
            left_out: found.left_out,
            train_images: labels.len(),
            held_out_images: scores.len(),
            detector: detector.compared_with(found.compared).with_held_out(scores),
            skipped,
        })
    }

    /// The features and logits of images, with their labels.
    fn looked_at(
        &self,
        dataset: ImageDataset,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(Inspection, Vec<usize>, Vec<Skipped>), TrainerError> {
        let dataset = Arc::new(dataset);
        let (network, interrupt) = (&self.classifier, &self.interrupt);
        let mut found = inspect(network, &dataset, |_| true, interrupt, progress)
            .map_err(|error| error.with_architecture(&self.architecture))?;
        let skipped = std::mem::take(&mut found.skipped);
        let label = |index: &usize| dataset.labels()[*index].unwrap_or_default();
        let labels = found.indices.iter().map(label).collect();
        Ok((found, labels, skipped))
    }

    /// The scores of inspected images with a label by the model's detector; none for a model that doesn't reject.
    pub(super) fn unknown_scores(
        &self,
        found: &Inspection,
        dataset: &ImageDataset,
    ) -> Result<Option<Vec<f64>>, TrainerError> {
        let Some(rejecting) = &self.rejecting else {
            return Ok(None);
        };
        let all = scores(&rejecting.detector, found)?.into_iter();
        let labelled = all
            .zip(&found.indices)
            .filter(|(_, index)| dataset.labels()[**index].is_some());
        Ok(Some(labelled.map(|(score, _)| score).collect()))
    }

    /// True if features of pictures are needed beside their logits.
    pub(super) fn needs_features(&self) -> bool {
        let rejecting = self.rejecting.as_ref();
        rejecting.is_some_and(|of| of.detector.score_name().needs_features())
    }

    /// Logits of a batch, with features where the detector needs them.
    pub(super) fn rows(
        &self,
        predictor: &Predictor<rekindle_nn::Network>,
        batch: &Batch,
    ) -> Result<Rows, TrainerError> {
        let (logits, features) = match self.needs_features() {
            true => predictor.logit_and_feature_values(batch)?,
            false => (predictor.logit_values(batch)?, Vec::new()),
        };
        let [width, classes] = self.classifier.head.weight.dims();
        Ok(Rows {
            logits,
            classes,
            features,
            width,
        })
    }

    /// Asks whether a picture is unknown; none for a model that doesn't reject.
    pub(super) fn check_unknown(
        &self,
        rows: &Rows,
        at: usize,
    ) -> Result<Option<UnknownCheck>, TrainerError> {
        let Some(Rejecting {
            detector,
            threshold,
        }) = &self.rejecting
        else {
            return Ok(None);
        };
        Ok(Some(UnknownCheck {
            score: detector.score(rows.logits(at), rows.features(at))?,
            threshold: *threshold,
        }))
    }

    /// Refuses to reject by averages over several views.
    pub(super) fn require_plain_views(&self) -> Result<(), TrainerError> {
        if self.rejecting.is_none() || self.views == TestViews::Plain {
            return Ok(());
        }
        Err(TrainerError::ModelLacks {
            what: format!("model {}", show(&self.path)),
            found: format!(
                "its scores for unknown classes are those of plain views, not of {}",
                self.views
            ),
            advice: "ask for unknown classes, or for several views",
        })
    }

    /// Refuses tasks in which a picture may belong to no class anyway.
    fn require_classes(&self) -> Result<(), TrainerError> {
        if self.task.is_single_label() {
            return Ok(());
        }
        let found = match self.task {
            Task::MultiLabel => {
                "it gives a picture any number of labels, and so none where it knows none"
            }
            _ => "it gives a picture numbers, and has no classes",
        };
        Err(TrainerError::ModelLacks {
            what: format!("model {} to tell unknown classes", show(&self.path)),
            found: found.into(),
            advice: "give a model for one class per picture",
        })
    }
}

/// The score of each image.
fn scores(detector: &UnknownDetector, found: &Inspection) -> Result<Vec<f64>, TrainerError> {
    let images = found.indices.len();
    // None where the score needs no features.
    let width = found.features.len() / images.max(1);
    let score = |at: usize| {
        let logits = &found.logits[at * found.classes..][..found.classes];
        Ok(detector.score(logits, &found.features[at * width..][..width])?)
    };
    (0..images).map(score).collect()
}

/// Positions of labelled images, at most `most`, of each class an even share, in rising order.
fn evenly(labels: &[Option<usize>], most: usize) -> Vec<usize> {
    let is_labelled = |index: &usize| labels[*index].is_some();
    let mut order: Vec<usize> = (0..labels.len()).filter(is_labelled).collect();
    if order.len() <= most {
        return order;
    }
    order.sort_by_key(|index| (labels[*index], *index));
    let count = order.len();
    let mut chosen: Vec<usize> = (0..most).map(|at| order[at * count / most]).collect();
    chosen.sort_unstable();
    chosen
}
