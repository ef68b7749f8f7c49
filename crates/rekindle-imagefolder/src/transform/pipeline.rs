//! A list of transforms, and running it.

use std::path::Path;

use image::RgbImage;
use rekindle_preprocess::{Channels, Preprocess, ResizeMode};
use serde::{Deserialize, Serialize};

use super::Transform;
use super::augmentation::Augmentation;
use super::resize::scaled_size;
use crate::decode::{DecodeOptions, Place, decode_channels, decode_rgb};
use crate::error::Error;
use crate::formats::native::of_rgb;
use crate::planes::FloatImage;
use crate::rng::SampleRng;

/// Transforms in order.
///
/// ```
/// use rekindle_imagefolder::{IMAGENET_MEAN, IMAGENET_STD, Pipeline, Preprocess, Transform};
///
/// // The two pipelines of the tutorial and of torchvision's ImageNet reference:
/// let train = Pipeline::imagenet_train(&Preprocess::IMAGENET);
/// let eval = Pipeline::imagenet_eval(&Preprocess::IMAGENET);
/// assert_eq!(train.output_size(), eval.output_size());
///
/// // One of your own:
/// let gentle = Pipeline::new([
///     Transform::Resize { size: 256, interpolation: Default::default() },
///     Transform::CenterCrop { size: 224 },
///     Transform::TrivialAugment,
///     Transform::Normalize { mean: IMAGENET_MEAN, std: IMAGENET_STD },
/// ]);
/// gentle.validate()?;
/// # Ok::<(), rekindle_imagefolder::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pipeline(pub Vec<Transform>);

impl Pipeline {
    /// Creates a pipeline of these transforms.
    pub fn new(transforms: impl IntoIterator<Item = Transform>) -> Self {
        Self(transforms.into_iter().collect())
    }

    /// Returns the augmentation of PyTorch's tutorial for weights that ask for this preprocessing:
    /// `RandomResizedCrop(crop)`, `RandomHorizontalFlip`, `Normalize`.
    pub fn imagenet_train(preprocess: &Preprocess) -> Self {
        Augmentation::IMAGENET.pipeline(preprocess)
    }

    /// Returns the preprocessing itself: resizing as its mode says, `CenterCrop(crop)`, `Normalize`.
    pub fn imagenet_eval(preprocess: &Preprocess) -> Self {
        let size = side(preprocess.crop);
        let transforms = [
            to_square(preprocess, side(preprocess.resize)),
            Transform::CenterCrop { size },
            normalize(preprocess),
        ];
        Self(channels(preprocess).into_iter().chain(transforms).collect())
    }

    /// Returns the pipeline behind an exchange of left and right.
    pub fn mirrored(&self) -> Self {
        let mut transforms = self.0.clone();
        let first = usize::from(self.channels().is_some());
        transforms.insert(first, Transform::RandomHorizontalFlip { p: 1.0 });
        Self(transforms)
    }

    /// Returns the channels that it takes of a picture; none for RGB of 8 bits.
    pub fn channels(&self) -> Option<Channels> {
        match self.0.first() {
            Some(Transform::Channels(channels)) => Some(*channels),
            _ => None,
        }
    }

    /// Returns the transforms after the choice of channels.
    pub(crate) fn steps(&self) -> &[Transform] {
        &self.0[usize::from(self.channels().is_some())..]
    }

    /// Checks every transform's numbers and the order.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`].
    pub fn validate(&self) -> Result<(), Error> {
        let mut floats = false;
        for (position, transform) in self.0.iter().enumerate() {
            transform.validate(position)?;
            let wrong = |reason: &str| {
                let reason = reason.to_string();
                Err(Error::InvalidTransform {
                    position,
                    name: transform.name(),
                    reason,
                })
            };
            if position > 0 && matches!(transform, Transform::Channels(_)) {
                return wrong("must come first");
            }
            if self.channels().is_some() && transform.is_of_rgb() {
                return wrong(
                    "changes red, green and blue of 8 bits; with other channels a picture can be resized, cropped, mirrored and \
                     erased in part (--augment none, light or imagenet)",
                );
            }
            if floats && !transform.works_on_floats() {
                return wrong("works on 8-bit pixels; move it before normalize and random_erasing");
            }
            if floats && matches!(transform, Transform::Normalize { .. }) {
                return wrong("must come once, and before random_erasing");
            }
            floats |= transform.works_on_floats();
        }
        Ok(())
    }

    /// Returns the size `(height, width)` that every image ends up with; `None` if it varies.
    pub fn output_size(&self) -> Option<(usize, usize)> {
        self.0.iter().fold(None, |size, transform| match transform {
            Transform::Resize { size: shorter, .. } => {
                let (height, width) = size?;
                let (width, height) = scaled_size(width as u32, height as u32, *shorter);
                Some((height as usize, width as usize))
            }
            Transform::ResizeExact { height, width, .. } => {
                Some((*height as usize, *width as usize))
            }
            Transform::CenterCrop { size }
            | Transform::Letterbox { size, .. }
            | Transform::RandomResizedCrop { size, .. } => Some((*size as usize, *size as usize)),
            _ => size,
        })
    }

    /// Returns true if two calls on one image may give different results.
    pub fn is_random(&self) -> bool {
        self.0.iter().any(Transform::is_random)
    }

    /// Returns the mean and standard deviation of the `Normalize` in it; (0, 1) if there is none.
    pub fn normalization(&self) -> ([f32; 3], [f32; 3]) {
        self.0
            .iter()
            .find_map(|transform| match transform {
                Transform::Normalize { mean, std } => Some((*mean, *std)),
                _ => None,
            })
            .unwrap_or(([0.0; 3], [1.0; 3]))
    }

    /// Runs the whole pipeline. Without `Normalize` the values are scaled to \[0, 1\].
    ///
    /// # Errors
    ///
    /// [`Error::OtherChannels`] for a pipeline that takes channels which RGB hasn't.
    pub fn apply(&self, image: &RgbImage, rng: &mut SampleRng) -> Result<FloatImage, Error> {
        let start = self.start(image.width(), image.height(), rng);
        match self.channels() {
            None => Ok(self.apply_from(start, image, Place::WHOLE, rng)),
            Some(channels) => Ok(self.apply_deep(start, &of_rgb(image, channels)?, rng)),
        }
    }

    /// Decodes a file's content and runs the whole pipeline; `path` serves the error messages.
    ///
    /// # Errors
    ///
    /// Those of [`decode_file`](crate::decode_file), and [`Error::OtherChannels`].
    pub fn apply_to_file(
        &self,
        path: &Path,
        bytes: &[u8],
        options: &DecodeOptions,
        rng: &mut SampleRng,
    ) -> Result<FloatImage, Error> {
        let Some(channels) = self.channels() else {
            return self.apply(&decode_rgb(path, bytes, options)?, rng);
        };
        let image = decode_channels(path, bytes, channels, options)?;
        let start = self.start(image.width as u32, image.height as u32, rng);
        Ok(self.apply_deep(start, &image, rng))
    }

    /// Runs the transforms of 8-bit pixels alone: what the network will see, fit for people.
    pub fn apply_to_pixels(&self, image: &RgbImage, rng: &mut SampleRng) -> RgbImage {
        let start = self.start(image.width(), image.height(), rng);
        self.apply_to_pixels_from(start, image, Place::WHOLE, rng)
    }

    /// Runs the whole pipeline into `out`, which holds `[channels, height, width]` values.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Self::apply), and [`Error::VariableSize`] where the result has another size than `out`.
    pub fn apply_into(
        &self,
        image: &RgbImage,
        rng: &mut SampleRng,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let start = self.start(image.width(), image.height(), rng);
        match self.channels() {
            None => self.apply_into_from(start, image, Place::WHOLE, rng, out),
            Some(channels) => self.apply_deep_into(start, &of_rgb(image, channels)?, rng, out),
        }
    }
}

/// Returns the step that makes a picture square, or scales its shorter side where the ends of the longer one are cut off
/// later.
pub(super) fn to_square(preprocess: &Preprocess, size: u32) -> Transform {
    let interpolation = preprocess.interpolation;
    match preprocess.mode {
        ResizeMode::Crop => Transform::Resize {
            size,
            interpolation,
        },
        ResizeMode::Squash => Transform::ResizeExact {
            height: size,
            width: size,
            interpolation,
        },
        ResizeMode::Letterbox => Transform::Letterbox {
            size,
            fill: preprocess.mean.map(|mean| (255.0 * mean).round() as u8),
            interpolation,
        },
    }
}

pub(super) fn normalize(preprocess: &Preprocess) -> Transform {
    Transform::Normalize {
        mean: preprocess.mean,
        std: preprocess.std,
    }
}

pub(super) fn channels(preprocess: &Preprocess) -> Option<Transform> {
    preprocess.channels.map(Transform::Channels)
}

/// Sizes beyond the type's range stay beyond the one that is accepted.
pub(super) fn side(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
