//! The samples of a TIFF as numbers.

use std::path::Path;

use half::f16;
use image::metadata::Orientation;

use super::{Kind, Opened, wide};
use crate::decode::DecodeOptions;
use crate::error::Error;
use crate::formats::native::Native;
use crate::planes::FloatImage;

/// Numbers per pixel of the largest picture that is accepted; of more channels, a picture may have fewer pixels.
const MOST_PER_PIXEL: u64 = 4;

/// Decodes the channels of the file at their depth; none of palettes and of colours that are not red, green and blue, which
/// have no other channels than those that [`decode`] makes of them.
pub(crate) fn native(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<Option<(Native, Orientation)>, Error> {
    let mut file = Opened::new(path, bytes, options)?;
    if !matches!(file.kind.photometric, 0..=2) || file.kind.compression == 7 {
        return Ok(None);
    }
    let Some(white) = file.kind.white() else {
        return Err(file.unsupported(file.kind.name()));
    };
    let (width, height) = file.size;
    let values = u64::from(width) * u64::from(height) * file.kind.samples as u64;
    let most = options.max_pixels.saturating_mul(MOST_PER_PIXEL);
    if values > most {
        let max_pixels = most / file.kind.samples.max(1) as u64;
        return Err(Error::TooLarge {
            path: path.to_path_buf(),
            width: width.into(),
            height: height.into(),
            max_pixels,
        });
    }
    let samples = file.samples(options)?;
    let kind = &file.kind;
    let (across, down) = (width as usize, height as usize);
    let mut planes = FloatImage::black(kind.samples, down, across);
    let in_row = if kind.is_planar { 1 } else { kind.samples };
    let stride = (across * in_row * kind.bits as usize).div_ceil(8);
    let whole = planes.values.chunks_exact_mut((across * down).max(1));
    for (channel, plane) in whole.enumerate() {
        let (start, first) = match kind.is_planar {
            true => (stride * down * channel, 0),
            false => (0, channel),
        };
        let rows = samples[start..].chunks_exact(stride);
        for (row, values) in rows.zip(plane.chunks_exact_mut(across)) {
            for (x, value) in values.iter_mut().enumerate() {
                *value = kind.number(row, first + x * in_row);
            }
        }
    }
    if kind.photometric == 0 {
        let grey = planes.values.iter_mut().take(across * down);
        grey.for_each(|value| *value = white - *value);
    }
    if let (2, 4, Some(1)) = (kind.photometric, kind.samples, kind.extra.first()) {
        without_alpha(&mut planes, white);
    }
    let most = (kind.format != 3).then_some(white);
    let native = Native {
        planes,
        most,
        limit: most,
        colors: match (kind.photometric, kind.samples) {
            (2, 3..) => 3,
            _ => 1,
        },
    };
    Ok(Some((native, file.orientation)))
}

/// Divides colours by the alpha that was multiplied in.
fn without_alpha(planes: &mut FloatImage, white: f32) {
    let plane = planes.height * planes.width;
    let (colors, alpha) = planes.values.split_at_mut(3 * plane);
    for color in colors.chunks_exact_mut(plane.max(1)) {
        for (value, alpha) in color.iter_mut().zip(&*alpha) {
            if *alpha > 0.0 {
                *value = (*value * white / alpha).min(white);
            }
        }
    }
}

impl Kind {
    /// Returns the largest number of the samples' type, 1 for floating point; none for types that are not read.
    fn white(&self) -> Option<f32> {
        match (self.format, self.bits) {
            (1, 12) if self.samples > 1 => None,
            (1, bits @ (1 | 2 | 4 | 8 | 12 | 16 | 32)) => {
                Some((2.0_f64.powi(bits as i32) - 1.0) as f32)
            }
            (2, bits @ (8 | 16 | 32)) => Some((2.0_f64.powi(bits as i32 - 1) - 1.0) as f32),
            (3, 16 | 32 | 64) => Some(1.0),
            _ => None,
        }
    }

    /// Returns a sample of a row.
    fn number(&self, row: &[u8], index: usize) -> f32 {
        let two = || [row[2 * index], row[2 * index + 1]];
        let four = || std::array::from_fn(|byte| row[4 * index + byte]);
        let eight = || std::array::from_fn(|byte| row[8 * index + byte]);
        match (self.format, self.bits) {
            (2, 8) => f32::from(row[index] as i8),
            (2, 16) => f32::from(i16::from_ne_bytes(two())),
            (2, _) => i32::from_ne_bytes(four()) as f32,
            (3, 16) => f16::from_ne_bytes(two()).to_f32(),
            (3, 32) => f32::from_ne_bytes(four()),
            (3, _) => f64::from_ne_bytes(eight()) as f32,
            (_, 8) => f32::from(row[index]),
            (_, bits @ (12 | 16)) => f32::from(wide(bits, row, index)),
            (_, 32) => u32::from_ne_bytes(four()) as f32,
            (_, bits) => {
                let bit = index * bits as usize;
                f32::from(row[bit / 8] << (bit % 8) >> (8 - bits))
            }
        }
    }
}
