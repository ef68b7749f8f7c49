//! Weights in bytes, in the order in which the micro-kernel reads them.

use super::tile::{LINE, QUAD};
use crate::buffer::Buffer;
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
use rayon::prelude::*;
use std::ops::Range;

/// Input channels up to which a pixel is not filled up to a whole line.
const NARROW: usize = 4;
/// The largest weight of a channel.
const LARGEST: f32 = 127.0;

/// Output channels that are computed together, and the input that they depend on.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub first_block: usize,
    pub blocks: usize,
    /// Input groups, see [`Layout::group`].
    pub inputs: Range<usize>,
    /// First line of its weights.
    pub first_line: usize,
}

/// The order `[panel, input group, tap, quad, channels of the panel, 4]`.
///
/// An input group is 64 channels, or sixteen where the convolution has groups of its own. Where there are few channels, they
/// lie pixel after pixel without a gap, a tap is a row of the filter, and its quads run over pixels.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub panels: Vec<Panel>,
    pub is_narrow: bool,
    pub taps: usize,
    pub quads: usize,
    /// Channels of an input group.
    pub group: usize,
    lines: usize,
}

impl Layout {
    /// Panels of at most `nr` blocks of sixteen channels.
    pub fn new(params: &Conv2dParams, nr: usize) -> Self {
        let [kh, kw] = params.kernel;
        let is_narrow = params.groups == 1 && params.in_channels <= NARROW;
        let (taps, quads, group) = match (is_narrow, params.groups) {
            (true, _) => (kh, (kw * params.in_channels).div_ceil(QUAD), NARROW),
            (_, 1) => (kh * kw, LINE / QUAD, LINE),
            _ => (kh * kw, LANES / QUAD, LANES),
        };
        let (in_group, out_group) = (
            params.in_channels / params.groups,
            params.out_channels / params.groups,
        );
        // Panels of a grouped convolution do not straddle more groups than they must.
        let is_whole = params.groups == 1 || out_group.is_multiple_of(nr * LANES);
        let nr = if is_whole { nr } else { 1 };
        let all = params.out_channels.div_ceil(LANES);
        let mut lines = 0;
        let panel = |first_block: usize| {
            let blocks = nr.min(all - first_block);
            let first = first_block * LANES;
            let last = ((first_block + blocks) * LANES).min(params.out_channels) - 1;
            let from = first / out_group * in_group;
            let to = (last / out_group + 1) * in_group;
            let inputs = from / group..to.div_ceil(group);
            let first_line = lines;
            lines += inputs.len() * taps * quads * blocks;
            Panel {
                first_block,
                blocks,
                inputs,
                first_line,
            }
        };
        Self {
            panels: (0..all).step_by(nr).map(panel).collect(),
            is_narrow,
            taps,
            quads,
            group,
            lines,
        }
    }

    fn pack(&self, params: &Conv2dParams, bytes: &[i8]) -> Buffer {
        let mut packed = Buffer::zeroed(self.lines);
        let mut rest = packed.lines_mut();
        let mut pieces = Vec::with_capacity(self.panels.len());
        for panel in &self.panels {
            let len = panel.inputs.len() * self.taps * self.quads * panel.blocks;
            let (piece, others) = std::mem::take(&mut rest).split_at_mut(len);
            pieces.push((panel, piece));
            rest = others;
        }
        pieces.into_par_iter().for_each(|(panel, lines)| {
            // SAFETY: a line is 64 bytes, of which every pattern is valid.
            let packed = unsafe {
                std::slice::from_raw_parts_mut(
                    lines.as_mut_ptr().cast::<i8>(),
                    size_of_val(&*lines),
                )
            };
            self.pack_panel(params, bytes, panel, packed);
        });
        packed
    }

    fn pack_panel(&self, params: &Conv2dParams, bytes: &[i8], panel: &Panel, packed: &mut [i8]) {
        let [_, in_group, kh, kw] = params.weight_shape();
        let out_group = params.out_channels / params.groups;
        let filter = kh * kw;
        let first = panel.first_block * LANES;
        let end = (first + panel.blocks * LANES).min(params.out_channels);
        for channel in first..end {
            let before = channel / out_group * in_group;
            for (i, weights) in bytes[channel * in_group * filter..][..in_group * filter]
                .chunks_exact(filter)
                .enumerate()
            {
                let input = before + i;
                for (tap, &weight) in weights.iter().enumerate() {
                    // Row of the packed taps, and byte within it.
                    let (row, byte) = if self.is_narrow {
                        (tap / kw, tap % kw * params.in_channels + input)
                    } else {
                        let group = input / self.group - panel.inputs.start;
                        (group * filter + tap, input % self.group)
                    };
                    let quad = row * self.quads + byte / QUAD;
                    let lane = quad * panel.blocks * LANES + channel - first;
                    packed[lane * QUAD + byte % QUAD] = weight;
                }
            }
        }
    }
}

/// A convolution's weights in bytes.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub layout: Layout,
    packed: Buffer,
    /// Step of the weights, by output channel.
    pub steps: Vec<f32>,
    /// Sums of the bytes, by output channel.
    pub sums: Vec<i32>,
}

impl Weights {
    /// Rounds `weight` (`[out, in / groups, height, width]`, all finite) so that each channel's largest becomes 127.
    pub fn new(params: &Conv2dParams, weight: &[f32], nr: usize) -> Self {
        let layout = Layout::new(params, nr);
        let filters = weight.chunks_exact(weight.len() / params.out_channels);
        let mut bytes = Vec::with_capacity(weight.len());
        let (mut steps, mut sums) = (Vec::new(), Vec::new());
        for filter in filters {
            let largest = filter.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            let step = if largest > 0.0 {
                largest / LARGEST
            } else {
                1.0
            };
            let from = bytes.len();
            bytes.extend(filter.iter().map(|w| (w / step).round_ties_even() as i8));
            steps.push(step);
            sums.push(bytes[from..].iter().map(|&b| i32::from(b)).sum());
        }
        Self {
            packed: layout.pack(params, &bytes),
            layout,
            steps,
            sums,
        }
    }

    /// Returns the weights from the panel's first one on.
    pub fn of(&self, panel: &Panel) -> *const i8 {
        self.packed.lines()[panel.first_line..].as_ptr().cast()
    }

    pub fn bytes(&self) -> usize {
        size_of_val::<[Line]>(self.packed.lines())
    }
}
