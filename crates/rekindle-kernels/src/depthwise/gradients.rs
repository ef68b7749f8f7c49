//! The gradients of a depthwise convolution.

use super::pass::{Part, Pass, packed};
use super::sums::DepthwiseSums;
use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::buffer::{AlignedVec, with_scratch};
use crate::dispatch::Kernels;
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
use crate::taps::Axis;
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of input and gradient that stay in the first-level cache while all rows of the filter pass over them.
const BAND_BYTES: usize = 24 << 10;
/// Lines up to which an input plane is copied between its padding.
const PADDED_LINES: usize = 1 << 10;
/// Pixels that a piece of work has at least.
const PIECE: usize = 1 << 12;
/// Pixels that are summed in f32 before the sum goes into an f64, or a plane's, where it has more.
const RUN: usize = 1 << 10;
/// Pieces of work to cut into, so that many threads find some.
const TASKS: usize = 16;

/// Computes the gradient by an input of `size`; `weight` is `[channels, 1, height, width]`. Shapes have been checked.
///
/// At stride 1 it is itself a depthwise convolution, with the filters turned by 180 degrees; at stride 2 it falls apart into
/// four, one for each parity of the input's rows and columns, which are computed row by row.
pub(crate) fn input_gradient(
    isa: Isa,
    params: &Conv2dParams,
    weight: &[f32],
    dy: &Activation,
    size: [usize; 2],
    add: Option<&Activation>,
) -> Activation {
    let (channels, stride) = (params.in_channels, params.stride);
    let [kh, kw] = params.kernel;
    let parities = (0..stride).flat_map(|y| (0..stride).map(move |x| [y, x]));
    let part = |origin: [usize; 2]| {
        let y = Axis::new(kh, params.padding.top, stride, origin[0]);
        let x = Axis::new(kw, params.padding.left, stride, origin[1]);
        let kernel = [y.taps.len(), x.taps.len()];
        let weights = packed(channels, kernel[0] * kernel[1], |channel, tap| {
            let tap = y.taps[tap / kernel[1]] * kw + x.taps[tap % kernel[1]];
            weight[channel * kh * kw + tap]
        });
        Part {
            kernel,
            weights,
            first: [y.first, x.first],
            origin,
        }
    };
    let parts: Vec<Part> = parities.map(part).collect();
    let pass = Pass {
        parts: &parts,
        step: stride,
        stride: 1,
        bias: &Line::of_channels(channels, None),
        function: ActivationFn::Identity,
    };
    let mut dx = Activation::uninit([dy.shape()[0], channels, size[0], size[1]]);
    pass.run(isa, dy, add, &mut dx);
    dx
}

/// Computes the gradient by the weight, `[channels, 1, height, width]`. Shapes have been checked.
pub(crate) fn weight_gradient(
    isa: Isa,
    params: &Conv2dParams,
    x: &Activation,
    dy: &Activation,
) -> AlignedVec {
    let [n, channels, oh, ow] = dy.shape();
    let taps = params.kernel[0] * params.kernel[1];
    let blocks = dy.blocks();
    let mut out = AlignedVec::zeros(channels * taps);
    if dy.lines().is_empty() || taps == 0 {
        return out;
    }
    let job = Job {
        params,
        kernels: Kernels::of(isa),
        x,
        dy,
    };
    // How the sums are cut depends on the shapes only, never on the threads.
    let bands = (oh * ow).div_ceil(PIECE).min(oh);
    let parts = TASKS.div_ceil(blocks).clamp(1, n * bands);
    let partial = |task: usize| {
        let (block, part) = (task / parts, task % parts);
        let mut totals = vec![[0.0f64; LANES]; taps];
        let mut sums = vec![Line::ZERO; taps];
        let mut summed = 0;
        let pieces = part * n * bands / parts..(part + 1) * n * bands / parts;
        for piece in pieces.clone() {
            let (picture, band) = (piece / bands, piece % bands);
            let rows = band * oh / bands..(band + 1) * oh / bands;
            summed += rows.len() * ow;
            job.sum(picture * blocks + block, rows, &mut sums);
            if summed < RUN && piece + 1 < pieces.end {
                continue;
            }
            for (total, sum) in totals.iter_mut().zip(&sums) {
                for (total, sum) in total.iter_mut().zip(sum.0) {
                    *total += f64::from(sum);
                }
            }
            sums.fill(Line::ZERO);
            summed = 0;
        }
        totals
    };
    let partials: Vec<_> = (0..blocks * parts).into_par_iter().map(partial).collect();
    for (i, value) in out.as_mut_slice().iter_mut().enumerate() {
        let (channel, tap) = (i / taps, i % taps);
        let parts = &partials[channel / LANES * parts..][..parts];
        let sum: f64 = parts.iter().map(|part| part[tap][channel % LANES]).sum();
        *value = sum as f32;
    }
    out
}

struct Job<'a> {
    params: &'a Conv2dParams,
    kernels: &'static Kernels,
    x: &'a Activation,
    dy: &'a Activation,
}

/// Rows of an input plane as the micro-kernel sees them.
struct View {
    first: *const f32,
    /// Pixels of a row.
    width: usize,
    /// Columns of padding that are not there.
    left: usize,
}

impl Job<'_> {
    /// Adds the sums over some output rows of a plane to `sums`, a line for each tap.
    ///
    /// A small plane is copied between its columns of padding first: most of its windows would reach into them, and the
    /// kernel would have to look at each.
    fn sum(&self, plane: usize, rows: Range<usize>, sums: &mut [Line]) {
        let ([_, _, h, w], ow) = (self.x.shape(), self.dy.shape()[3]);
        let (left, stride) = (self.params.padding.left, self.params.stride);
        let input = &self.x.lines()[plane * h * w..][..h * w];
        let width = (left + w).max((ow - 1) * stride + self.params.kernel[1]);
        if width == w || h * width > PADDED_LINES {
            let view = View {
                first: input.as_ptr().cast(),
                width: w,
                left,
            };
            return self.sum_view(plane, rows, &view, sums);
        }
        with_scratch(h * width, |scratch| {
            for (to, from) in scratch.chunks_exact_mut(width).zip(input.chunks_exact(w)) {
                to[..left].fill(Line::ZERO);
                to[left..left + w].copy_from_slice(from);
                to[left + w..].fill(Line::ZERO);
            }
            let view = View {
                first: scratch.as_ptr().cast(),
                width,
                left: 0,
            };
            self.sum_view(plane, rows, &view, sums);
        });
    }

    fn sum_view(&self, plane: usize, rows: Range<usize>, view: &View, sums: &mut [Line]) {
        let ([_, _, h, _], [_, _, oh, ow]) = (self.x.shape(), self.dy.shape());
        let Conv2dParams {
            kernel: [kh, kw],
            stride,
            padding,
            ..
        } = *self.params;
        let &View {
            first: x,
            width: w,
            left,
        } = view;
        let dy = self.dy.as_ptr().wrapping_add(plane * oh * ow * LANES);
        let (kernel, width) = self.kernels.depthwise_sums(kw, stride);
        let line_bytes = size_of::<Line>() * (w * stride + ow);
        let band = (BAND_BYTES / line_bytes).max(1);
        for start in rows.clone().step_by(band) {
            let end = rows.end.min(start + band);
            for ky in 0..kh {
                // Output rows that find this row of the filter inside the picture.
                let above = padding.top.saturating_sub(ky).div_ceil(stride);
                let below = (h + padding.top).saturating_sub(ky).div_ceil(stride);
                let (from, to) = (start.max(above), end.min(below));
                if from >= to {
                    continue;
                }
                let row = from * stride + ky - padding.top;
                for kx in (0..kw).step_by(width) {
                    let t = DepthwiseSums {
                        input: x.wrapping_add(row * w * LANES),
                        input_row: stride * w * LANES,
                        width: w,
                        first: kx as isize - left as isize,
                        dy: dy.wrapping_add(from * ow * LANES),
                        dy_row: ow * LANES,
                        rows: to - from,
                        count: ow,
                        sums: sums[ky * kw + kx..].as_mut_ptr().cast(),
                    };
                    // SAFETY: the rows lie in both planes, the kernel looks at columns, and the sums have a line for
                    // each tap.
                    unsafe { kernel(&t) };
                }
            }
        }
    }
}
