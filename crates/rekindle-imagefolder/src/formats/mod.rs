//! Formats whose pixels Pillow takes otherwise than the crate `image` does.

pub(crate) mod foreign;
pub(crate) mod gif;
pub(crate) mod native;
pub(crate) mod png;
pub(crate) mod tiff;
pub(crate) mod webp;

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use image::codecs::pnm::PnmDecoder;
use image::{ImageFormat, RgbImage};

use crate::error::Error;

/// Three bytes for each pixel.
pub(crate) fn rgb_image(width: u32, height: u32, pixels: Vec<u8>) -> RgbImage {
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

/// The high byte, as Pillow takes of colours.
pub(crate) fn high(value: u16) -> u8 {
    (value >> 8) as u8
}

/// A lone channel of 16 bits, as bytes. Pillow cuts off at 255, which is right for 8 bits in 16 and
/// makes all others white; these keep their high byte, unless that would make them black.
pub(crate) fn deep_grey(path: &Path, values: &[u16]) -> Result<Vec<u8>, Error> {
    let most = values.iter().copied().max().unwrap_or(0);
    match most {
        0..=255 => Ok(values.iter().map(|value| *value as u8).collect()),
        256..=4095 => Err(Error::DarkGrey {
            path: path.to_path_buf(),
            most,
        }),
        _ => Ok(values.iter().map(|value| high(*value)).collect()),
    }
}

/// The number that is white in a file whose numbers the crate `image` spreads over the whole range of their type.
pub(crate) fn largest_number(format: ImageFormat, bytes: &[u8]) -> Option<u32> {
    match format {
        ImageFormat::Pnm => {
            let decoder = PnmDecoder::new(Cursor::new(bytes)).ok()?;
            Some(decoder.into_inner().1.maximal_sample()).filter(|most| *most > 0)
        }
        _ => None,
    }
}

/// Grey as red, green and blue.
pub(crate) fn repeated(grey: &[u8]) -> Vec<u8> {
    grey.iter().flat_map(|value| [*value; 3]).collect()
}

/// Returns the error of a file whose decoder gave up: it `ended` too early, or says something wrong.
pub(crate) fn broken(path: &Path, bytes: &[u8], ended: bool, reason: String) -> Error {
    let path = path.to_path_buf();
    let says_so = [
        "unexpected end",
        "unexpected eof",
        "failed to fill whole buffer",
        "truncated",
    ]
    .iter()
    .any(|sign| reason.to_lowercase().contains(sign));
    if ended || says_so {
        return Error::Truncated {
            path,
            bytes: bytes.len() as u64,
            reason,
        };
    }
    Error::Undecodable { path, reason }
}

/// A BMP with the bytes that pad its last row, which hold no pixel and which some programs leave out.
pub(crate) fn with_last_padding(bytes: &[u8]) -> Cow<'_, [u8]> {
    let long = |at: usize| {
        let four = bytes.get(at..)?.first_chunk()?;
        Some(i64::from(i32::from_le_bytes(*four)))
    };
    let lacking = || {
        let (start, width, height) = (long(10)?, long(18)?, long(22)?);
        let (bits, compression) = (long(28)? & 0xffff, long(30)?);
        let row = width.checked_mul(bits)?.checked_add(7)? / 8;
        let stride = row.checked_add(3)? / 4 * 4;
        let end = stride.checked_mul(height.abs())?.checked_add(start)?;
        let lacking = end - i64::try_from(bytes.len()).ok()?;
        let is_plain = matches!(compression, 0 | 3);
        (is_plain && (1..=stride - row).contains(&lacking)).then_some(lacking as usize)
    };
    match lacking() {
        Some(lacking) => Cow::Owned([bytes, &[0; 3][..lacking.min(3)]].concat()),
        None => Cow::Borrowed(bytes),
    }
}
