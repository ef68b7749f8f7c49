//! Products at each position, and the output pixels that they become.

use super::tiles::Tiling;
use super::transform::{OUT, OutputTile};
use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::buffer::SendPtr;
use crate::dispatch::Kernels;
use crate::functions::{Apply, Clamp};
use crate::line::{LANES, Line};
use crate::tile::{Tile, pieces};
use std::ops::Range;

/// A matrix product at one position: tiles by a panel's output channels.
pub(super) struct Product<'a> {
    /// Transformed input of the position, `[input block, tile, 16]`.
    pub input: *const f32,
    /// Values from `input` to each block that is summed over.
    pub offsets: &'a [isize],
    /// Channels of a block.
    pub segment_len: usize,
    /// Transformed filters of the position and the panel, `[input channel, channels of the panel]`.
    pub weights: *const f32,
    /// Products of the position and the panel, `[output block, tile, 16]`.
    pub products: *mut f32,
    pub tiles: usize,
    /// Blocks of output channels.
    pub blocks: usize,
    /// Add to what `products` holds.
    pub accumulate: bool,
}

impl Product<'_> {
    /// # Safety
    ///
    /// The pointers must be valid as described, and nobody else may use the products.
    pub unsafe fn compute(&self, kernels: &Kernels) {
        for (t, count) in pieces(self.tiles, kernels.mr) {
            let tile = Tile {
                a: self.input.wrapping_add(t * LANES),
                w: self.weights,
                offsets: self.offsets.as_ptr(),
                segments: self.offsets.len(),
                segment_len: self.segment_len,
                out: self.products.wrapping_add(t * LANES),
                block_stride: self.tiles * LANES,
                pixel_stride: LANES,
                residual: std::ptr::null(),
                bias: std::ptr::null(),
                accumulate: self.accumulate,
                clamp: Clamp::None,
                fetch_next: false,
                ahead: self.weights,
            };
            // SAFETY: by the contract above.
            unsafe { kernels.tile(count, self.blocks, LANES)(&tile) };
        }
    }
}

/// Destination of output pixels, and what is added to them.
pub(super) struct Output<'a> {
    kernels: &'static Kernels,
    tiling: Tiling,
    /// One line a block of output channels.
    bias: &'a [Line],
    residual: *const f32,
    function: ActivationFn,
    out: SendPtr,
    size: [usize; 2],
}

// SAFETY: `residual` is only read, and outlives this by the borrows in `new`.
unsafe impl Sync for Output<'_> {}

/// Products of some blocks of output channels for some tiles, `[position, block, tile, 16]`.
#[derive(Clone)]
pub(super) struct Products {
    pub first: *const f32,
    /// Values from one position to the next.
    pub position_stride: usize,
    pub blocks: Range<usize>,
    /// First tile of all, and tiles.
    pub first_tile: usize,
    pub count: usize,
}

impl<'a> Output<'a> {
    /// `residual` has the shape of `out`.
    pub fn new(
        kernels: &'static Kernels,
        tiling: Tiling,
        bias: &'a [Line],
        residual: Option<&'a Activation>,
        function: ActivationFn,
        out: &'a mut Activation,
    ) -> Self {
        let [_, _, height, width] = out.shape();
        Self {
            kernels,
            tiling,
            bias,
            residual: residual.map_or(std::ptr::null(), Activation::as_ptr),
            function,
            out: out.send_ptr(),
            size: [height, width],
        }
    }

    /// Blocks of output channels.
    pub fn blocks(&self) -> usize {
        self.bias.len()
    }

    /// Writes the pixels of `tiles` among the products' own.
    ///
    /// # Safety
    ///
    /// All products must be there, and nobody else may write these tiles of these blocks.
    pub unsafe fn write(&self, products: &Products, tiles: Range<usize>) {
        let ([oh, ow], outs, step) = (self.size, self.blocks(), self.tiling.step);
        let (clamp, function) = Clamp::split(self.function);
        let transform = self.kernels.winograd_output[usize::from(step < OUT)];
        for c in products.blocks.clone() {
            for t in tiles.clone() {
                let (n, ty, tx) = self.tiling.locate(products.first_tile + t);
                let (y, x) = (ty * step, tx * step);
                let at = (((n * outs + c) * oh + y) * ow + x) * LANES;
                let slot = (c - products.blocks.start) * products.count + t;
                let tile = OutputTile {
                    products: products.first.wrapping_add(slot * LANES),
                    position_stride: products.position_stride,
                    bias: self.bias[c..].as_ptr().cast(),
                    out: self.out.get().wrapping_add(at),
                    residual: if self.residual.is_null() {
                        self.residual
                    } else {
                        self.residual.wrapping_add(at)
                    },
                    row_stride: ow * LANES,
                    rows: step.min(oh - y),
                    columns: step.min(ow - x),
                    clamp,
                };
                // SAFETY: the pixels lie in the output and the residual, which have one shape; the rest is the contract.
                unsafe {
                    transform(&tile);
                    if let Some(function) = function {
                        (self.kernels.apply)(&Apply {
                            values: tile.out,
                            rows: tile.rows,
                            count: tile.columns,
                            row_stride: tile.row_stride,
                            line_stride: LANES,
                            function,
                        });
                    }
                }
            }
        }
    }
}
