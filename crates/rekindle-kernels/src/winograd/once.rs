//! The forward pass with filters that are used once.
//!
//! Transformed filters are four times as large as filters: those of a late stage don't fit into the caches, and where they
//! move after every pass, as in training, writing and reading them takes longer than the products. Here every task
//! transforms the filters of a few channels, multiplies by them, and goes on: they never leave its second-level cache.

use super::Winograd;
use super::output::{Output, Product, Products};
use super::tiles::{Block, Tiling, position_lines, position_values, transform_input};
use super::transform::{OUT, POSITIONS};
use super::weights::{Destination, FilterTransform};
use crate::activation::Activation;
use crate::buffer::{Buffer, LANES, SendPtr, with_scratch};
use crate::conv::{Conv2dParams, packed_bias};
use crate::dispatch::Kernels;
use crate::tile::pieces;
use crate::unpacked::Pass;
use rayon::prelude::*;
use std::ops::Range;

/// Blocks of input channels whose filters are in the cache at a time.
const CHUNK: usize = 8;
/// Tiles that are worked on together.
const TILES: usize = 256;

/// Transformed filters above this leave the caches before they are read.
const KEPT_FILTERS: usize = 16 << 20;

/// Whether it is faster than packing the filters for the pass.
pub(crate) fn pays(params: &Conv2dParams) -> bool {
    let (ins, outs) = (params.in_channels, params.out_channels);
    Winograd::takes_gradient(params) && POSITIONS * ins * outs * size_of::<f32>() > KEPT_FILTERS
}

/// Shapes have been checked, and the filters are 3x3 of stride 1; `out` is fully written.
pub(crate) fn forward(
    pass: &Pass<'_>,
    x: &Activation,
    residual: Option<&Activation>,
    relu: bool,
    out: &mut Activation,
) {
    let (kernels, params) = (Kernels::of(pass.isa), pass.params);
    let (scale, bias) = (
        pass.scale_shift.map(|(scale, _)| scale),
        packed_bias(params.out_channels, pass.scale_shift),
    );
    let [n, _, oh, ow] = out.shape();
    let tiling = Tiling::new([oh, ow], OUT, params.padding);
    let job = Job {
        kernels,
        x,
        tiling,
        transform: FilterTransform::new(kernels, params, pass.filters, scale),
        output: Output::new(kernels, tiling, &bias, residual, relu, out),
    };
    job.run(n * tiling.down * tiling.across);
}

struct Job<'a> {
    kernels: &'static Kernels,
    x: &'a Activation,
    tiling: Tiling,
    transform: FilterTransform<'a>,
    output: Output<'a>,
}

impl Job<'_> {
    fn run(&self, tiles: usize) {
        let ins = self.x.blocks();
        let most = tiles.div_ceil(tiles.div_ceil(TILES).max(1));
        let mut input = Buffer::new(position_lines(ins, most));
        let input = SendPtr::new(input.as_mut_ptr());
        for (first, count) in pieces(tiles, TILES) {
            let block = Block {
                first,
                count,
                input,
                products: input,
            };
            let parts = (4 * rayon::current_num_threads()).min(count);
            (0..parts).into_par_iter().for_each(|i| {
                let tiles = i * count / parts..(i + 1) * count / parts;
                transform_input(self.kernels, self.x, self.tiling, &block, tiles);
            });
            let (nr, outs) = (self.kernels.nr, self.output.blocks());
            (0..outs.div_ceil(nr)).into_par_iter().for_each(|panel| {
                self.panel(&block, panel * nr..outs.min((panel + 1) * nr));
            });
        }
    }

    /// All tiles of the block for some output channels.
    fn panel(&self, block: &Block, blocks: Range<usize>) {
        let (ins, width) = (self.x.blocks(), blocks.len());
        let gathered = self.transform.scratch_lines();
        let filters = position_lines(width, CHUNK * LANES);
        let products = position_lines(width, block.count);
        with_scratch(gathered + filters + products, |scratch| {
            let (gathered, scratch) = scratch.split_at_mut(gathered);
            let (filters, products) = scratch.split_at_mut(filters);
            let filters: *mut f32 = filters.as_mut_ptr().cast();
            let products: *mut f32 = products.as_mut_ptr().cast();
            let per_filter = position_values(width, CHUNK * LANES);
            let per_product = position_values(width, block.count);
            for start in (0..ins).step_by(CHUNK) {
                let chunk = start..ins.min(start + CHUNK);
                for c in chunk.clone() {
                    for (j, out_block) in blocks.clone().enumerate() {
                        let line = (c - start) * LANES * width + j;
                        let to = Destination {
                            out: filters.wrapping_add(line * LANES),
                            row: width * LANES,
                            position: per_filter,
                        };
                        // SAFETY: the scratch has room for a chunk, and is this task's own.
                        unsafe { self.transform.write(out_block, c, LANES, gathered, to) };
                    }
                }
                let offset = |c: usize| (c * block.count * LANES) as isize;
                let offsets: Vec<isize> = chunk.map(offset).collect();
                for position in 0..POSITIONS {
                    let product = Product {
                        input: block.input_of(position, ins),
                        offsets: &offsets,
                        segment_len: LANES,
                        weights: filters.wrapping_add(position * per_filter),
                        products: products.wrapping_add(position * per_product),
                        tiles: block.count,
                        blocks: width,
                        accumulate: start > 0,
                    };
                    // SAFETY: the input holds all blocks, the scratch the chunk's filters and the panel's products.
                    unsafe { product.compute(self.kernels) };
                }
            }
            let products = Products {
                first: products,
                position_stride: per_product,
                blocks: blocks.clone(),
                first_tile: block.first,
                count: block.count,
            };
            // SAFETY: all positions have been multiplied, and no other task has these blocks.
            unsafe { self.output.write(&products, 0..block.count) };
        });
    }
}
