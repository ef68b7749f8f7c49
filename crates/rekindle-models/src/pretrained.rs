//! A network read from a file, with what makes it usable.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use rekindle_nn::{GraphError, Network};
use rekindle_preprocess::Preprocess;
use rekindle_weights::{
    CheckOptions, LoadOptions, ModelInfo, NetworkSource, RemoteFile, check, state_dict,
};
use thiserror::Error;

use crate::recognise::{Recognised, Registry};
use crate::registry::Model;

/// A model read from a file, with all that the file says about it.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// The network with its own head, if the file has one.
    pub network: Network,
    /// The model of the registry that it is.
    pub model: &'static Model,
    /// What a picture goes through before the network sees it.
    pub preprocess: Preprocess,
    /// What the file says of itself.
    pub info: ModelInfo,
    /// Where the weights were read from.
    pub path: PathBuf,
    /// Where in the file the network was, and what was left out; see [`NetworkSource::note`].
    pub found: NetworkSource,
}

/// A file that is no model's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file can't be read, or holds no network of the registry.
    #[error(transparent)]
    Weights(#[from] rekindle_weights::Error),
    /// The file's sizes make no network.
    #[error("{}: {source}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: GraphError,
    },
}

impl Pretrained {
    /// Reads a file of weights in any of the known formats and recognises the model by its names and shapes, whatever
    /// lies beside it.
    ///
    /// Preprocessing comes from the file's metadata, else from the published weights that have the file's name, else
    /// from the first that were published for the model.
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use rekindle_models::Pretrained;
    ///
    /// let pretrained = Pretrained::open("mobilenet_v2-7ebf99e0.pth", &Device::default())?;
    /// println!("{}: {} classes", pretrained.model.name, pretrained.network.num_classes());
    /// # Ok::<(), rekindle_models::OpenError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`read`](rekindle_weights::read) and of [`Checkpoint::network`](rekindle_weights::Checkpoint::network),
    /// and [`NotFinite`](rekindle_weights::Error::NotFinite) for NaN or infinity inside.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self, OpenError> {
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
    ) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let found = rekindle_weights::read(path)?.network(&[&Registry], options)?;
        let Recognised { model, .. } = found.config;
        let graph = found.config.graph().map_err(|source| OpenError::Graph {
            path: path.to_path_buf(),
            source,
        })?;
        let (file, head) = (&found.checkpoint, &graph.head().name);
        check(file, &graph.state_dict(), head, CheckOptions::default())?;
        let network = Network::new(graph, 0, device);
        let network = state_dict::try_assign(network, |name| Some(file.read_f32(name)))?;
        let info = file.info()?;
        Ok(Self {
            network,
            model,
            preprocess: preprocess(model, path, &info),
            info,
            path: path.to_path_buf(),
            found: found.source,
        })
    }
}

fn preprocess(model: &Model, path: &Path, info: &ModelInfo) -> Preprocess {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let has_name = |weights: &&_| {
        let file = RemoteFile::from(*weights).name;
        name.as_ref().is_some_and(|name| *name == file)
    };
    let published = model.weights.iter().find(has_name);
    let published = published.or(model.weights.first());
    let published = published.map(|weights| weights.preprocess.clone());
    info.preprocess.clone().or(published).unwrap_or_default()
}
