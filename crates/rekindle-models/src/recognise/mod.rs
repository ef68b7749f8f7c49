//! Networks in files: recognised by their names and shapes.

mod clips;
mod onnx;
mod pixels;
mod registry;
mod resnet_names;
mod resnets;
mod transformers;

use std::path::Path;

use rekindle_nn::Graph;
use rekindle_weights::{
    Checkpoint, Error as WeightsError, Family, Format, LoadOptions, NetworkSource, detect, read,
};

use crate::Error;
use crate::clip::Activations;
use clips::ClipImages;

pub(crate) use clips::ClipTexts;
pub(crate) use onnx::{IMAGE_SIZE, open as open_onnx};
pub(crate) use pixels::{BYTES, TAKES, UNITS};
pub use registry::Registry;
pub use resnets::ResNets;

/// A network found in a file: its tensors, and the description that they fit.
pub type Found = rekindle_weights::Network<Graph>;

/// Reads a file of any format and finds the network in it, ONNX and networks that the file describes itself among them.
///
/// # Errors
///
/// Those of [`read`] and [`find`], [`Error::Onnx`] and [`Error::NoSuchChoice`].
pub fn look(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Found, Error> {
    let path = path.as_ref();
    match is_onnx(path, options)? {
        true => onnx::open(path, options, None),
        false => recognised(&read(path)?, options),
    }
}

/// Tells whether a file is ONNX, and refuses a choice that files of its format don't offer.
pub(crate) fn is_onnx(path: &Path, options: &LoadOptions) -> Result<bool, Error> {
    let format = detect(path)?;
    let is_onnx = format == Format::Onnx;
    let (is_meaningless, advice) = match is_onnx {
        true => (
            options.key.is_some() || options.prefix.is_some(),
            "--features-from NODE chooses the features",
        ),
        false => (
            options.features_from.is_some(),
            "its features are those in front of the classifier",
        ),
    };
    match is_meaningless {
        false => Ok(is_onnx),
        true => Err(Error::NoSuchChoice {
            path: path.to_path_buf(),
            flags: options.flags(),
            format,
            advice,
        }),
    }
}

/// Takes the network that a file describes itself, or else finds one among its tensors.
pub(crate) fn recognised(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Found, Error> {
    match described(checkpoint)? {
        Some(found) => Ok(found),
        None => Ok(find(checkpoint, options)?),
    }
}

/// Key of a file's metadata under which the description of a network is that no code describes.
pub(crate) const GRAPH: &str = "graph";

/// Takes the network that a file describes itself.
fn described(checkpoint: &Checkpoint) -> Result<Option<Found>, Error> {
    let Some(text) = checkpoint.metadata.get(GRAPH) else {
        return Ok(None);
    };
    let graph = Graph::from_json(text).map_err(|source| Error::Description {
        path: checkpoint.path.clone(),
        source,
    })?;
    let classes = checkpoint.classes(&graph.head().name).unwrap_or_default();
    let mut source = NetworkSource::default();
    source.tensors = checkpoint.tensors.len();
    Ok(Some(Found {
        name: graph.name().to_string(),
        config: graph.with_classes(classes),
        checkpoint: checkpoint.clone(),
        source,
    }))
}

/// Finds the network among tensors by their names and shapes: a model of the registry, or a ResNet or an image tower of a
/// CLIP of any size; see [`Checkpoint::network`].
///
/// # Errors
///
/// Those of [`Checkpoint::network`].
pub fn find(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Found, WeightsError> {
    let clips = ClipImages {
        activation: Activations::of(checkpoint).activation,
    };
    let families: [&dyn Family<Config = Graph>; 3] = [&ResNets, &clips, &Registry];
    checkpoint.network(&families, options)
}
