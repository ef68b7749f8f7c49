//! How weights lie in memory: as the caller has them, and as the direct kernels read them.

use crate::buffer::{Buffer, LANES, Line};
use crate::conv::Conv2dParams;
use crate::simd::prefetch;
use rayon::prelude::*;
use std::ops::Range;

/// Input channels up to which a strided convolution reads planes instead of blocks of sixteen channels.
const PLANAR_CHANNELS: usize = 4;

/// Lines of partial sums that are added up in one go.
const REDUCED: usize = 512;

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

    /// Writes the filters of `run`, output channels in the lanes: the k-th tap of its first input goes to line
    /// `run.line + places[k]`. Each is multiplied by its output channel's `scale`.
    pub fn gather(&self, run: &Run, places: &[usize], scale: Option<&[f32]>, lines: &mut [Line]) {
        match self.taps.len() {
            1 => self.gather_whole::<1>(run, places, scale, lines),
            9 => self.gather_whole::<9>(run, places, scale, lines),
            _ => self.gather_any(run, places, scale, lines),
        }
    }

    /// The usual case, all `N` taps of a filter: without the look-up of each.
    fn gather_whole<const N: usize>(
        &self,
        run: &Run,
        places: &[usize],
        scale: Option<&[f32]>,
        lines: &mut [Line],
    ) {
        let mut place_of = [0; N];
        for (&place, &tap) in places.iter().zip(self.taps) {
            place_of[tap % N] = place;
        }
        if self.out_stride.min(self.in_stride) < N || self.taps.iter().any(|&tap| tap >= N) {
            return self.gather_any(run, places, scale, lines);
        }
        self.each(run, |from, lane, line| {
            let scale = scale.map_or(1.0, |scale| scale[run.channel + lane - run.lane]);
            let Some(filter) = self.values[from..].first_chunk::<N>() else {
                return;
            };
            let lines = &mut lines[line..];
            for (&place, value) in place_of.iter().zip(filter) {
                lines[place].0[lane] = scale * value;
            }
        });
    }

    fn gather_any(&self, run: &Run, places: &[usize], scale: Option<&[f32]>, lines: &mut [Line]) {
        self.each(run, |from, lane, line| {
            let scale = scale.map_or(1.0, |scale| scale[run.channel + lane - run.lane]);
            for (&place, &tap) in places.iter().zip(self.taps) {
                lines[line + place].0[lane] = scale * self.values[from + tap];
            }
        });
    }

    /// Calls `f(first value, lane, line)` for all filters of the run, in the order in which they lie in memory.
    #[inline(always)]
    fn each(&self, run: &Run, mut f: impl FnMut(usize, usize, usize)) {
        let first = run.group * self.group_stride;
        // The next run's filters lie far from this one's end, where the processor does not look ahead.
        let ahead = run.inputs.len() * self.in_stride;
        run.each(self.in_stride > self.out_stride, |o, i, lane, line| {
            let from = first + o * self.out_stride + i * self.in_stride;
            prefetch(self.values.as_ptr().wrapping_add(from + ahead));
            f(from, lane, line);
        });
    }
}

/// Filters of one group whose output channels lie in one block, and where they are packed.
pub(crate) struct Run {
    pub group: usize,
    /// Output and input channels within the group.
    pub outputs: Range<usize>,
    pub inputs: Range<usize>,
    /// First output channel of all, and its lane.
    pub channel: usize,
    pub lane: usize,
    /// Line of the first input channel, and lines from one to the next.
    pub line: usize,
    pub per_input: usize,
}

impl Run {
    /// Calls `f(output channel, input channel, lane, line)` for all pairs, output channels innermost if asked for.
    #[inline(always)]
    fn each(&self, outputs_first: bool, mut f: impl FnMut(usize, usize, usize, usize)) {
        let mut at = |o: usize, i: usize| {
            let lane = self.lane + o - self.outputs.start;
            f(
                o,
                i,
                lane,
                self.line + (i - self.inputs.start) * self.per_input,
            );
        };
        if outputs_first {
            for i in self.inputs.clone() {
                self.outputs.clone().for_each(|o| at(o, i));
            }
        } else {
            for o in self.outputs.clone() {
                self.inputs.clone().for_each(|i| at(o, i));
            }
        }
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
                let places = self.places(panel);
                self.runs(panel, |run| filters.gather(&run, &places, scale, lines));
            });
        packed
    }

    /// The other way: adds `parts` up and gives `[out, in / groups, height, width]`.
    pub fn unpack(&self, sums: &mut [Line], parts: usize) -> Vec<f32> {
        let (sums, others) = sums.split_at_mut(self.lines);
        sums.par_chunks_mut(REDUCED)
            .enumerate()
            .for_each(|(i, sums)| {
                for part in 0..parts - 1 {
                    let other = &others[part * self.lines + i * REDUCED..][..sums.len()];
                    for (sum, other) in sums.iter_mut().zip(other) {
                        sum.0.iter_mut().zip(other.0).for_each(|(s, o)| *s += o);
                    }
                }
            });
        let [_, in_group, kh, kw] = self.params.weight_shape();
        let filter = kh * kw;
        let mut out = vec![0.0; self.params.out_channels * in_group * filter];
        let per_panel = self.panels[0].blocks * LANES * in_group * filter;
        out.par_chunks_mut(per_panel)
            .zip(&self.panels)
            .for_each(|(out, panel)| {
                let (places, first) = (self.places(panel), panel.first_block * LANES);
                let reach = places.iter().max().map_or(0, |place| place + 1);
                self.runs(panel, |run| {
                    run.each(false, |_, i, lane, line| {
                        let channel = run.channel + lane - run.lane - first;
                        let out = &mut out[(channel * in_group + i) * filter..][..filter];
                        let lines = &sums[panel.first_line + line..][..reach];
                        for (value, &place) in out.iter_mut().zip(&places) {
                            *value = lines[place].0[lane];
                        }
                    });
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

    /// Lines from a filter's first value to each tap's.
    fn places(&self, panel: &Panel) -> Vec<usize> {
        let [kh, kw] = self.params.kernel;
        let per_tap = self.rows * panel.blocks;
        (0..kh * kw)
            .map(|tap| match self.planar {
                true => tap / kw * per_tap + tap % kw * panel.blocks,
                false => tap * per_tap,
            })
            .collect()
    }

    /// Calls `f` for all filters of the panel, in runs that stay within the first-level cache on the packed side.
    #[inline]
    fn runs(&self, panel: &Panel, mut f: impl FnMut(Run)) {
        let (in_group, out_group) = (
            self.params.in_channels / self.params.groups,
            self.params.out_channels / self.params.groups,
        );
        let lanes = if self.planar { 1 } else { LANES };
        for input in panel.inputs.clone() {
            let first_row = (input - panel.inputs.start) * self.taps * self.rows;
            for block in 0..panel.blocks {
                let first = (panel.first_block + block) * LANES;
                let end = (first + LANES).min(self.params.out_channels);
                for group in first / out_group..=(end - 1) / out_group {
                    let channel = first.max(group * out_group);
                    let outputs = channel - group * out_group
                        ..end.min((group + 1) * out_group) - group * out_group;
                    let from = (input * lanes).max(group * in_group);
                    let to = ((input + 1) * lanes).min((group + 1) * in_group);
                    if from < to {
                        f(Run {
                            group,
                            outputs,
                            inputs: from - group * in_group..to - group * in_group,
                            channel,
                            lane: channel - first,
                            line: (first_row + from % lanes) * panel.blocks + block,
                            per_input: panel.blocks,
                        });
                    }
                }
            }
        }
    }
}
