//! The gradient by the weight of a 3x3 convolution, as the adjoint of Winograd's algorithm.
//!
//! What the forward pass computes is linear in the transformed filters, so its adjoint transforms the gradient's tiles the
//! other way, sums products over tiles at each of the 36 positions, and transforms the sums back into filters: again 36
//! multiplications where the plain sum has 144.

use super::adjoint::{FilterTile, GradientTile};
use super::forward::SHARED_TILES;
use super::tiles::{Block, Tiling, position_lines, position_values, transform_input};
use super::transform::{OUT, POSITIONS};
use crate::activation::Activation;
use crate::buffer::{Buffer, LANES, Line, SendPtr};
use crate::conv::Conv2dParams;
use crate::dispatch::Kernels;
use crate::isa::Isa;
use crate::outer::Outer;
use crate::tile::pieces;
use rayon::prelude::*;
use std::ops::Range;

/// Tiles whose values of two blocks of output channels stay in the first-level cache with those of one of input channels.
const FIRST_LEVEL_TILES: usize = 128;

/// Shapes have been checked.
pub(crate) fn weight_gradient(
    isa: Isa,
    params: &Conv2dParams,
    x: &Activation,
    dy: &Activation,
) -> Vec<f32> {
    let [n, _, oh, ow] = dy.shape();
    let tiling = Tiling::new([oh, ow], OUT, params.padding);
    let tiles = n * tiling.down * tiling.across;
    if tiles == 0 {
        return vec![0.0; params.weight_shape().iter().product()];
    }
    let job = Job {
        params,
        kernels: Kernels::of(isa),
        x,
        dy,
        tiling,
    };
    let most = tiles.div_ceil(tiles.div_ceil(SHARED_TILES));
    let mut input = Buffer::new(position_lines(x.blocks(), most));
    let mut gradient = Buffer::new(position_lines(dy.blocks(), most));
    let mut sums = Buffer::new(position_lines(dy.blocks(), x.blocks() * LANES));
    let (input, gradient) = (
        SendPtr::new(input.as_mut_ptr()),
        SendPtr::new(gradient.as_mut_ptr()),
    );
    let out = SendPtr::new(sums.as_mut_ptr());
    for (first, count) in pieces(tiles, SHARED_TILES) {
        let block = Block {
            first,
            count,
            input,
            products: gradient,
        };
        let parts = (4 * rayon::current_num_threads()).min(count);
        (0..2 * parts).into_par_iter().for_each(|i| {
            let range = i / 2 * count / parts..(i / 2 + 1) * count / parts;
            if i % 2 == 0 {
                transform_input(job.kernels, x, tiling, &block, range);
            } else {
                job.transform_gradient(&block, range);
            }
        });
        (0..2 * POSITIONS).into_par_iter().for_each(|i| {
            let (half, blocks) = (i % 2, x.blocks());
            let inputs = half * blocks / 2..(half + 1) * blocks / 2;
            job.multiply(&block, i / 2, inputs, out);
        });
    }
    job.filters(&sums)
}

struct Job<'a> {
    params: &'a Conv2dParams,
    kernels: &'static Kernels,
    x: &'a Activation,
    dy: &'a Activation,
    tiling: Tiling,
}

impl Job<'_> {
    fn transform_gradient(&self, block: &Block, tiles: Range<usize>) {
        let ([_, _, oh, ow], outs) = (self.dy.shape(), self.dy.blocks());
        for c in 0..outs {
            for t in tiles.clone() {
                let (n, ty, tx) = self.tiling.locate(block.first + t);
                let (y, x) = (ty * OUT, tx * OUT);
                let at = (((n * outs + c) * oh + y) * ow + x) * LANES;
                let tile = GradientTile {
                    dy: self.dy.as_ptr().wrapping_add(at),
                    row_stride: ow * LANES,
                    rows: OUT.min(oh - y),
                    columns: OUT.min(ow - x),
                    out: block
                        .products
                        .get()
                        .wrapping_add((c * block.count + t) * LANES),
                    position_stride: position_values(outs, block.count),
                };
                // SAFETY: the pixels lie in `dy`, the slot in the block's memory, and no other task has it.
                unsafe { (self.kernels.winograd_gradient)(&tile) };
            }
        }
    }

    /// Sums `[position, block of output channels, input channel, 16]` over the block's tiles.
    fn multiply(&self, block: &Block, position: usize, inputs: Range<usize>, sums: SendPtr) {
        let (ins, outs) = (self.x.blocks(), self.dy.blocks());
        let plane = block.count * LANES;
        let a = block
            .input
            .get()
            .wrapping_add(position * position_values(ins, block.count));
        let b = block
            .products
            .get()
            .wrapping_add(position * position_values(outs, block.count));
        let sums = sums
            .get()
            .wrapping_add(position * position_values(outs, ins * LANES));
        let (nr, rows) = (self.kernels.outer_blocks, self.kernels.outer_rows);
        for first in (0..outs).step_by(nr) {
            let blocks = nr.min(outs - first);
            for ((t, count), c) in pieces(block.count, FIRST_LEVEL_TILES)
                .flat_map(|piece| inputs.clone().map(move |c| (piece, c)))
            {
                for r in (0..LANES).step_by(rows) {
                    let row = (first * ins + c) * LANES + r;
                    let outer = Outer {
                        a: a.wrapping_add(c * plane + t * LANES + r),
                        a_pixel: LANES,
                        a_row: 0,
                        a_picture: 0,
                        b: b.wrapping_add(first * plane + t * LANES),
                        b_block: plane,
                        b_row: 0,
                        b_picture: 0,
                        a_ahead: 0,
                        b_ahead: 0,
                        count,
                        rows: 1,
                        pictures: 1,
                        out: sums.wrapping_add(row * LANES),
                        out_stride: LANES,
                        out_block: ins * LANES * LANES,
                        accumulate: block.first + t > 0,
                    };
                    // SAFETY: all pointers lie in the block's memory and the sums, and no other task has these
                    // inputs at this position.
                    unsafe { self.kernels.outer(blocks)(&outer) };
                }
            }
        }
    }

    fn filters(&self, sums: &Buffer) -> Vec<f32> {
        let (ins, outs) = (self.x.blocks(), self.dy.blocks());
        let ic = self.params.in_channels;
        let mut out = vec![0.0; self.params.out_channels * ic * 9];
        out.par_chunks_mut(LANES * ic * 9)
            .enumerate()
            .for_each(|(block, out)| {
                let mut filters = [[Line::ZERO; 9]; LANES];
                for first in (0..ic).step_by(LANES) {
                    let inputs = LANES.min(ic - first);
                    for (i, filters) in filters.iter_mut().enumerate().take(inputs) {
                        let line = block * ins * LANES + first + i;
                        let mut tile = FilterTile {
                            sums: sums.as_ptr().wrapping_add(line * LANES),
                            position_stride: position_values(outs, ins * LANES),
                            filters,
                        };
                        // SAFETY: all 36 positions of this channel and block lie in the sums.
                        unsafe { (self.kernels.winograd_filter)(&mut tile) };
                    }
                    for (lane, out) in out.chunks_mut(ic * 9).enumerate() {
                        let out = &mut out[first * 9..][..inputs * 9];
                        for (values, filter) in out.chunks_exact_mut(9).zip(&filters) {
                            for (value, line) in values.iter_mut().zip(filter) {
                                *value = line.0[lane];
                            }
                        }
                    }
                }
            });
        out
    }
}
