//! JPEG. Baseline files, nearly all there are, are decoded here, as far as they are needed and at
//! the size that is needed; all others by zune-jpeg without the detour over `image`: one pass over
//! the header, grey and CMYK straight to RGB, and truncation told as Pillow tells it.

mod color;
mod header;
mod huffman;
mod idct;
mod region;
mod vector;

use std::ops::Range;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use crate::decode::{DecodeOptions, Need, Place, check_size};
use crate::error::Error;
use header::Header;
use region::Window;

/// Decodes the part that `need` asks for when it hears the image's width and height. `None` where
/// [`decode_whole`] has to be asked.
pub(crate) fn decode_part(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
    need: &mut dyn FnMut(u32, u32) -> Need,
) -> Result<Option<(RgbImage, Place)>, Error> {
    let header = match header::read(bytes) {
        Some(header) if !options.strict && has_end(header.scan) => header,
        _ => return Ok(None),
    };
    let (width, height) = (header.width as u32, header.height as u32);
    check_size(path, width.into(), height.into(), options)?;
    let turn = match options.apply_orientation {
        true => Turn::new(header.orientation),
        false => Turn::new(Orientation::NoTransforms),
    };
    let (shown_width, shown_height) = if turn.swaps {
        (height, width)
    } else {
        (width, height)
    };
    let need = need(shown_width, shown_height);
    let (window, place) = turn.window(&header, &need);
    let Some(mut pixels) = region::decode(&header, &window) else {
        return Ok(None);
    };
    if turn.orientation != Orientation::NoTransforms {
        let mut turned = DynamicImage::ImageRgb8(pixels);
        turned.apply_orientation(turn.orientation);
        pixels = turned.into_rgb8();
    }
    Ok(Some((pixels, place)))
}

/// How the image is shown: columns and rows swapped or not, and stored from which end.
struct Turn {
    orientation: Orientation,
    swaps: bool,
    /// Stored columns run against the direction in which they are shown.
    columns_back: bool,
    /// Stored rows run against the direction in which they are shown.
    rows_back: bool,
}

impl Turn {
    fn new(orientation: Orientation) -> Self {
        let (swaps, columns_back, rows_back) = match orientation {
            Orientation::NoTransforms => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Rotate180 => (false, true, true),
            Orientation::Rotate90FlipH => (true, false, false),
            Orientation::Rotate90 => (true, false, true),
            Orientation::Rotate270 => (true, true, false),
            Orientation::Rotate270FlipH => (true, true, true),
        };
        Self {
            orientation,
            swaps,
            columns_back,
            rows_back,
        }
    }

    /// What to decode of the stored image, and where that lies in the shown one.
    fn window(&self, header: &Header, need: &Need) -> (Window, Place) {
        let (left, width) = (need.area.left as usize, need.area.width as usize);
        let (top, height) = (need.area.top as usize, need.area.height as usize);
        let (across, down) = (left..left + width, top..top + height);
        let (across, down) = if self.swaps {
            (down, across)
        } else {
            (across, down)
        };
        let scale = need.scale as usize;
        // Stored pixels of one direction, and where the first shown one lies in the shown image.
        let direction = |shown: Range<usize>, size: usize, is_back: bool| {
            let stored = match is_back {
                true => size - shown.end..size - shown.start,
                false => shown,
            };
            let reduced = stored.start / scale..stored.end.div_ceil(scale);
            let first = match is_back {
                true => size as i64 - (reduced.end * scale) as i64,
                false => (reduced.start * scale) as i64,
            };
            (reduced, first)
        };
        let (columns, left) = direction(across, header.width, self.columns_back);
        let (rows, top) = direction(down, header.height, self.rows_back);
        let (left, top) = if self.swaps { (top, left) } else { (left, top) };
        let window = Window {
            columns,
            rows,
            scale,
        };
        let place = Place {
            left,
            top,
            scale: need.scale,
        };
        (window, place)
    }
}

/// Decodes a whole file of any kind, and says how it wants to be turned.
pub(crate) fn decode_whole(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(RgbImage, Orientation), Error> {
    let failed = |error: DecodeErrors| decoding_error(path, bytes, &error);
    let settings = DecoderOptions::default()
        .set_strict_mode(options.strict)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), settings);
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = decoder.dimensions().unwrap_or((0, 0));
    check_size(path, width as u64, height as u64, options)?;
    let layout = Layout::read(bytes);
    // The decoder would fill what is missing with grey and say nothing.
    if !layout.has_end {
        return Err(truncated(
            path,
            bytes,
            "no end-of-image marker after the last scan",
        ));
    }

    let plain_cmyk =
        decoder.input_colorspace() == Some(ColorSpace::CMYK) && !layout.has_adobe_marker;
    if plain_cmyk {
        decoder.set_options(settings.jpeg_set_out_colorspace(ColorSpace::CMYK));
    }
    let channels = if plain_cmyk { 4 } else { 3 };
    let mut pixels = vec![0; width * height * channels];
    decoder.decode_into(&mut pixels).map_err(failed)?;
    if plain_cmyk {
        pixels = rgb_from_cmyk(&pixels);
    }
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms);
    let image = RgbImage::from_raw(width as u32, height as u32, pixels).unwrap_or_default();
    Ok((image, orientation))
}

/// What the sequence of markers says.
struct Layout {
    /// An end-of-image marker follows the first scan. Inside a scan 0xff is always followed by a
    /// zero or a restart marker, so the pair of bytes cannot be data.
    has_end: bool,
    /// Adobe's APP14 segment, which means that CMYK is stored inverted.
    has_adobe_marker: bool,
}

impl Layout {
    fn read(bytes: &[u8]) -> Self {
        let mut has_adobe_marker = false;
        let mut at = 2;
        while let Some(&[mark, kind]) = bytes.get(at..at + 2) {
            if mark != 0xff {
                break;
            }
            let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
                break;
            };
            match kind {
                // fill byte
                0xff => {
                    at += 1;
                    continue;
                }
                // start of scan
                0xda => break,
                0xee if bytes[at + 4..].starts_with(b"Adobe") => has_adobe_marker = true,
                _ => {}
            }
            at += 2 + usize::from(u16::from_be_bytes([high, low]));
        }
        Self {
            has_end: has_end(&bytes[at.min(bytes.len())..]),
            has_adobe_marker,
        }
    }
}

fn has_end(scans: &[u8]) -> bool {
    scans.windows(2).rev().any(|pair| pair == [0xff, 0xd9])
}

/// CMYK as printed, 0 meaning no ink (without Adobe's marker values are not inverted).
fn rgb_from_cmyk(cmyk: &[u8]) -> Vec<u8> {
    cmyk.chunks_exact(4)
        .flat_map(|ink| {
            let light = 255 - u32::from(ink[3]);
            let through = |c: u8| (((255 - u32::from(c)) * light + 127) / 255) as u8;
            [through(ink[0]), through(ink[1]), through(ink[2])]
        })
        .collect()
}

fn decoding_error(path: &Path, bytes: &[u8], error: &DecodeErrors) -> Error {
    match error {
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => {
            truncated(path, bytes, &error.to_string())
        }
        _ if !Layout::read(bytes).has_end => truncated(path, bytes, &error.to_string()),
        _ => Error::Undecodable {
            path: path.to_path_buf(),
            reason: error.to_string(),
        },
    }
}

fn truncated(path: &Path, bytes: &[u8], reason: &str) -> Error {
    Error::Truncated {
        path: path.to_path_buf(),
        bytes: bytes.len() as u64,
        reason: reason.to_string(),
    }
}
