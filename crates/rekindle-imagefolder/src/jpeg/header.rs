//! The markers before the scan of a baseline JPEG.

use std::rc::Rc;

use image::metadata::Orientation;

use super::huffman::Table;
use super::markers::{Frame, Markers, Model, Slots, Steps, marker, read_huffman, read_steps};

/// Everything that decoding needs from a file's headers; exists only for files that [`region`](super::region)
/// can decode.
pub(super) struct Header<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    /// One (grey) or three (luma and two chroma).
    pub(super) components: Vec<Component>,
    /// MCUs between restart markers; 0 without.
    pub(super) restart_interval: usize,
    pub(super) orientation: Orientation,
    /// Bytes from the first entropy-coded one to the end of the file.
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

#[derive(Default)]
struct Tables {
    steps: Steps,
    dc: Slots<Table>,
    ac: Slots<Table>,
}

/// `None` for everything unusual: progressive, arithmetic-coded, lossless or 12-bit files, several
/// scans, CMYK, RGB, other samplings than one or two luma blocks a side, broken segments.
pub(super) fn read(bytes: &[u8]) -> Option<Header<'_>> {
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    let mut tables = Tables::default();
    let mut markers = Markers::default();
    let mut frame = None;
    let mut restart_interval = 0;
    loop {
        let kind;
        (kind, rest) = marker(rest)?;
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let segment = rest.get(2..length)?;
        rest = &rest[length..];
        match kind {
            0xc0 | 0xc1 if frame.is_none() => frame = Some(usual(Frame::read(segment)?)?),
            0xc4 => read_huffman(segment, &mut tables.dc, &mut tables.ac, Table::new)?,
            // Other frames, arithmetic coding, and what stands without a segment.
            0xc0..=0xcf | 0xd0..=0xd9 | 0x00 | 0x01 => return None,
            0xda => {
                let frame = frame?;
                let model = markers.model(&frame.components)?;
                return matches!(model, Model::Grey | Model::YCbCr).then_some(Header {
                    width: frame.width,
                    height: frame.height,
                    components: read_scan(segment, &frame, &tables)?,
                    restart_interval,
                    orientation: markers.orientation(),
                    scan: rest,
                });
            }
            0xdb => read_steps(segment, &mut tables.steps)?,
            0xdd => restart_interval = usize::from(u16::from_be_bytes(segment.try_into().ok()?)),
            _ => markers.note(kind, segment),
        }
    }
}

/// Only frames with one or two luma blocks a side for each one of the chroma's.
fn usual(mut frame: Frame) -> Option<Frame> {
    if frame.precision != 8 || frame.width == 0 || frame.height == 0 {
        return None;
    }
    if let [grey] = &mut frame.components[..] {
        // The blocks of a lone component stand row by row, whatever its sampling.
        (grey.across, grey.down) = (1, 1);
    }
    let luma = &frame.components[0];
    let is_usual = matches!((luma.across, luma.down), (1 | 2, 1 | 2))
        && frame.components[1..]
            .iter()
            .all(|c| (c.across, c.down) == (1, 1));
    is_usual.then_some(frame)
}

fn read_scan(segment: &[u8], frame: &Frame, tables: &Tables) -> Option<Vec<Component>> {
    let framed = &frame.components;
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
