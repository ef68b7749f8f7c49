//! The built-in drawings and the network that knows other drawings, for programs that were given no data.

use std::path::PathBuf;

use rekindle::drawings::{DrawingTask, SOURCE_WEIGHTS, TargetTask};
use tempfile::TempDir;

use super::Failure;

/// A folder of drawings and a file of weights, which go away with it.
pub struct Drawn {
    folder: TempDir,
}

/// Drawn ants and bees to learn from, this many a class.
pub fn ants_and_bees(images: usize, seed: u64) -> Result<Drawn, Failure> {
    let folder = TempDir::new()?;
    TargetTask.write_folder(&folder.path().join("drawings"), images, 0, seed)?;
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
