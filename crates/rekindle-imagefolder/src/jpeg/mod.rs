//! JPEG, with libjpeg's rules. Baseline files in one scan, nearly all there are, are decoded as far
//! as they are needed and at the size that is needed (`region`); all others whole (`whole`).

mod coefficients;
pub(crate) mod color;
mod header;
mod huffman;
mod idct;
pub(crate) mod markers;
mod region;
mod render;
mod standard;
mod vector;
mod whole;

use std::ops::Range;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use crate::decode::{DecodeOptions, Need, Place, check_size};
use crate::error::Error;
use crate::formats::broken;
use header::Header;
use markers::Model;
use region::Window;
use whole::{Decoder, Fault};

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

/// Mapping from stored to shown pixels: whether rows and columns are swapped, and which ends they start from.
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

    /// Returns the window to decode of the stored image, and its position in the shown image.
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

/// Decodes a whole file of any kind, and says how it wants to be turned. The colours are those of
/// `model`, or what the file says.
pub(crate) fn decode_whole(
    path: &Path,
    bytes: &[u8],
    model: Option<Model>,
    options: &DecodeOptions,
) -> Result<(RgbImage, Orientation), Error> {
    let failed = |fault: Fault| match fault {
        Fault::Unsupported(found) => Error::Unsupported {
            path: path.to_path_buf(),
            found,
        },
        Fault::Truncated(reason) => broken(path, bytes, true, reason),
        Fault::Broken(reason) => broken(path, bytes, !has_end(bytes), reason),
    };
    let decoder = Decoder::new(bytes).map_err(failed)?;
    let (width, height) = decoder.size();
    check_size(path, width as u64, height as u64, options)?;
    decoder.decode(model, options.strict).map_err(failed)
}

/// An end-of-image marker is there. Inside a scan 0xff is always followed by a zero or a restart
/// marker, so the pair of bytes cannot be data.
fn has_end(scans: &[u8]) -> bool {
    scans.windows(2).rev().any(|pair| pair == [0xff, 0xd9])
}
