//! Chooses the part of an image that a crop takes.

use image::{GenericImageView, RgbImage, imageops};

use crate::rng::SampleRng;

/// A part of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropBox {
    /// First row.
    pub top: u32,
    /// First column.
    pub left: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl CropBox {
    pub(crate) fn whole(width: u32, height: u32) -> Self {
        Self {
            top: 0,
            left: 0,
            height,
            width,
        }
    }

    /// torchvision's centre crop, for an image at least as large as the crop. The offset is
    /// rounded to even as Python rounds.
    pub(crate) fn center(width: u32, height: u32, size: u32) -> Self {
        let offset =
            |side: u32| (f64::from(side.saturating_sub(size)) / 2.0).round_ties_even() as u32;
        Self {
            top: offset(height),
            left: offset(width),
            height: size,
            width: size,
        }
    }

    /// Draws the part that torchvision's `RandomResizedCrop` takes of an image of `width` x `height`.
    ///
    /// Ten times an area uniform in `scale` and a ratio log-uniform in `ratio` are drawn; the first
    /// pair that fits gets a uniform position. If none fits, the largest centred part whose ratio
    /// lies in the range is taken.
    pub fn random_resized(
        width: u32,
        height: u32,
        scale: (f64, f64),
        ratio: (f64, f64),
        rng: &mut SampleRng,
    ) -> Self {
        let area = f64::from(width) * f64::from(height);
        for _ in 0..10 {
            let target = area * rng.uniform(scale.0, scale.1);
            let aspect = rng.uniform(ratio.0.ln(), ratio.1.ln()).exp();
            let w = (target * aspect).sqrt().round_ties_even();
            let h = (target / aspect).sqrt().round_ties_even();
            if (1.0..=f64::from(width)).contains(&w) && (1.0..=f64::from(height)).contains(&h) {
                let (w, h) = (w as u32, h as u32);
                let top = rng.below((height - h + 1) as usize) as u32;
                let left = rng.below((width - w + 1) as usize) as u32;
                return Self {
                    top,
                    left,
                    height: h,
                    width: w,
                };
            }
        }
        Self::within_ratio(width, height, ratio)
    }

    fn within_ratio(width: u32, height: u32, ratio: (f64, f64)) -> Self {
        let own = f64::from(width) / f64::from(height);
        let side = |length: f64, most: u32| (length.round_ties_even() as u32).clamp(1, most);
        let (w, h) = if own < ratio.0 {
            (width, side(f64::from(width) / ratio.0, height))
        } else if own > ratio.1 {
            (side(f64::from(height) * ratio.1, width), height)
        } else {
            (width, height)
        };
        Self {
            top: (height - h) / 2,
            left: (width - w) / 2,
            height: h,
            width: w,
        }
    }
}

/// torchvision's `CenterCrop`: smaller images are padded with black first, the odd row or column
/// of padding going to the right and the bottom.
pub(crate) fn center_crop(image: &RgbImage, size: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    if width >= size && height >= size {
        let part = CropBox::center(width, height, size);
        return image
            .view(part.left, part.top, part.width, part.height)
            .to_image();
    }
    let mut padded = RgbImage::new(width.max(size), height.max(size));
    let (left, top) = (
        size.saturating_sub(width) / 2,
        size.saturating_sub(height) / 2,
    );
    imageops::replace(&mut padded, image, i64::from(left), i64::from(top));
    if padded.dimensions() == (size, size) {
        padded
    } else {
        center_crop(&padded, size)
    }
}

/// Returns a square with the image, whose longer side is `size`, in its middle, as Pillow's `ImageOps.pad` places it.
pub(crate) fn padded(image: &RgbImage, size: u32, fill: [u8; 3]) -> RgbImage {
    let mut square = RgbImage::from_pixel(size, size, image::Rgb(fill));
    let offset = |side: u32| padding(side, size) as i64;
    let (width, height) = image.dimensions();
    imageops::replace(&mut square, image, offset(width), offset(height));
    square
}

/// Returns the padding before a side in a square of `size`.
pub(super) fn padding(side: u32, size: u32) -> usize {
    (f64::from(size.saturating_sub(side)) * 0.5).round_ties_even() as usize
}
