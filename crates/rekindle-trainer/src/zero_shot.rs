//! Pictures asked about in words.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, ImageFolder, Loader, OnBadFile, Sample};
use rekindle_models::Preprocess;
use rekindle_models::clip::Clip;
use rekindle_nn::Network;
use rekindle_transfer::Classifier;
use rekindle_transfer::backbone::check_channels;
use rekindle_transfer::features::{Features, LinearHead, TextClasses};

use crate::data::eval_pipeline;
use crate::feed::Feed;
use crate::out_of_memory::{contained, host};
use crate::{Answer, Interrupt, TrainerError};

/// Images that go through the network together.
const BATCH: usize = 16;

/// A classifier whose classes are sentences: no image of them is needed.
///
/// ```no_run
/// use rekindle_models::clip::Clip;
/// use rekindle_trainer::ZeroShot;
/// use rekindle_trainer::burn::tensor::Device;
///
/// let clip = Clip::open("open_clip_model.safetensors", &Device::flex())?;
/// // Sentences as tokens, by `rekindle_models::clip::Tokenizer`.
/// let ant = vec![vec![49406, 320, 1125, 539, 550, 773, 49407]];
/// let bee = vec![vec![49406, 320, 1125, 539, 320, 5028, 49407]];
/// let classes = vec![("ant".to_string(), ant), ("bee".to_string(), bee)];
/// ZeroShot::new(clip, classes)?.predict(&["photo.jpg".into()], |answer| {
///     println!("{:?}", answer.top(1));
/// })?;
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug)]
pub struct ZeroShot {
    /// The image tower.
    pub network: Network,
    /// Names in the order of the logits.
    pub classes: Vec<String>,
    /// Embeddings of the sentences, in the space of the images.
    pub texts: TextClasses,
    /// Factor that turns cosines into logits.
    pub logit_scale: f64,
    /// Preprocessing of a picture before the network sees it.
    pub preprocess: Preprocess,
    /// The network's name.
    pub architecture: String,
    head: LinearHead,
    interrupt: Interrupt,
}

impl ZeroShot {
    /// Encodes the sentences of each class, which are tokens; the class is their mean.
    ///
    /// # Errors
    ///
    /// [`Text`](rekindle_models::Error::Text) for tokens that can't be encoded, and those of [`TextClasses::new`].
    pub fn new(clip: Clip, classes: Vec<(String, Vec<Vec<u32>>)>) -> Result<Self, TrainerError> {
        let (names, sentences): (Vec<_>, Vec<_>) = classes.into_iter().unzip();
        let embedded = sentences.iter().map(|sentences| {
            let rows = clip.text.encode(sentences)?;
            let dim = rows.dims()[1];
            Ok(Features::new(host(rows)?, dim)?)
        });
        let embedded = embedded.collect::<Result<Vec<_>, TrainerError>>()?;
        let texts = TextClasses::new(&embedded)?;
        let logit_scale = f64::from(clip.logit_scale);
        Ok(Self {
            network: clip.image.model,
            classes: names,
            head: texts.head(logit_scale),
            texts,
            logit_scale,
            preprocess: clip.image.preprocess,
            architecture: clip.image.architecture,
            interrupt: Interrupt::new(),
        })
    }

    /// Returns the head for features of length 1.
    pub fn head(&self) -> &LinearHead {
        &self.head
    }

    /// Returns a classifier to start training from, whose head the sentences are. `features` are those of some images as
    /// the network gives them: the head is scaled by their mean length ([`TextClasses::head_for`]).
    ///
    /// # Errors
    ///
    /// Those of [`TextClasses::head_for`].
    pub fn into_classifier(self, features: &Features) -> Result<Classifier<Network>, TrainerError> {
        let head = self.texts.head_for(self.logit_scale, features)?;
        let device = self.network.device();
        let classifier = Classifier::new(self.network, self.classes.len(), 0, &device);
        Ok(classifier.with_head(head.weight, head.bias)?)
    }

    /// Ends [`predict`](Self::predict) after a batch with [`TrainerError::Interrupted`] when `interrupt` is requested.
    pub fn interrupt(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }

    /// Computes embeddings `[n, features]` of length 1 of preprocessed images `[n, channels, height, width]`.
    ///
    /// # Errors
    ///
    /// Images that don't fit the network; [`TrainerError::OutOfDeviceMemory`] and [`TrainerError::Device`].
    pub fn features(&self, images: &Tensor<4>) -> Result<Features, TrainerError> {
        check_channels(&self.network, images)?;
        let rows = contained(false, images, || {
            let maps = self.network.forward_features(images.clone());
            host(self.network.pool(maps))
        })?;
        let features = Features::new(rows, self.network.num_features())?;
        Ok(features.l2_normalized())
    }

    /// Asks about pictures; `answer` hears of each one in the order of `paths`, but of files that can't be read right after
    /// their batch.
    ///
    /// # Errors
    ///
    /// Those of [`features`](Self::features), and [`TrainerError::Interrupted`]. A file that can't be read is an [`Answer`],
    /// not an error.
    pub fn predict(
        &self,
        paths: &[PathBuf],
        mut answer: impl FnMut(Answer),
    ) -> Result<(), TrainerError> {
        let samples = paths.iter().map(|path| Sample {
            path: path.clone(),
            label: None,
        });
        let folder = ImageFolder::from_samples(Path::new("."), Vec::new(), samples.collect())?;
        let loader = Loader::new(ImageDataset::new(&folder, eval_pipeline(&self.preprocess))?)
            .batch_size(BATCH)
            .on_bad_file(OnBadFile::Skip);
        for batch in Feed::Images(loader).epoch(0, &self.network.device()) {
            self.interrupt.check()?;
            let batch = batch?;
            if !batch.indices.is_empty() {
                let features = self.features(&batch.x)?;
                let found = self.head.probabilities(&features)?;
                let rows = found.chunks_exact(self.classes.len());
                for (index, row) in batch.indices.iter().zip(rows) {
                    answer(Answer {
                        path: paths[*index].clone(),
                        probabilities: Ok(row.iter().map(|p| *p as f32).collect()),
                        unknown: None,
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
}
