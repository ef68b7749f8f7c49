//! Networks in files: recognised by their names and shapes.

mod registry;
mod resnet_names;
mod resnets;

use rekindle_nn::Graph;
use rekindle_weights::{Checkpoint, Error, Family, LoadOptions};

pub use registry::Registry;
pub use resnets::ResNets;

/// All families that files are searched for.
const FAMILIES: [&dyn Family<Config = Graph>; 2] = [&ResNets, &Registry];

/// A network found in a file: its tensors, and the description that they fit.
pub type Found = rekindle_weights::Network<Graph>;

/// Finds the network in a file: a model of the registry, or a ResNet of any size; see [`Checkpoint::network`].
///
/// # Errors
///
/// Those of [`Checkpoint::network`].
pub fn find(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Found, Error> {
    checkpoint.network(&FAMILIES, options)
}
