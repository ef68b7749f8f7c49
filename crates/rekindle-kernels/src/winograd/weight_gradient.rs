//! The gradient by the weight of a 3x3 convolution, as the adjoint of Winograd's algorithm.
//!
//! The forward pass is linear in the transformed filters. Its adjoint therefore transforms the gradient's
//! tiles the other way, sums products over tiles at each of the 36 positions, and transforms the sums back
//! into filters: again 36 multiplications where the plain sum has 144.

use super::Winograd;
use super::adjoint::{FilterTile, GradientTile};
use super::tiles::{
    Block, SHARED_TILES, Tiling, in_parts, position_lines, position_values, transform_input,
};
use super::transform::{OUT, POSITIONS};
use crate::activation::Activation;
use crate::buffer::{AlignedVec, Buffer, SendPtr, with_scratch};
use crate::dispatch::Kernels;
use crate::filters::Run;
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::outer::Outer;
use crate::params::Conv2dParams;
use crate::tile::pieces;
use rayon::prelude::*;
use std::ops::Range;

/// Tiles whose values of two blocks of output channels stay in the first-level cache with those of one of input channels.
const FIRST_LEVEL_TILES: usize = 128;
/// Blocks of input channels whose sums stay in the second-level cache.
const CHUNK: usize = 8;

/// Shapes have been checked.
pub(crate) fn weight_gradient(
    isa: Isa,
    params: &Conv2dParams,
    x: &Activation,
    dy: &Activation,
) -> AlignedVec {
    let [n, _, oh, ow] = dy.shape();
    let tiling = Tiling::new([oh, ow], OUT, params.padding.top);
    let tiles = n * tiling.down * tiling.across;
    let len = params.weight_shape().iter().product();
    if tiles == 0 {
        return AlignedVec::zeros(len);
    }
    let mut out = AlignedVec::new(len);
    let job = Job {
        params,
        kernels: Kernels::of(isa),
        x,
        dy,
        tiling,
    };
    if Winograd::outgrows_caches(params) {
        job.by_channels(tiles, out.as_mut_slice());
    } else {
        job.by_positions(tiles, out.as_mut_slice());
    }
    out
}

struct Job<'a> {
    params: &'a Conv2dParams,
    kernels: &'static Kernels,
    x: &'a Activation,
    dy: &'a Activation,
    tiling: Tiling,
}

/// Sums over tiles, `[position, block of output channels, input channel, 16]`.
#[derive(Clone, Copy)]
struct Sums {
    first: SendPtr,
    /// Blocks of output channels, and of input channels.
    outs: usize,
    ins: usize,
}

impl Sums {
    fn lines(outs: usize, ins: usize) -> usize {
        position_lines(outs, ins * LANES)
    }

    fn position_stride(self) -> usize {
        position_values(self.outs, self.ins * LANES)
    }

    fn of(self, position: usize, out_block: usize, input: usize) -> *mut f32 {
        let line = out_block * self.ins * LANES + input;
        self.first
            .get()
            .wrapping_add(position * self.position_stride() + line * LANES)
    }
}

/// Memory for [`Tiles`].
struct Transformed {
    input: Buffer,
    gradient: Buffer,
}

impl Transformed {
    /// Allocates memory for up to `most` tiles.
    fn new(job: &Job<'_>, most: usize) -> Self {
        Self {
            input: Buffer::new(position_lines(job.x.blocks(), most)),
            gradient: Buffer::new(position_lines(job.dy.blocks(), most)),
        }
    }

    /// Transforms `count` tiles from `first` on.
    fn fill(&mut self, job: &Job<'_>, first: usize, count: usize) -> Tiles {
        let block = Block {
            first,
            count,
            input: SendPtr::new(self.input.as_mut_ptr()),
        };
        let gradient = SendPtr::new(self.gradient.as_mut_ptr());
        in_parts(count, |tiles| {
            transform_input(job.kernels, job.x, job.tiling, &block, tiles.clone());
            job.transform_gradient(&block, gradient, tiles);
        });
        Tiles { block, gradient }
    }
}

/// Input and gradient of some tiles in the transformed domain.
#[derive(Clone, Copy)]
struct Tiles {
    block: Block,
    /// `[position, output block, tile, 16]`.
    gradient: SendPtr,
}

impl Job<'_> {
    /// Tasks share the positions: each takes all channels, for some tiles after the others.
    fn by_positions(&self, tiles: usize, out: &mut [f32]) {
        let (ins, outs) = (self.x.blocks(), self.dy.blocks());
        let most = tiles.div_ceil(tiles.div_ceil(SHARED_TILES));
        let mut memory = Buffer::new(Sums::lines(outs, ins));
        let first = SendPtr::new(memory.as_mut_ptr());
        let sums = Sums { first, outs, ins };
        let mut transformed = Transformed::new(self, most);
        for (first, count) in pieces(tiles, SHARED_TILES) {
            let filled = transformed.fill(self, first, count);
            (0..2 * POSITIONS).into_par_iter().for_each(|i| {
                let half = i % 2;
                let inputs = half * ins / 2..(half + 1) * ins / 2;
                self.multiply(&filled, i / 2, 0..outs, inputs, sums, 0);
            });
        }
        out.par_chunks_mut(LANES * self.params.in_channels * 9)
            .enumerate()
            .for_each(|(block, out)| {
                let mut filters = [Line::ZERO; LANES * 9];
                for c in 0..ins {
                    self.filters(sums, [block, c], &mut filters, c, out);
                }
            });
    }

    /// Tasks share the output channels: each takes all positions, for some input channels after the others.
    fn by_channels(&self, tiles: usize, out: &mut [f32]) {
        let (ins, width) = (self.x.blocks(), self.kernels.outer_blocks);
        let per_block = LANES * self.params.in_channels * 9;
        let mut transformed = Transformed::new(self, tiles);
        let filled = transformed.fill(self, 0, tiles);
        out.par_chunks_mut(width * per_block)
            .enumerate()
            .for_each(|(panel, out)| {
                let first = panel * width;
                let outs = first..self.dy.blocks().min(first + width);
                with_scratch(Sums::lines(outs.len(), CHUNK), |scratch| {
                    let sums = Sums {
                        first: SendPtr::new(scratch.as_mut_ptr().cast()),
                        outs: outs.len(),
                        ins: CHUNK,
                    };
                    let mut filters = [Line::ZERO; LANES * 9];
                    for start in (0..ins).step_by(CHUNK) {
                        let inputs = start..ins.min(start + CHUNK);
                        for position in 0..POSITIONS {
                            let (outs, inputs) = (outs.clone(), inputs.clone());
                            self.multiply(&filled, position, outs, inputs, sums, start);
                        }
                        for (j, out) in out.chunks_mut(per_block).enumerate() {
                            for c in inputs.clone() {
                                self.filters(sums, [j, c - start], &mut filters, c, out);
                            }
                        }
                    }
                });
            });
    }

    fn transform_gradient(&self, block: &Block, gradient: SendPtr, tiles: Range<usize>) {
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
                    out: gradient.get().wrapping_add((c * block.count + t) * LANES),
                    position_stride: position_values(outs, block.count),
                };
                // SAFETY: the pixels lie in `dy`, the slot in the block's memory, and no other task has it.
                unsafe { (self.kernels.winograd_gradient)(&tile) };
            }
        }
    }

    /// Sums over the block's tiles for some blocks of channels; `sums` starts at input block `start` and the first of
    /// `outputs`.
    fn multiply(
        &self,
        tiles: &Tiles,
        position: usize,
        outputs: Range<usize>,
        inputs: Range<usize>,
        sums: Sums,
        start: usize,
    ) {
        let Tiles { block, gradient } = tiles;
        let (ins, outs) = (self.x.blocks(), self.dy.blocks());
        let plane = block.count * LANES;
        let a = block.input_of(position, ins);
        let b = position * position_values(outs, block.count);
        let b = gradient.get().wrapping_add(b);
        let (nr, rows) = (self.kernels.outer_blocks, self.kernels.outer_rows);
        for first in outputs.clone().step_by(nr) {
            let blocks = nr.min(outputs.end - first);
            for ((t, count), c) in pieces(block.count, FIRST_LEVEL_TILES)
                .flat_map(|piece| inputs.clone().map(move |c| (piece, c)))
            {
                for r in (0..LANES).step_by(rows) {
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
                        out: sums.of(position, first - outputs.start, (c - start) * LANES + r),
                        out_stride: LANES,
                        out_block: sums.ins * LANES * LANES,
                        accumulate: block.first + t > 0,
                    };
                    // SAFETY: all pointers lie in the block's memory and the sums, and no other task has these
                    // channels at this position.
                    unsafe { self.kernels.outer(blocks)(&outer) };
                }
            }
        }
    }

    /// Writes the filters of a block of output and one of input channels of `sums`, the latter the layer's block `c`, to
    /// the block's part of the gradient.
    fn filters(
        &self,
        sums: Sums,
        [out_block, in_block]: [usize; 2],
        filters: &mut [Line; LANES * 9],
        c: usize,
        out: &mut [f32],
    ) {
        let ic = self.params.in_channels;
        let first = c * LANES;
        let run = Run {
            group: 0,
            outputs: 0..out.len() / (ic * 9),
            inputs: first..ic.min(first + LANES),
            channel: 0,
            lane: 0,
            line: 0,
            per_input: 9,
        };
        for (i, filters) in filters.as_chunks_mut::<9>().0.iter_mut().enumerate() {
            let mut tile = FilterTile {
                sums: sums.of(0, out_block, in_block * LANES + i),
                position_stride: sums.position_stride(),
                filters,
            };
            // SAFETY: all 36 positions of this channel and block lie in the sums.
            unsafe { (self.kernels.winograd_filter)(&mut tile) };
        }
        let places: [usize; 9] = std::array::from_fn(|tap| tap);
        run.scatter(self.kernels, filters, &places, &mut out[first * 9..], ic);
    }
}
