//! Pictures for people: a grid of tiles with captions, written as PNG.

use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage, imageops};

use crate::caption::Lettering;
use crate::error::Error;

/// One picture of a grid.
#[derive(Debug, Clone)]
pub struct Tile {
    /// The picture, of any size.
    pub image: RgbImage,
    /// Text under it, of at most two lines. A single line that is too long breaks at spaces; what does not fit ends in
    /// an ellipsis, behind which a number at the end of the line is kept. Latin, Greek and Cyrillic letters are shown as
    /// they are, other scripts transcribed into Latin letters.
    pub caption: String,
    /// Red frame and red text: a wrong prediction.
    pub marked_wrong: bool,
}

/// Pixels between tiles, and around the grid.
const GAP: u32 = 8;
/// Width of a frame.
const FRAME: u32 = 4;
/// Width of the narrowest cell.
const NARROWEST: u32 = 32;
/// Width of a cell from which on captions are in large letters.
const WIDE: u32 = 160;
/// Sizes of letters in pixels: for captions that fit, and for those that are too long.
const LARGE: [f32; 2] = [16.0, 13.0];
const SMALL: [f32; 2] = [11.0, 10.0];
/// Most lines of a caption.
const LINES: usize = 2;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([32, 32, 32]);
const WRONG: Rgb<u8> = Rgb([214, 39, 40]);

/// Writes the tiles row by row, `columns` in a row, as a PNG. Every cell is as large as the
/// largest picture; smaller ones stand in its middle.
///
/// # Errors
///
/// [`Error::InvalidOption`] without tiles or columns, [`Error::Write`].
pub fn save(path: impl AsRef<Path>, tiles: &[Tile], columns: usize) -> Result<(), Error> {
    let path = path.as_ref();
    let picture = draw(tiles, columns)?;
    picture
        .save_with_format(path, ImageFormat::Png)
        .map_err(|error| Error::Write {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })
}

/// Draws the grid that [`save`] writes.
///
/// # Errors
///
/// [`Error::InvalidOption`] without tiles or columns, or where the grid would exceed 65,535 pixels
/// in a direction.
pub fn draw(tiles: &[Tile], columns: usize) -> Result<RgbImage, Error> {
    let wrong = |reason: String| {
        Err(Error::InvalidOption {
            option: "grid",
            reason,
        })
    };
    if tiles.is_empty() || columns == 0 {
        return wrong(format!("{} tiles in {columns} columns", tiles.len()));
    }
    let columns = columns.min(tiles.len());
    let rows = tiles.len().div_ceil(columns);
    let largest =
        |side: fn(&RgbImage) -> u32| tiles.iter().map(|t| side(&t.image)).max().unwrap_or(0);
    let cell = Cell::new(
        largest(RgbImage::width).max(NARROWEST),
        largest(RgbImage::height),
    );
    let (width, height) = (cell.total_width(columns), cell.total_height(rows));
    if width > 65_535 || height > 65_535 {
        return wrong(format!(
            "{width} x {height} pixels; take fewer tiles or smaller pictures"
        ));
    }
    let mut sheet = RgbImage::from_pixel(width as u32, height as u32, PAPER);
    for (position, tile) in tiles.iter().enumerate() {
        let left = GAP + (position % columns) as u32 * cell.step_x();
        let top = GAP + (position / columns) as u32 * cell.step_y();
        cell.draw(&mut sheet, tile, left, top);
    }
    Ok(sheet)
}

/// Turns normalised images `[n, 3, height, width]` back into pictures.
///
/// # Errors
///
/// [`Error::InvalidOption`] where the number of values is no multiple of `3 * height * width`.
pub fn denormalize(
    images: &[f32],
    height: usize,
    width: usize,
    mean: [f32; 3],
    std: [f32; 3],
) -> Result<Vec<RgbImage>, Error> {
    let plane = height * width;
    if plane == 0 || !images.len().is_multiple_of(3 * plane) {
        return Err(Error::InvalidOption {
            option: "images",
            reason: format!("{} values are no [n, 3, {height}, {width}]", images.len()),
        });
    }
    let to_byte = |value: f32, channel: usize| {
        ((value * std[channel] + mean[channel]) * 255.0)
            .round()
            .clamp(0.0, 255.0) as u8
    };
    let pictures = images.chunks_exact(3 * plane).map(|values| {
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let at = y as usize * width + x as usize;
            Rgb(std::array::from_fn(|channel| {
                to_byte(values[channel * plane + at], channel)
            }))
        })
    });
    Ok(pictures.collect())
}

/// The place of one tile: a frame, the picture, the caption.
struct Cell {
    width: u32,
    height: u32,
    sizes: [f32; 2],
}

impl Cell {
    fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            sizes: if width >= WIDE { LARGE } else { SMALL },
        }
    }

    fn line_height(&self) -> u32 {
        Lettering::new(self.sizes[0]).map_or(0, |lettering| lettering.line_height())
    }

    fn step_x(&self) -> u32 {
        self.width + 2 * FRAME + GAP
    }

    fn step_y(&self) -> u32 {
        self.height + 2 * FRAME + 2 + LINES as u32 * self.line_height() + GAP
    }

    fn total_width(&self, columns: usize) -> usize {
        columns.saturating_mul(self.step_x() as usize) + GAP as usize
    }

    fn total_height(&self, rows: usize) -> usize {
        rows.saturating_mul(self.step_y() as usize) + GAP as usize
    }

    fn draw(&self, sheet: &mut RgbImage, tile: &Tile, left: u32, top: u32) {
        if tile.marked_wrong {
            let (w, h) = (self.width + 2 * FRAME, self.height + 2 * FRAME);
            fill(sheet, left, top, w, h, WRONG);
            fill(
                sheet,
                left + FRAME,
                top + FRAME,
                self.width,
                self.height,
                PAPER,
            );
        }
        let x = left + FRAME + (self.width - tile.image.width()) / 2;
        let y = top + FRAME + (self.height - tile.image.height()) / 2;
        imageops::replace(sheet, &tile.image, i64::from(x), i64::from(y));
        self.write(sheet, tile, left, top + self.height + 2 * FRAME + 2);
    }

    /// Writes the caption, in smaller letters before anything is cut off. Text may be as wide as the frame.
    fn write(&self, sheet: &mut RgbImage, tile: &Tile, left: u32, top: u32) {
        let ink = if tile.marked_wrong { WRONG } else { INK };
        let width = (self.width + 2 * FRAME) as f32;
        let [large, small] = self.sizes.map(Lettering::new);
        let Some(lettering) = large
            .filter(|large| large.fits(&tile.caption, width))
            .or(small)
        else {
            return;
        };
        for (line, text) in (0..).zip(lettering.lines(&tile.caption, width, LINES)) {
            lettering.draw(sheet, &text, left, top + line * self.line_height(), ink);
        }
    }
}

/// Fills a rectangle, clipped to the sheet.
fn fill(sheet: &mut RgbImage, left: u32, top: u32, width: u32, height: u32, colour: Rgb<u8>) {
    for y in top..(top + height).min(sheet.height()) {
        for x in left..(left + width).min(sheet.width()) {
            sheet.put_pixel(x, y, colour);
        }
    }
}
