//! PNG. Rows are read one by one, so that damage behind the last one does not matter.

use std::io::Cursor;
use std::path::Path;

use image::RgbImage;
use image::metadata::Orientation;
use png::{Decoder, DecodingError, Info, InterlaceInfo, Limits, Transformations};

use super::native::{BYTE, Native};
use super::{broken, deep_grey, repeated, rgb_image};
use crate::decode::{DecodeOptions, check_size};
use crate::error::Error;
use crate::orientation;

/// The samples of a file, row by row, of 16 bits with the high byte first.
struct Samples {
    size: (u32, u32),
    channels: usize,
    is_deep: bool,
    /// The largest number of the file's type, where its numbers are spread over eight bits.
    spread: Option<u32>,
    bytes: Vec<u8>,
    orientation: Orientation,
}

pub(crate) fn decode(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(RgbImage, Orientation), Error> {
    let samples = read(path, bytes, options)?;
    let (channels, (width, height)) = (samples.channels, samples.size);
    let stored = &samples.bytes;
    let sample = if samples.is_deep { 2 } else { 1 };
    let pixels = match (channels, samples.is_deep) {
        (1, true) => repeated(&deep_grey(path, &samples.wide())?),
        (1 | 2, _) => {
            let first = stored.iter().step_by(channels * sample);
            repeated(&first.copied().collect::<Vec<_>>())
        }
        _ => stored
            .chunks_exact(channels * sample)
            .flat_map(|pixel| [pixel[0], pixel[sample], pixel[2 * sample]])
            .collect(),
    };
    Ok((rgb_image(width, height, pixels), samples.orientation))
}

/// Decodes the channels of the file at their depth.
pub(crate) fn native(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(Native, Orientation), Error> {
    let samples = read(path, bytes, options)?;
    let channels = [samples.channels, if samples.channels < 3 { 1 } else { 3 }];
    let native = match samples.is_deep {
        true => Native::of_pixels(
            samples.size,
            channels,
            &samples.wide(),
            Some(f32::from(u16::MAX)),
            f32::from,
        ),
        false => Native::of_pixels(samples.size, channels, &samples.bytes, BYTE, f32::from),
    };
    let native = match samples.spread {
        Some(most) => native.ending_at(most),
        None => native,
    };
    Ok((native, samples.orientation))
}

impl Samples {
    /// Returns the numbers of 16 bits.
    fn wide(&self) -> Vec<u16> {
        let (pairs, _) = self.bytes.as_chunks();
        pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
    }
}

fn read(path: &Path, bytes: &[u8], options: &DecodeOptions) -> Result<Samples, Error> {
    let failed = |error: DecodingError| {
        let ended = matches!(&error, DecodingError::IoError(_));
        broken(path, bytes, ended, error.to_string())
    };
    let limits = Limits {
        // Eight bytes per pixel is the widest format.
        bytes: usize::try_from(options.max_pixels.saturating_mul(8)).unwrap_or(usize::MAX),
    };
    check_sums(bytes).map_err(|reason| broken(path, bytes, false, reason))?;
    let mut settings = png::DecodeOptions::default();
    settings.set_ignore_crc(true);
    settings.set_ignore_adler32(false);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), settings);
    decoder.set_limits(limits);
    // Palettes and transparent colours to channels, less than eight bits to eight.
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(failed)?;
    let (width, height) = (header.width, header.height);
    check_size(path, width.into(), height.into(), options)?;
    let mut reader = decoder.read_info().map_err(failed)?;
    let (color, depth) = reader.output_color_type();
    let (channels, is_deep) = (color.samples(), depth == png::BitDepth::Sixteen);
    let sample = if is_deep { 2 } else { 1 };
    let stride = width as usize * channels * sample;
    let mut samples = vec![0; stride * height as usize];
    if reader.info().interlaced {
        let bits = (8 * channels * sample) as u8;
        while let Some(row) = reader.next_interlaced_row().map_err(failed)? {
            if let InterlaceInfo::Adam7(pass) = row.interlace() {
                png::expand_interlaced_row(&mut samples, stride, row.data(), pass, bits);
            }
        }
    } else {
        for row in samples.chunks_exact_mut(stride) {
            reader.read_row(row).map_err(failed)?;
        }
    }
    // Behind the pixels come their checksum, texts, and the end. What lacks there does no harm.
    if let Err(DecodingError::Format(error)) = reader.finish()
        && error.to_string().contains("deflate")
    {
        return Err(failed(DecodingError::Format(error)));
    }
    let info = reader.info();
    let spread = match (info.color_type, info.bit_depth as u32) {
        (png::ColorType::Grayscale, bits @ ..8) => Some((1 << bits) - 1),
        _ => None,
    };
    let orientation = orientation_of(info);
    Ok(Samples {
        size: (width, height),
        channels,
        is_deep,
        spread,
        bytes: samples,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
    })
}

/// Pillow checks the sums of all chunks before the pixels, and none later.
fn check_sums(bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((chunk, behind)) = length
            .checked_add(4)
            .and_then(|length| behind.split_at_checked(length))
        else {
            break;
        };
        let Some((sum, behind)) = behind.split_first_chunk() else {
            break;
        };
        let name = &chunk[..4];
        if name == b"IDAT" {
            break;
        }
        if crc32fast::hash(chunk) != u32::from_be_bytes(*sum) {
            let name = name.escape_ascii();
            return Err(format!("wrong checksum of the chunk {name}"));
        }
        rest = behind;
    }
    Ok(())
}

fn orientation_of(info: &Info<'_>) -> Option<Orientation> {
    let exif = info.exif_metadata.as_deref().and_then(orientation::of_exif);
    let raw = || {
        let name = "Raw profile type exif";
        let compressed = info.compressed_latin1_text.iter();
        let mut texts = compressed
            .filter(|text| text.keyword == name)
            .filter_map(|text| text.get_text().ok())
            .chain(
                info.uncompressed_latin1_text
                    .iter()
                    .filter(|text| text.keyword == name)
                    .map(|text| text.text.clone()),
            );
        texts.find_map(|text| orientation::of_raw_profile(&text))
    };
    let xmp = || {
        let mut texts = info
            .utf8_text
            .iter()
            .filter(|text| text.keyword == "XML:com.adobe.xmp");
        texts.find_map(|text| orientation::of_xmp(text.get_text().ok()?.as_bytes()))
    };
    exif.or_else(raw).or_else(xmp)
}
