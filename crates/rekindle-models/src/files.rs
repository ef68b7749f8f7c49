//! Networks with their weights in and out of files.
//!
//! [`load`] takes a checkpoint's tensors over into a network; [`Pretrained::open`](crate::Pretrained::open) does so for a
//! network that it recognises. The others write what they and PyTorch read.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_nn::onnx::{ExportError, write as write_file};
use rekindle_nn::{Network, QuantizedNetwork, TensorKind, TensorSpec, adapt_stem};
use rekindle_preprocess::Preprocess;
use rekindle_weights::{
    CheckOptions, Checkpoint, Error, LoadOptions, ModelInfo, TensorOut, check, named_tensors,
    state_dict, write_burnpack, write_safetensors,
};

use crate::recognise::{GRAPH, find};

/// Takes over a checkpoint's tensors, which have the network's names.
///
/// A first convolution for another number of channels than the file's gets the file's weights summed over the channels
/// (for one channel) or repeated and scaled by the ratio of the counts (for others), so that a grey picture, or the same
/// picture in more channels, gives the same activations.
///
/// # Errors
///
/// [`Error::Mismatch`] with every tensor that is missing, extra or of another shape, and what reading a tensor can fail
/// with.
pub fn load(
    network: Network,
    checkpoint: &Checkpoint,
    options: CheckOptions,
) -> Result<Network, Error> {
    let graph = network.graph();
    let mut expected = graph.state_dict();
    let kernel = |tensor: &&TensorSpec| tensor.kind == TensorKind::Kernel;
    let stem = graph.tensors().iter().find(kernel);
    let stem = stem.and_then(|stem| Stem::adapt(&mut expected, &stem.name, checkpoint));
    let head = graph.head().name.clone();
    check(checkpoint, &expected, &head, options).map_err(|error| whose(error, checkpoint))?;
    let is_head = format!("{head}.");
    state_dict::try_assign(network, |name| {
        let is_taken = checkpoint.tensors.contains_key(name)
            && !(options.ignore_head && name.starts_with(&is_head));
        is_taken.then(|| {
            let values = checkpoint.read_f32(name)?;
            Ok(match &stem {
                Some(stem) if stem.name == name => stem.weights(&values),
                _ => values,
            })
        })
    })
}

/// Adds to a mismatch which network the file holds, where that explains it.
fn whose(error: Error, checkpoint: &Checkpoint) -> Error {
    match error {
        Error::Mismatch(mut mismatch) if mismatch.advice.is_empty() => {
            if let Ok(found) = find(checkpoint, &LoadOptions::default()) {
                mismatch.advice = format!(
                    "Names and shapes in the file are those of {}: is that the architecture you chose?",
                    found.name
                );
            }
            Error::Mismatch(mismatch)
        }
        error => error,
    }
}

/// Writes the network as safetensors under its published names: PyTorch's `load_state_dict(strict=True)` takes it, and
/// [`Pretrained::open`](crate::Pretrained::open) needs nothing else.
///
/// # Errors
///
/// [`Error::Write`].
pub fn save(network: &Network, path: impl AsRef<Path>, info: &ModelInfo) -> Result<(), Error> {
    write_safetensors(
        path,
        out(network, TensorOut::f32),
        &metadata_of(network, info),
    )
}

/// Writes the network as [`save`] does, in half the space: weights rounded to 16-bit floats.
///
/// # Errors
///
/// [`Error::Write`].
pub fn save_f16(network: &Network, path: impl AsRef<Path>, info: &ModelInfo) -> Result<(), Error> {
    write_safetensors(
        path,
        out(network, TensorOut::f16),
        &metadata_of(network, info),
    )
}

/// Writes the network in Burn's own format.
///
/// # Errors
///
/// [`Error::Write`].
pub fn save_burnpack(
    network: &Network,
    path: impl AsRef<Path>,
    info: &ModelInfo,
) -> Result<(), Error> {
    write_burnpack(
        path,
        out(network, TensorOut::f32),
        &metadata_of(network, info),
    )
}

/// Writes the network as it predicts, as ONNX; see [`Network::to_onnx`]. `architecture`, `classes`, `preprocess` and
/// `provenance` of `info` are the file's metadata, under these names and as in the other formats. A network with tokens is
/// written for images of the preprocessing's size.
///
/// # Errors
///
/// [`Error::Write`]; a file that was at `path` is then still there, unchanged.
pub fn save_onnx(network: &Network, path: impl AsRef<Path>, info: &ModelInfo) -> Result<(), Error> {
    let metadata = onnx_metadata(info);
    let path = path.as_ref();
    let saved = match &info.preprocess {
        Some(preprocess) if network.graph().tokens().is_some() => {
            let network = network.clone().with_image_size([preprocess.crop; 2]);
            network.save_onnx(path, &metadata)
        }
        _ => network.save_onnx(path, &metadata),
    };
    saved.map_err(|source| unwritten(path, source))
}

/// Writes a network in eight bits as ONNX; see [`QuantizedNetwork::to_onnx`]. Metadata are those of [`save_onnx`].
/// [`Pretrained::open`](crate::Pretrained::open) reads such a file as the network in `f32` whose weights have the values of
/// their bytes, batch normalisation folded in; activations are not rounded then.
///
/// # Errors
///
/// [`Error::Write`]; a file that was at `path` is then still there, unchanged.
pub fn save_onnx_quantized(
    network: &QuantizedNetwork,
    path: impl AsRef<Path>,
    info: &ModelInfo,
) -> Result<(), Error> {
    let bytes = network.to_onnx(&onnx_metadata(info));
    write_file(path.as_ref(), &bytes).map_err(|source| unwritten(path.as_ref(), source))
}

/// Writes the network as ONNX that takes pixels and gives probabilities, or numbers where `task` of `info` is `regression`; see [`Network::to_onnx_with_preprocessing`]. The
/// preprocessing is that of `info`, or else [`Preprocess::IMAGENET`]; with `is_calibrated`, logits are divided by the
/// temperature of `info`.
///
/// Metadata are those of [`save_onnx`], and `input`, which says in a sentence what the file takes.
/// [`Pretrained::open`](crate::Pretrained::open) reads such a file as the network in it.
///
/// # Errors
///
/// [`Export`](crate::Error::Export) for a network, a preprocessing or a temperature that it can't be written for, and
/// [`Error::Write`].
pub fn save_onnx_with_preprocessing(
    network: &Network,
    path: impl AsRef<Path>,
    info: &ModelInfo,
    is_calibrated: bool,
) -> Result<(), crate::Error> {
    save_with_preprocessing(
        path.as_ref(),
        info,
        is_calibrated,
        |preprocess, temperature, metadata| {
            network.to_onnx_with_preprocessing(preprocess, temperature, metadata)
        },
    )
}

/// Writes a network in eight bits as ONNX that takes pixels, as [`save_onnx_with_preprocessing`] does; see
/// [`QuantizedNetwork::to_onnx_with_preprocessing`].
///
/// # Errors
///
/// As [`save_onnx_with_preprocessing`].
pub fn save_onnx_quantized_with_preprocessing(
    network: &QuantizedNetwork,
    path: impl AsRef<Path>,
    info: &ModelInfo,
    is_calibrated: bool,
) -> Result<(), crate::Error> {
    save_with_preprocessing(
        path.as_ref(),
        info,
        is_calibrated,
        |preprocess, temperature, metadata| {
            network.to_onnx_with_preprocessing(preprocess, temperature, metadata)
        },
    )
}

fn save_with_preprocessing(
    path: &Path,
    info: &ModelInfo,
    is_calibrated: bool,
    write: impl FnOnce(
        &Preprocess,
        Option<f64>,
        &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, ExportError>,
) -> Result<(), crate::Error> {
    let preprocess = info.preprocess.as_ref().unwrap_or(&Preprocess::IMAGENET);
    let temperature = match (is_calibrated, info.temperature) {
        (false, _) => None,
        (true, Some(temperature)) => Some(temperature),
        (true, None) => return Err(crate::Error::NoTemperature),
    };
    let mut metadata = onnx_metadata(info);
    let input = "pixels: uint8 [batch, height, width, 3], red, green and blue, a decoded picture of any size, turned \
                 upright as its Exif data say; resizing, cropping and normalising are in the graph";
    metadata.insert("input".into(), input.into());
    let bytes = write(preprocess, temperature, &metadata)
        .map_err(|source| crate::Error::Export { source })?;
    write_file(path, &bytes).map_err(|source| unwritten(path, source).into())
}

fn onnx_metadata(info: &ModelInfo) -> BTreeMap<String, String> {
    let mut metadata = info.to_metadata();
    // What Python's readers of safetensors look for.
    metadata.remove("format");
    metadata
}

fn unwritten(path: &Path, source: std::io::Error) -> Error {
    Error::Write {
        path: path.to_path_buf(),
        source,
    }
}

/// Returns what a file says about itself, with the description of a network that no code describes; `describe` writes that
/// for images of a height and width.
pub fn metadata(
    info: &ModelInfo,
    describe: impl FnOnce([usize; 2]) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut metadata = info.to_metadata();
    let preprocess = info.preprocess.as_ref().unwrap_or(&Preprocess::IMAGENET);
    let description = describe([preprocess.crop; 2]);
    metadata.extend(description.map(|text| (GRAPH.to_string(), text)));
    metadata
}

fn metadata_of(network: &Network, info: &ModelInfo) -> BTreeMap<String, String> {
    metadata(info, |size| network.graph().description(size))
}

fn out(network: &Network, encode: fn(String, Vec<usize>, &[f32]) -> TensorOut) -> Vec<TensorOut> {
    named_tensors(state_dict::collect(network), encode)
}

/// A first convolution for other channels than the file's.
struct Stem {
    name: String,
    /// Shape of the file's kernel: output channels, input channels, height, width.
    shape: [usize; 4],
    in_channels: usize,
}

impl Stem {
    /// Lets a stem for other channels pass the check, where all else about it fits.
    fn adapt(
        expected: &mut [(String, Vec<usize>)],
        name: &str,
        checkpoint: &Checkpoint,
    ) -> Option<Self> {
        let (_, shape) = expected.iter_mut().find(|(known, _)| known == name)?;
        let &[out, in_file, height, width] = checkpoint.shape(name)? else {
            return None;
        };
        let in_channels = std::mem::replace(&mut shape[1], in_file);
        let is_other = in_file != in_channels && in_file > 0;
        if !is_other {
            shape[1] = in_channels;
        }
        is_other.then(|| Self {
            name: name.to_string(),
            shape: [out, in_file, height, width],
            in_channels,
        })
    }

    /// Returns the file's weights for the network's channels.
    fn weights(&self, values: &[f32]) -> Vec<f32> {
        adapt_stem(values, self.shape, self.in_channels)
    }
}
