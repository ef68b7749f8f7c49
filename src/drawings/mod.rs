//! Pictures that this crate draws itself: the data to use when there is no other.
//!
//! Two tasks make a small, whole case of transfer learning without a download:
//! [`SourceTask`], thirty kinds of creatures and things to pretrain on, and
//! [`TargetTask`], ants against bees, with so much variation in colour, light,
//! ground and pose that a network trained from nothing on twenty pictures per class
//! does poorly, while one pretrained on the source does well.
//!
//! Every picture is a function of (task, class, split, index, seed) alone.
//!
//! ```
//! use rekindle::drawings::{DrawingTask, PICTURE_SIZE, Split, TargetTask};
//!
//! let bee = TargetTask.draw(1, Split::Train, 0, 7);
//! assert_eq!(bee.dimensions(), (PICTURE_SIZE, PICTURE_SIZE));
//! assert_eq!(TargetTask.class_names(), ["ants", "bees"]);
//! ```

mod beetles;
mod body;
mod canvas;
mod clutter;
mod colour;
mod crawlers;
mod flyers;
mod folder;
mod ground;
mod limbs;
mod others;
mod random;
mod scene;
mod source;
mod target;
#[cfg(test)]
mod tests;
mod wing;

use std::path::Path;

use image::RgbImage;

pub use folder::DrawingsError;
pub use source::SourceTask;
pub use target::TargetTask;

/// Width and height of every drawing, in pixels.
pub const PICTURE_SIZE: u32 = 96;

/// A narrow ResNet-18 trained on [`SourceTask`] by `examples/pretrain_drawings.rs`: safetensors with 16-bit
/// floats under torchvision's names, classes and preprocessing in the metadata.
pub const SOURCE_WEIGHTS: &[u8] = include_bytes!("../../assets/drawings-source.safetensors");

/// Set that a drawing belongs to. The same index gives another picture in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Pictures to learn from.
    Train = 0,
    /// Held-out pictures.
    Val = 1,
}

impl Split {
    /// Returns the name of its folder: `train` or `val`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
        }
    }
}

/// A classification task whose pictures are drawn on demand.
pub trait DrawingTask {
    /// Returns the classes, sorted: an index into it is a label, as an image folder numbers them.
    fn class_names(&self) -> &'static [&'static str];

    /// Draws picture `index` of a class, always the same one for the same arguments
    /// on the same machine.
    ///
    /// # Panics
    ///
    /// If `class` is not below `class_names().len()`.
    fn draw(&self, class: usize, split: Split, index: usize, seed: u64) -> RgbImage;

    /// Writes drawings as an image folder: `dir/{train,val}/CLASS/NNNN.png`.
    ///
    /// Writing again over the same drawings is harmless.
    ///
    /// # Errors
    ///
    /// [`DrawingsError::ForeignFile`] if a class folder holds anything else than these
    /// files, because it would become part of the data; the other variants if a
    /// folder or a file cannot be written.
    fn write_folder(
        &self,
        dir: &Path,
        per_class_train: usize,
        per_class_val: usize,
        seed: u64,
    ) -> Result<(), DrawingsError>
    where
        Self: Sync + Sized,
    {
        folder::write(
            self,
            dir,
            [(Split::Train, per_class_train), (Split::Val, per_class_val)],
            seed,
        )
    }
}
