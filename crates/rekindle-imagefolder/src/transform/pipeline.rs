//! A list of transforms, and running it.

use image::RgbImage;
use rekindle_preprocess::{Preprocess, ResizeMode};
use serde::{Deserialize, Serialize};

use super::Transform;
use super::augmentation::Augmentation;
use super::resize::scaled_size;
use crate::decode::Place;
use crate::error::Error;
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

/// An image as the network takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatImage {
    /// Planes of red, green and blue: `[3, height, width]`.
    pub values: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Pipeline {
    /// A pipeline of these transforms.
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
        let mut transforms = vec![to_square(preprocess, side(preprocess.resize))];
        transforms.push(Transform::CenterCrop { size });
        transforms.push(normalize(preprocess));
        Self(transforms)
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

    /// The size `(height, width)` that every image ends up with; `None` if it varies.
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

    /// Whether two calls on one image may give different results.
    pub fn is_random(&self) -> bool {
        self.0.iter().any(Transform::is_random)
    }

    /// Mean and standard deviation of the `Normalize` in it; (0, 1) if there is none.
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
    pub fn apply(&self, image: &RgbImage, rng: &mut SampleRng) -> FloatImage {
        let start = self.start(image.width(), image.height(), rng);
        self.apply_from(start, image, Place::WHOLE, rng)
    }

    /// Runs the transforms of 8-bit pixels alone: what the network will see, fit for people.
    pub fn apply_to_pixels(&self, image: &RgbImage, rng: &mut SampleRng) -> RgbImage {
        let start = self.start(image.width(), image.height(), rng);
        self.apply_to_pixels_from(start, image, Place::WHOLE, rng)
    }

    /// Runs the whole pipeline into `out`, which holds `[3, height, width]` values.
    ///
    /// # Errors
    ///
    /// [`Error::VariableSize`] where the result has another size than `out`.
    pub fn apply_into(
        &self,
        image: &RgbImage,
        rng: &mut SampleRng,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let start = self.start(image.width(), image.height(), rng);
        self.apply_into_from(start, image, Place::WHOLE, rng, out)
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

/// Sizes beyond the type's range stay beyond the one that is accepted.
pub(super) fn side(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
