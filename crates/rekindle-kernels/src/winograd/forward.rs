//! The forward pass.

use super::output::{Output, Product, Products};
use super::tiles::{
    Block, SHARED_TILES, Tiling, in_parts, position_lines, position_values, transform_input,
};
use super::transform::POSITIONS;
use super::{Winograd, space_to_depth};
use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::buffer::{Buffer, SendPtr, with_scratch};
use crate::direct::Source;
use crate::dispatch::Kernels;
use crate::isa::Isa;
use crate::line::LANES;
use crate::tile::pieces;
use rayon::prelude::*;
use std::ops::Range;

/// Input channels that are summed before moving to the next tiles.
const CHUNK: usize = 256;
/// Weights up to which each task goes through all of them on its own; larger ones are shared out by position.
const PRIVATE_WEIGHTS: usize = 4 << 20;
/// Transformed input and products that a private task aims at.
const PRIVATE_BYTES: usize = 640 << 10;

impl Winograd {
    /// Shapes have been checked; `out` is fully written.
    pub fn forward(
        &self,
        isa: Isa,
        source: Source<'_>,
        shape: [usize; 4],
        residual: Option<&Activation>,
        function: ActivationFn,
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
        let kernels = Kernels::of(isa);
        let tiling = Tiling::new([oh, ow], self.step, self.padding);
        let job = Job {
            conv: self,
            kernels,
            x,
            tiling,
            output: Output::new(kernels, tiling, &self.bias, residual, function, out),
        };
        let threads = rayon::current_num_threads();
        let tiles = n * tiling.down * tiling.across;
        if self.bytes() <= PRIVATE_WEIGHTS && tiles >= 4 * threads {
            job.private_blocks(tiles, threads);
        } else {
            job.shared_blocks(tiles);
        }
    }
}

/// One forward pass.
struct Job<'a> {
    conv: &'a Winograd,
    kernels: &'static Kernels,
    x: &'a Activation,
    tiling: Tiling,
    output: Output<'a>,
}

impl Job<'_> {
    fn in_blocks(&self) -> usize {
        self.x.blocks()
    }

    fn out_blocks(&self) -> usize {
        self.output.blocks()
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
                };
                let products = SendPtr::new(products.as_mut_ptr().cast());
                self.transform_input(&block, 0..count);
                for position in 0..POSITIONS {
                    self.multiply(&block, products, position, 0..self.panels());
                }
                self.transform_output(&block, products, 0..count);
            });
        });
    }

    /// All threads work on the same tiles, each with its own share of the weights.
    fn shared_blocks(&self, tiles: usize) {
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
            };
            in_parts(count, |tiles| self.transform_input(&block, tiles));
            let halves = if self.panels() > 1 { 2 } else { 1 };
            (0..POSITIONS * halves).into_par_iter().for_each(|i| {
                let (position, half) = (i / halves, i % halves);
                let panels = self.panels();
                let panels = half * panels / halves..(half + 1) * panels / halves;
                self.multiply(&block, products, position, panels);
            });
            in_parts(count, |tiles| {
                self.transform_output(&block, products, tiles)
            });
        }
    }

    fn panels(&self) -> usize {
        self.out_blocks().div_ceil(self.conv.nr)
    }

    fn transform_input(&self, block: &Block, tiles: Range<usize>) {
        transform_input(self.kernels, self.x, self.tiling, block, tiles);
    }

    /// `products` are `[position, output block, tile, 16]`.
    fn multiply(&self, block: &Block, products: SendPtr, position: usize, panels: Range<usize>) {
        let (ins, outs) = (self.in_blocks(), self.out_blocks());
        let (nr, plane) = (self.conv.nr, block.count * LANES);
        let offsets: Vec<isize> = (0..ins).map(|c| (c * plane) as isize).collect();
        let of_position = position * position_values(outs, block.count);
        let per_position = position_values(outs, self.conv.in_lines) / LANES;
        let weights = &self.conv.weights.lines()[position * per_position..];
        for panel in panels {
            let first = panel * nr;
            let blocks = nr.min(outs - first);
            for start in (0..ins).step_by(CHUNK / LANES) {
                let end = (start + CHUNK / LANES).min(ins);
                let line = first * self.conv.in_lines + start * LANES * blocks;
                let product = Product {
                    input: block.input_of(position, ins),
                    offsets: &offsets[start..end],
                    segment_len: LANES.min(self.conv.in_lines),
                    weights: weights[line..].as_ptr().cast(),
                    products: products.get().wrapping_add(of_position + first * plane),
                    tiles: block.count,
                    blocks,
                    accumulate: start > 0,
                };
                // SAFETY: all pointers lie in the block's memory and the packed weights, and no other task has this
                // panel at this position.
                unsafe { product.compute(self.kernels) };
            }
        }
    }

    fn transform_output(&self, block: &Block, products: SendPtr, tiles: Range<usize>) {
        let outs = self.out_blocks();
        let products = Products {
            first: products.get(),
            position_stride: position_values(outs, block.count),
            blocks: 0..outs,
            first_tile: block.first,
            count: block.count,
        };
        // SAFETY: all positions have been multiplied, and no other task has these tiles.
        unsafe { self.output.write(&products, tiles) };
    }
}
