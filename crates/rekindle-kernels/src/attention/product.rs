//! The products of attention by the register tiles of convolutions, and how their right sides are packed for these.

use crate::dispatch::Kernels;
use crate::functions::Clamp;
use crate::line::{LANES, Line};
use crate::outer::Outer;
use crate::tile::{Tile, pieces};
use crate::transpose::Columns;

/// Blocks of terms that are summed before moving to the next rows, so that their weights stay in the first-level cache.
const CHUNK: usize = 16;

/// Packs a plane `[blocks, tokens, 16]` as `[panel, 16 * blocks, tokens of the panel]`, which a product over channels reads:
/// sixteen tokens by sixteen channels change places in registers. Missing tokens of the last sixteen are zero.
pub(super) fn pack_by_channel(kernels: &Kernels, plane: &[Line], tokens: usize, out: &mut [Line]) {
    let (blocks, groups) = (plane.len() / tokens, tokens.div_ceil(LANES));
    for first in (0..groups).step_by(kernels.nr) {
        let width = kernels.nr.min(groups - first);
        let panel = &mut out[first * blocks * LANES..][..width * blocks * LANES];
        for group in 0..width {
            let from = (first + group) * LANES;
            let count = LANES.min(tokens - from);
            for block in 0..blocks {
                let lines = &plane[block * tokens + from..][..count];
                let mut padded = [Line::ZERO; LANES];
                let rows = if count == LANES {
                    lines.as_ptr()
                } else {
                    padded[..count].copy_from_slice(lines);
                    padded.as_ptr()
                };
                let places: [usize; LANES] =
                    std::array::from_fn(|channel| (block * LANES + channel) * width + group);
                let columns = Columns {
                    rows: rows.cast_mut().cast(),
                    row_stride: LANES,
                    lines: panel.as_mut_ptr().cast(),
                    places: &places,
                    scale: std::ptr::null(),
                    ahead: 0,
                };
                // SAFETY: there are sixteen rows of sixteen values, which are only read, and the panel has
                // `width` lines for each channel.
                unsafe { (kernels.rows_to_lines)(&columns) };
            }
        }
    }
}

/// Packs a plane `[blocks, tokens, 16]` as `[panel, tokens, channels of the panel]`, which a product over tokens reads, with
/// zeros up to a multiple of sixteen tokens.
pub(super) fn pack_by_token(kernels: &Kernels, plane: &[Line], tokens: usize, out: &mut [Line]) {
    let (blocks, padded) = (plane.len() / tokens, tokens.next_multiple_of(LANES));
    for first in (0..blocks).step_by(kernels.nr) {
        let width = kernels.nr.min(blocks - first);
        let panel = &mut out[first * padded..][..width * padded];
        for block in 0..width {
            let lines = &plane[(first + block) * tokens..][..tokens];
            for (to, from) in panel[block..].iter_mut().step_by(width).zip(lines) {
                *to = *from;
            }
        }
        panel[width * tokens..].fill(Line::ZERO);
    }
}

/// `out[row, column] = sum over terms of a[row, term] * panels[term, column]`.
pub(super) struct Product<'a> {
    pub kernels: &'static Kernels,
    /// `[blocks of terms, rows, 16]`, and the values between two of its blocks.
    pub a: *const f32,
    pub a_block: usize,
    pub rows: usize,
    /// Blocks of terms, of those that the panels hold.
    pub terms: usize,
    /// `[panel, terms, columns of the panel]`.
    pub panels: &'a [Line],
    /// Terms that the panels hold, and blocks of columns.
    pub panel_terms: usize,
    pub panel_blocks: usize,
    /// Blocks of columns that are computed; the last panel of them is computed whole.
    pub blocks: usize,
    /// `[blocks, rows, 16]`, and the values between two of its blocks.
    pub out: *mut f32,
    pub out_block: usize,
    /// Lines that a later product reads; they are prefetched into the second-level cache as far as this
    /// product has terms.
    pub ahead: &'a [Line],
}

impl Product<'_> {
    /// Writes the product to `out`.
    ///
    /// # Safety
    /// The pointers must be valid as described; `out` for all blocks of the last panel.
    pub unsafe fn run(&self) {
        let kernels = self.kernels;
        assert!(self.terms * LANES <= self.panel_terms && self.blocks <= self.panel_blocks);
        assert!(self.panel_terms * self.panel_blocks <= self.panels.len());
        let offsets: [isize; CHUNK] = std::array::from_fn(|term| (term * self.a_block) as isize);
        let mut ahead = self.ahead;
        for first in (0..self.blocks).step_by(kernels.nr) {
            let width = kernels.nr.min(self.panel_blocks - first);
            for start in (0..self.terms).step_by(CHUNK) {
                let line = first * self.panel_terms + start * LANES * width;
                let w = self.panels[line..].as_ptr().cast();
                let tile = Tile {
                    a: self.a.wrapping_add(start * self.a_block),
                    w,
                    offsets: offsets.as_ptr(),
                    segments: CHUNK.min(self.terms - start),
                    segment_len: LANES,
                    out: self.out.wrapping_add(first * self.out_block),
                    block_stride: self.out_block,
                    pixel_stride: LANES,
                    residual: std::ptr::null(),
                    bias: std::ptr::null(),
                    accumulate: start > 0,
                    clamp: Clamp::None,
                    fetch_next: false,
                    ahead: w,
                };
                for (row, rows) in pieces(self.rows, kernels.mr) {
                    let (next, rest) = ahead.split_at(ahead.len().min(tile.segments * LANES));
                    ahead = rest;
                    let tile = Tile {
                        ahead: if next.is_empty() {
                            w
                        } else {
                            next.as_ptr().cast()
                        },
                        a: tile.a.wrapping_add(row * LANES),
                        out: tile.out.wrapping_add(row * LANES),
                        ..tile
                    };
                    // SAFETY: the panels are as long as was asserted, the rest is the contract.
                    unsafe { kernels.tile(rows, width, LANES)(&tile) };
                }
            }
        }
    }
}

/// `out[column, channel] += sum over rows of a[row, column] * b[row, channel]`.
pub(super) struct Adjoint {
    pub kernels: &'static Kernels,
    /// `[blocks of columns, rows, 16]`, and the values between two of its blocks.
    pub a: *const f32,
    pub a_block: usize,
    pub columns: usize,
    /// `[blocks of channels, rows, 16]`.
    pub b: *const f32,
    pub b_block: usize,
    pub channels: usize,
    pub rows: usize,
    /// `[blocks of channels, columns, 16]`.
    pub out: *mut f32,
    pub out_block: usize,
}

impl Adjoint {
    /// Adds the product to `out`.
    ///
    /// # Safety
    /// The pointers must be valid as described, `columns` and `channels` being blocks of sixteen.
    pub unsafe fn run(&self) {
        let kernels = self.kernels;
        for channel in (0..self.channels).step_by(kernels.outer_blocks) {
            let width = kernels.outer_blocks.min(self.channels - channel);
            let kernel = kernels.outer(width);
            for column in 0..self.columns {
                for r in (0..LANES).step_by(kernels.outer_rows) {
                    let at = channel * self.out_block + (column * LANES + r) * LANES;
                    let outer = Outer {
                        a: self.a.wrapping_add(column * self.a_block + r),
                        a_pixel: LANES,
                        a_row: 0,
                        a_picture: 0,
                        b: self.b.wrapping_add(channel * self.b_block),
                        b_block: self.b_block,
                        b_row: 0,
                        b_picture: 0,
                        a_ahead: 0,
                        b_ahead: 0,
                        count: self.rows,
                        rows: 1,
                        pictures: 1,
                        out: self.out.wrapping_add(at),
                        out_stride: LANES,
                        out_block: self.out_block,
                        accumulate: true,
                    };
                    // SAFETY: by the contract above.
                    unsafe { kernel(&outer) };
                }
            }
        }
    }
}
