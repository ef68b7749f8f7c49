//! Resizing as Pillow does it: separable, antialiased, rounded to 8 bits after each direction.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{F32, U8x3};
use fast_image_resize::{FilterType, ImageView, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use rekindle_preprocess::Interpolation;

use super::crop::CropBox;
use crate::decode::Place;
use crate::planes::FloatImage;

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

/// Returns Pillow's size of an image whose longer side becomes `size`: `(width, height)`.
pub(crate) fn contained_size(width: u32, height: u32, size: u32) -> (u32, u32) {
    let scaled = |short: u32, long: u32| {
        let side = f64::from(short) / f64::from(long.max(1)) * f64::from(size);
        (side.round_ties_even() as u32).clamp(1, size)
    };
    if width >= height {
        (size, scaled(height, width))
    } else {
        (scaled(width, height), size)
    }
}

/// A resize of a part of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resize {
    /// The pixels that have any influence.
    pub(crate) area: CropBox,
    columns: Span,
    rows: Span,
    /// True if the image, or the part of it, is resized vertically before horizontally.
    is_down_first: bool,
    interpolation: Interpolation,
}

impl Resize {
    /// Resizes the part `from`; no pixel outside of it has any influence.
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
            is_down_first: is_down_first((from.width, from.height), height),
            interpolation,
        }
    }

    /// Resizes an image of `width` x `height` to `full`, as far as `window` shows it. Pixels around the
    /// window influence its border, as they should.
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
            is_down_first: is_down_first((width, height), full_height),
            interpolation,
        }
    }

    /// Returns the factor by which the image may be reduced beforehand: 1, 2, 4 or 8. At least two pixels
    /// remain for each one of the result; with fewer, the finest detail would suffer visibly.
    pub(crate) fn reduction(&self) -> u32 {
        let by = (self.columns.length / f64::from(self.columns.to))
            .min(self.rows.length / f64::from(self.rows.to));
        let exact = self.interpolation == Interpolation::Nearest;
        let enough = |scale: &u32| !exact && by >= 2.0 * f64::from(*scale);
        [8, 4, 2].into_iter().find(enough).unwrap_or(1)
    }

    /// Resizes; `place` says where `pixels` lie in the image. They hold at least the area.
    pub(crate) fn run(&self, pixels: &RgbImage, place: Place, resizer: &mut Resizer) -> RgbImage {
        let passes = self.passes(pixels.dimensions(), place);
        passes.run(pixels, self.is_down_first, resizer)
    }

    /// Resizes each plane of a whole image, without rounding.
    pub(crate) fn run_planes(&self, image: &FloatImage, resizer: &mut Resizer) -> FloatImage {
        let size = (image.width as u32, image.height as u32);
        let passes = self.passes(size, Place::WHOLE);
        let (width, height) = (passes.columns.to, passes.rows.to);
        let mut values = Vec::with_capacity(image.channels() * (width * height) as usize);
        for plane in image.planes() {
            values.extend(passes.run_plane(plane, size, resizer));
        }
        FloatImage {
            values,
            height: height as usize,
            width: width as usize,
        }
    }

    fn passes(&self, (width, height): (u32, u32), place: Place) -> Passes {
        let from = match place.scale {
            1 => CropBox {
                left: (i64::from(self.area.left) - place.left) as u32,
                top: (i64::from(self.area.top) - place.top) as u32,
                ..self.area
            },
            _ => CropBox::whole(width, height),
        };
        let scale = f64::from(place.scale);
        let span = |span: Span, first: i64, skipped: u32| Span {
            start: (span.start - first as f64) / scale - f64::from(skipped),
            length: span.length / scale,
            to: span.to,
        };
        let columns = span(self.columns, place.left, from.left);
        let rows = span(self.rows, place.top, from.top);
        Passes {
            from,
            columns,
            rows,
            interpolation: self.interpolation,
        }
    }
}

/// One direction of a resize: maps `start..start + length` of the source to `to` pixels.
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

    /// Start and length in the `size` source pixels from `first` on.
    fn inside(&self, first: u32, size: u32) -> (f64, f64) {
        let start = self.start - f64::from(first);
        (start, self.length.min(f64::from(size) - start))
    }
}

/// Says whether Pillow resizes down before across; the 8 bits in between make the order visible (a fifth of a grey level
/// on average, ten where a cubic filter overshoots). All pictures of the references made by Pillow 13 fit this rule: small
/// ones that are higher than wide and lose rows. Earlier versions always went across first.
fn is_down_first((width, height): (u32, u32), rows: u32) -> bool {
    let between = u64::from(width) * u64::from(rows);
    height > width && height > rows && between <= 1 << 16
}

/// The two passes of a resize over the part `from` of an image, which the spans are relative to.
#[derive(Debug)]
struct Passes {
    from: CropBox,
    columns: Span,
    rows: Span,
    interpolation: Interpolation,
}

impl Passes {
    fn run(&self, image: &RgbImage, is_down_first: bool, resizer: &mut Resizer) -> RgbImage {
        let (width, height) = (self.columns.to, self.rows.to);
        let mut pixels = vec![0; width as usize * height as usize * 3];
        let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image);
        let target = TypedImage::<U8x3>::from_buffer(width, height, &mut pixels);
        let both = source.ok().zip(target.ok());
        let resized = both.and_then(|(source, mut target)| match is_down_first {
            true => self.down_first(source, &mut target, resizer),
            false => self.across_first(source, &mut target, resizer),
        });
        // Boxes are made by this crate inside their image and buffers to their size.
        debug_assert!(resized.is_some(), "{self:?} of {:?}", image.dimensions());
        RgbImage::from_raw(width, height, pixels).unwrap_or_default()
    }

    fn run_plane(
        &self,
        plane: &[f32],
        (width, height): (u32, u32),
        resizer: &mut Resizer,
    ) -> Vec<f32> {
        let numbers: Vec<F32> = plane.iter().map(|value| F32::new(*value)).collect();
        let mut target = TypedImage::<F32>::new(self.columns.to, self.rows.to);
        let source = TypedImageRef::new(width, height, &numbers).ok();
        let resized = source.and_then(|source| self.across_first(source, &mut target, resizer));
        debug_assert!(resized.is_some(), "{self:?} of {width} x {height}");
        target.pixels().iter().map(|pixel| pixel.0).collect()
    }

    fn across_first<P: PixelTrait>(
        &self,
        image: TypedImageRef<'_, P>,
        target: &mut TypedImage<'_, P>,
        resizer: &mut Resizer,
    ) -> Option<()> {
        let (from, columns, rows) = (self.from, self.columns, self.rows);
        let options = ResizeOptions::new().resize_alg(algorithm(self.interpolation));
        let (first, end) = rows.needed(from.height, self.interpolation);
        let between = end - first;
        let needed = CropBox {
            top: from.top + first,
            height: between,
            ..from
        };
        let mut narrow = TypedImage::<P>::new(columns.to, between);
        let across = options.crop(columns.start, 0.0, columns.length, f64::from(between));
        let source = part_of(image, needed)?;
        resizer.resize_typed(&source, &mut narrow, &across).ok()?;
        let (start, length) = rows.inside(first, between);
        let down = options.crop(0.0, start, f64::from(columns.to), length);
        resizer.resize_typed(&narrow, target, &down).ok()
    }

    fn down_first<P: PixelTrait>(
        &self,
        image: TypedImageRef<'_, P>,
        target: &mut TypedImage<'_, P>,
        resizer: &mut Resizer,
    ) -> Option<()> {
        let (from, columns, rows) = (self.from, self.columns, self.rows);
        let options = ResizeOptions::new().resize_alg(algorithm(self.interpolation));
        let (first, end) = columns.needed(from.width, self.interpolation);
        let between = end - first;
        let needed = CropBox {
            left: from.left + first,
            width: between,
            ..from
        };
        let mut low = TypedImage::<P>::new(between, rows.to);
        let down = options.crop(0.0, rows.start, f64::from(between), rows.length);
        let source = part_of(image, needed)?;
        resizer.resize_typed(&source, &mut low, &down).ok()?;
        let (start, length) = columns.inside(first, between);
        let across = options.crop(start, 0.0, length, f64::from(rows.to));
        resizer.resize_typed(&low, target, &across).ok()
    }
}

/// Borrows a part of an image. The pixels' types are fixed in this file, since the resizer's untyped entry compiles its filters
/// for thirteen of them.
fn part_of<P: PixelTrait>(
    image: TypedImageRef<'_, P>,
    part: CropBox,
) -> Option<impl ImageView<Pixel = P>> {
    TypedCroppedImage::new(image, part.left, part.top, part.width, part.height).ok()
}
