//! Transforms as data: a pipeline is a list that can be printed, compared and read back.

mod augmentation;
mod auto;
mod color;
mod crop;
mod custom;
mod deep;
mod erase;
mod pipeline;
mod resize;
mod run;

pub use augmentation::{AugmentPolicy, Augmentation};
pub use auto::AugmentOp;
pub use crop::CropBox;
pub use custom::{Augment, Custom};
pub use pipeline::Pipeline;
pub(crate) use run::Start;

use rekindle_preprocess::{Channels, Interpolation};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// ImageNet's channel means, of pixels scaled to \[0, 1\].
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's channel standard deviations, of pixels scaled to \[0, 1\].
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// One step from decoded pixels to the network's input. Names, parameters and arithmetic are
/// torchvision's on Pillow images; random ones draw from the sample's own generator.
///
/// All but [`Normalize`](Transform::Normalize) and [`RandomErasing`](Transform::RandomErasing) work
/// on 8-bit pixels and come before them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transform {
    /// Takes a picture's own channels, at the depth of its file, in place of RGB of 8 bits. Comes first; resizing, crops and
    /// flips then work on floating-point numbers, and what changes colours is an error.
    Channels(Channels),
    /// Scales the shorter side to `size`, keeping the aspect ratio (the longer side is rounded
    /// down).
    Resize {
        /// Length of the shorter side, in pixels.
        size: u32,
        /// Default: bilinear. Always antialiased.
        #[serde(default)]
        interpolation: Interpolation,
    },
    /// Scales to exactly this size, whatever the aspect ratio.
    ResizeExact {
        /// Height in pixels.
        height: u32,
        /// Width in pixels.
        width: u32,
        /// Default: bilinear. Always antialiased.
        #[serde(default)]
        interpolation: Interpolation,
    },
    /// Scales the longer side to `size`, keeping the aspect ratio, and fills up the shorter one on both sides (Pillow's
    /// `ImageOps.pad`).
    Letterbox {
        /// Side of the result, in pixels.
        size: u32,
        /// Colour of the filling.
        fill: [u8; 3],
        /// Default: bilinear. Always antialiased.
        #[serde(default)]
        interpolation: Interpolation,
    },
    /// Takes the middle square; a smaller image is padded with black.
    CenterCrop {
        /// Side, in pixels.
        size: u32,
    },
    /// Takes a random part of the image and scales it to a square (Szegedy et al., 2015).
    RandomResizedCrop {
        /// Side of the result, in pixels.
        size: u32,
        /// Range of the part's area relative to the image's; torchvision's default is
        /// (0.08, 1).
        scale: (f64, f64),
        /// Range of width / height; torchvision's default is (3/4, 4/3).
        ratio: (f64, f64),
        /// Default: bilinear. Always antialiased.
        #[serde(default)]
        interpolation: Interpolation,
    },
    /// Mirrors left and right with probability `p`.
    RandomHorizontalFlip {
        /// Probability, in \[0, 1\].
        p: f64,
    },
    /// Mirrors top and bottom with probability `p`.
    RandomVerticalFlip {
        /// Probability, in \[0, 1\].
        p: f64,
    },
    /// Changes brightness, contrast, saturation and hue, in random order. A value `v` draws the
    /// factor from \[max(0, 1 - v), 1 + v\]; hue is shifted by a draw from \[-hue, hue\] of the
    /// circle.
    ColorJitter {
        /// Strength of changes in brightness, at least 0; 0 leaves it alone.
        brightness: f64,
        /// Strength of changes in contrast, at least 0; 0 leaves it alone.
        contrast: f64,
        /// Strength of changes in saturation, at least 0; 0 leaves it alone.
        saturation: f64,
        /// Strength of changes in hue, in \[0, 0.5\]; 0 leaves it alone.
        hue: f64,
    },
    /// TrivialAugmentWide (Müller and Hutter, 2021): one random operation of random strength.
    TrivialAugment,
    /// RandAugment (Cubuk et al., 2020): `operations` random operations of one strength.
    RandAugment {
        /// Number of operations; the paper's and torchvision's default is 2.
        operations: u32,
        /// Strength in 0..=30; torchvision's default is 9.
        magnitude: u32,
    },
    /// A transform of your own ([`Transform::custom`]), which is written by its name and can't be read back.
    #[serde(skip_deserializing)]
    Custom(Custom),
    /// Scales to \[0, 1\], subtracts the mean and divides by the standard deviation.
    Normalize {
        /// Channel means.
        mean: [f32; 3],
        /// Channel standard deviations, above zero.
        std: [f32; 3],
    },
    /// Overwrites a random rectangle (Zhong et al., 2020). Comes last.
    RandomErasing {
        /// Probability, in \[0, 1\]; torchvision's default is 0.5.
        p: f64,
        /// Range of the rectangle's area relative to the image's; default (0.02, 0.33).
        scale: (f64, f64),
        /// Range of height / width; default (0.3, 3.3).
        ratio: (f64, f64),
        /// Values to write.
        fill: Fill,
    },
}

/// Values that [`Transform::RandomErasing`] writes, in units of the normalised image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// One value per channel.
    Constant([f32; 3]),
    /// A standard normal draw per value.
    Noise,
}

impl Transform {
    /// Returns the transform's name, as it is serialised.
    pub fn name(&self) -> &'static str {
        match self {
            Transform::Channels(_) => "channels",
            Transform::Resize { .. } => "resize",
            Transform::ResizeExact { .. } => "resize_exact",
            Transform::Letterbox { .. } => "letterbox",
            Transform::CenterCrop { .. } => "center_crop",
            Transform::RandomResizedCrop { .. } => "random_resized_crop",
            Transform::RandomHorizontalFlip { .. } => "random_horizontal_flip",
            Transform::RandomVerticalFlip { .. } => "random_vertical_flip",
            Transform::ColorJitter { .. } => "color_jitter",
            Transform::TrivialAugment => "trivial_augment",
            Transform::RandAugment { .. } => "rand_augment",
            Transform::Custom(_) => "custom",
            Transform::Normalize { .. } => "normalize",
            Transform::RandomErasing { .. } => "random_erasing",
        }
    }

    /// Returns true if the result differs from call to call.
    pub fn is_random(&self) -> bool {
        match self {
            Transform::Channels(_)
            | Transform::Resize { .. }
            | Transform::ResizeExact { .. }
            | Transform::Letterbox { .. }
            | Transform::CenterCrop { .. }
            | Transform::Normalize { .. } => false,
            Transform::Custom(custom) => custom.is_random(),
            _ => true,
        }
    }

    /// Returns true if it works on normalised values rather than on 8-bit pixels.
    pub(crate) fn works_on_floats(&self) -> bool {
        matches!(
            self,
            Transform::Normalize { .. } | Transform::RandomErasing { .. }
        )
    }

    /// Returns true if it changes colours of 8 bits.
    pub(crate) fn is_of_rgb(&self) -> bool {
        matches!(
            self,
            Transform::ColorJitter { .. }
                | Transform::TrivialAugment
                | Transform::RandAugment { .. }
                | Transform::Custom(_)
        )
    }

    /// Checks the numbers; `position` serves the message.
    pub(crate) fn validate(&self, position: usize) -> Result<(), Error> {
        let wrong = |reason: String| {
            Err(Error::InvalidTransform {
                position,
                name: self.name(),
                reason,
            })
        };
        match self {
            Transform::Channels(channels)
                if !(1..=Channels::MOST).contains(&channels.count) || channels.white == Some(0) =>
            {
                wrong(format!(
                    "{} channels with white at {}; expected 1 to {}, and white above 0",
                    channels.count,
                    channels.white.unwrap_or(1),
                    Channels::MOST
                ))
            }
            Transform::Resize { size, .. }
            | Transform::Letterbox { size, .. }
            | Transform::CenterCrop { size }
            | Transform::RandomResizedCrop { size, .. }
                if !SIZES.contains(size) =>
            {
                wrong(format!("size is {size}, expected 1 to {}", SIZES.end()))
            }
            Transform::ResizeExact { height, width, .. }
                if !SIZES.contains(height) || !SIZES.contains(width) =>
            {
                wrong(format!(
                    "size is {height} x {width}, expected 1 to {}",
                    SIZES.end()
                ))
            }
            Transform::RandomHorizontalFlip { p }
            | Transform::RandomVerticalFlip { p }
            | Transform::RandomErasing { p, .. }
                if !(0.0..=1.0).contains(p) =>
            {
                wrong(format!("p is {p}, expected a probability"))
            }
            Transform::RandomResizedCrop { scale, ratio, .. }
            | Transform::RandomErasing { scale, ratio, .. }
                if !is_positive_range(*scale) || !is_positive_range(*ratio) || scale.1 > 1.0 =>
            {
                wrong(format!(
                    "scale is {scale:?} and ratio {ratio:?}, expected low <= high above 0, and \
                     scale at most 1"
                ))
            }
            Transform::ColorJitter {
                brightness,
                contrast,
                saturation,
                hue,
            } if ![brightness, contrast, saturation]
                .iter()
                .all(|v| v.is_finite() && **v >= 0.0)
                || !(0.0..=0.5).contains(hue) =>
            {
                wrong(format!(
                    "brightness {brightness}, contrast {contrast}, saturation {saturation}, hue \
                     {hue}; expected at least 0, and hue at most 0.5"
                ))
            }
            Transform::RandAugment { magnitude, .. } if *magnitude > 30 => {
                wrong(format!("magnitude is {magnitude}, expected 0 to 30"))
            }
            Transform::Normalize { mean, std }
                if !mean.iter().all(|m| m.is_finite())
                    || !std.iter().all(|s| s.is_finite() && *s > 0.0) =>
            {
                wrong(format!(
                    "mean {mean:?}, std {std:?}; expected finite and std above 0"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Allowed lengths of a side in pixels; the upper end keeps a typing error from asking for gigabytes.
const SIZES: std::ops::RangeInclusive<u32> = 1..=16_384;

fn is_positive_range((low, high): (f64, f64)) -> bool {
    low > 0.0 && low <= high && high.is_finite()
}
