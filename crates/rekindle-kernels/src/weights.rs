//! Lays out weights in memory as the direct kernels read them.

use crate::buffer::{AlignedVec, Buffer};
use crate::dispatch::Kernels;
use crate::filters::{Filters, Run};
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
use rayon::prelude::*;
use std::ops::Range;

/// Input channels up to which a strided convolution reads planes instead of blocks of sixteen channels.
const PLANAR_CHANNELS: usize = 4;

/// Lines of partial sums that are added up in one go.
const REDUCED: usize = 512;

/// Returns true if the input is read as planes: few channels would leave most of sixteen lanes empty.
pub(crate) fn is_planar(params: &Conv2dParams) -> bool {
    params.stride == 2 && params.groups == 1 && params.in_channels <= PLANAR_CHANNELS
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
    pub fn pack(&self, kernels: &Kernels, filters: Filters<'_>, scale: Option<&[f32]>) -> Buffer {
        let mut packed = Buffer::new(self.lines);
        let has_gaps = self.has_gaps();
        self.by_panel(packed.lines_mut())
            .for_each(|(panel, lines)| {
                if has_gaps {
                    lines.fill(Line::ZERO);
                }
                let places = self.places(panel);
                self.runs(panel, |run| {
                    filters.gather(kernels, &run, &places, scale, lines);
                });
            });
        packed
    }

    /// Returns true if there are lanes or rows that no filter reaches.
    fn has_gaps(&self) -> bool {
        let Conv2dParams {
            in_channels,
            out_channels,
            groups,
            ..
        } = self.params;
        let is_whole = in_channels.is_multiple_of(LANES) && out_channels.is_multiple_of(LANES);
        self.planar || groups > 1 || !is_whole
    }

    /// Goes the other way: adds `parts` up and gives `[out, in / groups, height, width]`.
    pub fn unpack(&self, kernels: &Kernels, sums: &mut [Line], parts: usize) -> AlignedVec {
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
        let mut out = AlignedVec::new(self.params.out_channels * in_group * filter);
        let per_panel = self.panels[0].blocks * LANES * in_group * filter;
        out.as_mut_slice()
            .par_chunks_mut(per_panel)
            .zip(&self.panels)
            .for_each(|(out, panel)| {
                let (places, first) = (self.places(panel), panel.first_block * LANES);
                let sums = &sums[panel.first_line..];
                self.runs(panel, |run| {
                    let at = ((run.channel - first) * in_group + run.inputs.start) * filter;
                    run.scatter(kernels, sums, &places, &mut out[at..], in_group);
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
