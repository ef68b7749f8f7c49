//! 3x3 convolution of stride 1 by Winograd's minimal filtering.
//!
//! Every 6x6 tile of the input is transformed into 36 numbers a channel; at each of the 36 positions a matrix product over
//! channels takes the place of the convolution; a second transform makes 4x4 output pixels of the products. That is 36
//! multiplications where the plain sum has 144.

pub(crate) mod transform;
pub(crate) mod weight_gradient;

use crate::activation::Activation;
use crate::buffer::{Buffer, LANES, Line, SendPtr, with_scratch};
use crate::conv::{Conv2dParams, packed_bias};
use crate::dispatch::Kernels;
use crate::error::KernelError;
use crate::isa::Isa;
use crate::tile::{Tile, pieces};
use crate::weights::Filters;
use rayon::prelude::*;
use std::ops::Range;
use transform::{InputTile, OUT, OutputTile, POSITIONS, WeightTile};

/// Input channels that are summed before moving to the next tiles.
const CHUNK: usize = 256;
/// Weights up to which each task goes through all of them on its own; larger ones are shared out by position.
const PRIVATE_WEIGHTS: usize = 4 << 20;
/// Transformed input and products that a private task aims at.
const PRIVATE_BYTES: usize = 640 << 10;
/// Tiles that are worked on together where the weights are shared out.
const SHARED_TILES: usize = 256;

/// Weights in the transformed domain.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    params: Conv2dParams,
    /// `[position, panel, input channel, channels of the panel]`.
    weights: Buffer,
    bias: Vec<Line>,
    /// Blocks of output channels in a panel; the last panel may have fewer.
    nr: usize,
}

impl Winograd {
    pub fn takes(params: &Conv2dParams) -> bool {
        params.kernel == [3, 3] && params.stride == 1 && params.groups == 1 && params.padding <= 2
    }

    pub fn refuses(params: &Conv2dParams) -> KernelError {
        KernelError::InvalidLayer(format!(
            "Winograd's algorithm needs a 3x3 filter of stride 1, padding up to 2 and one group, found {params:?}"
        ))
    }

    pub fn pack(
        isa: Isa,
        params: &Conv2dParams,
        filters: Filters<'_>,
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Self {
        let kernels = Kernels::of(isa);
        let nr = kernels.nr;
        let (ic, oc) = (params.in_channels, params.out_channels);
        let (in_lines, out_blocks) = (ic.next_multiple_of(LANES), oc.div_ceil(LANES));
        let position = position_values(out_blocks, in_lines);
        let mut weights = Buffer::new(position_lines(out_blocks, in_lines));
        let shared = SendPtr::new(weights.as_mut_ptr());
        (0..out_blocks).into_par_iter().for_each(|block| {
            let (panel, j) = (block / nr, block % nr);
            let width = nr.min(out_blocks - panel * nr);
            let channels = block * LANES..oc.min((block + 1) * LANES);
            let mut taps = [Line::ZERO; 9];
            for i in 0..in_lines {
                if i < ic {
                    for (lane, o) in channels.clone().enumerate() {
                        let scale = scale_shift.map_or(1.0, |(scale, _)| scale[o]);
                        for (line, value) in taps.iter_mut().zip(filters.filter(0, o, i)) {
                            line.0[lane] = scale * value;
                        }
                    }
                } else {
                    taps = [Line::ZERO; 9];
                }
                let line = panel * nr * in_lines + i * width + j;
                let tile = WeightTile {
                    filters: &taps,
                    out: shared.get().wrapping_add(line * LANES),
                    position_stride: position,
                };
                // SAFETY: each block has its own lines, all inside `weights`.
                unsafe { (kernels.winograd_weight)(&tile) };
            }
        });
        Self {
            params: *params,
            weights,
            bias: packed_bias(oc, scale_shift),
            nr,
        }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(self.weights.lines()) + size_of_val(self.bias.as_slice())
    }

    /// Shapes have been checked; `out` is fully written.
    pub fn forward(
        &self,
        isa: Isa,
        x: &Activation,
        residual: Option<&Activation>,
        relu: bool,
        out: &mut Activation,
    ) {
        let [n, _, oh, ow] = out.shape();
        let (down, across) = (oh.div_ceil(OUT), ow.div_ceil(OUT));
        let job = Job {
            conv: self,
            kernels: Kernels::of(isa),
            x,
            out_size: [oh, ow],
            tiling: Tiling { down, across },
            residual: residual.map_or(std::ptr::null(), Activation::as_ptr),
            relu,
            out: out.send_ptr(),
        };
        let threads = rayon::current_num_threads();
        let tiles = n * down * across;
        if self.bytes() <= PRIVATE_WEIGHTS && tiles >= 4 * threads {
            job.private_blocks(tiles, threads);
        } else {
            job.shared_blocks(tiles, threads);
        }
    }
}

/// Tiles of a picture.
#[derive(Clone, Copy)]
struct Tiling {
    down: usize,
    across: usize,
}

impl Tiling {
    /// Picture, row and column of a tile.
    fn locate(self, tile: usize) -> (usize, usize, usize) {
        let Self { down, across } = self;
        (tile / (down * across), tile / across % down, tile % across)
    }
}

/// Values of a position, one line more than needed: strides of a power of two would fall into the same cache sets.
fn position_values(blocks: usize, tiles: usize) -> usize {
    (blocks * tiles + 1) * LANES
}

fn position_lines(blocks: usize, tiles: usize) -> usize {
    POSITIONS * position_values(blocks, tiles) / LANES
}

/// Writes `tiles` of the block's transformed input.
fn transform_input(
    kernels: &Kernels,
    x: &Activation,
    params: &Conv2dParams,
    tiling: Tiling,
    block: &Block,
    tiles: Range<usize>,
) {
    let [_, _, h, w] = x.shape();
    let (blocks, padding) = (x.blocks(), params.padding as isize);
    for c in 0..blocks {
        for t in tiles.clone() {
            let (n, ty, tx) = tiling.locate(block.first + t);
            let plane = (n * blocks + c) * h * w * LANES;
            let tile = InputTile {
                plane: x.as_ptr().wrapping_add(plane),
                height: h,
                width: w,
                y: (ty * OUT) as isize - padding,
                x: (tx * OUT) as isize - padding,
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

/// Transformed input and products of `count` tiles from `first` on.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    count: usize,
    /// `[position, input block, tile, 16]`.
    input: SendPtr,
    /// `[position, output block, tile, 16]`.
    products: SendPtr,
}

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
        transform_input(
            self.kernels,
            self.x,
            &self.conv.params,
            self.tiling,
            block,
            tiles,
        );
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
        let per_position = position_values(outs, ins * LANES) / LANES;
        let weights = &self.conv.weights.lines()[position * per_position..];
        for panel in panels {
            let first = panel * nr;
            let width = nr.min(outs - first);
            for start in (0..ins).step_by(CHUNK / LANES) {
                let end = (start + CHUNK / LANES).min(ins);
                let line = first * ins * LANES + start * LANES * width;
                for (t, count) in pieces(block.count, self.kernels.mr) {
                    let tile = Tile {
                        a: input.wrapping_add(t * LANES),
                        w: weights[line..].as_ptr().cast(),
                        offsets: offsets[start..].as_ptr(),
                        segments: end - start,
                        segment_len: LANES,
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
        let ([oh, ow], outs) = (self.out_size, self.out_blocks());
        for c in 0..outs {
            for t in tiles.clone() {
                let (n, ty, tx) = self.tiling.locate(block.first + t);
                let (y, x) = (ty * OUT, tx * OUT);
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
                    rows: OUT.min(oh - y),
                    columns: OUT.min(ow - x),
                    relu: self.relu,
                };
                // SAFETY: the pixels lie in the output and the residual, which have one shape, and no other task has
                // this tile.
                unsafe { (self.kernels.winograd_output)(&tile) };
            }
        }
    }
}
