//! Filters on their way into the transformed domain.

use super::space_to_depth;
use super::transform::WeightTile;
use crate::buffer::{LANES, Line};
use crate::conv::Conv2dParams;
use crate::dispatch::Kernels;
use crate::filters::{Filters, Run};

/// Input channels whose filters are brought into lanes in one go.
pub(super) const GATHERED: usize = 16;

/// What a layer's filters become.
pub(super) struct FilterTransform<'a> {
    kernels: &'static Kernels,
    filters: Filters<'a>,
    /// A factor of each output channel.
    scale: Option<&'a [f32]>,
    in_channels: usize,
    out_channels: usize,
    /// Filters that one filter falls apart into.
    pub parts: usize,
    /// Height and width of each.
    pub size: usize,
    /// Where each of its taps goes.
    places: Vec<usize>,
}

/// Where transformed filters go.
#[derive(Clone, Copy)]
pub(super) struct Destination {
    /// Position 0 of the first input channel.
    pub out: *mut f32,
    /// Values from one input channel to the next.
    pub row: usize,
    /// Values from one position to the next.
    pub position: usize,
}

impl<'a> FilterTransform<'a> {
    pub fn new(
        kernels: &'static Kernels,
        params: &Conv2dParams,
        filters: Filters<'a>,
        scale: Option<&'a [f32]>,
    ) -> Self {
        let (parts, size, places) = if space_to_depth::takes(params) {
            (4, space_to_depth::FILTER, space_to_depth::places(params))
        } else {
            (1, 3, (0..9).map(|tap| (0, tap)).collect())
        };
        let place = |(part, tap): (usize, usize)| part * size * size + tap;
        Self {
            kernels,
            filters,
            scale,
            in_channels: params.in_channels,
            out_channels: params.out_channels,
            parts,
            size,
            places: places.into_iter().map(place).collect(),
        }
    }

    /// Lines for filters on their way.
    pub fn scratch_lines(&self) -> usize {
        GATHERED * self.parts * self.size * self.size
    }

    /// Writes `rows` input channels from `GATHERED * parts * group` on, for one block of output channels. Those behind the
    /// last are zero.
    ///
    /// # Safety
    ///
    /// `to` must have room for all of them at all positions, and nobody else may use it.
    pub unsafe fn write(
        &self,
        block: usize,
        group: usize,
        rows: usize,
        scratch: &mut [Line],
        to: Destination,
    ) {
        let (taps, ic) = (self.size * self.size, self.in_channels);
        let first = (group * GATHERED).min(ic);
        let run = Run {
            group: 0,
            outputs: block * LANES..self.out_channels.min((block + 1) * LANES),
            inputs: first..ic.min(first + GATHERED),
            channel: block * LANES,
            lane: 0,
            line: 0,
            per_input: self.parts * taps,
        };
        if run.inputs.len() < GATHERED || run.outputs.len() < LANES || self.parts > 1 {
            scratch.fill(Line::ZERO);
        }
        let (kernels, places) = (self.kernels, &self.places);
        self.filters
            .gather(kernels, &run, places, self.scale, scratch);
        let transform = kernels.winograd_weight[self.size - 3];
        for row in 0..rows {
            let tile = WeightTile {
                filters: &scratch[row * taps..][..taps],
                out: to.out.wrapping_add(row * to.row),
                position_stride: to.position,
            };
            // SAFETY: by the contract above.
            unsafe { transform(&tile) };
        }
    }
}
