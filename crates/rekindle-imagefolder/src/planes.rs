//! Images as planes of floating-point numbers: what a network takes, and pictures at the depth of their files.

use image::metadata::Orientation;
use image::{Rgb, RgbImage};

use crate::transform::CropBox;

/// An image as a network takes it, or a decoded picture at its full depth.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatImage {
    /// One plane after the other: `[channels, height, width]`, red, green and blue where there are three.
    pub values: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl FloatImage {
    /// Creates a black image.
    pub(crate) fn black(channels: usize, height: usize, width: usize) -> Self {
        Self {
            values: vec![0.0; channels * height * width],
            height,
            width,
        }
    }

    /// Returns the number of channels; 0 where there is no pixel.
    pub fn channels(&self) -> usize {
        self.values
            .len()
            .checked_div(self.height * self.width)
            .unwrap_or(0)
    }

    /// Returns what people are shown of values from 0 to 1: the first three channels, or the first one as grey.
    pub(crate) fn shown(&self) -> RgbImage {
        let plane = self.height * self.width;
        let channels = self.channels();
        let byte = |at: usize, channel: usize| {
            let value = self.values[channel * plane + at];
            (255.0 * value).round().clamp(0.0, 255.0) as u8
        };
        RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let at = y as usize * self.width + x as usize;
            Rgb(std::array::from_fn(|channel| match channels {
                0 => 0,
                1 | 2 => byte(at, 0),
                _ => byte(at, channel),
            }))
        })
    }

    /// Returns the image as its EXIF orientation shows it.
    pub(crate) fn turned(self, orientation: Orientation) -> Self {
        let (height, width) = (self.height, self.width);
        let (down, across) = (height.saturating_sub(1), width.saturating_sub(1));
        let swaps = matches!(
            orientation,
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        );
        let size = if swaps {
            (width, height)
        } else {
            (height, width)
        };
        match orientation {
            Orientation::NoTransforms => self,
            Orientation::FlipHorizontal => self.rearranged(size, |y, x| (y, across - x)),
            Orientation::FlipVertical => self.rearranged(size, |y, x| (down - y, x)),
            Orientation::Rotate180 => self.rearranged(size, |y, x| (down - y, across - x)),
            Orientation::Rotate90 => self.rearranged(size, |y, x| (down - x, y)),
            Orientation::Rotate270 => self.rearranged(size, |y, x| (x, across - y)),
            // Turned first, then mirrored left and right.
            Orientation::Rotate90FlipH => self.rearranged(size, |y, x| (x, y)),
            Orientation::Rotate270FlipH => self.rearranged(size, |y, x| (down - x, across - y)),
        }
    }

    /// Returns the image with left and right exchanged.
    pub(crate) fn mirrored(self) -> Self {
        self.turned(Orientation::FlipHorizontal)
    }

    /// Returns the image with top and bottom exchanged.
    pub(crate) fn upside_down(self) -> Self {
        self.turned(Orientation::FlipVertical)
    }

    /// Takes each pixel of an image of `(height, width)` from the place that `from` gives for its row and column.
    fn rearranged(
        &self,
        (height, width): (usize, usize),
        from: impl Fn(usize, usize) -> (usize, usize),
    ) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for plane in self.planes() {
            for y in 0..height {
                values.extend((0..width).map(|x| {
                    let (row, column) = from(y, x);
                    plane[row * self.width + column]
                }));
            }
        }
        Self {
            values,
            height,
            width,
        }
    }

    /// Returns a part of the image.
    pub(crate) fn part(&self, part: CropBox) -> Self {
        let (top, left) = (part.top as usize, part.left as usize);
        let size = (part.height as usize, part.width as usize);
        self.rearranged(size, |y, x| (top + y, left + x))
    }

    /// Returns an image of `(height, width)` with this one in it, from a row and a column on, and `fill` around it: one value
    /// per channel.
    pub(crate) fn placed(
        &self,
        (height, width): (usize, usize),
        (top, left): (usize, usize),
        fill: &[f32],
    ) -> Self {
        let mut values = Vec::with_capacity(fill.len() * height * width);
        for (plane, fill) in self.planes().zip(fill) {
            let start = values.len();
            values.resize(start + height * width, *fill);
            for (y, row) in plane.chunks_exact(self.width.max(1)).enumerate() {
                let at = start + (top + y) * width + left;
                values[at..at + self.width].copy_from_slice(row);
            }
        }
        Self {
            values,
            height,
            width,
        }
    }

    /// Returns each channel's values.
    pub(crate) fn planes(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact((self.height * self.width).max(1))
    }
}
