//! Runs the images of a folder through a network, for a table of features or for a cache.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_files::names::show;
use rekindle_imagefolder::{ImageDataset, ImageFolder, Shard, Skipped};
use rekindle_models::Pretrained;
use rekindle_nn::{Multilevel, Network};
use rekindle_transfer::Backbone;

use crate::activations::FrozenPart;
use crate::calibration::{calibration, prefix};
use crate::data::eval_pipeline;
use crate::feed::Activations;
use crate::looking::{Looking, looking_options};
use crate::out_of_memory::host;
use crate::recipe::Cache;
use crate::{Event, FeatureLayer, FeatureTable, TrainerError, text};

/// Images whose logits are computed together.
const BATCH: usize = 32;

/// Computes features or logits of the images of a folder, in their plain view.
///
/// ```no_run
/// use rekindle_imagefolder::ImageFolder;
/// use rekindle_models::Pretrained;
/// use rekindle_trainer::FeatureExtractor;
/// use rekindle_trainer::burn::tensor::Device;
///
/// let device = Device::flex();
/// let pretrained = Pretrained::open("resnet18-f37072fd.pth", &device)?;
/// let folder = ImageFolder::open("photos/train")?;
/// let table = FeatureExtractor::new(&device).run(&pretrained, &folder)?;
/// table.save("features.safetensors", &pretrained)?;
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
pub struct FeatureExtractor<'a> {
    layer: FeatureLayer,
    quantize: bool,
    keeps_architecture: bool,
    looking: Looking<'a>,
}

looking_options!(FeatureExtractor);

/// What [`FeatureExtractor::fill_cache`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilledCache {
    /// Images of the shard.
    pub images: usize,
    /// Images whose features were there already.
    pub found: usize,
    /// Images whose features were computed.
    pub computed: usize,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
}

impl FeatureExtractor<'_> {
    /// The defaults: pooled features in `f32`, which live in memory.
    pub fn new(device: &Device) -> Self {
        Self {
            layer: FeatureLayer::default(),
            quantize: false,
            keeps_architecture: false,
            looking: Looking::new(device),
        }
    }

    /// Sets the numbers of the network that [`run`](Self::run) returns.
    pub fn layer(self, layer: FeatureLayer) -> Self {
        Self { layer, ..self }
    }

    /// Computes in eight bits, with ranges measured on up to 64 images of the folder: on a CPU two to four times as fast, and
    /// slightly inexact, see [`Network::quantize_stages`].
    pub fn quantize(self, quantize: bool) -> Self {
        Self { quantize, ..self }
    }

    /// Leaves nothing but the network's own features in a cache, for [`Fit::keep_architecture`](crate::Fit::keep_architecture) and for
    /// [`Audit`](crate::Audit) and [`Similar`](crate::Similar), which look at no others. By default [`fill_cache`](Self::fill_cache)
    /// leaves those of [two levels](Network::with_multilevel_features) as well, where a network has them.
    pub fn keep_architecture(self) -> Self {
        Self {
            keeps_architecture: true,
            ..self
        }
    }

    /// Returns one row for each image of `folder` that can be read.
    ///
    /// # Errors
    ///
    /// [`TrainerError::UnusableWeights`] for logits of weights without a classifier, [`TrainerError::UnusableData`] where no
    /// image can be read, [`TransferError::NotQuantizable`](rekindle_transfer::TransferError::NotQuantizable) where the
    /// network can't run in eight bits, and [`TrainerError::Interrupted`].
    pub fn run(
        mut self,
        pretrained: &Pretrained,
        folder: &ImageFolder,
    ) -> Result<FeatureTable, TrainerError> {
        let (backbone, head) = pretrained.model.clone().split_classifier();
        let head = match (self.layer, head) {
            (FeatureLayer::Pooled, _) => None,
            (FeatureLayer::Logits, Some(head)) => Some(head.valid()),
            (FeatureLayer::Logits, None) => {
                return Err(TrainerError::UnusableWeights {
                    what: show(&pretrained.path),
                    found: "these weights have no classifier, so there are no logits".into(),
                    advice: "extract pooled features, or give weights with a classifier",
                });
            }
        };
        let part = self.part(pretrained, &backbone, folder)?;
        let kept = self.kept(pretrained, &part, folder)?;
        let indices: Vec<usize> = kept.usable().collect();
        if indices.is_empty() {
            return Err(TrainerError::UnusableData {
                what: show(folder.root()),
                found: text::none_read(folder.len()),
                advice: "run `rekindle verify` on the folder: it lists every bad file and its reason",
            });
        }
        let mut values = Vec::new();
        for batch in indices.chunks(BATCH) {
            let mut rows = Vec::new();
            for index in batch {
                rows.extend_from_slice(&kept.row(*index, 0)?);
            }
            if let Some(head) = &head {
                let shape = [batch.len(), rows.len() / batch.len()];
                let features = TensorData::new(rows, shape);
                let features = Tensor::<2>::from_data(features, &self.looking.device);
                rows = host(head.forward(features))?;
            }
            if values.is_empty() {
                values.reserve_exact(rows.len() / batch.len() * indices.len());
            }
            values.extend(rows);
        }
        let samples = indices.iter().map(|index| &folder.samples()[*index]);
        let relative = |path: &Path| {
            path.strip_prefix(folder.root())
                .unwrap_or(path)
                .to_path_buf()
        };
        Ok(FeatureTable {
            layer: self.layer,
            width: values.len() / indices.len(),
            values,
            labels: samples.clone().map(|sample| sample.label).collect(),
            paths: samples.map(|sample| relative(&sample.path)).collect(),
            classes: folder.classes().to_vec(),
            skipped: kept.skipped().cloned().collect(),
            computed: kept.computed(),
        })
    }

    /// Computes the pooled features of the images of `folder` that are in `shard`, and leaves them in the
    /// [`cache`](Self::cache) for whoever asks for these images by the same network: [`run`](Self::run),
    /// [`Fit`](crate::Fit), [`Audit`](crate::Audit), [`Similar`](crate::Similar) or one-call training. Up to 1,024 images
    /// are computed again where the process is killed and this is called anew.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidRecipe`] without a cache in a folder, or for logits; else as [`run`](Self::run), but for
    /// [`TrainerError::UnusableData`]: a shard may be empty.
    pub fn fill_cache(
        mut self,
        pretrained: &Pretrained,
        folder: &ImageFolder,
        shard: Shard,
    ) -> Result<FilledCache, TrainerError> {
        let Cache::Disk(cache) = &self.looking.cache else {
            return Err(TrainerError::InvalidRecipe {
                field: "cache",
                found: "memory".into(),
                expected: "a folder, where features are to be kept",
            });
        };
        if self.layer == FeatureLayer::Logits {
            return Err(TrainerError::InvalidRecipe {
                field: "layer",
                found: "logits".into(),
                expected: "pooled features, of which logits are computed at once",
            });
        }
        // Of an empty shard too, whoever merges finds a folder.
        fs::create_dir_all(cache).map_err(|error| TrainerError::io("create", cache, error))?;
        let own = folder.subset(&shard.positions(folder));
        if own.is_empty() {
            return Ok(FilledCache::default());
        }
        let (backbone, _) = pretrained.model.clone().split_classifier();
        // Every shard measures ranges on the same images of the whole.
        let mut part = self.part(pretrained, &backbone, folder)?;
        let is_plain = self.quantize || self.keeps_architecture;
        let multilevel = (!is_plain).then(|| backbone.with_multilevel_features());
        if let Some(Multilevel { network, parts }) = multilevel.flatten() {
            let widest = self.part(pretrained, &network, folder)?;
            part = FrozenPart {
                beginning: Some((part.prefix, parts[0])),
                ..widest
            };
        }
        let kept = self.kept(pretrained, &part, &own)?;
        Ok(FilledCache {
            images: own.len(),
            found: kept.usable().count() - kept.computed(),
            computed: kept.computed(),
            skipped: kept.skipped().cloned().collect(),
        })
    }

    /// All stages of `backbone`, with ranges measured on images of `folder` where they are in eight bits.
    fn part(
        &self,
        pretrained: &Pretrained,
        backbone: &Network,
        folder: &ImageFolder,
    ) -> Result<FrozenPart<Network>, TrainerError> {
        let device = self.looking.device.clone();
        let plain = eval_pipeline(&pretrained.preprocess);
        let images = match self.quantize {
            true => {
                let dataset = Arc::new(ImageDataset::new(folder, plain.clone())?);
                let workers = self.looking.workers;
                Some(calibration(&dataset, plain, workers, &device)?)
            }
            false => None,
        };
        let stages = backbone.stage_names().len();
        Ok(FrozenPart {
            beginning: None,
            prefix: prefix(backbone, stages, images.as_deref())?,
            device,
        })
    }

    fn kept(
        &mut self,
        pretrained: &Pretrained,
        part: &FrozenPart<Network>,
        folder: &ImageFolder,
    ) -> Result<Activations, TrainerError> {
        let plain = eval_pipeline(&pretrained.preprocess);
        let dataset = Arc::new(ImageDataset::new(folder, plain)?);
        let name = format!("features by {}", pretrained.architecture);
        // The result lists bad files.
        let mut hear = |event: &Event| !matches!(event, Event::SkippedFile { .. });
        self.looking.kept_by(part, &dataset, &name, &mut hear)
    }
}
