//! How weights lie in memory: as the caller has them, and as the direct kernels read them.

use crate::buffer::{Buffer, LANES, Line};
use crate::conv::Conv2dParams;
use rayon::prelude::*;
use std::ops::Range;

/// Input channels up to which a strided convolution reads planes instead of blocks of sixteen channels.
const PLANAR_CHANNELS: usize = 4;

/// Whether the input is read as planes: few channels would leave most of sixteen lanes empty.
pub(crate) fn is_planar(params: &Conv2dParams) -> bool {
    params.stride == 2 && params.groups == 1 && params.in_channels <= PLANAR_CHANNELS
}

/// Filters somewhere in a slice, by group, output channel and input channel within the group.
#[derive(Clone, Copy)]
pub(crate) struct Filters<'a> {
    values: &'a [f32],
    group_stride: usize,
    out_stride: usize,
    in_stride: usize,
    /// Which value of a filter is its k-th tap.
    taps: &'a [usize],
}

impl<'a> Filters<'a> {
    /// `values` as `[out, in / groups, taps]`.
    pub fn new(params: &Conv2dParams, values: &'a [f32], taps: &'a [usize]) -> Self {
        let [o, i, kh, kw] = params.weight_shape();
        Self {
            values,
            group_stride: o / params.groups * i * kh * kw,
            out_stride: i * kh * kw,
            in_stride: kh * kw,
            taps,
        }
    }

    /// The same values for a convolution that goes the other way, from output to input channels.
    pub fn swapped(params: &Conv2dParams, values: &'a [f32], taps: &'a [usize]) -> Self {
        let own = Self::new(params, values, taps);
        Self {
            out_stride: own.in_stride,
            in_stride: own.out_stride,
            ..own
        }
    }

    /// The taps of one filter, in order.
    #[inline]
    pub fn filter(&self, group: usize, o: usize, i: usize) -> impl Iterator<Item = f32> + 'a {
        let first = group * self.group_stride + o * self.out_stride + i * self.in_stride;
        let (values, taps) = (&self.values[first..], self.taps);
        taps.iter().map(move |&tap| values[tap])
    }
}

/// Output channels that are computed together, and the input channels they depend on.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub first_block: usize,
    pub blocks: usize,
    /// Blocks of input channels, or channels where planar.
    pub inputs: Range<usize>,
    /// First line of its weights.
    pub first_line: usize,
}

/// The order `[panel, input, tap, row, channels of the panel]`.
///
/// The rows of a tap are sixteen channels of one pixel. Where the input is read as planes, an input is one channel, a tap
/// is one row of the filter, and its rows are that filter row's values.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    params: Conv2dParams,
    pub panels: Vec<Panel>,
    pub planar: bool,
    pub taps: usize,
    pub rows: usize,
    pub lines: usize,
}

impl Layout {
    /// Panels of `nr` blocks; where planar, rows are rounded up to a multiple of `row_multiple`.
    pub fn new(params: &Conv2dParams, nr: usize, row_multiple: usize) -> Self {
        let [kh, kw] = params.kernel;
        let planar = is_planar(params);
        let (taps, rows) = if planar {
            (kh, kw.next_multiple_of(row_multiple))
        } else {
            (kh * kw, LANES)
        };
        let (in_group, out_group) = (
            params.in_channels / params.groups,
            params.out_channels / params.groups,
        );
        // Panels of a grouped convolution do not straddle more groups than they must.
        let whole = params.groups == 1 || out_group.is_multiple_of(nr * LANES);
        let nr = if whole { nr } else { 1 };
        let all = params.out_channels.div_ceil(LANES);
        let mut lines = 0;
        let panel = |first_block: usize| {
            let blocks = nr.min(all - first_block);
            let first = first_block * LANES;
            let last = ((first_block + blocks) * LANES).min(params.out_channels) - 1;
            let channels = first / out_group * in_group..(last / out_group + 1) * in_group;
            let inputs = if planar {
                channels
            } else {
                channels.start / LANES..channels.end.div_ceil(LANES)
            };
            let first_line = lines;
            lines += inputs.len() * taps * rows * blocks;
            Panel {
                first_block,
                blocks,
                inputs,
                first_line,
            }
        };
        let panels = (0..all).step_by(nr).map(panel).collect();
        Self {
            params: *params,
            panels,
            planar,
            taps,
            rows,
            lines,
        }
    }

    /// Packs `filters`, each output channel multiplied by its `scale`.
    pub fn pack(&self, filters: Filters<'_>, scale: Option<&[f32]>) -> Buffer {
        let mut packed = Buffer::zeroed(self.lines);
        self.by_panel(packed.lines_mut())
            .for_each(|(panel, lines)| {
                self.visit(panel, |place| {
                    let scale = scale.map_or(1.0, |s| s[place.channel]);
                    let values = filters.filter(place.group, place.o, place.i);
                    for (value, tap) in values.zip(place.taps) {
                        lines[place.line + tap].0[place.lane] = scale * value;
                    }
                });
            });
        packed
    }

    /// The other way: adds `parts` up and gives `[out, in / groups, height, width]`.
    pub fn unpack(&self, sums: &[Line], parts: usize) -> Vec<f32> {
        let [_, in_group, kh, kw] = self.params.weight_shape();
        let filter = kh * kw;
        let mut out = vec![0.0; self.params.out_channels * in_group * filter];
        let per_panel = self.panels[0].blocks * LANES * in_group * filter;
        out.par_chunks_mut(per_panel)
            .zip(&self.panels)
            .for_each(|(out, panel)| {
                let first_channel = panel.first_block * LANES;
                self.visit(panel, |place| {
                    let at = ((place.channel - first_channel) * in_group + place.i) * filter;
                    for (value, tap) in out[at..at + filter].iter_mut().zip(place.taps) {
                        let line = panel.first_line + place.line + tap;
                        let part = |part: usize| sums[part * self.lines + line].0[place.lane];
                        *value = (0..parts).map(part).sum();
                    }
                });
            });
        out
    }

    fn by_panel<'a>(
        &'a self,
        mut lines: &'a mut [Line],
    ) -> impl ParallelIterator<Item = (&'a Panel, &'a mut [Line])> {
        let mut pieces = Vec::with_capacity(self.panels.len());
        for panel in &self.panels {
            let len = panel.inputs.len() * self.taps * self.rows * panel.blocks;
            let (piece, rest) = std::mem::take(&mut lines).split_at_mut(len);
            pieces.push((panel, piece));
            lines = rest;
        }
        pieces.into_par_iter()
    }

    /// Calls `f` for every filter of the panel, in an order that stays within the first-level cache on the packed side.
    #[inline]
    fn visit(&self, panel: &Panel, mut f: impl FnMut(Place<'_>)) {
        let [kh, kw] = self.params.kernel;
        let (in_group, out_group) = (
            self.params.in_channels / self.params.groups,
            self.params.out_channels / self.params.groups,
        );
        // Lines from a filter's first value to each tap's.
        let per_tap = self.rows * panel.blocks;
        let taps: Vec<usize> = (0..kh * kw)
            .map(|tap| match self.planar {
                true => tap / kw * per_tap + tap % kw * panel.blocks,
                false => tap * per_tap,
            })
            .collect();
        let lanes = if self.planar { 1 } else { LANES };
        let first = panel.first_block * LANES;
        let channels = first..(first + panel.blocks * LANES).min(self.params.out_channels);
        for input in panel.inputs.clone() {
            for channel in channels.clone() {
                let (group, o) = (channel / out_group, channel % out_group);
                let from = (input * lanes).max(group * in_group);
                let to = ((input + 1) * lanes).min((group + 1) * in_group);
                for ic in from..to {
                    let row = (input - panel.inputs.start) * self.taps * self.rows + ic % lanes;
                    f(Place {
                        channel,
                        group,
                        o,
                        i: ic - group * in_group,
                        line: row * panel.blocks + (channel - first) / LANES,
                        lane: (channel - first) % LANES,
                        taps: &taps,
                    });
                }
            }
        }
    }
}

/// Where one filter lies.
struct Place<'a> {
    /// Output channel, its group, and output and input channel within the group.
    channel: usize,
    group: usize,
    o: usize,
    i: usize,
    /// Line in the panel and lane of its first value, and lines from there to each tap.
    line: usize,
    lane: usize,
    taps: &'a [usize],
}
