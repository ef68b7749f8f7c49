//! Blocks of coefficients out of scans of every kind, as forgiving as libjpeg (ITU T.81, annexes F
//! and G).

use super::huffman::{Bits, Codes, PLACES, extend};

/// Coefficients of a block, columns before rows.
pub(super) type Coefficients = [i16; 64];

/// Part of each block's coefficients that a scan carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Coding {
    /// All coefficients.
    Sequential,
    /// The upper bits of the first coefficient, those below `shift` left out.
    FirstOfMean { shift: u32 },
    /// One more bit of the first coefficient.
    MoreOfMean { shift: u32 },
    /// The upper bits of the coefficients `first..=last`.
    FirstOfBand {
        first: usize,
        last: usize,
        shift: u32,
    },
    /// One more bit of the coefficients `first..=last`.
    MoreOfBand {
        first: usize,
        last: usize,
        shift: u32,
    },
}

impl Coding {
    /// Returns the tables that it needs: of the first coefficient, of the others.
    pub(super) fn needs(self) -> (bool, bool) {
        match self {
            Coding::Sequential => (true, true),
            Coding::FirstOfMean { .. } => (true, false),
            Coding::MoreOfMean { .. } => (false, false),
            Coding::FirstOfBand { .. } | Coding::MoreOfBand { .. } => (false, true),
        }
    }
}

/// Reads the blocks of a restart interval.
pub(super) struct Reader<'a> {
    bits: Bits<'a>,
    /// The first coefficient of each component's last block.
    before: [i32; 4],
    /// Blocks to come that have nothing new but more bits.
    blocks_without: u32,
    /// A code was none.
    pub(super) is_damaged: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bits: Bits<'a>) -> Self {
        Self {
            bits,
            before: [0; 4],
            blocks_without: 0,
            is_damaged: false,
        }
    }

    /// More was read than there is.
    pub(super) fn is_beyond(&self, bytes: usize) -> bool {
        self.bits.is_beyond(bytes)
    }

    /// Bytes that were not needed.
    pub(super) fn spare(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.bits.used())
    }

    /// Reads a block of a component. Tables that the coding does not need may be any.
    #[inline]
    pub(super) fn block(
        &mut self,
        coding: Coding,
        component: usize,
        dc: &Codes,
        ac: &Codes,
        out: &mut Coefficients,
    ) {
        match coding {
            Coding::Sequential => {
                out[0] = self.mean(component, dc) as i16;
                self.values(ac, 1, 63, 0, out);
                // Only progressive files have runs of blocks.
                self.blocks_without = 0;
            }
            Coding::FirstOfMean { shift } => out[0] = (self.mean(component, dc) << shift) as i16,
            Coding::MoreOfMean { shift } => {
                self.bits.refill();
                out[0] |= (self.bits.take(1) << shift) as i16;
            }
            Coding::FirstOfBand { first, last, shift } => {
                if self.blocks_without > 0 {
                    self.blocks_without -= 1;
                } else {
                    self.values(ac, first, last, shift, out);
                }
            }
            Coding::MoreOfBand { first, last, shift } => self.more(ac, first, last, shift, out),
        }
    }

    fn mean(&mut self, component: usize, dc: &Codes) -> i32 {
        self.bits.refill();
        let size = self.bits.code(dc, &mut self.is_damaged) & 15;
        let difference = extend(self.bits.take(size), size);
        let before = &mut self.before[component];
        *before = before.wrapping_add(difference);
        *before
    }

    #[inline]
    fn values(
        &mut self,
        ac: &Codes,
        first: usize,
        last: usize,
        shift: u32,
        out: &mut Coefficients,
    ) {
        let mut at = first;
        while at <= last {
            self.bits.refill();
            let symbol = self.bits.code(ac, &mut self.is_damaged);
            let (run, size) = (symbol >> 4, symbol & 15);
            if size > 0 {
                at += run as usize;
                let value = extend(self.bits.take(size), size);
                out[place(at)] = (value << shift) as i16;
                at += 1;
            } else if run == 15 {
                at += 16;
            } else {
                self.blocks_without = (1 << run) - 1 + self.bits.take(run);
                break;
            }
        }
    }

    fn more(&mut self, ac: &Codes, first: usize, last: usize, shift: u32, out: &mut Coefficients) {
        let (plus, minus) = (1_i16 << shift, -1_i16 << shift);
        let mut at = first;
        if self.blocks_without == 0 {
            while at <= last {
                self.bits.refill();
                let symbol = self.bits.code(ac, &mut self.is_damaged);
                let (mut run, size) = (symbol >> 4, symbol & 15);
                let mut value = 0;
                if size > 0 {
                    value = if self.bits.take(1) == 1 { plus } else { minus };
                } else if run < 15 {
                    self.blocks_without = (1 << run) + self.bits.take(run);
                    break;
                }
                // Past as many zeros as the run has; what is none on the way gets its bit.
                while at <= last {
                    let coefficient = &mut out[place(at)];
                    if *coefficient != 0 {
                        refine(&mut self.bits, coefficient, plus);
                    } else if run == 0 {
                        break;
                    } else {
                        run -= 1;
                    }
                    at += 1;
                }
                if value != 0 {
                    out[place(at)] = value;
                }
                at += 1;
            }
        }
        if self.blocks_without > 0 {
            for at in at..=last {
                let coefficient = &mut out[place(at)];
                if *coefficient != 0 {
                    refine(&mut self.bits, coefficient, plus);
                }
            }
            self.blocks_without -= 1;
        }
    }
}

/// Returns the place in the block of a coefficient in zigzag order; positions past the end count as the last,
/// as in libjpeg.
fn place(at: usize) -> usize {
    usize::from(PLACES[at.min(63)])
}

fn refine(bits: &mut Bits<'_>, coefficient: &mut i16, plus: i16) {
    bits.refill();
    if bits.take(1) == 1 && *coefficient & plus == 0 {
        let change = if *coefficient >= 0 { plus } else { -plus };
        *coefficient = coefficient.wrapping_add(change);
    }
}
