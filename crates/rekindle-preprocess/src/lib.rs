//! The preprocessing that a set of image weights asks for, as data.

use serde::{Deserialize, Serialize};

/// The preprocessing a set of weights was evaluated with: weights without it are not usable.
///
/// A decoded RGB picture is resized so that its shorter side has `resize` pixels, its central
/// `crop` x `crop` square is taken, values are scaled from `0..=255` to `0..=1`, and each channel
/// becomes `(value - mean) / std`.
///
/// ```
/// use rekindle_preprocess::Preprocess;
///
/// let json = serde_json::to_string(&Preprocess::IMAGENET).unwrap();
/// assert!(json.contains(r#""resize":256,"crop":224"#));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Length in pixels of the shorter side after resizing, at least `crop`.
    pub resize: usize,
    /// Side in pixels of the central square the network sees.
    pub crop: usize,
    /// Mean of the red, green and blue channel, on the scale `0..=1`.
    pub mean: [f32; 3],
    /// Standard deviation of the red, green and blue channel, on the scale `0..=1`, above zero.
    pub std: [f32; 3],
    /// The filter that resizing uses, in evaluation and in training.
    #[serde(default)]
    pub interpolation: Interpolation,
}

impl Preprocess {
    /// The preprocessing that ImageNet classifiers have used since the first ResNets: torchvision's
    /// `IMAGENET1K_V1` weights, and its `ImageClassification` preset.
    pub const IMAGENET: Self = Self::imagenet(256);

    /// torchvision's newer recipe (`IMAGENET1K_V2`), which resizes to 232 pixels.
    pub const IMAGENET_V2: Self = Self::imagenet(232);

    const fn imagenet(resize: usize) -> Self {
        Self {
            resize,
            crop: 224,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            interpolation: Interpolation::Bilinear,
        }
    }
}

impl Default for Preprocess {
    fn default() -> Self {
        Self::IMAGENET
    }
}

/// The filter that resizing uses. Shrinking is antialiased as Pillow does it: the filter is widened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Nearest pixel; the only one without antialiasing.
    Nearest,
    /// Triangle filter: torchvision's choice for every ResNet.
    #[default]
    Bilinear,
    /// Cubic filter, a = -0.5.
    Bicubic,
    /// Windowed sinc over three lobes.
    Lanczos,
}
