//! The built-in drawings and the network that knows other drawings, for programs that were given no data.

use std::path::PathBuf;

use burn::tensor::Device;
use rekindle::drawings::{DrawingTask, SOURCE_WEIGHTS, SourceTask, TargetTask};
use tempfile::TempDir;

use super::{Failure, Images, compute};

/// A folder of drawings and a file of weights, which go away with it.
pub struct Drawn {
    folder: TempDir,
}

/// Drawn ants and bees to learn from, this many per class.
pub fn ants_and_bees(images: usize, seed: u64) -> Result<Drawn, Failure> {
    ants_and_bees_to_measure(images, 0, seed)
}

/// The same, and others to measure by.
pub fn ants_and_bees_to_measure(images: usize, others: usize, seed: u64) -> Result<Drawn, Failure> {
    let folder = TempDir::new()?;
    TargetTask.write_folder(&folder.path().join("drawings"), images, others, seed)?;
    let drawn = Drawn { folder };
    std::fs::write(drawn.weights(), SOURCE_WEIGHTS)?;
    Ok(drawn)
}

impl Drawn {
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("drawings")
    }

    pub fn weights(&self) -> PathBuf {
        self.folder.path().join("drawings-source.safetensors")
    }
}

/// Pictures of the things that the built-in network knows, drawn anew, this many per class, and what it makes of them.
pub fn things(images: usize) -> Result<Images, Failure> {
    let folder = TempDir::new()?;
    let drawings = folder.path().join("drawings");
    SourceTask.write_folder(&drawings, images, 0, 1000)?;
    let drawn = Drawn { folder };
    std::fs::write(drawn.weights(), SOURCE_WEIGHTS)?;
    compute(&drawn.weights(), &drawings.join("train"), &Device::flex())
}
