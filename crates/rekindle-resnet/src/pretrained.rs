//! A network together with what makes it usable: preprocessing, class names, origin.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use rekindle_weights::{
    CheckOptions, Checkpoint, LoadOptions, ModelInfo, NetworkSource, TensorOut, named_tensors,
    sha256, sha256_of, state_dict,
};

use crate::family::{Network, network};
use crate::{Error, Preprocess, ResNet, ResNetConfig, catalogue, weights};

/// A network read from a file, with all that the file says about it.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// The network with its own head, if the file has one.
    pub model: ResNet,
    /// What the network is built of, read off the tensors' shapes.
    pub config: ResNetConfig,
    /// torchvision's name, or a description of a network that is none of its ten.
    pub architecture: String,
    /// What a picture goes through before the network sees it.
    pub preprocess: Preprocess,
    /// Class names in the order of the logits, where the file knows them.
    pub classes: Option<Vec<String>>,
    /// What the file says about where its weights come from: source weights, data, recipe; JSON where rekindle
    /// wrote it.
    pub provenance: Option<String>,
    /// What to divide logits by so that confidence agrees with accuracy, where the file knows it.
    pub temperature: Option<f64>,
    /// The views of a picture whose answers the maker of the file would average, by name, where the file knows them.
    pub test_views: Option<String>,
    /// Where the weights were read from.
    pub path: PathBuf,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Where in the file the network was, and what was left out; see [`NetworkSource::note`].
    pub found: NetworkSource,
}

impl Pretrained {
    /// Reads a checkpoint in any of the known formats; nothing but the file is needed.
    ///
    /// The network is found by its names and shapes, whatever lies beside it: an optimiser, a loss's weights, counters of
    /// metrics. Preprocessing comes from the file's metadata,
    /// else from the catalogue if the file has the name of one of torchvision's, else it is
    /// [`Preprocess::IMAGENET`].
    ///
    /// # Errors
    ///
    /// Those of [`weights::read`] and [`Checkpoint::network`], and [`weights::Error::NotFinite`] for NaN or infinity inside.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        Self::open_with(path, &LoadOptions::default(), device)
    }

    /// As [`open`](Self::open), where `options` say which of several networks in the file is meant.
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
        let network = network(&weights::read(path)?, options)?;
        Self::from_network(network, sha256(path)?, device)
    }

    /// Reads safetensors that are in memory already, where there are no files, such as in a browser; `name` stands
    /// for the path.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_safetensors(name: &str, bytes: Vec<u8>, device: &Device) -> Result<Self, Error> {
        let digest = sha256_of(&bytes);
        let checkpoint = weights::read_safetensors_bytes(name, bytes)?;
        let network = network(&checkpoint, &LoadOptions::default())?;
        Self::from_network(network, digest, device)
    }

    /// What a file of this network says about itself; its provenance is that of the file it was read from.
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            architecture: Some(self.architecture.clone()),
            classes: self.classes.clone(),
            preprocess: Some(self.preprocess.clone()),
            provenance: self.provenance.clone().or_else(|| {
                let source = self.path.file_name()?.to_string_lossy().into_owned();
                Some(serde_json::json!({"source": source, "sha256": self.sha256}).to_string())
            }),
            temperature: self.temperature,
            test_views: self.test_views.clone(),
        }
    }

    fn from_network(network: Network, sha256: String, device: &Device) -> Result<Self, Error> {
        let Network {
            checkpoint,
            config,
            name: architecture,
            source,
        } = network;
        let info = checkpoint.info()?;
        let model = config
            .init(device)
            .load(&checkpoint, CheckOptions::default())?;
        Ok(Self {
            model,
            config,
            architecture,
            preprocess: info
                .preprocess
                .or_else(|| catalogue_preprocess(&checkpoint.path))
                .unwrap_or_default(),
            classes: info.classes,
            provenance: info.provenance,
            temperature: info.temperature,
            test_views: info.test_views,
            path: checkpoint.path.clone(),
            sha256,
            found: source,
        })
    }
}

fn catalogue_preprocess(path: &Path) -> Option<Preprocess> {
    let name = path.file_name()?.to_str()?;
    catalogue::entries()
        .iter()
        .find(|entry| entry.file == name)
        .map(|entry| entry.preprocess.clone())
}

impl ResNet {
    /// Takes over a checkpoint's tensors.
    ///
    /// A stem for another number of channels than the file's gets the file's weights summed over the
    /// channels (for one channel) or repeated and scaled by the ratio of the counts (for others), so that
    /// a grey picture, or the same picture in more channels, gives the same activations.
    ///
    /// # Errors
    ///
    /// [`weights::Error::Mismatch`] with every tensor that is missing, extra or of another shape, and what reading
    /// a tensor can fail with.
    pub fn load(self, checkpoint: &Checkpoint, options: CheckOptions) -> Result<Self, Error> {
        let mut expected = state_dict::shapes(&self);
        let channels = adapt_expected_stem(&mut expected, checkpoint);
        weights::check(checkpoint, &expected, options)?;
        let model = state_dict::try_assign(self, |name| {
            let is_taken = checkpoint.tensors.contains_key(name)
                && !(options.ignore_head && name.starts_with("fc."));
            is_taken.then(|| {
                let values = checkpoint.read_f32(name)?;
                Ok::<_, Error>(match name {
                    STEM => adapt_stem(values, channels),
                    _ => values,
                })
            })
        })?;
        Ok(model)
    }

    /// Writes the network as safetensors under torchvision's names: PyTorch's
    /// `load_state_dict(strict=True)` takes it, and [`Pretrained::open`] needs nothing else.
    ///
    /// # Errors
    ///
    /// [`weights::Error::Write`].
    pub fn save(&self, path: impl AsRef<Path>, info: &ModelInfo) -> Result<(), Error> {
        let tensors = self.tensors_out(TensorOut::f32);
        Ok(weights::write_safetensors(
            path,
            tensors,
            &info.to_metadata(),
        )?)
    }

    /// As [`save`](Self::save) in half the space: weights rounded to 16-bit floats.
    ///
    /// # Errors
    ///
    /// [`weights::Error::Write`].
    pub fn save_f16(&self, path: impl AsRef<Path>, info: &ModelInfo) -> Result<(), Error> {
        let tensors = self.tensors_out(TensorOut::f16);
        Ok(weights::write_safetensors(
            path,
            tensors,
            &info.to_metadata(),
        )?)
    }

    /// As [`save`](Self::save), in Burn's own format.
    ///
    /// # Errors
    ///
    /// [`weights::Error::Write`].
    pub fn save_burnpack(&self, path: impl AsRef<Path>, info: &ModelInfo) -> Result<(), Error> {
        let tensors = self.tensors_out(TensorOut::f32);
        Ok(weights::write_burnpack(path, tensors, &info.to_metadata())?)
    }

    fn tensors_out(&self, encode: fn(String, Vec<usize>, &[f32]) -> TensorOut) -> Vec<TensorOut> {
        named_tensors(state_dict::collect(self), encode)
    }
}

const STEM: &str = "conv1.weight";

/// Channels of the stem in the file and in the model.
#[derive(Clone, Copy, PartialEq)]
struct StemChannels {
    file: usize,
    model: usize,
}

/// Lets a stem for other channels pass the check, where all else about it fits.
fn adapt_expected_stem(
    expected: &mut [(String, Vec<usize>)],
    checkpoint: &Checkpoint,
) -> StemChannels {
    let stem = expected.iter_mut().find(|(name, _)| name == STEM);
    let (Some((_, shape)), Some(found)) = (stem, checkpoint.shape(STEM)) else {
        return StemChannels { file: 3, model: 3 };
    };
    let model = shape[1];
    if found.len() != 4 || found[1] == 0 {
        return StemChannels { file: model, model };
    }
    shape[1] = found[1];
    StemChannels {
        file: found[1],
        model,
    }
}

/// `[out, file, 7, 7]` to `[out, model, 7, 7]`, row-major: summed for one channel, else repeated in turn
/// and scaled by `file / model` (as timm adapts a stem).
fn adapt_stem(values: Vec<f32>, channels: StemChannels) -> Vec<f32> {
    let StemChannels { file, model } = channels;
    if file == model {
        return values;
    }
    const KERNEL: usize = 7 * 7;
    let filters = values.chunks_exact(file * KERNEL);
    let mut adapted = Vec::with_capacity(filters.len() * model * KERNEL);
    for filter in filters {
        if model == 1 {
            adapted.extend((0..KERNEL).map(|at| filter[at..].iter().step_by(KERNEL).sum::<f32>()));
        } else {
            let scale = file as f32 / model as f32;
            for channel in 0..model {
                let from = channel % file * KERNEL;
                adapted.extend(filter[from..from + KERNEL].iter().map(|w| w * scale));
            }
        }
    }
    adapted
}
