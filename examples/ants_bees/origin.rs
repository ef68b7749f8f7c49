//! Gets the network and the data: files, a download, or drawings.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rekindle::drawings::{self, DrawingTask, TargetTask};
use rekindle::models::registry::published;
use rekindle::models::{Error, Pretrained};
use rekindle::weights::RemoteFile;
use rekindle::weights::hub::{ConsoleProgress, Hub};

use crate::Failure;
use crate::arguments::Arguments;

/// Address of the tutorial's photographs.
const PHOTOGRAPHS: &str = "https://download.pytorch.org/tutorial/hymenoptera_data.zip";

/// Largest size that the photographs may unpack to, in bytes.
const PHOTOGRAPHS_LIMIT: u64 = 500 << 20;

/// A network and the folder of images that it is to learn.
pub struct Origin {
    pub pretrained: Pretrained,
    pub data: PathBuf,
    /// A sentence about both, for people.
    pub description: String,
}

impl Origin {
    /// Takes what the command line names, downloads the rest, and draws where there is no network.
    pub fn find(arguments: &Arguments, folder: &Path, device: &Device) -> Result<Self, Failure> {
        match (&arguments.weights, &arguments.data) {
            (Some(weights), Some(data)) => Self::open(weights, data, device),
            (weights, data) => match downloaded(weights.as_deref(), data.as_deref()) {
                Ok((weights, data)) => Self::open(&weights, &data, device),
                Err(error) if is_no_network(&error) && weights.is_none() && data.is_none() => {
                    eprintln!("{error}");
                    eprintln!(
                        "Going on with the built-in drawings. For photographs, give --data and --weights."
                    );
                    Self::drawn(arguments.seed, folder, device)
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    fn open(weights: &Path, data: &Path, device: &Device) -> Result<Self, Failure> {
        let pretrained = Pretrained::open(weights, device)?;
        Ok(Self {
            description: format!(
                "{} from {}, images from {}",
                pretrained.architecture,
                weights.display(),
                data.display()
            ),
            pretrained,
            data: data.to_path_buf(),
        })
    }

    /// Twenty drawings per class to learn from, and a narrow network that knows other drawings.
    fn drawn(seed: u64, folder: &Path, device: &Device) -> Result<Self, Failure> {
        let data = folder.join("drawings");
        TargetTask.write_folder(&data, 20, 200, seed)?;
        let weights = folder.join("drawings-source.safetensors");
        std::fs::write(&weights, drawings::SOURCE_WEIGHTS)?;
        let mut origin = Self::open(&weights, &data, device)?;
        origin.description = format!(
            "drawn ants and bees; a narrow ResNet-18 trained on {} other drawn things",
            drawings::SourceTask.class_names().len()
        );
        Ok(origin)
    }
}

fn downloaded(weights: Option<&Path>, data: Option<&Path>) -> Result<(PathBuf, PathBuf), Error> {
    let hub = Hub::new()?;
    let weights = match weights {
        Some(path) => path.to_path_buf(),
        None => {
            let (_, weights) = published("resnet18")?;
            let file = RemoteFile::from(weights);
            let mut console = ConsoleProgress::new(&file.name);
            hub.weights(file.clone(), &mut console.reporter())?
        }
    };
    let data = match data {
        Some(path) => path.to_path_buf(),
        None => {
            let mut console = ConsoleProgress::new("hymenoptera_data.zip");
            let folder = hub.fetch_archive(
                PHOTOGRAPHS,
                "hymenoptera_data.zip",
                None,
                PHOTOGRAPHS_LIMIT,
                &mut console.reporter(),
            )?;
            folder.join("hymenoptera_data")
        }
    };
    Ok((weights, data))
}

fn is_no_network(error: &Error) -> bool {
    use rekindle::weights::Error::{NoNetwork, Offline};
    matches!(error, Error::Weights(NoNetwork { .. } | Offline { .. }))
}
