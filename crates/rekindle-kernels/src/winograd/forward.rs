//! The forward pass.

use super::tiles::{Block, Tiling, position_lines, position_values, transform_input};
use super::transform::{OUT, OutputTile, POSITIONS};
use super::{Winograd, space_to_depth};
use crate::activation::Activation;
use crate::buffer::{Buffer, LANES, SendPtr, with_scratch};
use crate::direct::Source;
use crate::dispatch::Kernels;
use crate::isa::Isa;
use crate::tile::{Tile, pieces};
use rayon::prelude::*;
use std::ops::Range;

/// Input channels that are summed before moving to the next tiles.
const CHUNK: usize = 256;
/// Weights up to which each task goes through all of them on its own; larger ones are shared out by position.
const PRIVATE_WEIGHTS: usize = 4 << 20;
/// Transformed input and products that a private task aims at.
const PRIVATE_BYTES: usize = 640 << 10;
/// Tiles that are worked on together where the weights are shared out.
pub(super) const SHARED_TILES: usize = 256;

impl Winograd {
    /// Shapes have been checked; `out` is fully written.
    pub fn forward(
        &self,
        isa: Isa,
        source: Source<'_>,
        shape: [usize; 4],
        residual: Option<&Activation>,
        relu: bool,
        out: &mut Activation,
    ) {
        let [n, _, oh, ow] = out.shape();
        let rearranged;
        let x = match source {
            Source::Blocked(x) if !self.space_to_depth => x,
            _ => {
                rearranged = space_to_depth::rearrange(source, shape);
                &rearranged
            }
        };
        let tiling = Tiling::new([oh, ow], self.step, self.padding);
        let job = Job {
            conv: self,
            kernels: Kernels::of(isa),
            x,
            out_size: [oh, ow],
            tiling,
            residual: residual.map_or(std::ptr::null(), Activation::as_ptr),
            relu,
            out: out.send_ptr(),
        };
        let threads = rayon::current_num_threads();
        let tiles = n * tiling.down * tiling.across;
        if self.bytes() <= PRIVATE_WEIGHTS && tiles >= 4 * threads {
            job.private_blocks(tiles, threads);
        } else {
            job.shared_blocks(tiles, threads);
        }
    }
}

/// One forward pass.
struct Job<'a> {
    conv: &'a Winograd,
    kernels: &'static Kernels,
    x: &'a Activation,
    out_size: [usize; 2],
    tiling: Tiling,
    residual: *const f32,
    relu: bool,
    out: SendPtr,
}

// SAFETY: `residual` is only read, and outlives the pass by the borrow in `Winograd::forward`.
unsafe impl Sync for Job<'_> {}

impl Job<'_> {
    fn in_blocks(&self) -> usize {
        self.x.blocks()
    }

    fn out_blocks(&self) -> usize {
        self.conv.bias.len()
    }

    /// Each task takes some tiles through all three steps in memory of its own.
    fn private_blocks(&self, tiles: usize, threads: usize) {
        let (ins, outs) = (self.in_blocks(), self.out_blocks());
        let mr = self.kernels.mr;
        let fitting = PRIVATE_BYTES / (POSITIONS * (ins + outs) * LANES * 4);
        let count = fitting
            .clamp(2 * mr, 8 * mr.max(8))
            .next_multiple_of(mr)
            .min(tiles.div_ceil(2 * threads));
        let tasks = tiles.div_ceil(count);
        (0..tasks).into_par_iter().for_each(|task| {
            let (first, end) = (task * tiles / tasks, (task + 1) * tiles / tasks);
            let count = end - first;
            let (a, b) = (position_lines(ins, count), position_lines(outs, count));
            with_scratch(a + b, |scratch| {
                let (input, products) = scratch.split_at_mut(a);
                let block = Block {
                    first,
                    count,
                    input: SendPtr::new(input.as_mut_ptr().cast()),
                    products: SendPtr::new(products.as_mut_ptr().cast()),
                };
                self.transform_input(&block, 0..count);
                for position in 0..POSITIONS {
                    self.multiply(&block, position, 0..self.panels());
                }
                self.transform_output(&block, 0..count);
            });
        });
    }

    /// All threads work on the same tiles, each with its own share of the weights.
    fn shared_blocks(&self, tiles: usize, threads: usize) {
        let (ins, outs) = (self.in_blocks(), self.out_blocks());
        let blocks = tiles.div_ceil(SHARED_TILES);
        let most = tiles.div_ceil(blocks.max(1));
        let mut input = Buffer::new(position_lines(ins, most));
        let mut products = Buffer::new(position_lines(outs, most));
        let (input, products) = (
            SendPtr::new(input.as_mut_ptr()),
            SendPtr::new(products.as_mut_ptr()),
        );
        for (first, count) in pieces(tiles, SHARED_TILES) {
            let block = Block {
                first,
                count,
                input,
                products,
            };
            let parts = (4 * threads).min(count);
            let part = |i: usize| i * count / parts..(i + 1) * count / parts;
            (0..parts)
                .into_par_iter()
                .for_each(|i| self.transform_input(&block, part(i)));
            let halves = if self.panels() > 1 { 2 } else { 1 };
            (0..POSITIONS * halves).into_par_iter().for_each(|i| {
                let (position, half) = (i / halves, i % halves);
                let panels = self.panels();
                let panels = half * panels / halves..(half + 1) * panels / halves;
                self.multiply(&block, position, panels);
            });
            (0..parts)
                .into_par_iter()
                .for_each(|i| self.transform_output(&block, part(i)));
        }
    }

    fn panels(&self) -> usize {
        self.out_blocks().div_ceil(self.conv.nr)
    }

    fn transform_input(&self, block: &Block, tiles: Range<usize>) {
        transform_input(self.kernels, self.x, self.tiling, block, tiles);
    }

    fn multiply(&self, block: &Block, position: usize, panels: Range<usize>) {
        let (ins, outs) = (self.in_blocks(), self.out_blocks());
        let (nr, plane) = (self.conv.nr, block.count * LANES);
        let offsets: Vec<isize> = (0..ins).map(|c| (c * plane) as isize).collect();
        let input = block
            .input
            .get()
            .wrapping_add(position * position_values(ins, block.count));
        let products = block
            .products
            .get()
            .wrapping_add(position * position_values(outs, block.count));
        let per_position = position_values(outs, self.conv.in_lines) / LANES;
        let weights = &self.conv.weights.lines()[position * per_position..];
        for panel in panels {
            let first = panel * nr;
            let width = nr.min(outs - first);
            for start in (0..ins).step_by(CHUNK / LANES) {
                let end = (start + CHUNK / LANES).min(ins);
                let line = first * self.conv.in_lines + start * LANES * width;
                for (t, count) in pieces(block.count, self.kernels.mr) {
                    let tile = Tile {
                        a: input.wrapping_add(t * LANES),
                        w: weights[line..].as_ptr().cast(),
                        offsets: offsets[start..].as_ptr(),
                        segments: end - start,
                        segment_len: LANES.min(self.conv.in_lines),
                        out: products.wrapping_add((first * block.count + t) * LANES),
                        block_stride: plane,
                        pixel_stride: LANES,
                        residual: std::ptr::null(),
                        bias: std::ptr::null(),
                        accumulate: start > 0,
                        relu: false,
                        fetch_next: false,
                    };
                    // SAFETY: all pointers lie in the block's memory and the packed weights, and no other task has
                    // this panel at this position.
                    unsafe { self.kernels.tile(count, width, LANES)(&tile) };
                }
            }
        }
    }

    fn transform_output(&self, block: &Block, tiles: Range<usize>) {
        let ([oh, ow], outs, step) = (self.out_size, self.out_blocks(), self.tiling.step);
        let transform = self.kernels.winograd_output[usize::from(step < OUT)];
        for c in 0..outs {
            for t in tiles.clone() {
                let (n, ty, tx) = self.tiling.locate(block.first + t);
                let (y, x) = (ty * step, tx * step);
                let at = (((n * outs + c) * oh + y) * ow + x) * LANES;
                let products = block
                    .products
                    .get()
                    .wrapping_add((c * block.count + t) * LANES);
                let tile = OutputTile {
                    products,
                    position_stride: position_values(outs, block.count),
                    bias: self.conv.bias[c..].as_ptr().cast(),
                    out: self.out.get().wrapping_add(at),
                    residual: if self.residual.is_null() {
                        self.residual
                    } else {
                        self.residual.wrapping_add(at)
                    },
                    row_stride: ow * LANES,
                    rows: step.min(oh - y),
                    columns: step.min(ow - x),
                    relu: self.relu,
                };
                // SAFETY: the pixels lie in the output and the residual, which have one shape, and no other task has
                // this tile.
                unsafe { transform(&tile) };
            }
        }
    }
}
