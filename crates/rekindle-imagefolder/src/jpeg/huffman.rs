//! Huffman codes of a baseline scan (ITU T.81, annex F), several symbols for each load of the bit
//! buffer.

use std::ops::Range;

use super::markers::ZIGZAG;

/// Codes and the bits of the value behind them that are looked up at once.
const BITS: u32 = 11;

/// The end of a block, as a run that leads beyond it.
const END: u32 = 64;

/// Symbols that are surely in a filled bit buffer, if they are short ones.
const SYMBOLS: u32 = 56 / BITS;

/// Coefficients of a block, columns before rows, and one place for those beyond the end.
pub(super) type Block = [i16; 72];

/// Place in a [`Block`] for each position in the file's order.
pub(super) const PLACES: [u8; 128] = {
    let mut places = [64; 128];
    let mut at = 0;
    while at < 64 {
        places[at] = ZIGZAG[at];
        at += 1;
    }
    places
};

/// The codes of a table, shortest first (ITU T.81, annex C).
#[derive(Default)]
struct Canonical {
    /// The first code that is longer than the index, aligned to 16 bits.
    above: [u32; 18],
    /// Added to a code of a length, gives its symbol's position.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Canonical {
    /// Calls `each` with the code, its length and its symbol. `None` for codes that no file should have.
    fn new(lengths: &[u8; 16], symbols: &[u8], mut each: impl FnMut(u32, u32, u8)) -> Option<Self> {
        let mut codes = Self {
            above: [0; 18],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut position) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            let count = u32::from(lengths[length as usize - 1]);
            codes.offsets[length as usize] = position as i32 - code as i32;
            if code + count > 1 << length {
                return None;
            }
            for _ in 0..count {
                each(code, length, *symbols.get(position)?);
                code += 1;
                position += 1;
            }
            codes.above[length as usize] = code << (16 - length);
            code <<= 1;
        }
        codes.above[17] = u32::MAX;
        Some(codes)
    }

    /// Returns the symbol and the length of the code that the next 16 bits begin with.
    fn look_up(&self, next: u32) -> Option<(u8, u32)> {
        let length = (1..=17).find(|length| next < self.above[*length])?;
        let code = (next >> (16 - length.min(16))) as i32;
        let position = code + self.offsets.get(length)?;
        let symbol = *self.symbols.get(usize::try_from(position).ok()?)?;
        Some((symbol, length as u32))
    }
}

/// A table that gives zeros to skip and the value that follows.
pub(super) struct Table {
    /// Lookup table by the next [`BITS`] bits: number of bits of code and value, zeros to skip, and the
    /// value; 0 where more bits are needed.
    fast: Box<[u32; 1 << BITS]>,
    codes: Canonical,
    /// True for DC tables, in which symbol 0 is the value 0 and not the end of the block.
    is_dc: bool,
}

impl Table {
    /// `None` for codes that no file should have.
    pub(super) fn new(is_dc: bool, lengths: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let valid = |symbol: &u8| match is_dc {
            true => *symbol <= 15,
            // A run without a value is the end of the block or sixteen zeros.
            false => symbol & 15 != 0 || matches!(symbol, 0 | 0xf0),
        };
        if !symbols.iter().all(valid) {
            return None;
        }
        let mut fast = Box::new([0; 1 << BITS]);
        let codes = Canonical::new(lengths, symbols, |code, length, symbol| {
            if length <= BITS {
                fill_fast(&mut fast, code, length, symbol, is_dc);
            }
        })?;
        Some(Self { fast, codes, is_dc })
    }
}

fn fill_fast(fast: &mut [u32; 1 << BITS], code: u32, length: u32, symbol: u8, is_dc: bool) {
    let spare = BITS - length;
    let size = u32::from(symbol & 15);
    if size > spare {
        return;
    }
    for tail in 0..1 << spare {
        let value = extend(tail >> (spare - size), size);
        let entry = (value as u32) << 16 | run(symbol, is_dc) << 8 | (length + size);
        if let Some(place) = fast.get_mut((code << spare | tail) as usize) {
            *place = entry;
        }
    }
}

fn run(symbol: u8, is_dc: bool) -> u32 {
    if symbol == 0 && !is_dc {
        END
    } else {
        u32::from(symbol >> 4)
    }
}

/// A table that gives symbols, for files of every kind.
pub(super) struct Codes {
    /// Lookup table by the next [`BITS`] bits: the code's length and its symbol; 0 where more bits are needed.
    fast: Box<[u16; 1 << BITS]>,
    codes: Canonical,
}

impl Codes {
    /// Creates a table without any code.
    pub(super) fn none() -> Self {
        Self {
            fast: Box::new([0; 1 << BITS]),
            codes: Canonical::default(),
        }
    }

    /// `None` for codes that no file should have.
    pub(super) fn new(is_dc: bool, lengths: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        if is_dc && symbols.iter().any(|symbol| *symbol > 15) {
            return None;
        }
        let mut fast = Box::new([0; 1 << BITS]);
        let codes = Canonical::new(lengths, symbols, |code, length, symbol| {
            if length <= BITS {
                let first = (code << (BITS - length)) as usize;
                fast[first..first + (1 << (BITS - length))]
                    .fill((length as u16) << 8 | u16::from(symbol));
            }
        })?;
        Some(Self { fast, codes })
    }
}

/// Returns the signed value that `bits` of this size stand for.
pub(super) fn extend(bits: u32, size: u32) -> i32 {
    let is_negative = size > 0 && bits >> (size - 1) == 0;
    bits as i32 - if is_negative { (1 << size) - 1 } else { 0 }
}

/// The bits of a scan without stuffed zeros and markers.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the top. Below `count` there may be bits that come again.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self {
            data,
            at,
            buffer: 0,
            count: 0,
        }
    }

    /// Returns true if more than `end` bytes of the data were read.
    pub(super) fn is_beyond(&self, end: usize) -> bool {
        8 * self.at > 8 * end + self.count as usize
    }

    /// Bytes that were read, the last one perhaps in part.
    pub(super) fn used(&self) -> usize {
        (8 * self.at - self.count as usize).div_ceil(8)
    }

    /// Makes it at least 56 bits, as long as the data last.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if let Some(next) = self.data.get(self.at..).and_then(|rest| rest.first_chunk()) {
            self.buffer |= u64::from_be_bytes(*next) >> self.count;
            self.at += ((63 - self.count) >> 3) as usize;
            self.count |= 56;
        }
    }

    #[inline(always)]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        // Twice, because a shift by 64 is none.
        let value = (self.buffer >> 1 >> (63 - bits)) as u32;
        self.drop(bits);
        value
    }

    #[inline(always)]
    fn drop(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count = self.count.saturating_sub(bits);
    }

    /// A symbol of any meaning, after a refill. As in libjpeg, a code that is none counts as 0.
    #[inline(always)]
    pub(super) fn code(&mut self, codes: &Codes, damaged: &mut bool) -> u32 {
        let entry = codes.fast[(self.buffer >> (64 - BITS)) as usize];
        let (symbol, length) = if entry != 0 {
            ((entry & 0xff) as u8, u32::from(entry >> 8))
        } else {
            codes
                .codes
                .look_up((self.buffer >> 48) as u32)
                .unwrap_or_else(|| {
                    *damaged = true;
                    (0, 17)
                })
        };
        self.drop(length);
        u32::from(symbol)
    }

    /// Zeros to skip, and a value. Needs [`BITS`] bits. `None` for a code that is none.
    #[inline(always)]
    fn symbol(&mut self, table: &Table) -> Option<(u32, i32)> {
        let entry = table.fast[(self.buffer >> (64 - BITS)) as usize];
        if entry != 0 {
            self.drop(entry & 0xff);
            Some((entry >> 8 & 0xff, entry as i32 >> 16))
        } else {
            self.long_symbol(table)
        }
    }

    #[inline(never)]
    fn long_symbol(&mut self, table: &Table) -> Option<(u32, i32)> {
        self.refill();
        let (symbol, length) = table.codes.look_up((self.buffer >> 48) as u32)?;
        self.drop(length);
        let size = u32::from(symbol & 15);
        let bits = self.take(size);
        self.refill();
        Some((run(symbol, table.is_dc), extend(bits, size)))
    }

    /// Reads a block into `block`, which must be zero. Coefficients are put where [`PLACES`] says.
    /// Returns the position in the file's order of the last one.
    #[inline(always)]
    pub(super) fn block(
        &mut self,
        dc: &Table,
        ac: &Table,
        before: &mut i32,
        block: &mut Block,
    ) -> Option<usize> {
        self.refill();
        let (_, difference) = self.symbol(dc)?;
        *before = before.wrapping_add(difference);
        block[0] = *before as i16;
        let mut at = 1;
        loop {
            self.refill();
            for _ in 0..SYMBOLS {
                let (run, value) = self.symbol(ac)?;
                at += run as usize;
                block[usize::from(PLACES[at & 127])] = value as i16;
                at += 1;
                if at > 63 {
                    return match (at, run) {
                        (64, _) => Some(63),
                        (_, END) => Some(at - END as usize - 2),
                        _ => None,
                    };
                }
            }
        }
    }

    /// Reads a block like [`block`](Self::block), without keeping the coefficients.
    #[inline(always)]
    pub(super) fn skip_block(&mut self, dc: &Table, ac: &Table, before: &mut i32) -> Option<()> {
        self.refill();
        let (_, difference) = self.symbol(dc)?;
        *before = before.wrapping_add(difference);
        let mut at = 1;
        loop {
            self.refill();
            for _ in 0..SYMBOLS {
                let (run, _) = self.symbol(ac)?;
                at += run as usize + 1;
                if at > 63 {
                    return (at == 64 || run == END).then_some(());
                }
            }
        }
    }
}

/// A scan without stuffed zeros; where its restart intervals end.
pub(super) struct Unstuffed {
    pub(super) data: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

impl Unstuffed {
    /// Reads up to the first marker that is no restart, at most `intervals` intervals. `None` where
    /// restart markers do not count up.
    pub(super) fn read(scan: &[u8], intervals: usize) -> Option<Self> {
        let mut data = Vec::with_capacity(scan.len() + 8);
        let mut ends = Vec::new();
        let mut rest = scan;
        loop {
            let at = memchr::memchr(0xff, rest)?;
            data.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            match *rest.first()? {
                0 => {
                    data.push(0xff);
                    rest = &rest[1..];
                }
                // A fill byte before a marker.
                0xff => {}
                restart @ 0xd0..=0xd7 if usize::from(restart & 7) == ends.len() % 8 => {
                    ends.push(data.len());
                    if ends.len() == intervals {
                        break;
                    }
                    rest = &rest[1..];
                }
                0xd0..=0xd7 => return None,
                _ => {
                    ends.push(data.len());
                    break;
                }
            }
        }
        // Refilling reads eight bytes at once.
        data.extend_from_slice(&[0; 8]);
        Some(Self { data, ends })
    }
}

/// The restart intervals of a scan without stuffed zeros, each with zeros behind it.
pub(super) struct Intervals<'a> {
    data: Vec<u8>,
    ranges: Vec<Range<usize>>,
    /// Bytes after the scan: the marker that ended it, or nothing.
    pub(super) rest: &'a [u8],
}

/// Refilling reads eight bytes at once.
const PADDING: usize = 8;

impl<'a> Intervals<'a> {
    /// Reads up to the first marker that is no restart. Restart markers that do not count up are
    /// taken as libjpeg takes them: intervals were lost before one that is ahead by one or two,
    /// one that is behind by as much is skipped with what follows, others count as expected.
    pub(super) fn read(scan: &'a [u8]) -> Self {
        let mut data = Vec::with_capacity(scan.len() + PADDING);
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        let mut is_skipped = false;
        let mut rest = scan;
        let mut end = |data: &mut Vec<u8>, is_skipped: bool| {
            if is_skipped {
                data.truncate(start);
            } else {
                ranges.push(start..data.len());
                data.extend_from_slice(&[0; PADDING]);
                start = data.len();
            }
            ranges.len()
        };
        loop {
            let at = memchr::memchr(0xff, rest).unwrap_or(rest.len());
            data.extend_from_slice(&rest[..at]);
            match rest.get(at + 1) {
                None => {
                    rest = &[];
                    break;
                }
                Some(0) => {
                    data.push(0xff);
                    rest = &rest[at + 2..];
                }
                // A fill byte before a marker.
                Some(0xff) => rest = &rest[at + 1..],
                Some(restart @ 0xd0..=0xd7) => {
                    rest = &rest[at + 2..];
                    let found = end(&mut data, is_skipped);
                    let ahead = (usize::from(restart & 7) + 9 - found % 8) % 8;
                    is_skipped = matches!(ahead, 6 | 7);
                    if matches!(ahead, 1 | 2) {
                        for _ in 0..ahead {
                            end(&mut data, false);
                        }
                    }
                }
                Some(_) => {
                    rest = &rest[at..];
                    break;
                }
            }
        }
        end(&mut data, is_skipped);
        Self { data, ranges, rest }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Interval<'_>> {
        self.ranges.iter().map(|range| Interval {
            bits: Bits::new(&self.data[range.start..range.end + PADDING], 0),
            bytes: range.len(),
        })
    }
}

pub(super) struct Interval<'a> {
    pub(super) bits: Bits<'a>,
    pub(super) bytes: usize,
}
