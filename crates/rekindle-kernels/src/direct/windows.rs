//! Windows of a convolution as pixels: what turns one of a large stride into a 1x1 convolution.
//!
//! A window of `height x width` values of each channel becomes one pixel of `channels * height * width` channels, in the
//! order of the filters, which therefore stay as they are. Where windows do not overlap, as in the first layer of a vision
//! transformer, no value is copied twice.

use super::frame::Source;
use crate::activation::Activation;
use crate::line::LANES;
use crate::params::Conv2dParams;
use rayon::prelude::*;
use std::ops::Range;

/// The windows of a batch of pictures.
#[derive(Clone, Copy)]
pub(crate) struct Windows<'a> {
    params: Conv2dParams,
    source: Source<'a>,
    /// Height and width of the pictures, and of the output.
    size: [usize; 2],
    out: [usize; 2],
}

/// Neighbouring values of a row of the filter, in one block of sixteen.
struct Run {
    lane: usize,
    len: usize,
    channel: usize,
    /// Row and first column of the filter.
    row: usize,
    column: usize,
}

impl<'a> Windows<'a> {
    /// Returns true for convolutions that are computed this way: those whose stride the register tiles do not know.
    pub fn takes(params: &Conv2dParams) -> bool {
        params.stride > 2
    }

    /// Returns the 1x1 convolution of the windows.
    pub fn layer(params: &Conv2dParams) -> Conv2dParams {
        let [_, channels, kh, kw] = params.weight_shape();
        Conv2dParams::new(channels * kh * kw, params.out_channels, 1, 1)
    }

    /// Describes the windows of pictures of `size` in an output of size `out`.
    pub fn new(
        params: &Conv2dParams,
        source: Source<'a>,
        size: [usize; 2],
        out: [usize; 2],
    ) -> Self {
        Self {
            params: *params,
            source,
            size,
            out,
        }
    }

    /// Returns height and width of the output.
    pub fn out(&self) -> [usize; 2] {
        self.out
    }

    /// Writes a block of sixteen values of the windows of some output rows: `[rows, output columns, 16]`.
    pub fn fill(&self, picture: usize, block: usize, rows: Range<usize>, out: &mut [f32]) {
        let values = Self::layer(&self.params).in_channels;
        if (block + 1) * LANES > values {
            out.fill(0.0);
        }
        let per_row = self.out[1] * LANES;
        for run in runs(&self.params, block) {
            for (y, out) in rows.clone().zip(out.chunks_exact_mut(per_row)) {
                self.fill_row(picture, &run, y, out);
            }
        }
    }

    fn fill_row(&self, picture: usize, run: &Run, y: usize, out: &mut [f32]) {
        let Conv2dParams {
            in_channels,
            stride,
            padding,
            ..
        } = self.params;
        let [height, width] = self.size;
        // Rows and columns before the first are larger than any.
        let row = (y * stride + run.row).wrapping_sub(padding.top);
        let at = ((picture * in_channels + run.channel) * height).wrapping_add(row);
        if let (Source::Planar(x), true, true) = (self.source, padding.is_zero(), row < height) {
            // Without padding, every window lies inside the picture.
            let x = &x[at * width + run.column..(at + 1) * width];
            return match run.len {
                4 => copy::<4>(x, stride, &mut out[run.lane..]),
                16 => copy::<16>(x, stride, &mut out[run.lane..]),
                len => {
                    for (column, line) in out.chunks_exact_mut(LANES).enumerate() {
                        line[run.lane..][..len].copy_from_slice(&x[column * stride..][..len]);
                    }
                }
            };
        }
        for (column, line) in out.chunks_exact_mut(LANES).enumerate() {
            for i in 0..run.len {
                let x = (column * stride + run.column + i).wrapping_sub(padding.left);
                let inside = row < height && x < width;
                line[run.lane + i] = match self.source {
                    _ if !inside => 0.0,
                    Source::Planar(values) => values[at * width + x],
                    Source::Blocked(map) => {
                        let block = picture * map.blocks() + run.channel / LANES;
                        let line = &map.lines()[(block * height + row) * width + x];
                        line.0[run.channel % LANES]
                    }
                };
            }
        }
    }
}

/// Copies `N` values from every `stride`-th on to every sixteenth place.
#[inline]
fn copy<const N: usize>(x: &[f32], stride: usize, out: &mut [f32]) {
    for (column, line) in out.chunks_mut(LANES).enumerate() {
        let from = x[column * stride..].first_chunk::<N>();
        if let (Some(to), Some(from)) = (line.first_chunk_mut::<N>(), from) {
            *to = *from;
        }
    }
}

/// Cuts the values of a block of sixteen into runs of neighbours.
fn runs(params: &Conv2dParams, block: usize) -> Vec<Run> {
    let [kh, kw] = params.kernel;
    let values = Windows::layer(params).in_channels;
    let (first, end) = (block * LANES, ((block + 1) * LANES).min(values));
    let mut runs = Vec::new();
    let mut value = first;
    while value < end {
        let len = (kw - value % kw).min(end - value);
        runs.push(Run {
            lane: value - first,
            len,
            channel: value / (kh * kw),
            row: value / kw % kh,
            column: value % kw,
        });
        value += len;
    }
    runs
}

/// Adds gradients by windows up where these overlap: the gradient by pictures of `size`. `add` has its shape and is added.
pub(crate) fn fold(
    params: &Conv2dParams,
    windows: &Activation,
    [h, w]: [usize; 2],
    add: Option<&Activation>,
) -> Activation {
    let [n, _, oh, ow] = windows.shape();
    let mut dx = match add {
        Some(add) => add.clone(),
        None => Activation::zeros([n, params.in_channels, h, w]),
    };
    let (blocks, inner) = (dx.blocks(), windows.blocks());
    if h * w == 0 {
        return dx;
    }
    let [kh, kw] = params.kernel;
    let planes = dx.lines_mut().par_chunks_exact_mut(h * w);
    planes.enumerate().for_each(|(plane, dx)| {
        let (picture, first) = (plane / blocks, plane % blocks * LANES);
        let used = LANES.min(params.in_channels - first);
        for value in first * kh * kw..(first + used) * kh * kw {
            let lane = value / (kh * kw) - first;
            let lines = (picture * inner + value / LANES) * oh * ow;
            for (i, line) in windows.lines()[lines..][..oh * ow].iter().enumerate() {
                let y = (i / ow * params.stride + value / kw % kh).wrapping_sub(params.padding.top);
                let x = (i % ow * params.stride + value % kw).wrapping_sub(params.padding.left);
                if y < h && x < w {
                    dx[y * w + x].0[lane] += line.0[value % LANES];
                }
            }
        }
    });
    dx
}
