//! Networks in files: recognised by their names and shapes.

mod clips;
mod registry;
mod resnet_names;
mod resnets;
mod transformers;

use rekindle_nn::Graph;
use rekindle_weights::{Checkpoint, Error, Family, LoadOptions};

use crate::clip::Activations;
use clips::ClipImages;

pub(crate) use clips::ClipTexts;
pub use registry::Registry;
pub use resnets::ResNets;

/// A network found in a file: its tensors, and the description that they fit.
pub type Found = rekindle_weights::Network<Graph>;

/// Finds the network in a file: a model of the registry, or a ResNet or an image tower of a CLIP of any size; see
/// [`Checkpoint::network`].
///
/// # Errors
///
/// Those of [`Checkpoint::network`].
pub fn find(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Found, Error> {
    let clips = ClipImages {
        activation: Activations::of(checkpoint).activation,
    };
    let families: [&dyn Family<Config = Graph>; 3] = [&ResNets, &clips, &Registry];
    checkpoint.network(&families, options)
}
