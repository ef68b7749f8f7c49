//! Answers about images that are in memory, as a server has them.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use rekindle_files::names::show;
use rekindle_imagefolder::{
    DecodeOptions, Error, ImageDataset, Loader, Preprocess, Task, decode_bytes, decode_channels,
};
use serde::Serialize;

use super::{Model, UnknownCheck};
use crate::TestViews;
use crate::TrainerError;
use crate::data::eval_pipeline;
use crate::feed::Feed;
use crate::inspect::scaled;
use crate::predictor::ranked;
use crate::test_views::inspect_in_views;

/// What a model says of one image in memory.
///
/// As JSON it is a list, the most probable class first: `[{"class": "ants", "probability": 0.93}, ...]`. The list of an image
/// that [is unknown](Self::is_unknown) is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// One probability per class, in the order of the model's classes; of several labels, each by itself.
    pub probabilities: Vec<f32>,
    /// Names of the classes, shared by all answers of a call.
    pub classes: Arc<[String]>,
    /// Whether the image looks like none of the classes; none for a model that doesn't [reject](Model::rejecting).
    pub unknown: Option<UnknownCheck>,
}

impl Classified {
    /// Returns true if the model [rejects](Model::rejecting) the image as one of no class that it knows.
    pub fn is_unknown(&self) -> bool {
        self.unknown.is_some_and(|check| check.is_unknown())
    }

    /// Returns the most probable class of those that the model knows.
    pub fn class(&self) -> &str {
        self.top(1).first().map_or("", |(class, _)| *class)
    }

    /// Returns the probability of the most probable class, 0 to 1.
    pub fn probability(&self) -> f32 {
        self.top(1)
            .first()
            .map_or(0.0, |(_, probability)| *probability)
    }

    /// Returns the `count` most probable classes with their probabilities.
    pub fn top(&self, count: usize) -> Vec<(&str, f32)> {
        let best = ranked(&self.probabilities).into_iter().take(count);
        best.map(|(class, probability)| (self.classes[class].as_str(), probability))
            .collect()
    }
}

impl Serialize for Classified {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Share<'a> {
            class: &'a str,
            probability: f32,
        }
        let count = match self.is_unknown() {
            true => 0,
            false => usize::MAX,
        };
        let all = self.top(count).into_iter();
        serializer.collect_seq(all.map(|(class, probability)| Share { class, probability }))
    }
}

/// Pictures in memory.
pub(super) enum Images<'a> {
    /// Decoded to RGB of 8 bits.
    Decoded(Vec<RgbImage>),
    /// As files hold them.
    Files(&'a [&'a [u8]]),
}

impl Images<'_> {
    fn dataset(self, preprocess: &Preprocess) -> Result<ImageDataset, Error> {
        let plain = eval_pipeline(preprocess);
        let (path, options) = (Path::new("the image"), DecodeOptions::default());
        let unlabelled = |count| vec![None; count];
        match (self, preprocess.channels) {
            (Self::Decoded(images), _) => {
                let labels = unlabelled(images.len());
                ImageDataset::from_images(images, labels, Vec::new(), plain)
            }
            (Self::Files(files), None) => {
                let decoded = files
                    .iter()
                    .map(|bytes| decode_bytes(path, bytes, &options));
                let images = decoded.collect::<Result<_, _>>()?;
                ImageDataset::from_images(images, unlabelled(files.len()), Vec::new(), plain)
            }
            (Self::Files(files), Some(own)) => {
                let decoded = files.iter();
                let decoded = decoded.map(|bytes| decode_channels(path, bytes, own, &options));
                let images = decoded.collect::<Result<_, _>>()?;
                ImageDataset::from_planes(images, unlabelled(files.len()), Vec::new(), plain)
            }
        }
    }
}

/// Returns the error of an image that no answer is given about.
pub(super) fn no_pixels() -> TrainerError {
    TrainerError::UnusableData {
        what: "image".into(),
        found: "it has no pixels".into(),
        advice: "give one of at least one pixel",
    }
}

impl Model {
    /// Answers about an image in memory, in the model's [views](Self::in_views).
    ///
    /// A model can be asked from several threads at once.
    ///
    /// ```no_run
    /// use rekindle_trainer::burn::tensor::Device;
    /// use rekindle_trainer::Model;
    ///
    /// let model = Model::open("ants-bees.safetensors", &Device::flex())?;
    /// let answer = model.classify_bytes(&std::fs::read("photo.jpg")?)?;
    /// println!("{} {:.2}", answer.class(), answer.probability());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A model that doesn't take RGB images, or gives numbers; [`TrainerError::OutOfDeviceMemory`], and
    /// [`TrainerError::Interrupted`].
    pub fn classify(&self, image: RgbImage) -> Result<Classified, TrainerError> {
        let mut answers = self.classify_all(vec![image])?;
        answers.pop().ok_or_else(no_pixels)
    }

    /// Answers about the bytes of an image file (JPEG, PNG, WebP, ...), turned upright as its EXIF data say.
    ///
    /// # Errors
    ///
    /// Why the bytes can't be decoded, and as [`classify`](Self::classify).
    pub fn classify_bytes(&self, bytes: &[u8]) -> Result<Classified, TrainerError> {
        let mut answers = self.classifications(Images::Files(&[bytes]))?;
        answers.pop().ok_or_else(no_pixels)
    }

    /// Answers about several images, in their order.
    ///
    /// # Errors
    ///
    /// As [`classify`](Self::classify).
    pub fn classify_all(&self, images: Vec<RgbImage>) -> Result<Vec<Classified>, TrainerError> {
        self.classifications(Images::Decoded(images))
    }

    fn classifications(&self, images: Images<'_>) -> Result<Vec<Classified>, TrainerError> {
        if self.task == Task::Regression {
            return Err(TrainerError::ModelLacks {
                what: format!("model {}", show(&self.path)),
                found: "it gives numbers, and no classes".into(),
                advice: "ask for a number (`Model::number_of`)",
            });
        }
        self.require_plain_views()?;
        let classes: Arc<[String]> = self.class_names().into();
        self.answers(images, |logits, unknown| Classified {
            probabilities: self.probabilities(logits),
            classes: Arc::clone(&classes),
            unknown,
        })
    }

    /// Answers by the logits of each image, in the model's views.
    pub(super) fn answers<T>(
        &self,
        images: Images<'_>,
        answered: impl Fn(&[f32], Option<UnknownCheck>) -> T,
    ) -> Result<Vec<T>, TrainerError> {
        let dataset = images.dataset(&self.preprocess)?;
        let named = |error: TrainerError| error.with_architecture(&self.architecture);
        if self.views == TestViews::Plain {
            return self.plain(dataset, answered).map_err(named);
        }
        let pipelines = self.views.pipelines(&self.preprocess);
        let (network, interrupt) = (&self.classifier, &self.interrupt);
        let dataset = Arc::new(dataset);
        let found = inspect_in_views(network, &dataset, &pipelines, interrupt, |_| ());
        let found = found.map_err(named)?;
        // The temperature in a file was fitted on plain views.
        let rows = found.logits.chunks_exact(found.classes.max(1));
        Ok(rows.map(|row| answered(row, None)).collect())
    }

    /// Answers about every image, one after the other, in its plain view.
    fn plain<T>(
        &self,
        dataset: ImageDataset,
        answered: impl Fn(&[f32], Option<UnknownCheck>) -> T,
    ) -> Result<Vec<T>, TrainerError> {
        // No threads of its own: a server has several questions at once.
        let loader = Loader::new(dataset).batch_size(super::BATCH).workers(0);
        let predictor = crate::Predictor::new(&self.classifier);
        let mut answers = Vec::new();
        for batch in Feed::Images(loader).epoch(0, &self.device) {
            self.interrupt.check()?;
            let batch = batch?;
            let rows = self.rows(&predictor, &batch)?;
            for at in 0..batch.indices.len() {
                let logits = scaled(rows.logits(at), self.divisor);
                answers.push(answered(&logits, self.check_unknown(&rows, at)?));
            }
        }
        Ok(answers)
    }
}
