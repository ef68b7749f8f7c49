//! Features that are computed once.

use std::path::{Path, PathBuf};

use crate::Failure;
use crate::gather::Examples;

/// A network whose features are kept.
#[derive(Clone, Copy, PartialEq)]
pub enum Network {
    ResNet18,
    ResNet50,
}

/// The folders of data and of features.
pub struct Kept {
    data: PathBuf,
    work: PathBuf,
}

impl Kept {
    pub fn new(data: &Path, work: &Path) -> Result<Self, Failure> {
        if !data.join("weights").is_dir() {
            return Err(format!(
                "{} has no folder of weights; give the folder that holds the sets and the weights",
                data.display()
            )
            .into());
        }
        std::fs::create_dir_all(work)?;
        Ok(Self {
            data: data.to_path_buf(),
            work: work.to_path_buf(),
        })
    }

    pub fn weights(&self, network: Network) -> String {
        let file = match network {
            Network::ResNet18 => "weights/resnet18-standin.pth",
            Network::ResNet50 => "weights/resnet50-standin.safetensors",
        };
        self.folder(file)
    }

    /// A folder or file of the data.
    pub fn folder(&self, name: &str) -> String {
        self.data.join(name).display().to_string()
    }

    /// Returns the folder for features that another example caches itself.
    pub fn cache(&self) -> String {
        self.work.join("cache").display().to_string()
    }

    /// The file of features of a set.
    pub fn file(&self, set: &str, network: Network) -> String {
        let folder = match network {
            Network::ResNet18 => "resnet18",
            Network::ResNet50 => "resnet50",
        };
        let name = format!("{}.safetensors", set.replace('/', "-"));
        self.work.join(folder).join(name).display().to_string()
    }

    /// Computes the file where it isn't there yet.
    pub fn ensure(&self, set: &str, network: Network, examples: &Examples) -> Result<(), Failure> {
        let file = self.file(set, network);
        if Path::new(&file).is_file() {
            return Ok(());
        }
        if let Some(folder) = Path::new(&file).parent() {
            std::fs::create_dir_all(folder)?;
        }
        eprintln!("features of {set}");
        let (weights, data) = (self.weights(network), self.folder(set));
        let arguments = ["--weights", &weights, "--data", &data, "--out", &file];
        examples.run("extract_features", &arguments.map(String::from))?;
        Ok(())
    }
}
