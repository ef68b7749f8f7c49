//! Augmentation by name: what a training image goes through besides the network's own preprocessing.

use rekindle_preprocess::{Preprocess, ResizeMode};
use serde::{Deserialize, Serialize};

use super::Transform;
use super::pipeline::{Pipeline, channels, normalize, side, to_square};
use crate::error::Error;

/// How much training images are changed at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AugmentPolicy {
    /// Not at all: images look as they do in validation.
    None,
    /// Parts of at least 35 % of the area, scaled to the network's size.
    #[default]
    Light,
    /// Parts of at least 8 % of the area: what ImageNet classifiers are trained with (Szegedy et al., 2015) and PyTorch's
    /// tutorial uses.
    Imagenet,
    /// [`Light`](Self::Light), then one random operation of random strength (TrivialAugmentWide; Müller and Hutter, 2021).
    Trivial,
    /// [`Light`](Self::Light), then two random operations of strength 9 (RandAugment; Cubuk et al., 2020).
    Rand,
}

/// A policy, and how often images are mirrored.
///
/// ```
/// use rekindle_imagefolder::{AugmentPolicy, Augmentation, Preprocess};
///
/// // Digits and signs mean something else in a mirror.
/// let upright = Augmentation { policy: AugmentPolicy::Trivial, flip: 0.0 };
/// let pipeline = upright.pipeline(&Preprocess::IMAGENET);
/// assert_eq!(pipeline.output_size(), Some((224, 224)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// How much images are changed.
    pub policy: AugmentPolicy,
    /// Probability of exchanging left and right, in \[0, 1\].
    pub flip: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            policy: AugmentPolicy::default(),
            flip: 0.5,
        }
    }
}

/// How much larger than the network's input a picture is made of which a part is shown, so that the part isn't blurred.
const LARGER: u32 = 2;

impl Augmentation {
    /// The augmentation of PyTorch's tutorial.
    pub const IMAGENET: Self = Self {
        policy: AugmentPolicy::Imagenet,
        flip: 0.5,
    };

    /// Checks the probability.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`].
    pub fn validate(&self) -> Result<(), Error> {
        match (0.0..=1.0).contains(&self.flip) {
            true => Ok(()),
            false => Err(Error::InvalidOption {
                option: "flip",
                reason: format!("{} is no probability, expected 0 to 1", self.flip),
            }),
        }
    }

    /// Returns the transforms for a network that asks for `preprocess`. Pictures that are squashed or letterboxed are so
    /// before a part of them is taken.
    pub fn pipeline(&self, preprocess: &Preprocess) -> Pipeline {
        if self.policy == AugmentPolicy::None {
            let mut transforms = Pipeline::imagenet_eval(preprocess).0;
            let before_floats = transforms.len() - 1;
            transforms.splice(before_floats..before_floats, self.mirror());
            return Pipeline(transforms);
        }
        let size = side(preprocess.crop);
        let smallest = match self.policy {
            AugmentPolicy::Imagenet => 0.08,
            _ => 0.35,
        };
        let square = (preprocess.mode != ResizeMode::Crop)
            .then(|| to_square(preprocess, size.saturating_mul(LARGER)));
        let operations = match self.policy {
            AugmentPolicy::Trivial => Some(Transform::TrivialAugment),
            AugmentPolicy::Rand => Some(Transform::RandAugment {
                operations: 2,
                magnitude: 9,
            }),
            _ => None,
        };
        let part = Transform::RandomResizedCrop {
            size,
            scale: (smallest, 1.0),
            ratio: (3.0 / 4.0, 4.0 / 3.0),
            interpolation: preprocess.interpolation,
        };
        let all = channels(preprocess)
            .into_iter()
            .chain(square)
            .chain([part])
            .chain(operations)
            .chain(self.mirror())
            .chain([normalize(preprocess)]);
        Pipeline::new(all)
    }

    fn mirror(&self) -> Option<Transform> {
        (self.flip > 0.0).then_some(Transform::RandomHorizontalFlip { p: self.flip })
    }
}
