//! Image folders as training data: scan, decode, augment, split, batch.
//!
//! [`Layout`] finds the training and validation parts of a folder, [`ImageFolder`] the files with torchvision's
//! semantics, [`ImageDataset`] decodes them and
//! runs a [`Pipeline`] of transforms that agree with torchvision on Pillow, and [`Loader`] makes
//! batches ahead with worker threads. Every random draw is a function of (seed, epoch, index,
//! view): a run is the same whatever the number of workers, and can be resumed anywhere.
//!
//! ```no_run
//! use rekindle_imagefolder::{
//!     ImageDataset, ImageFolder, Loader, OnBadFile, Pipeline, Preprocess,
//! };
//!
//! # fn main() -> Result<(), rekindle_imagefolder::Error> {
//! let (train, val) = ImageFolder::open("photos")?.split(0.2, 42)?;
//! let pipeline = Pipeline::imagenet_train(&Preprocess::IMAGENET);
//! let loader = Loader::new(ImageDataset::new(&train, pipeline)?)
//!     .batch_size(32)
//!     .workers(2)
//!     .shuffle(42)
//!     .on_bad_file(OnBadFile::Skip);
//! for batch in loader.epoch(0) {
//!     let batch = batch?; // batch.to_device(&device) makes tensors of it
//!     println!("{} images of {} validation images", batch.len(), val.len());
//! }
//! for bad in loader.skipped() {
//!     eprintln!("left out: {}", bad.reason);
//! }
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod cache;
mod caption;
mod content;
mod dataset;
mod decode;
mod error;
mod folder;
mod folds;
mod formats;
pub mod grid;
mod jpeg;
mod layout;
mod leftovers;
mod listing;
mod loader;
mod looks;
mod mix;
mod orientation;
mod part;
mod peek;
mod picture;
mod plan;
mod planes;
mod prefetch;
pub mod rng;
mod said;
mod sampler;
mod scan;
mod shard;
mod split;
mod table;
mod task;
mod transform;
mod verify;

pub use burn;

pub use batch::{HostBatch, ImageBatch, Skipped};
pub use content::ContentHash;
pub use dataset::{ImageDataset, ImageItem, Rendering};
pub use decode::{DecodeOptions, OnBadFile, decode_bytes, decode_channels, decode_file};
pub use error::{Error, ErrorKind};
pub use folder::{EXTENSIONS, Ignored, ImageFolder, Sample, ScanOptions};
pub use formats::foreign::{undecoded_format, unlisted_format};
pub use image::RgbImage;
pub use layout::{Layout, LayoutKind};
pub use listing::Listing;
pub use loader::{Epoch, Loader};
pub use looks::{Looks, looks};
pub use mix::Mix;
pub use part::{TRAINING_NAMES, VALIDATION_NAMES};
pub use planes::FloatImage;
pub use rekindle_preprocess::{Channels, Interpolation, Preprocess, ResizeMode};
pub use sampler::{Sampler, class_weights};
pub use shard::Shard;
pub use table::{ImageTable, TableOptions, TablePart};
pub use task::Task;
pub use transform::{
    Augment, AugmentOp, AugmentPolicy, Augmentation, CropBox, Custom, Fill, IMAGENET_MEAN,
    IMAGENET_STD, Pipeline, Transform,
};
pub use verify::{BadFile, Duplicate, DuplicateFile, Report, same_files, verify, verify_parts};

/// Compiles the README's code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
