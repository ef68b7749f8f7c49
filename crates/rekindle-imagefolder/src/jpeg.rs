//! JPEG, by zune-jpeg without the detour over `image`: one pass over the header, grey and CMYK
//! straight to RGB, and truncation told as Pillow tells it.

use std::path::Path;

use image::RgbImage;
use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use crate::decode::{DecodeOptions, check_size};
use crate::error::Error;

pub(crate) fn decode(
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
        let scans = &bytes[at.min(bytes.len())..];
        let has_end = scans.windows(2).rev().any(|pair| pair == [0xff, 0xd9]);
        Self {
            has_end,
            has_adobe_marker,
        }
    }
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
