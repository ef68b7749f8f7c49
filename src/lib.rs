//! Transfer learning for Rust, on top of Burn.

pub mod device;
pub mod drawings;

pub use rekindle_imagefolder as imagefolder;
pub use rekindle_resnet as resnet;
pub use rekindle_trainer as trainer;
pub use rekindle_transfer as transfer;
