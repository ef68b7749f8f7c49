//! The forward pass with filters that are transformed as they are used.
//!
//! Transformed filters are four times as large as filters. Those of a late stage don't fit into the caches: to read them
//! from memory takes as long as to transform them again, and where filters move after every pass, as in training, to write
//! them takes longer than the products. Here every task transforms the filters of a few channels, multiplies by them, and
//! goes on: they never leave its second-level cache.

use super::output::{Output, Product, Products};
use super::tiles::{
    Block, SHARED_TILES, Tiling, in_parts, position_lines, position_values, transform_input,
};
use super::transform::{OUT, POSITIONS};
use super::weights::{Destination, FilterTransform};
use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::buffer::{Buffer, SendPtr, with_scratch};
use crate::dispatch::Kernels;
use crate::filters::{Filters, Layer};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
use crate::tile::pieces;
use rayon::prelude::*;
use std::ops::Range;

/// Blocks of input channels whose filters are in the cache at a time.
const CHUNK: usize = 8;

/// Filters in lanes, not transformed yet.
#[derive(Clone, Debug)]
pub(crate) struct OnTheFly {
    params: Conv2dParams,
    /// `[block of output channels, input channel, tap, 16]`.
    filters: Buffer,
    bias: Vec<Line>,
}

impl OnTheFly {
    /// The filters are 3x3 of stride 1.
    pub fn pack(
        isa: Isa,
        params: &Conv2dParams,
        filters: Filters<'_>,
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Self {
        let scale = scale_shift.map(|(scale, _)| scale);
        let transform = FilterTransform::new(Kernels::of(isa), params, filters, scale);
        let bias = Line::of_channels(params.out_channels, scale_shift.map(|s| s.1));
        let per_group = transform.group_lines();
        let per_block = transform.groups() * per_group;
        let mut packed = Buffer::new(bias.len() * per_block);
        let blocks = packed.lines_mut().par_chunks_mut(per_block).enumerate();
        blocks.for_each(|(block, lines)| {
            for (group, lines) in lines.chunks_mut(per_group).enumerate() {
                transform.gather(block, group, lines);
            }
        });
        Self {
            params: *params,
            filters: packed,
            bias,
        }
    }

    /// Shapes have been checked; `out` is fully written.
    pub fn forward(
        &self,
        isa: Isa,
        x: &Activation,
        residual: Option<&Activation>,
        function: ActivationFn,
        out: &mut Activation,
    ) {
        let kernels = Kernels::of(isa);
        let tiling = tiling(&self.params, out);
        let job = Job {
            kernels,
            x,
            tiling,
            transform: FilterTransform::of_gathered(kernels, &self.params, self.filters.lines()),
            output: Output::new(kernels, tiling, &self.bias, residual, function, out),
        };
        job.run();
    }

    /// Computes [`forward`](Self::forward) by filters that are not packed.
    pub fn forward_unpacked(
        layer: &Layer<'_>,
        x: &Activation,
        residual: Option<&Activation>,
        function: ActivationFn,
        out: &mut Activation,
    ) {
        let (kernels, params) = (Kernels::of(layer.isa), layer.params);
        let scale = layer.scale_shift.map(|(scale, _)| scale);
        let bias = Line::of_channels(params.out_channels, layer.scale_shift.map(|s| s.1));
        let tiling = tiling(params, out);
        let job = Job {
            kernels,
            x,
            tiling,
            transform: FilterTransform::new(kernels, params, layer.filters, scale),
            output: Output::new(kernels, tiling, &bias, residual, function, out),
        };
        job.run();
    }

    pub fn bytes(&self) -> usize {
        size_of_val(self.filters.lines()) + size_of_val(self.bias.as_slice())
    }
}

fn tiling(params: &Conv2dParams, out: &Activation) -> Tiling {
    let [_, _, height, width] = out.shape();
    Tiling::new([height, width], OUT, params.padding.top)
}

struct Job<'a> {
    kernels: &'static Kernels,
    x: &'a Activation,
    tiling: Tiling,
    transform: FilterTransform<'a>,
    output: Output<'a>,
}

impl Job<'_> {
    fn run(&self) {
        let tiles = self.x.shape()[0] * self.tiling.down * self.tiling.across;
        let ins = self.x.blocks();
        let most = tiles.div_ceil(tiles.div_ceil(SHARED_TILES).max(1));
        let mut input = Buffer::new(position_lines(ins, most));
        let input = SendPtr::new(input.as_mut_ptr());
        for (first, count) in pieces(tiles, SHARED_TILES) {
            let block = Block {
                first,
                count,
                input,
            };
            in_parts(count, |tiles| {
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
        let gathered = self.transform.group_lines();
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
