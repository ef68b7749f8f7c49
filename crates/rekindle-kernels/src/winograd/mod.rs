//! Convolution by Winograd's minimal filtering: 3x3 of stride 1, and the stem's 7x7 of stride 2.
//!
//! Every 6x6 tile of the input is transformed into 36 numbers per channel; at each of the 36 positions a matrix product over
//! channels takes the place of the convolution; a second transform makes 4x4 output pixels of the products. That is 36
//! multiplications where the plain sum has 144.

pub(crate) mod adjoint;
mod forward;
mod on_the_fly;
mod output;
mod space_to_depth;
mod tiles;
pub(crate) mod transform;
pub(crate) mod weight_gradient;
mod weights;

use crate::buffer::{Buffer, SendPtr};
use crate::dispatch::Kernels;
use crate::error::KernelError;
use crate::filters::Filters;
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
pub(crate) use on_the_fly::OnTheFly;
use rayon::prelude::*;
use tiles::{position_lines, position_values};
use transform::{IN, POSITIONS};
use weights::{Destination, FilterTransform, GATHERED};

/// Bytes of transformed filters that the caches hold.
const KEPT: usize = 16 << 20;

/// Weights in the transformed domain.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    /// `[position, panel, input channel, channels of the panel]`.
    weights: Buffer,
    bias: Vec<Line>,
    /// Blocks of output channels in a panel; the last panel may have fewer.
    nr: usize,
    /// Input channels of a position, zeros behind the last included.
    in_lines: usize,
    /// Output pixels of a tile along one axis.
    step: usize,
    /// Rows and columns before the first input pixel.
    padding: usize,
    /// The filter has stride 2, and its input is rearranged first.
    space_to_depth: bool,
}

impl Winograd {
    pub fn takes(params: &Conv2dParams) -> bool {
        Self::takes_gradient(params) || space_to_depth::takes(params)
    }

    /// Returns true if the weight gradient can be computed this way, too.
    pub fn takes_gradient(params: &Conv2dParams) -> bool {
        let padded = params.padding.uniform().is_some_and(|side| side <= 2);
        params.kernel == [3, 3] && params.stride == 1 && params.groups == 1 && padded
    }

    /// Returns true if the transformed filters of a layer that [`takes_gradient`](Self::takes_gradient), and
    /// the sums of their gradient, leave the caches before they are read. Tasks then recompute them, a few
    /// channels at a time.
    pub fn outgrows_caches(params: &Conv2dParams) -> bool {
        let (ins, outs) = (params.in_channels, params.out_channels);
        Self::takes_gradient(params) && POSITIONS * ins * outs * size_of::<f32>() > KEPT
    }

    pub fn refuses(params: &Conv2dParams) -> KernelError {
        KernelError::InvalidLayer(format!(
            "Winograd's algorithm needs a 3x3 filter of stride 1, padding up to 2 on all sides and one group (or, forward, the 7x7 \
             filter of a ResNet's stem), found {params}"
        ))
    }

    /// `params` must be what [`takes`](Self::takes) accepts.
    pub fn pack(
        isa: Isa,
        params: &Conv2dParams,
        filters: Filters<'_>,
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Self {
        let kernels = Kernels::of(isa);
        let nr = kernels.nr;
        let transform = FilterTransform::new(kernels, params, filters, scale_shift.map(|s| s.0));
        let parts = transform.parts;
        let space_to_depth = space_to_depth::takes(params);
        let padding = if space_to_depth {
            space_to_depth::padding(params)
        } else {
            params.padding.top
        };
        let (ic, oc) = (params.in_channels, params.out_channels);
        // Few channels have no need of whole lines of weights.
        let in_lines = if ic * parts < LANES {
            ic * parts
        } else {
            (ic * parts).next_multiple_of(LANES)
        };
        let out_blocks = oc.div_ceil(LANES);
        let mut weights = Buffer::new(position_lines(out_blocks, in_lines));
        let shared = SendPtr::new(weights.as_mut_ptr());
        let per_group = GATHERED * parts;
        (0..out_blocks.div_ceil(nr))
            .into_par_iter()
            .for_each(|panel| {
                let blocks = panel * nr..out_blocks.min((panel + 1) * nr);
                let mut scratch = vec![Line::ZERO; transform.group_lines()];
                for group in 0..in_lines.div_ceil(per_group) {
                    let first = group * per_group;
                    for block in blocks.clone() {
                        let line =
                            blocks.start * in_lines + first * blocks.len() + (block - blocks.start);
                        let to = Destination {
                            out: shared.get().wrapping_add(line * LANES),
                            row: blocks.len() * LANES,
                            position: position_values(out_blocks, in_lines),
                        };
                        let rows = per_group.min(in_lines - first);
                        // SAFETY: each panel has its own lines, all inside `weights`.
                        unsafe { transform.write(block, group, rows, &mut scratch, to) };
                    }
                }
            });
        Self {
            weights,
            bias: Line::of_channels(oc, scale_shift.map(|s| s.1)),
            nr,
            in_lines,
            step: IN + 1 - transform.size,
            padding,
            space_to_depth,
        }
    }

    pub fn is_planar(&self) -> bool {
        self.space_to_depth
    }

    pub fn bytes(&self) -> usize {
        size_of_val(self.weights.lines()) + size_of_val(self.bias.as_slice())
    }
}
