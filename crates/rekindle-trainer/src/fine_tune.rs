//! A good classifier in one call: what the source knows of the new classes, and a probe for the rest.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, OnBadFile, Pipeline, Transform};
use rekindle_resnet::weights::{LoadOptions, ModelInfo};
use rekindle_resnet::{Preprocess, Pretrained, ResNet};
use rekindle_transfer::features::{FittedProbe, PriorProbe};
use rekindle_transfer::{Backbone, Classifier};
use serde_json::json;

use crate::activations::{FrozenPart, Views};
use crate::calibration::{calibration, prefix};
use crate::checkpoint::weights_of;
use crate::data::{TransferData, eval_pipeline};
use crate::pooled::{Pooled, pooled, take_head};
use crate::recipe::Cache;
use crate::{Observer, Predictions, TrainerError, fit};

/// Adapts the network in `weights` to the images in `data`, with the defaults of [`FineTune`], on the CPU or
/// whatever `device` is.
///
/// ```no_run
/// use rekindle_trainer::burn::tensor::Device;
///
/// let tuned = rekindle_trainer::fine_tune("hymenoptera", "resnet18-f37072fd.pth", &Device::flex())?;
/// println!("accuracy {:.3} in {:.1} s", tuned.accuracy(), tuned.seconds);
/// tuned.save("ants-bees.safetensors")?;
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
///
/// # Errors
///
/// Those of reading the weights and the images, and classes that can't be told apart because one is empty.
pub fn fine_tune(
    data: impl AsRef<Path>,
    weights: impl AsRef<Path>,
    device: &Device,
) -> Result<FineTuned, TrainerError> {
    FineTune::new(device).run(data, weights)
}

/// The one-call recipe with its few choices.
///
/// Every training image goes through the frozen backbone once. A head is mixed from the rows of the source
/// classifier and completed by a logistic regression whose penalty is chosen by cross-validation
/// ([`PriorProbe`]): seconds, where fine-tuning takes minutes, and on small sets the better result.
pub struct FineTune<'a> {
    device: Device,
    probe: PriorProbe,
    test_views: TestViews,
    cache: Cache,
    quantize: bool,
    workers: usize,
    seed: u64,
    observers: Vec<Box<dyn Observer + 'a>>,
    load_options: LoadOptions,
}

/// In how many ways a validation image is looked at; logits are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestViews {
    /// As it is.
    Plain,
    /// And mirrored.
    Flip,
    /// Both at the size that the weights were evaluated at and at nine sevenths of it (288 for 224).
    #[default]
    FlipAndScale,
}

/// What the one-call recipe leaves.
pub struct FineTuned {
    /// Backbone and new head.
    pub classifier: Classifier<ResNet>,
    /// Names in the order of the logits.
    pub classes: Vec<String>,
    /// What a picture goes through before the network sees it.
    pub preprocess: Preprocess,
    /// The head and how it was found.
    pub probe: FittedProbe,
    /// What the classifier says of the validation images, each seen plainly.
    pub plain: Predictions,
    /// The same over all test views.
    pub predictions: Predictions,
    /// Seconds from the call to the result.
    pub seconds: f64,
    info: ModelInfo,
}

impl<'a> FineTune<'a> {
    /// The defaults: features live in memory, validation images are seen in four views, seed 0.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone().without_autodiff(),
            probe: PriorProbe::default(),
            test_views: TestViews::default(),
            cache: Cache::Memory,
            quantize: false,
            workers: 2,
            seed: 0,
            observers: Vec::new(),
            load_options: LoadOptions::default(),
        }
    }

    /// Chooses a network in the file of weights, where it holds several.
    pub fn load_options(self, load_options: LoadOptions) -> Self {
        Self {
            load_options,
            ..self
        }
    }

    /// How validation images are looked at.
    pub fn test_views(self, test_views: TestViews) -> Self {
        Self { test_views, ..self }
    }

    /// Keeps features in a folder for later runs.
    pub fn cache(self, folder: impl AsRef<Path>) -> Self {
        Self {
            cache: Cache::Disk(folder.as_ref().to_path_buf()),
            ..self
        }
    }

    /// Whether features are computed in eight bits, see [`Recipe::quantize_frozen`](crate::Recipe::quantize_frozen); off
    /// unless asked for.
    pub fn quantize_frozen(self, quantize: bool) -> Self {
        Self { quantize, ..self }
    }

    /// Seed of the cross-validation, and of the split where the folder has none.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Threads that decode images.
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Penalties, folds and mixing of the head.
    pub fn probe(self, probe: PriorProbe) -> Self {
        Self { probe, ..self }
    }

    /// Lets `observer` hear how far the work is.
    pub fn observer(mut self, observer: impl Observer + 'a) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Reads weights and images, finds the head, and measures it on the validation images.
    ///
    /// # Errors
    ///
    /// As [`fine_tune`].
    pub fn run(
        self,
        data: impl AsRef<Path>,
        weights: impl AsRef<Path>,
    ) -> Result<FineTuned, TrainerError> {
        let begun = Instant::now();
        let pretrained = Pretrained::open_with(weights, &self.load_options, &self.device)?;
        let data = TransferData::open(data, &pretrained.preprocess, self.seed)?;
        self.adapt(pretrained, &data, begun)
    }

    fn adapt(
        mut self,
        mut pretrained: Pretrained,
        data: &TransferData,
        begun: Instant,
    ) -> Result<FineTuned, TrainerError> {
        let source = take_head(&mut pretrained.model);
        let backbone = pretrained.model.clone();
        let stages = backbone.stage_names().len();
        let plain = eval_pipeline(&data.preprocess);
        let images = self
            .quantize
            .then(|| calibration(&data.train, plain.clone(), self.workers, &self.device))
            .transpose()?;
        let part = FrozenPart {
            prefix: prefix(&backbone, stages, images.as_deref())?,
            device: self.device.clone(),
        };
        let train = self.features(&part, &data.train, plain, "features of the training images")?;
        let probe = PriorProbe {
            seed: self.seed,
            ..self.probe.clone()
        };
        let classes = data.classes.len();
        let fitted = probe.fit(&train.features, &train.labels, classes, source.as_ref())?;

        let mut views = Vec::new();
        for (name, pipeline) in self.test_views.pipelines(&data.preprocess) {
            let seen = self.features(&part, &data.val, pipeline, name)?;
            let logits = fitted.head.logits(&seen.features)?;
            views.push((logits, seen));
        }
        let (_, first) = &views[0];
        let predictions = |views: &[(Vec<f64>, Pooled)]| {
            let logits = mean_logits(views, first);
            predictions(&logits, classes, first)
        };
        let (plain, all) = (predictions(&views[..1]), predictions(&views));
        let head = fitted.head.clone();
        let classifier = Classifier::new(backbone, classes, self.seed, &self.device)
            .with_head(head.weight, head.bias)?;
        Ok(FineTuned {
            info: info(&pretrained, data, &fitted),
            classifier,
            classes: data.classes.clone(),
            preprocess: data.preprocess.clone(),
            probe: fitted,
            plain,
            predictions: all,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    /// Pooled features of every readable image.
    fn features(
        &mut self,
        part: &FrozenPart<ResNet>,
        dataset: &Arc<ImageDataset>,
        pipeline: Pipeline,
        name: &str,
    ) -> Result<Pooled, TrainerError> {
        let views = Views {
            dataset,
            plain: pipeline,
            count: 1,
            seed: self.seed,
            workers: self.workers,
            on_bad_file: OnBadFile::Skip,
        };
        let observers = &mut self.observers;
        pooled(part, &views, &self.cache, name, &mut |event| {
            for observer in observers.iter_mut() {
                observer.on_event(event);
            }
        })
    }
}

impl TestViews {
    fn pipelines(self, preprocess: &Preprocess) -> Vec<(&'static str, Pipeline)> {
        let mirrored = |preprocess: &Preprocess| {
            let mut transforms = eval_pipeline(preprocess).0;
            transforms.insert(0, Transform::RandomHorizontalFlip { p: 1.0 });
            Pipeline(transforms)
        };
        let larger = Preprocess {
            resize: preprocess.resize * 9 / 7 / 32 * 32,
            crop: preprocess.crop * 9 / 7,
            ..preprocess.clone()
        };
        let larger = Preprocess {
            resize: larger.resize.max(larger.crop),
            ..larger
        };
        let all = vec![
            (
                "features of the validation images",
                eval_pipeline(preprocess),
            ),
            ("the same, mirrored", mirrored(preprocess)),
            ("the same, larger", eval_pipeline(&larger)),
            ("the same, larger and mirrored", mirrored(&larger)),
        ];
        let count = match self {
            TestViews::Plain => 1,
            TestViews::Flip => 2,
            TestViews::FlipAndScale => 4,
        };
        all.into_iter().take(count).collect()
    }
}

/// Mean logits over the views, for the images that the first view has; one that a later view lacks keeps
/// what the others say.
fn mean_logits(views: &[(Vec<f64>, Pooled)], first: &Pooled) -> Vec<f64> {
    let classes = views[0].0.len() / first.indices.len();
    let mut mean = vec![0.0; views[0].0.len()];
    for (logits, seen) in views {
        for (row, index) in seen.indices.iter().enumerate() {
            if let Ok(target) = first.indices.binary_search(index) {
                for class in 0..classes {
                    mean[target * classes + class] +=
                        logits[row * classes + class] / views.len() as f64;
                }
            }
        }
    }
    mean
}

fn predictions(logits: &[f64], classes: usize, seen: &Pooled) -> Predictions {
    let mut probabilities = Vec::with_capacity(logits.len());
    let mut loss = 0.0;
    for (row, label) in logits.chunks_exact(classes).zip(&seen.labels) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|logit| (logit - largest).exp()).sum();
        loss += largest + sum.ln() - row[*label];
        probabilities.extend(
            row.iter()
                .map(|logit| ((logit - largest).exp() / sum) as f32),
        );
    }
    Predictions {
        classes,
        probabilities,
        labels: seen.labels.clone(),
        indices: seen.indices.clone(),
        loss: loss / seen.labels.len() as f64,
    }
}

fn info(pretrained: &Pretrained, data: &TransferData, fitted: &FittedProbe) -> ModelInfo {
    ModelInfo {
        architecture: Some(pretrained.architecture.clone()),
        classes: Some(data.classes.clone()),
        preprocess: Some(data.preprocess.clone()),
        provenance: Some(
            json!({
                "source": rekindle_files::names::escape(&pretrained.path),
                "sha256": pretrained.sha256,
                "recipe": "fine_tune",
                "penalty": fitted.penalty,
                "data": data.description,
            })
            .to_string(),
        ),
    }
}

impl FineTuned {
    /// Accuracy on the validation images over all test views, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        self.predictions.accuracy()
    }

    /// Writes the network as safetensors under torchvision's names, with classes and preprocessing.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TrainerError> {
        let weights = weights_of(&self.classifier);
        Ok(fit::write_weights(
            path.as_ref(),
            &self.classifier,
            &weights,
            &self.info,
        )?)
    }
}
