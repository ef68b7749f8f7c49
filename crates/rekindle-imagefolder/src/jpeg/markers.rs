//! The segments of a JPEG outside of its scans.

use std::rc::Rc;

use image::metadata::Orientation;

use crate::orientation;

/// The position in the block of the coefficients in the order of the file.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Colour model of a file's components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    Grey,
    YCbCr,
    Rgb,
    /// Four inks.
    Cmyk,
    /// The first three of four inks as luma and chroma.
    Ycck,
}

/// A frame header.
pub(super) struct Frame {
    pub(super) precision: u8,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Components, at least one.
    pub(super) components: Vec<Framed>,
}

/// A component as the frame header tells it.
pub(super) struct Framed {
    pub(super) id: u8,
    /// Blocks per MCU across.
    pub(super) across: usize,
    /// Blocks per MCU down.
    pub(super) down: usize,
    /// The number of its table of quantisation steps.
    pub(super) steps: usize,
}

impl Frame {
    /// `None` for a segment that is too short, too long, or has no component.
    pub(super) fn read(segment: &[u8]) -> Option<Self> {
        let (&[precision, h1, h0, w1, w0, n], components) = segment.split_first_chunk()?;
        if n == 0 || components.len() != 3 * usize::from(n) {
            return None;
        }
        let framed = components.chunks_exact(3).map(|c| Framed {
            id: c[0],
            across: usize::from(c[1] >> 4),
            down: usize::from(c[1] & 15),
            steps: usize::from(c[2]),
        });
        Some(Self {
            precision,
            width: usize::from(u16::from_be_bytes([w1, w0])),
            height: usize::from(u16::from_be_bytes([h1, h0])),
            components: framed.collect(),
        })
    }
}

/// Information on colours and orientation from the application segments.
#[derive(Default)]
pub(super) struct Markers {
    is_jfif: bool,
    /// The colour transform of Adobe's segment.
    adobe: Option<u8>,
    exif: Option<Orientation>,
    xmp: Option<Orientation>,
}

impl Markers {
    /// Takes note of a segment that stands before the first scan.
    pub(super) fn note(&mut self, kind: u8, segment: &[u8]) {
        match kind {
            0xe0 if segment.starts_with(b"JFIF\0") && segment.len() >= 14 => self.is_jfif = true,
            0xe1 => {
                if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                    self.exif = self.exif.or_else(|| Orientation::from_exif_chunk(exif));
                } else if segment.starts_with(b"http://ns.adobe.com/xap/1.0/\0") {
                    self.xmp = self.xmp.or_else(|| orientation::of_xmp(segment));
                }
            }
            0xee if segment.starts_with(b"Adobe") && segment.len() >= 12 => {
                self.adobe = Some(segment[11]);
            }
            _ => {}
        }
    }

    pub(super) fn orientation(&self) -> Orientation {
        self.exif.or(self.xmp).unwrap_or(Orientation::NoTransforms)
    }

    /// libjpeg's rules: JFIF means YCbCr; else Adobe's transform; else the components' ids. `None`
    /// for numbers of components without a meaning.
    pub(super) fn model(&self, components: &[Framed]) -> Option<Model> {
        match components {
            [_] => Some(Model::Grey),
            [red, green, blue] => Some(match self.adobe {
                _ if self.is_jfif => Model::YCbCr,
                Some(0) => Model::Rgb,
                Some(_) => Model::YCbCr,
                None if [red.id, green.id, blue.id] == *b"RGB" => Model::Rgb,
                None => Model::YCbCr,
            }),
            [_, _, _, _] => Some(match self.adobe {
                None | Some(0) => Model::Cmyk,
                Some(_) => Model::Ycck,
            }),
            _ => None,
        }
    }
}

/// Returns the kind of the next marker, after any number of fill bytes, and what follows it.
pub(super) fn marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes.strip_prefix(&[0xff])?;
    while let Some(after) = rest.strip_prefix(&[0xff]) {
        rest = after;
    }
    let (kind, rest) = rest.split_first()?;
    Some((*kind, rest))
}

/// Quantisation steps in the order of the block's rows.
pub(super) type Steps = [Option<[f32; 64]>; 4];

/// Tables of Huffman codes by their numbers.
pub(super) type Slots<T> = [Option<Rc<T>>; 4];

pub(super) fn read_steps(mut segment: &[u8], tables: &mut Steps) -> Option<()> {
    while let Some((head, rest)) = segment.split_first() {
        let wide = usize::from(head >> 4);
        let values = rest.get(..64 << wide.min(1))?;
        let mut steps = [0.0; 64];
        for (place, value) in ZIGZAG.iter().zip(values.chunks_exact(1 << wide.min(1))) {
            let value = value
                .iter()
                .fold(0, |high, low| high << 8 | u16::from(*low));
            steps[usize::from(*place)] = f32::from(value);
        }
        *tables.get_mut(usize::from(head & 15))? = Some(steps);
        segment = &rest[values.len()..];
    }
    Some(())
}

/// `new` hears whether the codes are those of DC differences, how many there are of each length,
/// and their symbols.
pub(super) fn read_huffman<T>(
    mut segment: &[u8],
    dc: &mut Slots<T>,
    ac: &mut Slots<T>,
    new: impl Fn(bool, &[u8; 16], &[u8]) -> Option<T>,
) -> Option<()> {
    while let Some((head, rest)) = segment.split_first() {
        let (lengths, rest) = rest.split_first_chunk::<16>()?;
        let symbols = lengths.iter().map(|n| usize::from(*n)).sum();
        let (symbols, rest) = rest.split_at_checked(symbols)?;
        let (is_dc, slots) = match head >> 4 {
            0 => (true, &mut *dc),
            1 => (false, &mut *ac),
            _ => return None,
        };
        let slot = slots.get_mut(usize::from(head & 15))?;
        *slot = Some(Rc::new(new(is_dc, lengths, symbols)?));
        segment = rest;
    }
    Some(())
}
