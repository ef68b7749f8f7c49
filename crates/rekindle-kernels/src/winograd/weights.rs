//! Filters on their way into the transformed domain.

use super::space_to_depth;
use super::transform::WeightTile;
use crate::dispatch::Kernels;
use crate::filters::{Filters, Run};
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
use crate::simd::prefetch;

/// Input channels whose filters are brought into lanes in one go.
pub(super) const GATHERED: usize = 16;

/// Transforms a layer's filters into those of its parts.
pub(super) struct FilterTransform<'a> {
    kernels: &'static Kernels,
    source: Source<'a>,
    in_channels: usize,
    out_channels: usize,
    /// Filters that one filter falls apart into.
    pub parts: usize,
    /// Height and width of each.
    pub size: usize,
    /// Position of each of its taps.
    places: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    /// Filters, and a factor of each output channel.
    Filters(Filters<'a>, Option<&'a [f32]>),
    /// Result of [`FilterTransform::gather`], `[block of output channels, group, input channel, tap]`.
    Gathered(&'a [Line]),
}

/// Destination of transformed filters.
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
        Self::of(kernels, params, Source::Filters(filters, scale))
    }

    /// Transforms filters that were gathered before.
    pub fn of_gathered(
        kernels: &'static Kernels,
        params: &Conv2dParams,
        gathered: &'a [Line],
    ) -> Self {
        Self::of(kernels, params, Source::Gathered(gathered))
    }

    fn of(kernels: &'static Kernels, params: &Conv2dParams, source: Source<'a>) -> Self {
        let (parts, size, places) = if space_to_depth::takes(params) {
            (4, space_to_depth::FILTER, space_to_depth::places(params))
        } else {
            (1, 3, (0..9).map(|tap| (0, tap)).collect())
        };
        let place = |(part, tap): (usize, usize)| part * size * size + tap;
        Self {
            kernels,
            source,
            in_channels: params.in_channels,
            out_channels: params.out_channels,
            parts,
            size,
            places: places.into_iter().map(place).collect(),
        }
    }

    /// Lines of a group of filters in lanes.
    pub fn group_lines(&self) -> usize {
        GATHERED * self.parts * self.size * self.size
    }

    /// Groups of input channels.
    pub fn groups(&self) -> usize {
        self.in_channels.div_ceil(GATHERED)
    }

    /// Brings the filters of [`GATHERED`] input channels and one block of output channels into lanes. Those behind the
    /// last are zero. Nothing happens where they were gathered before.
    pub fn gather(&self, block: usize, group: usize, lines: &mut [Line]) {
        let Source::Filters(filters, scale) = self.source else {
            return;
        };
        let ic = self.in_channels;
        let first = (group * GATHERED).min(ic);
        let run = Run {
            group: 0,
            outputs: block * LANES..self.out_channels.min((block + 1) * LANES),
            inputs: first..ic.min(first + GATHERED),
            channel: block * LANES,
            lane: 0,
            line: 0,
            per_input: self.parts * self.size * self.size,
        };
        if run.inputs.len() < GATHERED || run.outputs.len() < LANES || self.parts > 1 {
            lines.fill(Line::ZERO);
        }
        filters.gather(self.kernels, &run, &self.places, scale, lines);
    }

    /// Writes `rows` input channels from `GATHERED * parts * group` on, for one block of output channels.
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
        let len = self.group_lines();
        let (gathered, ahead) = match self.source {
            // The next group lies behind this one, in memory that the processor would fetch too late.
            Source::Gathered(lines) => {
                (&lines[(block * self.groups() + group) * len..][..len], len)
            }
            Source::Filters(..) => {
                self.gather(block, group, scratch);
                (&*scratch, 0)
            }
        };
        let transform = self.kernels.winograd_weight[self.size - 3];
        let filters = gathered.chunks_exact(self.size * self.size);
        for (row, filters) in filters.take(rows).enumerate() {
            for line in filters {
                prefetch(std::ptr::from_ref(line).wrapping_add(ahead).cast());
            }
            let tile = WeightTile {
                filters,
                out: to.out.wrapping_add(row * to.row),
                position_stride: to.position,
            };
            // SAFETY: by the contract above.
            unsafe { transform(&tile) };
        }
    }
}
