//! Pretrained networks by name: of the registry, or a repository of the Hugging Face hub.

use std::path::PathBuf;

use burn::prelude::*;
use rekindle_weights::hub::{Hub, Progress};
use rekindle_weights::{Error as WeightsError, LoadOptions, RemoteFile, Repository};

use crate::registry::{Source, Weights, published};
use crate::{Error, Pretrained};

/// A file of weights in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The file, for [`Pretrained::open`].
    pub path: PathBuf,
    /// The repository of the Hugging Face hub at the commit that the file is of, where it is of one.
    pub repository: Option<Repository>,
    /// Says where the hub could not be asked, and the cache answered in its place.
    pub note: Option<String>,
}

/// Returns the weights of a name, downloaded if they are not in the cache; [`Pretrained::named`] tells the names.
///
/// # Errors
///
/// [`Error::UnknownModel`] and [`Error::UnknownWeights`] for a name that there is not, and those of [`Hub::weights`] and
/// [`Hub::repository`].
pub fn fetch(text: &str, hub: &Hub, progress: &mut dyn FnMut(Progress)) -> Result<Fetched, Error> {
    let repository = if Repository::is_meant_by(text) {
        text.parse()
    } else {
        let (_, weights) = published(text)?;
        let Weights { source, .. } = weights;
        match source {
            Source::HuggingFace { repository } => format!("hf:{repository}").parse(),
            Source::Torchvision { .. } => {
                return Ok(Fetched {
                    path: hub.weights(RemoteFile::from(weights), progress)?,
                    repository: None,
                    note: None,
                });
            }
        }
    };
    let found = hub.repository(&repository.map_err(WeightsError::from)?, progress)?;
    Ok(Fetched {
        path: found.path,
        repository: Some(found.repository),
        note: found.note,
    })
}

impl Pretrained {
    /// Reads a network by name, downloaded if it is not in the cache: `resnet18` or `resnet50.IMAGENET1K_V1` of the
    /// registry, `timm/tf_efficientnet_lite0.in1k` as well, or any repository of the Hugging Face hub as
    /// `hf:owner/name`, `hf:owner/name@revision` or `hf:owner/name@revision:file` ([`Repository`]).
    ///
    /// Repositories hold weights of many networks; those of a family that [`open`](Self::open) knows can be read.
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use rekindle_models::Pretrained;
    ///
    /// let device = Device::default();
    /// let published = Pretrained::named("efficientnet_b0", &device)?;
    /// let tuned = Pretrained::named("hf:timm/resnet18.a1_in1k@main", &device)?;
    /// println!("{:?}, pictures at {} pixels", tuned.classes, tuned.preprocess.crop);
    /// # Ok::<(), rekindle_models::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Hub::new`], of [`fetch`] and of [`open`](Self::open).
    pub fn named(text: &str, device: &Device) -> Result<Self, Error> {
        let hub = Hub::new()?;
        Self::named_with(text, &LoadOptions::default(), &hub, &mut |_| (), device)
    }

    /// Reads a network as [`named`](Self::named) does, from a cache and with a progress of your choice, where `options`
    /// say which of several networks in the file is meant.
    ///
    /// # Errors
    ///
    /// As [`named`](Self::named).
    pub fn named_with(
        text: &str,
        options: &LoadOptions,
        hub: &Hub,
        progress: &mut dyn FnMut(Progress),
        device: &Device,
    ) -> Result<Self, Error> {
        Self::open_with(fetch(text, hub, progress)?.path, options, device)
    }
}
