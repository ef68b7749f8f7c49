//! Networks in files: recognised by their names and shapes.

mod clips;
mod onnx;
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
pub(crate) use onnx::IMAGE_SIZE;
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
    look_with(path.as_ref(), options, None)
}

/// Reads a file as [`look`] does; `architecture` is the network's name where the file knows none.
pub(crate) fn look_with(
    path: &Path,
    options: &LoadOptions,
    architecture: Option<&str>,
) -> Result<Found, Error> {
    let format = detect(path)?;
    let refused = |flags: String, advice: &'static str| Error::NoSuchChoice {
        path: path.to_path_buf(),
        flags,
        format,
        advice,
    };
    if format == Format::Onnx {
        if options.key.is_some() || options.prefix.is_some() {
            return Err(refused(
                options.flags(),
                "--features-from NODE chooses the features",
            ));
        }
        return onnx::open(path, options, architecture);
    }
    if options.features_from.is_some() {
        let advice = "its features are those in front of the classifier";
        return Err(refused(options.flags(), advice));
    }
    let mut checkpoint = read(path)?;
    if let Some(architecture) = architecture {
        let metadata = checkpoint.metadata.entry("architecture".to_string());
        metadata.or_insert_with(|| architecture.to_string());
    }
    match described(&checkpoint)? {
        Some(found) => Ok(found),
        None => Ok(find(&checkpoint, options)?),
    }
}

/// Key of a file's metadata under which the description of a network is that no code describes.
pub const GRAPH: &str = "graph";

/// Takes the network that a file describes itself.
pub(crate) fn described(checkpoint: &Checkpoint) -> Result<Option<Found>, Error> {
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
