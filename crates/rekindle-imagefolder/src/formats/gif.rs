//! GIF: the first frame on its screen, with the colours that transparent pixels have in the palette.

use std::io::Cursor;
use std::path::Path;

use gif::{ColorOutput, DecodeOptions as Settings, DecodingError, MemoryLimit};
use image::RgbImage;
use image::metadata::Orientation;

use super::{broken, rgb_image};
use crate::decode::{DecodeOptions, check_size};
use crate::error::Error;

pub(crate) fn decode(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(RgbImage, Orientation), Error> {
    let failed = |error: DecodingError| {
        let ended = matches!(&error, DecodingError::Io(_));
        broken(path, bytes, ended, error.to_string())
    };
    let mut settings = Settings::new();
    settings.set_color_output(ColorOutput::Indexed);
    settings.allow_unknown_blocks(true);
    // The sizes are checked here.
    settings.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = settings.read_info(Cursor::new(bytes)).map_err(failed)?;
    let screen = (u32::from(decoder.width()), u32::from(decoder.height()));
    check_size(path, screen.0.into(), screen.1.into(), options)?;
    let common = decoder.global_palette().map(<[u8]>::to_vec);
    let Some(frame) = decoder.next_frame_info().map_err(failed)? else {
        let reason = "the file ends before its first frame".to_string();
        return Err(broken(path, bytes, true, reason));
    };
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (across, down) = (usize::from(frame.width), usize::from(frame.height));
    let palette = frame.palette.clone().or(common);
    // Pillow fills the rest of the screen with the transparent colour, or else the first.
    let background = frame.transparent.unwrap_or(0);
    let width = (screen.0 as usize).max(left + across);
    let height = (screen.1 as usize).max(top + down);
    check_size(path, width as u64, height as u64, options)?;
    let mut indices = vec![0; across * down];
    decoder.read_into_buffer(&mut indices).map_err(failed)?;
    let color = |index: u8| {
        let at = 3 * usize::from(index);
        match &palette {
            Some(palette) => match palette.get(at..at + 3) {
                Some(color) => [color[0], color[1], color[2]],
                None => [0; 3],
            },
            None => [index; 3],
        }
    };
    let mut pixels = color(background).repeat(width * height);
    for (row, target) in indices
        .chunks_exact(across.max(1))
        .zip(pixels.chunks_exact_mut(3 * width).skip(top))
    {
        for (index, pixel) in row.iter().zip(target[3 * left..].chunks_exact_mut(3)) {
            pixel.copy_from_slice(&color(*index));
        }
    }
    let image = rgb_image(width as u32, height as u32, pixels);
    Ok((image, Orientation::NoTransforms))
}
