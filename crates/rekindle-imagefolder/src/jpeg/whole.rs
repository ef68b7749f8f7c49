//! Decoding whole JPEGs of every kind that libjpeg reads and [`region`](super::region) does not:
//! several scans, progressive, any whole sampling, RGB, CMYK, damaged.

use std::rc::Rc;

use image::RgbImage;
use image::metadata::Orientation;

use super::coefficients::{Coding, Coefficients, Reader};
use super::huffman::{Codes, Intervals};
use super::markers::{Frame, Markers, Model, Slots, Steps, marker, read_huffman, read_steps};
use super::render::{Layer, render};
use super::standard;

/// Reason why a file cannot be decoded.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A kind of JPEG that is not read, by its name.
    Unsupported(String),
    /// The file ends too early.
    Truncated(String),
    /// The file contradicts itself.
    Broken(String),
}

/// A file whose frame header has been read.
pub(super) struct Decoder<'a> {
    /// Bytes after the last segment that was read.
    rest: &'a [u8],
    markers: Markers,
    steps: Steps,
    dc: Slots<Codes>,
    ac: Slots<Codes>,
    restart_interval: usize,
    frame: Frame,
    is_progressive: bool,
}

/// A component's blocks.
struct Component {
    /// Blocks in each row of those that are kept.
    across: usize,
    blocks: Vec<Coefficients>,
    /// Quantisation steps of its first scan; none so far.
    steps: Option<[f32; 64]>,
}

/// A scan header.
struct Scan {
    /// Components with the numbers of their tables.
    selected: Vec<(usize, usize, usize)>,
    coding: Coding,
}

impl<'a> Decoder<'a> {
    /// Reads up to the frame header.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let rest = bytes
            .strip_prefix(&[0xff, 0xd8])
            .ok_or_else(|| Fault::Broken("no start-of-image marker".to_string()))?;
        let mut decoder = Self {
            rest,
            markers: Markers::default(),
            steps: Steps::default(),
            dc: Slots::default(),
            ac: Slots::default(),
            restart_interval: 0,
            frame: Frame {
                precision: 0,
                width: 0,
                height: 0,
                components: Vec::new(),
            },
            is_progressive: false,
        };
        loop {
            let Some((kind, segment)) = decoder.segment()? else {
                return Err(Fault::Truncated("no frame header".to_string()));
            };
            match kind {
                0xc0..=0xc2 => {
                    decoder.is_progressive = kind == 0xc2;
                    decoder.frame = Frame::read(segment).ok_or_else(|| broken(kind))?;
                    decoder.check_frame()?;
                    return Ok(decoder);
                }
                0xda => return Err(Fault::Broken("a scan before the frame header".to_string())),
                0xd9 => return Err(Fault::Broken("no frame header".to_string())),
                _ => decoder.read(kind, segment)?,
            }
        }
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.frame.width, self.frame.height)
    }

    fn check_frame(&self) -> Result<(), Fault> {
        let frame = &self.frame;
        if frame.precision != 8 {
            let bits = frame.precision;
            return Err(Fault::Unsupported(format!(
                "a JPEG of {bits} bits a sample"
            )));
        }
        if !matches!(frame.components.len(), 1 | 3 | 4) {
            let n = frame.components.len();
            return Err(Fault::Unsupported(format!("a JPEG of {n} components")));
        }
        let (across, down) = self.sampling();
        for component in &frame.components {
            let (a, d) = (component.across, component.down);
            if !(1..=4).contains(&a) || !(1..=4).contains(&d) {
                return Err(Fault::Broken(format!("sampling factors {a} x {d}")));
            }
            if across % a != 0 || down % d != 0 {
                return Err(Fault::Unsupported(format!(
                    "a JPEG with fractional sampling ({a} x {d} of {across} x {down})"
                )));
            }
        }
        Ok(())
    }

    /// Blocks per MCU of the component that has the most.
    fn sampling(&self) -> (usize, usize) {
        let components = &self.frame.components;
        let across = components.iter().map(|c| c.across).max().unwrap_or(1);
        let down = components.iter().map(|c| c.down).max().unwrap_or(1);
        (across, down)
    }

    /// Returns the next marker and its segment, which is empty where there can be none; `None` at the end of the
    /// file. Whatever stands between segments is skipped.
    fn segment(&mut self) -> Result<Option<(u8, &'a [u8])>, Fault> {
        loop {
            let Some(at) = memchr::memchr(0xff, self.rest) else {
                self.rest = &[];
                return Ok(None);
            };
            let Some((kind, rest)) = marker(&self.rest[at..]) else {
                self.rest = &[];
                return Ok(None);
            };
            self.rest = rest;
            if kind == 0xd9 {
                return Ok(Some((kind, &[])));
            }
            if matches!(kind, 0x00 | 0x01 | 0xd0..=0xd8) {
                continue;
            }
            let length = rest
                .first_chunk()
                .map(|n| usize::from(u16::from_be_bytes(*n)));
            let Some(length) = length.filter(|length| *length <= rest.len()) else {
                return Err(Fault::Truncated(format!("in segment {kind:02x}")));
            };
            let segment = rest.get(2..length).ok_or_else(|| broken(kind))?;
            self.rest = &rest[length..];
            return Ok(Some((kind, segment)));
        }
    }

    /// Reads a segment that is neither a frame nor a scan.
    fn read(&mut self, kind: u8, segment: &[u8]) -> Result<(), Fault> {
        let unsupported = |name: &str| Err(Fault::Unsupported(format!("{name} JPEG")));
        let read = match kind {
            0xc4 => read_huffman(segment, &mut self.dc, &mut self.ac, Codes::new),
            0xdb => read_steps(segment, &mut self.steps),
            0xdd => segment
                .first_chunk()
                .map(|n| self.restart_interval = usize::from(u16::from_be_bytes(*n))),
            0xc3 => return unsupported("a lossless"),
            0xc5..=0xc7 => return unsupported("a hierarchical"),
            0xc8 => return unsupported("an extended"),
            0xcc if !self.frame.components.is_empty() => Some(()),
            0xc9..=0xcf => return unsupported("an arithmetic-coded"),
            0xf7 => return unsupported("a JPEG-LS, no ordinary"),
            _ => {
                self.markers.note(kind, segment);
                Some(())
            }
        };
        read.ok_or_else(|| broken(kind))
    }

    /// Reads all scans. Takes of damaged data what libjpeg takes, or refuses them if `strict`.
    /// The colours are those of `model`, or what the markers say.
    pub(super) fn decode(
        mut self,
        model: Option<Model>,
        strict: bool,
    ) -> Result<(RgbImage, Orientation), Fault> {
        let mut components = self.components();
        let mut said = None;
        let mut has_all = false;
        let mut is_damaged = false;
        loop {
            let Some((kind, segment)) = self.segment()? else {
                if has_all {
                    break;
                }
                // libjpeg would fill what is missing with grey.
                let reason = "no end-of-image marker after the last scan";
                return Err(Fault::Truncated(reason.to_string()));
            };
            match kind {
                0xd9 => break,
                0xda => {
                    // Later markers do not count.
                    let known = || self.markers.model(&self.frame.components);
                    said = said.or_else(|| Some((known()?, self.markers.orientation())));
                    let scan = self.scan(segment)?;
                    let (damaged, spare) = self.run(&scan, &mut components)?;
                    is_damaged |= damaged;
                    // As in Pillow: any two bytes behind the only scan do for the end's marker.
                    has_all = !self.is_progressive
                        && scan.selected.len() == components.len()
                        && spare >= 2;
                }
                0xc0..=0xc2 => return Err(Fault::Broken("a second frame header".to_string())),
                _ => self.read(kind, segment)?,
            }
        }
        let Some((known, orientation)) = said else {
            return Err(Fault::Broken("no scan".to_string()));
        };
        if is_damaged && strict {
            return Err(Fault::Broken("damaged entropy-coded data".to_string()));
        }
        let (width, height) = self.size();
        let (across, down) = self.sampling();
        let framed = self.frame.components.iter().zip(components);
        let layers: Vec<_> = framed
            .map(|(framed, component)| Layer {
                across: component.across,
                blocks: component.blocks,
                steps: component.steps.unwrap_or([1.0; 64]),
                pixels_across: across / framed.across,
                pixels_down: down / framed.down,
            })
            .collect();
        let pixels = render(width, height, layers, model.unwrap_or(known));
        Ok((pixels, orientation))
    }

    fn components(&self) -> Vec<Component> {
        let (across, down) = self.sampling();
        let (mcus_across, mcus_down) = (
            self.frame.width.div_ceil(8 * across),
            self.frame.height.div_ceil(8 * down),
        );
        let components = self.frame.components.iter().map(|component| Component {
            across: mcus_across * component.across,
            blocks: vec![[0; 64]; mcus_across * component.across * mcus_down * component.down],
            steps: None,
        });
        components.collect()
    }

    fn scan(&self, segment: &[u8]) -> Result<Scan, Fault> {
        let wrong = || broken(0xda);
        let (n, rest) = segment.split_first().ok_or_else(wrong)?;
        let n = usize::from(*n);
        if !(1..=4).contains(&n) || rest.len() != 2 * n + 3 {
            return Err(wrong());
        }
        let (selected, parameters) = rest.split_at(2 * n);
        let mut taken = Vec::new();
        for pair in selected.chunks_exact(2) {
            let position = self.frame.components.iter().position(|c| c.id == pair[0]);
            let position = position.ok_or_else(wrong)?;
            if taken.iter().any(|(other, _, _)| *other == position) {
                return Err(wrong());
            }
            taken.push((
                position,
                usize::from(pair[1] >> 4),
                usize::from(pair[1] & 15),
            ));
        }
        let (first, last) = (usize::from(parameters[0]), usize::from(parameters[1]));
        let (high, shift) = (parameters[2] >> 4, u32::from(parameters[2] & 15));
        let coding = match (self.is_progressive, first, high) {
            (false, _, _) => Coding::Sequential,
            _ if last > 63 || first > last || shift > 13 => return Err(wrong()),
            (true, 0, _) if last > 0 => return Err(wrong()),
            (true, 0, 0) => Coding::FirstOfMean { shift },
            (true, 0, _) => Coding::MoreOfMean { shift },
            _ if n > 1 => return Err(wrong()),
            (true, _, 0) => Coding::FirstOfBand { first, last, shift },
            (true, _, _) => Coding::MoreOfBand { first, last, shift },
        };
        Ok(Scan {
            selected: taken,
            coding,
        })
    }

    /// Reads a scan's data, and says whether they are damaged and how many bytes were too many.
    fn run(&mut self, scan: &Scan, components: &mut [Component]) -> Result<(bool, usize), Fault> {
        let (needs_dc, needs_ac) = scan.coding.needs();
        let mut tables = Vec::new();
        for (position, dc, ac) in &scan.selected {
            let component = &mut components[*position];
            if component.steps.is_none() {
                let number = self.frame.components[*position].steps;
                let steps = self.steps.get(number).copied().flatten();
                component.steps = Some(
                    steps
                        .ok_or_else(|| Fault::Broken(format!("no quantisation table {number}")))?,
                );
            }
            let dc = self.table(true, *dc, needs_dc)?;
            tables.push((dc, self.table(false, *ac, needs_ac)?));
        }
        let nothing = Codes::none();
        let units = self.units(scan);
        let intervals = Intervals::read(self.rest);
        self.rest = intervals.rest;
        let length = match self.restart_interval {
            0 => units.count,
            length => length,
        };
        let mut is_damaged = false;
        let (mut unit, mut spare) = (0, 0);
        for interval in intervals.iter() {
            let end = (unit + length).min(units.count);
            let mut reader = Reader::new(interval.bits);
            for unit in unit..end {
                for (index, (position, _, _)) in scan.selected.iter().enumerate() {
                    let (dc, ac) = &tables[index];
                    let (dc, ac) = (dc.as_deref(), ac.as_deref());
                    let component = &mut components[*position];
                    for (x, y) in units.blocks(unit, index) {
                        reader.block(
                            scan.coding,
                            *position,
                            dc.unwrap_or(&nothing),
                            ac.unwrap_or(&nothing),
                            &mut component.blocks[y * component.across + x],
                        );
                    }
                }
                if reader.is_beyond(interval.bytes) {
                    is_damaged = true;
                    break;
                }
            }
            is_damaged |= reader.is_damaged;
            spare = reader.spare(interval.bytes);
            unit = end;
        }
        is_damaged |= unit < units.count;
        Ok((is_damaged, if is_damaged { 0 } else { spare }))
    }

    /// Returns a table of Huffman codes, the standard's where the file has none.
    fn table(
        &self,
        is_dc: bool,
        number: usize,
        is_needed: bool,
    ) -> Result<Option<Rc<Codes>>, Fault> {
        if !is_needed {
            return Ok(None);
        }
        let slots = if is_dc { &self.dc } else { &self.ac };
        let own = slots.get(number).cloned().flatten();
        let table = own.or_else(|| standard::codes(is_dc, number).map(Rc::new));
        let missing = || Fault::Broken(format!("no Huffman table {number}"));
        table.map(Some).ok_or_else(missing)
    }

    fn units(&self, scan: &Scan) -> Units {
        let (across, down) = self.sampling();
        let (width, height) = self.size();
        if let [(position, _, _)] = scan.selected[..] {
            // A scan of one component has the blocks that the picture needs, row by row.
            let component = &self.frame.components[position];
            let columns = (width * component.across).div_ceil(across).div_ceil(8);
            let rows = (height * component.down).div_ceil(down).div_ceil(8);
            return Units {
                columns,
                count: columns * rows,
                sizes: vec![(1, 1)],
            };
        }
        let columns = width.div_ceil(8 * across);
        let size = |(position, _, _): &(usize, usize, usize)| {
            let component = &self.frame.components[*position];
            (component.across, component.down)
        };
        Units {
            columns,
            count: columns * height.div_ceil(8 * down),
            sizes: scan.selected.iter().map(size).collect(),
        }
    }
}

/// The MCUs of a scan.
struct Units {
    columns: usize,
    count: usize,
    /// Number of blocks across and down for each component.
    sizes: Vec<(usize, usize)>,
}

impl Units {
    /// Columns and rows of the blocks that a component has in an MCU, in the order of the file.
    fn blocks(&self, unit: usize, component: usize) -> impl Iterator<Item = (usize, usize)> {
        let (across, down) = self.sizes[component];
        let (column, row) = (unit % self.columns, unit / self.columns);
        (0..across * down).map(move |i| (column * across + i % across, row * down + i / across))
    }
}

fn broken(kind: u8) -> Fault {
    Fault::Broken(format!("segment {kind:02x} is damaged"))
}
