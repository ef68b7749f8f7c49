//! Decodes a file to 8-bit RGB pixels, whatever its format turns out to be.

use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use rekindle_files::Pointer;
use rekindle_preprocess::{Channels, Preprocess};
use serde::{Deserialize, Serialize};

use crate::error::{Error, panic_message};
use crate::formats::native::Native;
use crate::formats::{self, deep_grey, high, repeated, rgb_image};
use crate::jpeg;
use crate::planes::FloatImage;
use crate::transform::CropBox;

/// Options for decoding image files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecodeOptions {
    /// Turn the image as its EXIF orientation says (default: true, so that a photograph stands as
    /// every viewer shows it). torchvision's default loader leaves images as they are stored; set
    /// this to false to get its pixels.
    pub apply_orientation: bool,
    /// The largest accepted `width * height` (default: 178,956,970, where Pillow too refuses).
    /// Decoding needs about three bytes per pixel, a progressive JPEG twelve.
    pub max_pixels: u64,
    /// Refuse JPEGs with damaged entropy-coded data (default: false; as in Pillow and browsers,
    /// what can be decoded is taken). A truncated file is always refused.
    pub strict: bool,
    /// Decode a JPEG at a half, a quarter or an eighth of its size where a random crop comes first
    /// and is so large that two pixels are left for each one of the result (default: true). The
    /// result differs by a fraction of a grey level on average. Images that go through no random
    /// crop, and those of a dataset with a cache, are always decoded at full size.
    pub reduced_scale: bool,
    /// The channels of pictures that are not read as RGB of 8 bits (default: none). A pipeline that
    /// [takes other channels](crate::Transform::Channels) says so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
}

/// Pixels of an image that have to be decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// Within the image as it is shown.
    pub(crate) area: CropBox,
    /// The image may be reduced by this: 1, 2, 4 or 8.
    pub(crate) scale: u32,
}

/// Position of decoded pixels within the whole image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Columns of the whole image to the left of the first pixel.
    pub(crate) left: i64,
    /// Rows of the whole image above the first pixel.
    pub(crate) top: i64,
    /// Reduction factor: one decoded pixel covers this many pixels of the whole image in each direction.
    pub(crate) scale: u32,
}

impl Place {
    /// The need of all pixels.
    pub(crate) const WHOLE: Self = Self {
        left: 0,
        top: 0,
        scale: 1,
    };
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            apply_orientation: true,
            max_pixels: 178_956_970,
            strict: false,
            reduced_scale: true,
            channels: None,
        }
    }
}

impl From<&Preprocess> for DecodeOptions {
    /// Returns the default options for pictures as a network sees them.
    fn from(preprocess: &Preprocess) -> Self {
        Self {
            channels: preprocess.channels,
            ..Self::default()
        }
    }
}

/// Policy for files that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadFile {
    /// The error ends the epoch.
    #[default]
    Fail,
    /// The image is left out of its batch and listed with its reason.
    Skip,
}

/// Decodes a file into RGB, as Pillow's `convert("RGB")` would: grey is repeated, alpha is dropped
/// without blending, CMYK is multiplied out, 16-bit channels keep their high byte. The format is
/// told from the content, never from the name. Kinds that would come out in other colours are
/// refused ([`Error::Unsupported`]).
///
/// Pillow cuts grey of 16 bits off at 255, here it keeps its high byte; see the crate's README. Of
/// [other channels](DecodeOptions::channels) the result is what people are shown: the first three, or
/// the first as grey, with white as the brightest.
///
/// # Errors
///
/// Those of [`Error::is_bad_file`]. A panic inside a decoder is contained.
pub fn decode_file(path: &Path, options: &DecodeOptions) -> Result<RgbImage, Error> {
    decode_bytes(path, &read(path)?, options)
}

/// Decodes a file's content; `path` serves the error messages.
///
/// # Errors
///
/// As [`decode_file`].
pub fn decode_bytes(path: &Path, bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, Error> {
    if let Some(channels) = options.channels {
        return Ok(decode_channels(path, bytes, channels, options)?.shown());
    }
    decode_rgb(path, bytes, options)
}

/// Decodes a file's content to 8-bit RGB.
pub(crate) fn decode_rgb(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<RgbImage, Error> {
    let whole = &mut |width, height| Need {
        area: CropBox::whole(width, height),
        scale: 1,
    };
    decode_part_of_bytes(path, bytes, options, whole).map(|(pixels, _)| pixels)
}

/// Decodes a file's content to its own channels as fractions of white: those of the file where it has as many, of
/// colours or grey otherwise.
///
/// # Errors
///
/// As [`decode_file`], and [`Error::OtherChannels`].
pub fn decode_channels(
    path: &Path,
    bytes: &[u8],
    channels: Channels,
    options: &DecodeOptions,
) -> Result<FloatImage, Error> {
    contained(path, bytes, || {
        let (native, orientation) = decode_native(path, bytes, options)?;
        let image = native.into_channels(path, channels)?;
        Ok(match options.apply_orientation {
            true => image.turned(orientation),
            false => image,
        })
    })
}

fn decode_native(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(Native, Orientation), Error> {
    let format = format_of(path, bytes)?;
    let own = match format {
        ImageFormat::Png => Some(formats::png::native(path, bytes, options)?),
        ImageFormat::Tiff => formats::tiff::native(path, bytes, options)?,
        ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::Bmp => None,
        format => {
            let native = Native::of_image(open_with_image(path, bytes, format, options)?);
            let native = match formats::largest_number(format, bytes) {
                Some(most) => native.ending_at(most),
                None => native,
            };
            Some((native, orientation_of(format, bytes)))
        }
    };
    match own {
        Some(own) => Ok(own),
        None => {
            let rgb = decode_rgb(path, bytes, options)?;
            Ok((Native::of_rgb(&rgb), Orientation::NoTransforms))
        }
    }
}

/// Reads a file's bytes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| {
        let path = path.to_path_buf();
        match Pointer::behind_link(&path) {
            Some(pointer) => Error::NotFetched { path, pointer },
            None => Error::Read { path, source },
        }
    })
}

/// Decodes at least what `need` asks for when it hears the image's width and height; it may be
/// asked more than once, or not at all if everything is decoded.
///
/// # Errors
///
/// As [`decode_file`].
pub(crate) fn decode_part_of_bytes(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
    need: &mut dyn FnMut(u32, u32) -> Need,
) -> Result<(RgbImage, Place), Error> {
    contained(path, bytes, || decode_known(path, bytes, options, need))
}

/// Decodes what is not empty; a panic of a decoder is an error.
fn contained<T>(
    path: &Path,
    bytes: &[u8],
    decode: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if bytes.is_empty() {
        return Err(Error::EmptyFile {
            path: path.to_path_buf(),
        });
    }
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(result) => result,
        Err(payload) => Err(Error::DecoderPanicked {
            path: path.to_path_buf(),
            message: panic_message(payload),
        }),
    }
}

fn decode_known(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
    need: &mut dyn FnMut(u32, u32) -> Need,
) -> Result<(RgbImage, Place), Error> {
    let format = format_of(path, bytes)?;
    if format == ImageFormat::Jpeg
        && let Some(part) = jpeg::decode_part(path, bytes, options, need)?
    {
        return Ok(part);
    }
    let (mut rgb, orientation) = match format {
        ImageFormat::Jpeg => jpeg::decode_whole(path, bytes, None, options)?,
        ImageFormat::Png => formats::png::decode(path, bytes, options)?,
        ImageFormat::Tiff => formats::tiff::decode(path, bytes, options)?,
        ImageFormat::Gif => formats::gif::decode(path, bytes, options)?,
        ImageFormat::Bmp => {
            let bytes = formats::with_last_padding(bytes);
            let rgb = decode_with_image(path, &bytes, format, options)?;
            (rgb, Orientation::NoTransforms)
        }
        format => {
            let rgb = decode_with_image(path, bytes, format, options)?;
            (rgb, orientation_of(format, bytes))
        }
    };
    if options.apply_orientation && orientation != Orientation::NoTransforms {
        let mut turned = DynamicImage::ImageRgb8(rgb);
        turned.apply_orientation(orientation);
        rgb = turned.into_rgb8();
    }
    Ok((rgb, Place::WHOLE))
}

/// Tells the format from the content.
fn format_of(path: &Path, bytes: &[u8]) -> Result<ImageFormat, Error> {
    if let Some(format) = formats::foreign::of_content(bytes) {
        return Err(Error::Undecoded {
            path: path.to_path_buf(),
            format,
        });
    }
    match bytes {
        // TIFF with offsets of 64 bits.
        [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => Ok(ImageFormat::Tiff),
        _ => image::guess_format(bytes).map_err(|_| match Pointer::in_bytes(bytes) {
            Some(pointer) => Error::NotFetched {
                path: path.to_path_buf(),
                pointer,
            },
            None => Error::NotAnImage {
                path: path.to_path_buf(),
                start: bytes[..bytes.len().min(8)].to_vec(),
            },
        }),
    }
}

/// The orientation in a file of a format that has no decoder of its own here.
fn orientation_of(format: ImageFormat, bytes: &[u8]) -> Orientation {
    match format {
        ImageFormat::WebP => formats::webp::orientation(bytes),
        _ => Orientation::NoTransforms,
    }
}

/// Every format without a decoder of its own here.
fn decode_with_image(
    path: &Path,
    bytes: &[u8],
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<RgbImage, Error> {
    to_rgb8(path, open_with_image(path, bytes, format, options)?)
}

fn open_with_image(
    path: &Path,
    bytes: &[u8],
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<DynamicImage, Error> {
    let failed = |error| decoding_error(path, bytes, error);
    let mut limits = Limits::default();
    // Sixteen bytes per pixel is the widest format (four channels of f32).
    limits.max_alloc = Some(options.max_pixels.saturating_mul(16));
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(path, u64::from(width), u64::from(height), options)?;
    DynamicImage::from_decoder(decoder).map_err(failed)
}

/// Refuses images beyond the limit and those without any pixel.
pub(crate) fn check_size(
    path: &Path,
    width: u64,
    height: u64,
    options: &DecodeOptions,
) -> Result<(), Error> {
    if width == 0 || height == 0 {
        return Err(Error::Undecodable {
            path: path.to_path_buf(),
            reason: format!("the header claims {width} x {height} pixels"),
        });
    }
    if width.saturating_mul(height) > options.max_pixels {
        let max_pixels = options.max_pixels;
        return Err(Error::TooLarge {
            path: path.to_path_buf(),
            width,
            height,
            max_pixels,
        });
    }
    Ok(())
}

fn to_rgb8(path: &Path, image: DynamicImage) -> Result<RgbImage, Error> {
    let (width, height) = (image.width(), image.height());
    // Pillow takes the high byte of 16-bit channels, `image` rounds.
    let pixels = match image {
        DynamicImage::ImageLuma16(grey) => repeated(&deep_grey(path, grey.as_raw())?),
        DynamicImage::ImageRgb16(rgb) => rgb.as_raw().iter().map(|v| high(*v)).collect(),
        other => return Ok(other.into_rgb8()),
    };
    Ok(rgb_image(width, height, pixels))
}

fn decoding_error(path: &Path, bytes: &[u8], error: ImageError) -> Error {
    let ended = matches!(&error, ImageError::IoError(source)
        if source.kind() == std::io::ErrorKind::UnexpectedEof);
    formats::broken(path, bytes, ended, error.to_string())
}
