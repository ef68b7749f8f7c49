//! Pictures with the channels and the depth of their files.

use std::path::Path;

use image::{DynamicImage, RgbImage};
use rekindle_preprocess::Channels;

use crate::error::Error;
use crate::planes::FloatImage;

/// Returns other channels of a picture of 8 bits.
pub(crate) fn of_rgb(image: &RgbImage, channels: Channels) -> Result<FloatImage, Error> {
    Native::of_rgb(image).into_channels(Path::new("the image"), channels)
}

/// The largest number of eight bits.
pub(crate) const BYTE: Option<f32> = Some(255.0);

/// The numbers of a file, as they are stored.
pub(crate) struct Native {
    pub(crate) planes: FloatImage,
    /// The number that is white where nobody says otherwise; none of floating point, where that is 1.
    pub(crate) most: Option<f32>,
    /// The largest number of its type; none of floating point.
    pub(crate) limit: Option<f32>,
    /// Channels of the colour; alpha and other channels follow.
    pub(crate) colors: usize,
}

impl Native {
    /// Takes planes out of pixels whose channels lie side by side.
    pub(crate) fn of_pixels<T: Copy>(
        (width, height): (u32, u32),
        [channels, colors]: [usize; 2],
        pixels: &[T],
        most: Option<f32>,
        number: impl Fn(T) -> f32,
    ) -> Self {
        let (width, height) = (width as usize, height as usize);
        let plane = |channel| pixels.iter().skip(channel).step_by(channels);
        let values = (0..channels).flat_map(plane);
        Self {
            planes: FloatImage {
                values: values.map(|value| number(*value)).collect(),
                height,
                width,
            },
            most,
            limit: most,
            colors,
        }
    }

    /// Undoes that a decoder spread the file's numbers, which end at `most`, over the range of its own.
    pub(crate) fn ending_at(mut self, most: u32) -> Self {
        let most = most as f32;
        if let Some(range) = self.most {
            let spread = self.planes.values.iter_mut();
            spread.for_each(|value| *value = (*value * most / range).round());
        }
        self.most = Some(most);
        self
    }

    pub(crate) fn of_rgb(image: &RgbImage) -> Self {
        Self::of_pixels(image.dimensions(), [3, 3], image.as_raw(), BYTE, f32::from)
    }

    pub(crate) fn of_image(image: DynamicImage) -> Self {
        let size = (image.width(), image.height());
        let bytes = |channels, raw: &[u8]| Self::of_pixels(size, channels, raw, BYTE, f32::from);
        let deep = |channels, raw: &[u16]| {
            Self::of_pixels(size, channels, raw, Some(f32::from(u16::MAX)), f32::from)
        };
        let floats = |channels, raw: &[f32]| Self::of_pixels(size, channels, raw, None, |v| v);
        match &image {
            DynamicImage::ImageLuma8(image) => bytes([1, 1], image.as_raw()),
            DynamicImage::ImageLumaA8(image) => bytes([2, 1], image.as_raw()),
            DynamicImage::ImageRgb8(image) => bytes([3, 3], image.as_raw()),
            DynamicImage::ImageRgba8(image) => bytes([4, 3], image.as_raw()),
            DynamicImage::ImageLuma16(image) => deep([1, 1], image.as_raw()),
            DynamicImage::ImageLumaA16(image) => deep([2, 1], image.as_raw()),
            DynamicImage::ImageRgb16(image) => deep([3, 3], image.as_raw()),
            DynamicImage::ImageRgba16(image) => deep([4, 3], image.as_raw()),
            DynamicImage::ImageRgb32F(image) => floats([3, 3], image.as_raw()),
            DynamicImage::ImageRgba32F(image) => floats([4, 3], image.as_raw()),
            _ => bytes([3, 3], image.to_rgb8().as_raw()),
        }
    }

    /// Returns the wanted channels as fractions of white: those of the file where it has as many; of its colour, grey
    /// repeated, or colours as grey by Pillow's weights.
    pub(crate) fn into_channels(
        self,
        path: &Path,
        channels: Channels,
    ) -> Result<FloatImage, Error> {
        let found = self.planes.channels();
        if let (Some(white), Some(most)) = (channels.white, self.limit)
            && white as f32 > most
        {
            return Err(Error::OtherDepth {
                path: path.to_path_buf(),
                most,
                white,
            });
        }
        let white = channels.white.map(|white| white as f32);
        let white = white.or(self.most).unwrap_or(1.0);
        // Colour, perhaps with alpha: of what has more bands, nobody knows which are meant.
        let colors = if found <= self.colors + 1 {
            self.colors
        } else {
            0
        };
        let plane = self.planes.height * self.planes.width;
        let mut values = match (channels.count, colors) {
            (count, _) if count == found => self.planes.values,
            (count, colors) if count == colors => {
                let mut values = self.planes.values;
                values.truncate(count * plane);
                values
            }
            (1, 3) => {
                let (red, rest) = self.planes.values.split_at(plane);
                let (green, blue) = rest.split_at(plane);
                let colors = red.iter().zip(green).zip(blue);
                let grey = |((r, g), b): ((&f32, &f32), &f32)| 0.299 * r + 0.587 * g + 0.114 * b;
                colors.map(grey).collect()
            }
            (3, 1) => self.planes.values[..plane].repeat(3),
            (expected, _) => {
                return Err(Error::OtherChannels {
                    path: path.to_path_buf(),
                    found,
                    expected,
                });
            }
        };
        values.iter_mut().for_each(|value| *value /= white);
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::Undecodable {
                path: path.to_path_buf(),
                reason: "some of its numbers are not finite, as of pixels without data; give them a value".into(),
            });
        }
        Ok(FloatImage {
            values,
            height: self.planes.height,
            width: self.planes.width,
        })
    }
}
