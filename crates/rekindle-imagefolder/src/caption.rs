//! Text on pictures, in an embedded font.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};
use deunicode::deunicode_char;
use image::{Rgb, RgbImage};

/// DejaVu Sans for Latin, Greek and Cyrillic; `assets/README.md` says how it was cut to size.
static FONT: LazyLock<Option<FontRef<'static>>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("../assets/DejaVuSans-subset.ttf")).ok()
});

/// Stands for what was cut off.
const ELLIPSIS: &str = "…";

/// Lettering of one size.
#[derive(Clone, Copy)]
pub(crate) struct Lettering {
    font: &'static FontRef<'static>,
    scale: PxScale,
}

impl Lettering {
    /// Returns the embedded font with an em of `size` pixels; none where the font can't be read, which a test rules out.
    pub(crate) fn new(size: f32) -> Option<Self> {
        let font = FONT.as_ref()?;
        let em = font.units_per_em()?;
        Some(Self {
            font,
            scale: PxScale::from(size * font.height_unscaled() / em),
        })
    }

    /// Returns the distance between two lines in pixels.
    pub(crate) fn line_height(&self) -> u32 {
        self.scale.y.ceil() as u32
    }

    /// Returns the width of a line in pixels.
    pub(crate) fn width(&self, text: &str) -> f32 {
        let font = self.font.as_scaled(self.scale);
        text.chars()
            .map(|character| font.h_advance(self.font.glyph_id(character)))
            .sum()
    }

    /// Breaks a caption into at most `most` lines of `width` pixels. Lines that the caption has already stay lines; a
    /// single one that is too long breaks at spaces. Whatever still doesn't fit ends in an ellipsis.
    pub(crate) fn lines(&self, caption: &str, width: f32, most: usize) -> Vec<String> {
        let given: Vec<String> = caption.lines().map(|line| self.readable(line)).collect();
        let lines = match given.as_slice() {
            [line] => self.wrapped(line, width, most),
            _ => given,
        };
        let mut lines: Vec<String> = lines
            .iter()
            .take(most)
            .map(|line| self.shortened(line, width))
            .collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Says that every line of `caption` fits without being cut.
    pub(crate) fn fits(&self, caption: &str, width: f32) -> bool {
        caption
            .lines()
            .all(|line| self.width(&self.readable(line)) <= width)
    }

    /// Draws a line whose top left corner is at (`left`, `top`); what lies outside of the sheet is left out.
    pub(crate) fn draw(&self, sheet: &mut RgbImage, text: &str, left: u32, top: u32, ink: Rgb<u8>) {
        let font = self.font.as_scaled(self.scale);
        let baseline = top as f32 + font.ascent().round();
        let mut pen = left as f32;
        for character in text.chars() {
            let id: GlyphId = self.font.glyph_id(character);
            let glyph = id.with_scale_and_position(self.scale, point(pen, baseline));
            pen += font.h_advance(id);
            let Some(outline) = self.font.outline_glyph(glyph) else {
                continue; // A space.
            };
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, coverage| {
                let (x, y) = (
                    corner.x as i64 + i64::from(x),
                    corner.y as i64 + i64::from(y),
                );
                let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
                    return;
                };
                if let Some(pixel) = sheet.get_pixel_mut_checked(x, y) {
                    blend(pixel, ink, coverage);
                }
            });
        }
    }

    /// Replaces what the font has no letters for: by Latin letters where there is a transcription, by nothing where a
    /// character has no width.
    fn readable(&self, text: &str) -> String {
        let mut shown = String::new();
        for character in text.chars() {
            if character.is_whitespace() {
                shown.push(' ');
            } else if self.font.glyph_id(character).0 != 0 {
                shown.push(character);
            } else if !character.is_control() {
                shown.push_str(deunicode_char(character).unwrap_or("\u{fffd}"));
            }
        }
        // A transcribed letter ends in a space.
        shown.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn wrapped(&self, line: &str, width: f32, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let room = lines.len() < most;
            match lines.last_mut() {
                // The last line takes all that is left, and is shortened.
                Some(last) if !room || self.width(&format!("{last} {word}")) <= width => {
                    last.push(' ');
                    last.push_str(word);
                }
                _ => lines.push(word.to_string()),
            }
        }
        lines
    }

    /// Cuts a line to `width` pixels. A number at its end, such as a probability, is kept.
    fn shortened(&self, line: &str, width: f32) -> String {
        if self.width(line) <= width {
            return line.to_string();
        }
        let number = line
            .rfind(' ')
            .filter(|at| line[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
        let (mut kept, end) = line.split_at(number.unwrap_or(line.len()));
        loop {
            let shown = format!("{}{ELLIPSIS}{end}", kept.trim_end());
            if kept.is_empty() || self.width(&shown) <= width {
                return shown;
            }
            kept = &kept[..kept.char_indices().next_back().map_or(0, |(at, _)| at)];
        }
    }
}

fn blend(pixel: &mut Rgb<u8>, ink: Rgb<u8>, coverage: f32) {
    for (under, over) in pixel.0.iter_mut().zip(ink.0) {
        let mixed = f32::from(*under) + (f32::from(over) - f32::from(*under)) * coverage;
        *under = mixed.round().clamp(0.0, 255.0) as u8;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Pillow's numbers for the same font, see `tests/reference/caption.py`.
    fn pillow() -> serde_json::Value {
        serde_json::from_str(include_str!("../tests/reference/caption.json")).unwrap()
    }

    #[test]
    fn lines_are_as_wide_and_as_dark_as_pillow_sets_them() {
        for line in pillow()["lines"].as_array().unwrap() {
            let (text, size) = (
                line["text"].as_str().unwrap(),
                line["size"].as_f64().unwrap(),
            );
            let lettering = Lettering::new(size as f32).unwrap();
            let width = f64::from(lettering.width(text));
            let expected = line["width"].as_f64().unwrap();
            assert!(
                (width - expected).abs() < 1e-4 * expected,
                "{text}: {width}, {expected}"
            );
            let mut sheet = RgbImage::from_pixel(width as u32 + 20, 2 * size as u32, Rgb([255; 3]));
            lettering.draw(&mut sheet, text, 5, 2, Rgb([0; 3]));
            let ink: f64 = sheet.pixels().map(|p| 255.0 - f64::from(p.0[0])).sum();
            let expected = line["ink"].as_f64().unwrap();
            assert!(
                (ink - expected).abs() < 0.06 * expected,
                "{text}: {ink}, {expected}"
            );
        }
    }

    #[test]
    fn a_line_that_is_too_long_keeps_its_number() {
        let lettering = Lettering::new(16.0).unwrap();
        let lines = lettering.lines(
            "said Coccinella septempunctata var. nigra 0.93\nis ant",
            200.0,
            2,
        );
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with("said Coccinella") && lines[0].ends_with("… 0.93"),
            "{lines:?}"
        );
        assert!(lettering.width(&lines[0]) <= 200.0);
        assert_eq!(lines[1], "is ant");
    }

    #[test]
    fn a_single_line_breaks_at_spaces_and_then_in_an_ellipsis() {
        let lettering = Lettering::new(16.0).unwrap();
        assert_eq!(
            lettering.lines("great white shark, man-eater", 150.0, 2),
            ["great white shark,", "man-eater"]
        );
        let lines = lettering.lines(&"on and on ".repeat(20), 150.0, 2);
        assert!(lines.len() == 2 && lines[1].ends_with('…'), "{lines:?}");
        assert!(lines.iter().all(|line| lettering.width(line) <= 150.0));
        assert_eq!(lettering.lines("0123456789", 1.0, 2), ["…"]);
        assert_eq!(lettering.lines(" \n\t", 100.0, 2), [""; 0]);
    }

    #[test]
    fn names_in_any_script_can_be_read() {
        let lettering = Lettering::new(16.0).unwrap();
        let readable = |text: &str| lettering.readable(text);
        for letters in ["fourmi é ñandú Žába", "муравей Ωμέγα", "kiến"] {
            assert_eq!(readable(letters), letters);
        }
        // Transcribed, and told apart.
        assert_eq!(readable("蜂"), "Feng");
        assert_ne!(readable("蟻"), readable("蜂"));
        assert_eq!(readable("🐝"), "bee");
        // What would turn the direction of the text or steer a terminal has no letter.
        assert_eq!(readable("gpj\u{202e}exe\u{1b}[2J"), "gpjexe[2J");
        assert_eq!(readable("\u{e000}"), "\u{fffd}");
    }
}
