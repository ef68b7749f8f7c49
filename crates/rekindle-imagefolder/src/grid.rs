//! Pictures for people: a grid of tiles with captions, written as PNG.

use std::path::Path;

use font8x8::{
    BASIC_FONTS, BLOCK_FONTS, BOX_FONTS, GREEK_FONTS, HIRAGANA_FONTS, LATIN_FONTS, MISC_FONTS,
    UnicodeFonts,
};
use image::{ImageFormat, Rgb, RgbImage, imageops};

use crate::error::Error;

/// One picture of a grid.
#[derive(Debug, Clone)]
pub struct Tile {
    /// The picture, of any size.
    pub image: RgbImage,
    /// Text under it; what does not fit is shortened. Characters without a glyph become `?`.
    pub caption: String,
    /// Red frame and red text: a wrong prediction.
    pub marked_wrong: bool,
}

/// Pixels between tiles, and around the grid.
const GAP: u32 = 8;
/// Width of a frame.
const FRAME: u32 = 4;
/// Height and width of a glyph.
const GLYPH: u32 = 8;
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
        largest(RgbImage::width).max(GLYPH),
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
    /// Glyphs are drawn this many times their size.
    zoom: u32,
}

impl Cell {
    fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            zoom: if width >= 160 { 2 } else { 1 },
        }
    }

    fn line_height(&self) -> u32 {
        GLYPH * self.zoom + 2
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
        let ink = if tile.marked_wrong { WRONG } else { INK };
        // Long captions in small letters rather than cut.
        let fits = |zoom: u32| (self.width / (GLYPH * zoom)).max(1) as usize;
        let small = tile.caption.chars().count() > LINES * fits(self.zoom);
        let zoom = if small { 1 } else { self.zoom };
        for (line, text) in wrap(&tile.caption, fits(zoom)).iter().enumerate() {
            let y = top + self.height + 2 * FRAME + 2 + line as u32 * self.line_height();
            write_line(sheet, text, left + FRAME, y, zoom, ink);
        }
    }
}

/// Breaks a caption into at most [`LINES`] lines, at spaces where that is possible.
fn wrap(caption: &str, most: usize) -> Vec<String> {
    let mut rest: Vec<char> = caption
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .collect();
    let mut lines = Vec::new();
    while !rest.is_empty() && lines.len() < LINES {
        if rest.len() <= most {
            lines.push(rest.iter().collect());
            break;
        }
        if lines.len() + 1 == LINES {
            let kept: String = rest.iter().take(most.saturating_sub(2)).collect();
            lines.push(kept + "..");
            break;
        }
        let space = rest[..=most]
            .iter()
            .rposition(|c| *c == ' ')
            .filter(|at| *at > 0);
        let line: String = rest.drain(..space.unwrap_or(most)).collect();
        lines.push(line);
        if space.is_some() {
            rest.remove(0);
        }
    }
    lines
}

fn write_line(sheet: &mut RgbImage, text: &str, left: u32, top: u32, zoom: u32, ink: Rgb<u8>) {
    for (position, character) in text.chars().enumerate() {
        let start = left + position as u32 * GLYPH * zoom;
        for (y, row) in (0..).zip(glyph(character)) {
            for x in (0..GLYPH).filter(|x| row >> x & 1 == 1) {
                fill(sheet, start + x * zoom, top + y * zoom, zoom, zoom, ink);
            }
        }
    }
}

fn glyph(character: char) -> [u8; 8] {
    BASIC_FONTS
        .get(character)
        .or_else(|| LATIN_FONTS.get(character))
        .or_else(|| GREEK_FONTS.get(character))
        .or_else(|| HIRAGANA_FONTS.get(character))
        .or_else(|| BOX_FONTS.get(character))
        .or_else(|| BLOCK_FONTS.get(character))
        .or_else(|| MISC_FONTS.get(character))
        .or_else(|| BASIC_FONTS.get('?'))
        .unwrap_or_default()
}

/// Fills a rectangle, clipped to the sheet.
fn fill(sheet: &mut RgbImage, left: u32, top: u32, width: u32, height: u32, colour: Rgb<u8>) {
    for y in top..(top + height).min(sheet.height()) {
        for x in left..(left + width).min(sheet.width()) {
            sheet.put_pixel(x, y, colour);
        }
    }
}
