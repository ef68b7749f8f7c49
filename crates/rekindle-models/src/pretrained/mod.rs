//! A network together with what makes it usable: preprocessing, class names, origin.

mod preprocessing;

use std::path::{Path, PathBuf};

use burn::prelude::*;
use rekindle_nn::{Member, Multilevel, Network, SideBySide};
use rekindle_preprocess::Preprocess;
use rekindle_weights::{
    CheckOptions, Checkpoint, LoadOptions, ModelInfo, NetworkSource, Repository, read,
    read_safetensors_bytes, sha256, sha256_of,
};

use self::preprocessing::{Seen, of_other_channels, rescaling};
use crate::Error;
use crate::clip::{Activations, is_image_tower};
use crate::files::load;
use crate::recognise::{Found, is_onnx, open_onnx, recognised};

/// A network read from a file, with all that the file says about it.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// The network with its own head, if the file has one.
    pub model: Network,
    /// Its published name, such as `resnet18`, or a description of a network that has none.
    pub architecture: String,
    /// Preprocessing of a picture before the network sees it.
    pub preprocess: Preprocess,
    /// Class names in the order of the logits, where the file or the description beside it knows them.
    pub classes: Option<Vec<String>>,
    /// Origin of the weights as the file states it (source weights, data, recipe); JSON if rekindle wrote it.
    pub provenance: Option<String>,
    /// Temperature that logits are divided by so that confidence agrees with accuracy, if the file states it.
    pub temperature: Option<f64>,
    /// The views of a picture whose answers the maker of the file would average, by name, where the file knows them.
    pub test_views: Option<String>,
    /// What the outputs mean, by name, where that is not one class a picture; see [`ModelInfo::task`].
    pub task: Option<String>,
    /// The threshold of each label, where the file has some.
    pub thresholds: Option<Vec<f64>>,
    /// Scores of validation images that sets of classes are made by, where the file knows them.
    pub conformal_scores: Option<Vec<u16>>,
    /// Absolute error of the number of each validation image, in ascending order, where the file knows them.
    pub residuals: Option<Vec<f32>>,
    /// How pictures of unknown classes are told, where the file knows it; see [`ModelInfo::unknown_detector`].
    pub unknown_detector: Option<String>,
    /// Where the weights were read from.
    pub path: PathBuf,
    /// The repository of the Hugging Face hub that the file came from, at its commit, where it did.
    pub repository: Option<Repository>,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Position of the network within the file, and what was left out; see [`NetworkSource::note`].
    pub found: NetworkSource,
    /// Assumptions that were made because the file doesn't say it or says otherwise: one sentence each, for people.
    pub assumptions: Vec<String>,
}

impl Pretrained {
    /// Reads a file of weights in any of the known formats; nothing but the file is needed.
    ///
    /// The network is found by its names and shapes, whatever lies beside it: an optimiser, a loss's weights, counters of
    /// metrics. Preprocessing and class names come from the file's metadata, else from the `config.json` of its repository
    /// beside it ([`ModelInfo::beside`]). Preprocessing comes else from the published weights that have the file's name,
    /// else from the first that were published for the model, else it is [`Preprocess::IMAGENET`].
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use rekindle_models::Pretrained;
    ///
    /// let pretrained = Pretrained::open("mobilenet_v2-7ebf99e0.pth", &Device::default())?;
    /// println!("{}: {} classes", pretrained.architecture, pretrained.model.num_classes());
    /// # Ok::<(), rekindle_models::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`read`], of [`Checkpoint::network`](rekindle_weights::Checkpoint::network) and of
    /// [`ModelInfo::beside`], and [`NotFinite`](rekindle_weights::Error::NotFinite) for NaN or infinity inside.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        Self::open_with(path, &LoadOptions::default(), device)
    }

    /// Reads a file as [`open`](Self::open) does, where `options` say which of several networks in it is meant.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(
        path: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        if !is_onnx(path, options)? {
            return Self::from_checkpoint(&mut read(path)?, options, device);
        }
        let beside = ModelInfo::beside(path)?;
        let found = open_onnx(path, options, beside.architecture.as_deref())?;
        let activations = Activations::of(&found.checkpoint);
        Self::of_file(found, beside, activations, device)
    }

    /// Takes the network out of a file that was opened.
    pub(crate) fn from_checkpoint(
        checkpoint: &mut Checkpoint,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, Error> {
        let beside = ModelInfo::beside(&checkpoint.path)?;
        if let Some(architecture) = &beside.architecture {
            let metadata = checkpoint.metadata.entry("architecture".to_string());
            metadata.or_insert_with(|| architecture.clone());
        }
        let found = recognised(checkpoint, options)?;
        Self::of_file(found, beside, Activations::of(checkpoint), device)
    }

    fn of_file(
        found: Found,
        beside: ModelInfo,
        activations: Activations,
        device: &Device,
    ) -> Result<Self, Error> {
        let digest = sha256(&found.checkpoint.path)?;
        let mut pretrained = Self::from_found(found, beside, digest, device)?;
        if is_image_tower(pretrained.model.graph()) {
            pretrained.assumptions.extend(activations.assumption);
        }
        Ok(pretrained)
    }

    /// Reads safetensors that are in memory already, where there are no files, such as in a browser; `name` stands
    /// for the path.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_safetensors(name: &str, bytes: Vec<u8>, device: &Device) -> Result<Self, Error> {
        let digest = sha256_of(&bytes);
        let checkpoint = read_safetensors_bytes(name, bytes)?;
        let found = recognised(&checkpoint, &LoadOptions::default())?;
        Self::from_found(found, ModelInfo::default(), digest, device)
    }

    /// Returns the network for pictures that are seen in another way, such as larger ones, or other channels of them; positions
    /// of tokens are resampled, and the first convolution is [adapted](rekindle_nn::adapt_stem).
    ///
    /// # Errors
    ///
    /// [`Error::Crop`] for a size that the network can't take, and [`Error::Channels`] for channels.
    pub fn with_preprocess(mut self, preprocess: Preprocess) -> Result<Self, Error> {
        let before = self.model.graph().in_channels();
        if preprocess.num_channels() != before {
            let said = of_other_channels(before);
            self.assumptions.retain(|assumed| *assumed != said);
        }
        let adapted = self.model.with_in_channels(preprocess.num_channels());
        self.model = adapted.map_err(|source| Error::Channels {
            path: self.path.clone(),
            source,
        })?;
        let crop = preprocess.crop;
        let fits = self.model.graph().shapes(crop, crop);
        fits.map_err(|source| Error::Crop {
            path: self.path.clone(),
            crop,
            source,
        })?;
        self.model = self.model.with_image_size([crop, crop]);
        self.preprocess = preprocess;
        Ok(self)
    }

    /// Returns the network with features of two levels, and the lengths of their parts; none where its form has none, or for
    /// pictures that it would not take. See [`Network::with_multilevel_features`].
    pub fn with_multilevel_features(self) -> Option<(Self, Vec<usize>)> {
        let Multilevel { network, parts } = self.model.with_multilevel_features()?;
        let crop = self.preprocess.crop;
        network.graph().shapes(crop, crop).ok()?;
        let architecture = network.graph().name().to_string();
        let pretrained = Self {
            model: network,
            architecture,
            ..self
        };
        Some((pretrained, parts))
    }

    /// Joins networks into one whose features are those of each in turn, and returns the lengths of their parts; none where their
    /// forms don't allow it. Pictures are as the first one sees them, but for the scale of the numbers, so that the others should be
    /// asked how well they do on such. The file says of all where they came from. See [`Network::side_by_side`].
    pub fn side_by_side(networks: &[&Self]) -> Option<(Self, Vec<usize>)> {
        let first = *networks.first()?;
        let member = |network: &&Self| Member {
            network: network.model.clone(),
            rescaling: rescaling(&first.preprocess, &network.preprocess),
        };
        let members: Vec<Member> = networks.iter().map(member).collect();
        let SideBySide { network, parts } = Network::side_by_side(&members)?;
        let crop = first.preprocess.crop;
        network.graph().shapes(crop, crop).ok()?;
        let digests: Vec<&str> = networks.iter().map(|one| one.sha256.as_str()).collect();
        let origins: Vec<serde_json::Value> = networks.iter().map(|one| one.origin()).collect();
        let joined = Self {
            architecture: network.graph().name().to_string(),
            model: network,
            classes: None,
            provenance: Some(serde_json::json!({"networks": origins}).to_string()),
            temperature: None,
            test_views: None,
            task: None,
            thresholds: None,
            conformal_scores: None,
            residuals: None,
            unknown_detector: None,
            sha256: sha256_of(digests.concat().as_bytes()),
            ..first.clone()
        };
        Some((joined, parts))
    }

    /// Returns what is known of the file's origin.
    fn origin(&self) -> serde_json::Value {
        let info = self.info();
        let text = info.provenance.unwrap_or_default();
        let known = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
        serde_json::json!({"architecture": self.architecture, "provenance": known})
    }

    /// Returns what a file of this network says about itself; its provenance is that of the file it was read from.
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            architecture: Some(self.architecture.clone()),
            classes: self.classes.clone(),
            preprocess: Some(self.preprocess.clone()),
            provenance: self.provenance.clone().or_else(|| {
                let source = match &self.repository {
                    Some(repository) => repository.to_string(),
                    None => self.path.file_name()?.to_string_lossy().into_owned(),
                };
                Some(serde_json::json!({"source": source, "sha256": self.sha256}).to_string())
            }),
            temperature: self.temperature,
            test_views: self.test_views.clone(),
            task: self.task.clone(),
            thresholds: self.thresholds.clone(),
            conformal_scores: self.conformal_scores.clone(),
            residuals: self.residuals.clone(),
            unknown_detector: self.unknown_detector.clone(),
        }
    }

    fn from_found(
        found: Found,
        beside: ModelInfo,
        sha256: String,
        device: &Device,
    ) -> Result<Self, Error> {
        let Found {
            checkpoint,
            config: graph,
            name: architecture,
            source,
        } = found;
        let info = checkpoint.info()?;
        let network = Network::new(graph, 0, device);
        let model = load(network, &checkpoint, CheckOptions::default())?;
        let mut assumptions = Vec::new();
        assumptions.extend(called_otherwise(
            info.architecture.as_deref(),
            &architecture,
        ));
        let stated = info.preprocess.or(beside.preprocess);
        let Seen {
            preprocess,
            assumptions: of_pictures,
        } = Seen::by(stated, &checkpoint, &architecture, model.graph());
        assumptions.extend(of_pictures);
        let crop = preprocess.crop;
        let fits = model.graph().shapes(crop, crop);
        fits.map_err(|source| Error::Crop {
            path: checkpoint.path.clone(),
            crop,
            source,
        })?;
        // Names of other classes than the network's would be worse than none.
        let described = beside
            .classes
            .filter(|names| names.len() == model.num_classes());
        Ok(Self {
            model,
            preprocess,
            architecture,
            classes: info.classes.or(described),
            provenance: info.provenance,
            temperature: info.temperature,
            test_views: info.test_views,
            task: info.task,
            thresholds: info.thresholds,
            conformal_scores: info.conformal_scores,
            residuals: info.residuals,
            unknown_detector: info.unknown_detector,
            repository: Repository::of_cached(&checkpoint.path),
            path: checkpoint.path.clone(),
            sha256,
            found: source,
            assumptions,
        })
    }
}

/// Says that a file gives its network the name of another architecture than was recognised: equal tensors may be computed
/// with in another way.
fn called_otherwise(called: Option<&str>, found: &str) -> Option<String> {
    let called = called?;
    let bare = called.rsplit('/').next().unwrap_or(called);
    let bare = bare.split('.').next().unwrap_or(bare);
    let is_name = !bare.is_empty()
        && bare
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let known = found.rsplit('/').next().unwrap_or(found);
    (is_name && bare != known).then(|| {
        format!("the file calls its network {bare}; it is read as {found}, whose names and shapes it has")
    })
}
