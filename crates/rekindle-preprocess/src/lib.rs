//! The preprocessing that a set of image weights asks for, as data.

use serde::{Deserialize, Serialize};

/// The preprocessing a set of weights was evaluated with: weights without it are not usable.
///
/// A decoded RGB picture is resized as [`mode`](Self::mode) says, by default so that its shorter side has `resize` pixels,
/// its central `crop` x `crop` square is taken, values are scaled from `0..=255` to `0..=1`, and each channel
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
    /// Length in pixels after resizing, at least `crop`: of the shorter side where the picture is cropped, of both where it
    /// is squashed, of the longer one where it is letterboxed.
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
    /// How a picture that isn't square becomes one.
    #[serde(default, skip_serializing_if = "ResizeMode::is_default")]
    pub mode: ResizeMode,
    /// The channels that the network is given, where they are not red, green and blue of 8 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
}

impl Preprocess {
    /// The preprocessing that ImageNet classifiers have used since the first ResNets: torchvision's
    /// `IMAGENET1K_V1` weights, and its `ImageClassification` preset.
    pub const IMAGENET: Self = Self::imagenet(256);

    /// torchvision's newer recipe (`IMAGENET1K_V2`), which resizes to 232 pixels.
    pub const IMAGENET_V2: Self = Self::imagenet(232);

    /// Returns the same preprocessing with pictures made square in another way. Squashed and letterboxed pictures are resized
    /// to `crop`, so that nothing of them is cut off.
    ///
    /// ```
    /// use rekindle_preprocess::{Preprocess, ResizeMode};
    ///
    /// let whole = Preprocess::IMAGENET.with_mode(ResizeMode::Letterbox);
    /// assert_eq!((whole.resize, whole.crop), (224, 224));
    /// ```
    pub fn with_mode(self, mode: ResizeMode) -> Self {
        let resize = match mode {
            ResizeMode::Crop => self.resize,
            ResizeMode::Squash | ResizeMode::Letterbox => self.crop,
        };
        Self {
            mode,
            resize,
            ..self
        }
    }

    /// Returns the preprocessing for images of `side` x `side` pixels that show as much of each picture.
    ///
    /// ```
    /// use rekindle_preprocess::Preprocess;
    ///
    /// let small = Preprocess::IMAGENET.at_size(112);
    /// assert_eq!((small.resize, small.crop), (128, 112));
    /// ```
    pub fn at_size(self, side: usize) -> Self {
        Self {
            resize: self.resize.saturating_mul(side).div_ceil(self.crop.max(1)),
            crop: side,
            ..self
        }
    }

    const fn imagenet(resize: usize) -> Self {
        Self {
            resize,
            crop: 224,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            interpolation: Interpolation::Bilinear,
            mode: ResizeMode::Crop,
            channels: None,
        }
    }

    /// Returns the number of channels of the network's input: 3 for RGB.
    pub fn num_channels(&self) -> usize {
        self.channels.map_or(3, |channels| channels.count)
    }
}

impl Default for Preprocess {
    fn default() -> Self {
        Self::IMAGENET
    }
}

/// A picture's own channels, at the depth of its file: grey of 16 bits, colours with alpha, the bands of a satellite.
///
/// Numbers are divided by [`white`](Self::white) instead of being cut down to 8 bits. Mean and standard deviation of a lone
/// channel are the averages of the three, and those of more channels are the three in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// Their number, 1 to [`MOST`](Self::MOST).
    pub count: usize,
    /// The number that counts as 1; none for the largest one of a file's type: 255, 65,535, or 1 for floating point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub white: Option<u32>,
}

impl Channels {
    /// The largest number of channels.
    pub const MOST: usize = 256;

    /// Returns the value of each channel, where `rgb` has those of red, green and blue.
    ///
    /// ```
    /// use rekindle_preprocess::Channels;
    ///
    /// let of = |count| Channels { count, white: None }.values([0.25, 0.5, 0.75]);
    /// assert_eq!(of(1), [0.5]);
    /// assert_eq!(of(4), [0.25, 0.5, 0.75, 0.25]);
    /// ```
    pub fn values(self, rgb: [f32; 3]) -> Vec<f32> {
        match self.count {
            1 => vec![rgb.iter().sum::<f32>() / 3.0],
            count => rgb.into_iter().cycle().take(count).collect(),
        }
    }
}

/// How a picture that isn't square becomes one (timm's `crop_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeMode {
    /// Cuts off what stands out of the central square: shapes stay, the ends of the longer side are lost (timm's `center`).
    #[default]
    Crop,
    /// Scales both sides to the same length: nothing is lost, shapes are distorted (timm's and fastai's `squash`, `squish`).
    Squash,
    /// Scales the longer side and fills up the shorter one with the mean colour: nothing is lost, shapes stay, and less of the
    /// input shows the picture (timm's `border`, fastai's `pad`).
    Letterbox,
}

impl ResizeMode {
    /// Returns true for [`Crop`](Self::Crop), which files from before there was a choice don't name.
    fn is_default(&self) -> bool {
        *self == Self::default()
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
