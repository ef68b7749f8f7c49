//! The markers before the scan of a baseline JPEG.

use std::rc::Rc;

use image::metadata::Orientation;

use super::huffman::Table;

/// What decoding needs to know; made only for files that [`region`](super::region) can decode.
pub(super) struct Header<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    /// One (grey) or three (luma and two chroma).
    pub(super) components: Vec<Component>,
    /// MCUs between restart markers; 0 without.
    pub(super) restart_interval: usize,
    pub(super) orientation: Orientation,
    /// From the first entropy-coded byte to the end of the file.
    pub(super) scan: &'a [u8],
}

pub(super) struct Component {
    /// Blocks per MCU across, 1 or 2.
    pub(super) across: usize,
    /// Blocks per MCU down, 1 or 2.
    pub(super) down: usize,
    /// Quantisation steps in the order of the block's rows.
    pub(super) steps: [f32; 64],
    pub(super) dc: Rc<Table>,
    pub(super) ac: Rc<Table>,
}

/// The position in the block of the coefficients in the order of the file.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A component as the frame header tells it.
struct Framed {
    id: u8,
    across: usize,
    down: usize,
    steps: usize,
}

#[derive(Default)]
struct Tables {
    steps: [Option<[f32; 64]>; 4],
    dc: [Option<Rc<Table>>; 4],
    ac: [Option<Rc<Table>>; 4],
}

/// `None` for everything unusual: progressive, arithmetic-coded, lossless or 12-bit files, several
/// scans, CMYK, RGB, other samplings than one or two luma blocks a side, broken segments.
pub(super) fn read(bytes: &[u8]) -> Option<Header<'_>> {
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    let mut tables = Tables::default();
    let mut frame = None;
    let mut restart_interval = 0;
    let mut orientation = None;
    loop {
        let kind;
        (kind, rest) = marker(rest)?;
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let segment = rest.get(2..length)?;
        rest = &rest[length..];
        match kind {
            0xc0 | 0xc1 if frame.is_none() => frame = Some(read_frame(segment)?),
            0xc4 => read_huffman(segment, &mut tables)?,
            // Other frames, arithmetic coding, and what stands without a segment.
            0xc0..=0xcf | 0xd0..=0xd9 | 0x00 | 0x01 => return None,
            0xda => {
                let (width, height, framed) = frame?;
                return Some(Header {
                    width,
                    height,
                    components: read_scan(segment, framed, &tables)?,
                    restart_interval,
                    orientation: orientation.unwrap_or(Orientation::NoTransforms),
                    scan: rest,
                });
            }
            0xdb => read_steps(segment, &mut tables)?,
            0xdd => restart_interval = usize::from(u16::from_be_bytes(segment.try_into().ok()?)),
            0xe1 => {
                if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                    orientation = Orientation::from_exif_chunk(exif).or(orientation);
                }
            }
            // Anything but YCbCr.
            0xee if segment.starts_with(b"Adobe") && segment.get(11) != Some(&1) => return None,
            _ => {}
        }
    }
}

/// The kind of the next marker, after any number of fill bytes, and what follows it.
fn marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes.strip_prefix(&[0xff])?;
    while let Some(after) = rest.strip_prefix(&[0xff]) {
        rest = after;
    }
    let (kind, rest) = rest.split_first()?;
    Some((*kind, rest))
}

fn read_frame(segment: &[u8]) -> Option<(usize, usize, Vec<Framed>)> {
    let (&[precision, h1, h0, w1, w0, n], components) = segment.split_first_chunk()?;
    let (height, width) = (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
    let usual = precision == 8 && matches!(n, 1 | 3) && components.len() == 3 * usize::from(n);
    if !usual || width == 0 || height == 0 {
        return None;
    }
    let mut framed: Vec<_> = components
        .chunks_exact(3)
        .map(|c| Framed {
            id: c[0],
            across: usize::from(c[1] >> 4),
            down: usize::from(c[1] & 15),
            steps: usize::from(c[2]),
        })
        .collect();
    if let [grey] = &mut framed[..] {
        // The blocks of a lone component stand row by row, whatever its sampling.
        (grey.across, grey.down) = (1, 1);
    }
    let luma = &framed[0];
    let is_usual = matches!((luma.across, luma.down), (1 | 2, 1 | 2))
        && framed[1..].iter().all(|c| (c.across, c.down) == (1, 1))
        && !framed.iter().map(|c| c.id).eq(*b"RGB");
    is_usual.then_some((usize::from(width), usize::from(height), framed))
}

fn read_steps(mut segment: &[u8], tables: &mut Tables) -> Option<()> {
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
        *tables.steps.get_mut(usize::from(head & 15))? = Some(steps);
        segment = &rest[values.len()..];
    }
    Some(())
}

fn read_huffman(mut segment: &[u8], tables: &mut Tables) -> Option<()> {
    while let Some((head, rest)) = segment.split_first() {
        let (lengths, rest) = rest.split_first_chunk::<16>()?;
        let symbols = lengths.iter().map(|n| usize::from(*n)).sum();
        let (symbols, rest) = rest.split_at_checked(symbols)?;
        let (table, kind) = match head >> 4 {
            0 => (Table::dc(lengths, symbols)?, &mut tables.dc),
            1 => (Table::ac(lengths, symbols)?, &mut tables.ac),
            _ => return None,
        };
        *kind.get_mut(usize::from(head & 15))? = Some(Rc::new(table));
        segment = rest;
    }
    Some(())
}

fn read_scan(segment: &[u8], framed: Vec<Framed>, tables: &Tables) -> Option<Vec<Component>> {
    let (n, rest) = segment.split_first()?;
    if usize::from(*n) != framed.len() || rest.len() != 2 * framed.len() + 3 {
        return None;
    }
    let (selected, spectrum) = rest.split_at(2 * framed.len());
    if spectrum != [0, 63, 0] {
        return None;
    }
    let pairs = framed.iter().zip(selected.chunks_exact(2));
    let components = pairs.map(|(component, selected)| {
        let (dc, ac) = (selected[1] >> 4, selected[1] & 15);
        (component.id == selected[0]).then_some(Component {
            across: component.across,
            down: component.down,
            steps: (*tables.steps.get(component.steps)?)?,
            dc: tables.dc.get(usize::from(dc))?.clone()?,
            ac: tables.ac.get(usize::from(ac))?.clone()?,
        })
    });
    components.collect()
}
