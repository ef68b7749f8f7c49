//! Resizing as Pillow does it: separable, antialiased, rounded to 8 bits after each direction.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::crop::CropBox;

/// How pixels are interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Nearest pixel; no antialiasing.
    Nearest,
    /// Triangle filter, widened when scaling down. torchvision's default.
    #[default]
    Bilinear,
    /// Catmull-Rom with a = -0.5, widened when scaling down.
    Bicubic,
    /// Windowed sinc over three lobes, widened when scaling down.
    Lanczos,
}

impl Interpolation {
    fn algorithm(self) -> ResizeAlg {
        match self {
            Interpolation::Nearest => ResizeAlg::Nearest,
            Interpolation::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
            Interpolation::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
            Interpolation::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
        }
    }
}

/// torchvision's size of an image whose shorter side becomes `size`: `(width, height)`.
pub(crate) fn scaled_size(width: u32, height: u32, size: u32) -> (u32, u32) {
    let (short, long) = (u64::from(width.min(height)), u64::from(width.max(height)));
    // An image of 1 x 65,535 would grow beyond every limit; nobody means that.
    let long = (u64::from(size) * long / short.max(1)).clamp(1, 1 << 20) as u32;
    if width <= height {
        (size, long)
    } else {
        (long, size)
    }
}

/// Resizes the part `from` of `image`; no pixel outside of it has any influence.
pub(crate) fn resize_part(
    image: &RgbImage,
    from: CropBox,
    (width, height): (u32, u32),
    interpolation: Interpolation,
    resizer: &mut Resizer,
) -> RgbImage {
    let options = ResizeOptions::new().resize_alg(interpolation.algorithm());
    convolve(image, from, (width, height), &options, resizer)
}

/// The window `window` of what resizing the whole image to `full` would give, without computing
/// the rest. The window's surroundings have their influence on its border, as they should.
pub(crate) fn resize_window(
    image: &RgbImage,
    (full_width, full_height): (u32, u32),
    window: CropBox,
    interpolation: Interpolation,
    resizer: &mut Resizer,
) -> RgbImage {
    let span = |start: u32, length: u32, full: u32, source: u32| {
        let scale = f64::from(source) / f64::from(full);
        let start = f64::from(start) * scale;
        (
            start,
            (f64::from(length) * scale).min(f64::from(source) - start),
        )
    };
    let (left, width) = span(window.left, window.width, full_width, image.width());
    let (top, height) = span(window.top, window.height, full_height, image.height());
    let options = ResizeOptions::new()
        .resize_alg(interpolation.algorithm())
        .crop(left, top, width, height);
    let whole = CropBox::whole(image);
    convolve(
        image,
        whole,
        (window.width, window.height),
        &options,
        resizer,
    )
}

fn convolve(
    image: &RgbImage,
    from: CropBox,
    (width, height): (u32, u32),
    options: &ResizeOptions,
    resizer: &mut Resizer,
) -> RgbImage {
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let resized = (|| {
        let source = ImageRef::new(
            image.width(),
            image.height(),
            image.as_raw(),
            PixelType::U8x3,
        )
        .ok()?;
        let source =
            CroppedImage::new(&source, from.left, from.top, from.width, from.height).ok()?;
        let mut target = Image::from_slice_u8(width, height, &mut pixels, PixelType::U8x3).ok()?;
        resizer.resize(&source, &mut target, options).ok()
    })();
    // Boxes are made by this crate inside their image and buffers to their size.
    debug_assert!(
        resized.is_some(),
        "{from:?} of {:?} to {width} x {height}",
        image.dimensions()
    );
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}
