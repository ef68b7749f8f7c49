//! Divides pictures into tiles, and lays tiles out in memory.

use super::transform::{InputTile, POSITIONS};
use crate::activation::Activation;
use crate::buffer::SendPtr;
use crate::dispatch::Kernels;
use crate::line::LANES;
use rayon::prelude::*;
use std::ops::Range;

/// Tiles that all threads work on together.
pub(super) const SHARED_TILES: usize = 256;

/// Calls `task` with parts of `0..tiles`, on rayon's threads.
pub(super) fn in_parts(tiles: usize, task: impl Fn(Range<usize>) + Sync) {
    let parts = (4 * rayon::current_num_threads()).min(tiles);
    let part = |i: usize| i * tiles / parts..(i + 1) * tiles / parts;
    (0..parts).into_par_iter().for_each(|i| task(part(i)));
}

/// Tiles of a picture.
#[derive(Clone, Copy)]
pub(super) struct Tiling {
    pub down: usize,
    pub across: usize,
    /// Pixels from one tile to the next in both directions.
    pub step: usize,
    /// Rows and columns of padding before the first pixel.
    pub padding: usize,
}

impl Tiling {
    pub fn new([h, w]: [usize; 2], step: usize, padding: usize) -> Self {
        Self {
            down: h.div_ceil(step),
            across: w.div_ceil(step),
            step,
            padding,
        }
    }

    /// Returns picture, row and column of a tile.
    pub fn locate(self, tile: usize) -> (usize, usize, usize) {
        let Self { down, across, .. } = self;
        (tile / (down * across), tile / across % down, tile % across)
    }
}

/// Values of a position, one line more than needed: strides of a power of two would fall into the same cache sets.
pub(super) fn position_values(blocks: usize, tiles: usize) -> usize {
    (blocks * tiles + 1) * LANES
}

pub(super) fn position_lines(blocks: usize, tiles: usize) -> usize {
    POSITIONS * position_values(blocks, tiles) / LANES
}

/// Writes `tiles` of the block's transformed input.
pub(super) fn transform_input(
    kernels: &Kernels,
    x: &Activation,
    tiling: Tiling,
    block: &Block,
    tiles: Range<usize>,
) {
    let [_, _, h, w] = x.shape();
    let (blocks, padding) = (x.blocks(), tiling.padding as isize);
    for c in 0..blocks {
        for t in tiles.clone() {
            let (n, ty, tx) = tiling.locate(block.first + t);
            let plane = (n * blocks + c) * h * w * LANES;
            let tile = InputTile {
                plane: x.as_ptr().wrapping_add(plane),
                height: h,
                width: w,
                y: (ty * tiling.step) as isize - padding,
                x: (tx * tiling.step) as isize - padding,
                out: block
                    .input
                    .get()
                    .wrapping_add((c * block.count + t) * LANES),
                position_stride: position_values(blocks, block.count),
            };
            // SAFETY: the plane lies in `x`, the tile's slot in the block's memory, and no other task has it.
            unsafe { (kernels.winograd_input)(&tile) };
        }
    }
}

/// Transformed input of `count` tiles from `first` on.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub first: usize,
    pub count: usize,
    /// `[position, input block, tile, 16]`.
    pub input: SendPtr,
}

impl Block {
    /// Returns the transformed input of a position, of `blocks` blocks of channels in all.
    pub fn input_of(&self, position: usize, blocks: usize) -> *const f32 {
        let values = position * position_values(blocks, self.count);
        self.input.get().wrapping_add(values)
    }
}
