//! Transforms that users write.

use std::fmt;
use std::sync::Arc;

use image::RgbImage;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::Transform;
use crate::rng::SampleRng;

/// A transform of 8-bit pixels of your own, for [`Transform::custom`].
///
/// ```
/// use rekindle_imagefolder::rng::SampleRng;
/// use rekindle_imagefolder::{Augment, Pipeline, RgbImage, Transform};
///
/// /// Darkens some images, as clouds do.
/// struct Clouds {
///     probability: f64,
/// }
///
/// impl Augment for Clouds {
///     fn name(&self) -> String {
///         format!("clouds {}", self.probability)
///     }
///
///     fn apply(&self, mut image: RgbImage, rng: &mut SampleRng) -> RgbImage {
///         if rng.chance(self.probability) {
///             image.iter_mut().for_each(|value| *value /= 2);
///         }
///         image
///     }
/// }
///
/// let pipeline = Pipeline::new([Transform::custom(Clouds { probability: 1.0 })]);
/// let white = RgbImage::from_pixel(2, 2, image::Rgb([254; 3]));
/// let mut rng = SampleRng::for_sample(0, 0, 0, 0);
/// assert_eq!(pipeline.apply_to_pixels(&white, &mut rng).get_pixel(1, 1).0, [127; 3]);
/// ```
pub trait Augment: Send + Sync {
    /// Returns a name that says the settings too: two transforms of one name count as the same, in caches of features and
    /// in the records of runs.
    fn name(&self) -> String;

    /// Changes an image. Whatever is drawn at random comes from `rng`, which belongs to this image in this epoch, so that
    /// runs with one seed repeat.
    fn apply(&self, image: RgbImage, rng: &mut SampleRng) -> RgbImage;

    /// Returns true if the result differs from call to call, as by default.
    fn is_random(&self) -> bool {
        true
    }
}

/// A shared [`Augment`]. It is compared and written by its name, and can't be read back.
#[derive(Clone)]
pub struct Custom(Arc<dyn Augment>);

impl Custom {
    /// Applies the transform.
    pub(super) fn apply(&self, image: RgbImage, rng: &mut SampleRng) -> RgbImage {
        self.0.apply(image, rng)
    }

    pub(super) fn is_random(&self) -> bool {
        self.0.is_random()
    }
}

impl Transform {
    /// Wraps a transform of your own. It keeps the image's size, or another transform behind it sets one.
    pub fn custom(augment: impl Augment + 'static) -> Self {
        Self::Custom(Custom(Arc::new(augment)))
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Custom").field(&self.0.name()).finish()
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Serialize for Custom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Custom", 1)?;
        fields.serialize_field("augment", &self.0.name())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transform::Pipeline;

    struct Shift(u8);

    impl Augment for Shift {
        fn name(&self) -> String {
            format!("shift {}", self.0)
        }

        fn apply(&self, mut image: RgbImage, rng: &mut SampleRng) -> RgbImage {
            let shift = self.0 + rng.below(100) as u8;
            image.iter_mut().for_each(|value| *value += shift);
            image
        }
    }

    #[test]
    fn it_draws_from_the_images_own_numbers_between_other_transforms() {
        let pipeline = Pipeline::new([
            Transform::CenterCrop { size: 2 },
            Transform::custom(Shift(3)),
            Transform::RandomHorizontalFlip { p: 0.5 },
        ]);
        pipeline.validate().unwrap();
        assert!(pipeline.is_random());
        assert_eq!(pipeline.output_size(), Some((2, 2)));
        let image = RgbImage::from_fn(4, 4, |x, y| image::Rgb([(x + 4 * y) as u8; 3]));
        for seed in 0..5 {
            let keyed = || SampleRng::for_sample(seed, 1, 2, 0);
            let found = pipeline.apply_to_pixels(&image, &mut keyed());
            let mut rng = keyed();
            let shift = 3 + rng.below(100) as u8;
            let mirrored = rng.chance(0.5);
            let expected = RgbImage::from_fn(2, 2, |x, y| {
                let x = if mirrored { 1 - x } else { x };
                image::Rgb([(x + 1 + 4 * (y + 1)) as u8 + shift; 3])
            });
            assert_eq!(found, expected, "{seed}");
        }
    }

    #[test]
    fn its_name_is_its_identity() {
        let [a, b] = [3, 4].map(|shift| Transform::custom(Shift(shift)));
        assert_eq!(a, Transform::custom(Shift(3)));
        assert_ne!(a, b);
        let text = serde_json::to_string(&a).unwrap();
        assert_eq!(text, r#"{"name":"custom","augment":"shift 3"}"#);
        let error = serde_json::from_str::<Transform>(&text).unwrap_err();
        assert!(error.to_string().contains("custom"), "{error}");
    }
}
