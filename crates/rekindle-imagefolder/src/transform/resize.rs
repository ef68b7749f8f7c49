//! Resizing as Pillow does it: separable, antialiased, rounded to 8 bits after each direction.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use rekindle_preprocess::Interpolation;

use super::crop::CropBox;
use crate::decode::Place;

/// Half the filter's width at full size.
fn radius(interpolation: Interpolation) -> u32 {
    match interpolation {
        Interpolation::Nearest | Interpolation::Bilinear => 1,
        Interpolation::Bicubic => 2,
        Interpolation::Lanczos => 3,
    }
}

fn algorithm(interpolation: Interpolation) -> ResizeAlg {
    match interpolation {
        Interpolation::Nearest => ResizeAlg::Nearest,
        Interpolation::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Interpolation::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Interpolation::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
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

/// A resize of a part of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resize {
    /// The pixels that have any influence.
    pub(crate) area: CropBox,
    columns: Span,
    rows: Span,
    interpolation: Interpolation,
}

impl Resize {
    /// Of the part `from`; no pixel outside of it has any influence.
    pub(crate) fn of_part(
        from: CropBox,
        (width, height): (u32, u32),
        interpolation: Interpolation,
    ) -> Self {
        let span = |start: u32, length: u32, to: u32| Span {
            start: f64::from(start),
            length: f64::from(length),
            to,
        };
        Self {
            area: from,
            columns: span(from.left, from.width, width),
            rows: span(from.top, from.height, height),
            interpolation,
        }
    }

    /// Of an image of `width` x `height` to `full`, as far as `window` shows it. The window's
    /// surroundings have their influence on its border, as they should.
    pub(crate) fn of_window(
        (width, height): (u32, u32),
        (full_width, full_height): (u32, u32),
        window: CropBox,
        interpolation: Interpolation,
    ) -> Self {
        let span = |start: u32, to: u32, full: u32, source: u32| {
            let scale = f64::from(source) / f64::from(full);
            let start = f64::from(start) * scale;
            Span {
                start,
                length: (f64::from(to) * scale).min(f64::from(source) - start),
                to,
            }
        };
        let columns = span(window.left, window.width, full_width, width);
        let rows = span(window.top, window.height, full_height, height);
        let (left, right) = columns.needed(width, interpolation);
        let (top, bottom) = rows.needed(height, interpolation);
        Self {
            area: CropBox {
                top,
                left,
                height: bottom - top,
                width: right - left,
            },
            columns,
            rows,
            interpolation,
        }
    }

    /// By how much the image may be reduced beforehand: 1, 2, 4 or 8. At least two pixels are left
    /// for each one of the result, or what the reduction does to the finest detail would show.
    pub(crate) fn reduction(&self) -> u32 {
        let by = (self.columns.length / f64::from(self.columns.to))
            .min(self.rows.length / f64::from(self.rows.to));
        let exact = self.interpolation == Interpolation::Nearest;
        let enough = |scale: &u32| !exact && by >= 2.0 * f64::from(*scale);
        [8, 4, 2].into_iter().find(enough).unwrap_or(1)
    }

    /// Resizes; `place` says where `pixels` lie in the image. They hold at least the area.
    pub(crate) fn run(&self, pixels: &RgbImage, place: Place, resizer: &mut Resizer) -> RgbImage {
        let from = match place.scale {
            1 => CropBox {
                left: (i64::from(self.area.left) - place.left) as u32,
                top: (i64::from(self.area.top) - place.top) as u32,
                ..self.area
            },
            _ => CropBox::whole(pixels.width(), pixels.height()),
        };
        let scale = f64::from(place.scale);
        let span = |span: Span, first: i64, skipped: u32| Span {
            start: (span.start - first as f64) / scale - f64::from(skipped),
            length: span.length / scale,
            to: span.to,
        };
        let columns = span(self.columns, place.left, from.left);
        let rows = span(self.rows, place.top, from.top);
        convolve(pixels, from, columns, rows, self.interpolation, resizer)
    }
}

/// What one direction of a resize maps to `to` pixels: `start..start + length` of the source.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: f64,
    length: f64,
    to: u32,
}

impl Span {
    /// The source pixels below `size` that have any influence.
    fn needed(&self, size: u32, interpolation: Interpolation) -> (u32, u32) {
        let scale = (self.length / f64::from(self.to)).max(1.0);
        let margin = f64::from(radius(interpolation)) * scale + 1.0;
        let first = (self.start - margin).floor().max(0.0) as u32;
        let end = ((self.start + self.length + margin).ceil() as u32).min(size);
        (first, end.max(first + 1))
    }
}

/// Across first and then down, or the other way round as Pillow was seen to do; the 8 bits in
/// between make the order visible (a fifth of a grey level on average).
fn convolve(
    image: &RgbImage,
    from: CropBox,
    columns: Span,
    rows: Span,
    interpolation: Interpolation,
    resizer: &mut Resizer,
) -> RgbImage {
    let options = ResizeOptions::new().resize_alg(algorithm(interpolation));
    if is_vertical_first(from, columns, rows) {
        return convolve_down_first(image, from, columns, rows, &options, resizer);
    }
    let (first, end) = rows.needed(from.height, interpolation);
    let (width, height, between) = (columns.to, rows.to, end - first);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let resized = (|| {
        let between_rows = CropBox {
            top: from.top + first,
            height: between,
            ..from
        };
        let source = part_of(image, between_rows)?;
        let mut narrow = TypedImage::<U8x3>::new(width, between);
        let across = options.crop(columns.start, 0.0, columns.length, f64::from(between));
        resizer.resize_typed(&source, &mut narrow, &across).ok()?;

        let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).ok()?;
        let start = rows.start - f64::from(first);
        let length = rows.length.min(f64::from(between) - start);
        let down = options.crop(0.0, start, f64::from(width), length);
        resizer.resize_typed(&narrow, &mut target, &down).ok()
    })();
    // Boxes are made by this crate inside their image and buffers to their size.
    debug_assert!(
        resized.is_some(),
        "{from:?} of {:?} by {columns:?}, {rows:?}",
        image.dimensions()
    );
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

/// All 48 pictures of the reference made by Pillow 13 fit this rule: small parts that are higher
/// than wide and lose rows. Earlier versions always went across first.
fn is_vertical_first(from: CropBox, columns: Span, rows: Span) -> bool {
    let whole = columns.length == f64::from(from.width) && rows.length == f64::from(from.height);
    let between = u64::from(from.width) * u64::from(rows.to);
    whole && from.height > from.width && from.height > rows.to && between <= 1 << 16
}

/// The resizer's own order.
fn convolve_down_first(
    image: &RgbImage,
    from: CropBox,
    columns: Span,
    rows: Span,
    options: &ResizeOptions,
    resizer: &mut Resizer,
) -> RgbImage {
    let (width, height) = (columns.to, rows.to);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let resized = (|| {
        let source = part_of(image, from)?;
        let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).ok()?;
        resizer.resize_typed(&source, &mut target, options).ok()
    })();
    debug_assert!(resized.is_some(), "{from:?} of {:?}", image.dimensions());
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

/// Borrows a part of an image. The pixels' type is fixed here, since the resizer's untyped entry compiles its filters for
/// thirteen of them.
fn part_of(image: &RgbImage, part: CropBox) -> Option<impl ImageView<Pixel = U8x3>> {
    let whole = TypedImageRef::from_buffer(image.width(), image.height(), image.as_raw()).ok()?;
    TypedCroppedImage::new(whole, part.left, part.top, part.width, part.height).ok()
}
