//! One pass of depthwise filters over a batch.

use super::row::DepthwiseRow;
use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::dispatch::Kernels;
use crate::functions::{Apply, Clamp};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use rayon::prelude::*;
use std::ops::Range;

/// Filters that compute some of the output pixels: all of them, or those of one parity of rows and columns.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Height and width.
    pub kernel: [usize; 2],
    /// `[block of channels, tap]`.
    pub weights: Vec<Line>,
    /// Input row and column of the first tap of the part's first output pixel, negative in the padding.
    pub first: [isize; 2],
    /// Row and column of that output pixel.
    pub origin: [usize; 2],
}

/// Lines `[block of channels, tap]` of what `value` tells for each channel and tap, zero past the last channel.
pub(super) fn packed(
    channels: usize,
    taps: usize,
    value: impl Fn(usize, usize) -> f32,
) -> Vec<Line> {
    let mut lines = vec![Line::ZERO; channels.div_ceil(LANES) * taps];
    for channel in 0..channels {
        for tap in 0..taps {
            lines[channel / LANES * taps + tap].0[channel % LANES] = value(channel, tap);
        }
    }
    lines
}

/// A convolution in one part, or in four that take turns with the output pixels.
pub(super) struct Pass<'a> {
    pub parts: &'a [Part],
    /// Output pixels from one of a part to its next in both directions.
    pub step: usize,
    /// Input pixels from one of a part's windows to the next.
    pub stride: usize,
    /// A line for each block of channels.
    pub bias: &'a [Line],
    pub function: ActivationFn,
}

impl Pass<'_> {
    /// Shapes have been checked; `out` is fully written.
    pub fn run(
        &self,
        isa: Isa,
        x: &Activation,
        residual: Option<&Activation>,
        out: &mut Activation,
    ) {
        let ([n, _, oh, ow], planes) = (out.shape(), out.shape()[0] * out.blocks());
        if n * oh * ow == 0 {
            return;
        }
        let kernels = Kernels::of(isa);
        let shared = out.send_ptr();
        // One picture of few channels is cut into bands of rows.
        let tasks = 4 * rayon::current_num_threads();
        let bands = tasks.div_ceil(planes.max(1)).min(oh);
        (0..planes * bands).into_par_iter().for_each(|task| {
            let (plane, band) = (task / bands, task % bands);
            let rows = band * oh / bands..(band + 1) * oh / bands;
            let at = plane * oh * ow * LANES;
            let residual = residual.map(|r| r.as_ptr().wrapping_add(at));
            // SAFETY: shapes were checked at the border, and each task has its own rows of its own plane.
            unsafe {
                let out = shared.get().wrapping_add(at);
                self.rows(kernels, x, plane, rows, residual, out, [oh, ow]);
            }
        });
    }

    /// # Safety
    /// `out` and `residual` must be planes of the size given, and nobody else may use these rows of `out`.
    #[allow(clippy::too_many_arguments)]
    unsafe fn rows(
        &self,
        kernels: &Kernels,
        x: &Activation,
        plane: usize,
        rows: Range<usize>,
        residual: Option<*const f32>,
        out: *mut f32,
        [_, ow]: [usize; 2],
    ) {
        let ([_, _, h, w], block) = (x.shape(), plane % x.blocks());
        let input = x.as_ptr().wrapping_add(plane * h * w * LANES);
        let (clamp, function) = Clamp::split(self.function);
        for y in rows {
            for part in self.parts {
                let [kh, kw] = part.kernel;
                if y % self.step != part.origin[0] || part.origin[1] >= ow {
                    continue;
                }
                let top = part.first[0] + (y / self.step * self.stride) as isize;
                // Rows of the filter that meet the picture.
                let from = (-top).clamp(0, kh as isize) as usize;
                let to = (h as isize - top).clamp(from as isize, kh as isize) as usize;
                let at = (y * ow + part.origin[1]) * LANES;
                let first_row = (top + from as isize).max(0) as usize;
                let weights = &part.weights[block * kh * kw + from * kw..];
                let row = DepthwiseRow {
                    input: input.wrapping_add(first_row * w * LANES),
                    row_stride: w * LANES,
                    rows: to - from,
                    width: w,
                    first: part.first[1],
                    weights: weights.as_ptr().cast(),
                    taps: kw,
                    out: out.wrapping_add(at),
                    count: (ow - part.origin[1]).div_ceil(self.step),
                    pixel_stride: self.step * LANES,
                    residual: residual.map_or(std::ptr::null(), |r| r.wrapping_add(at)),
                    bias: self.bias[block].0.as_ptr(),
                    clamp,
                };
                // SAFETY: filter rows outside of the picture are left out, and the kernel looks at columns; the rest is
                // the contract.
                unsafe { kernels.depthwise_row(kw, self.stride)(&row) };
            }
            if let Some(function) = function {
                let apply = Apply {
                    values: out.wrapping_add(y * ow * LANES),
                    rows: 1,
                    count: ow,
                    row_stride: 0,
                    line_stride: LANES,
                    function,
                };
                // SAFETY: the row has just been written, and is this task's own.
                unsafe { (kernels.apply)(&apply) };
            }
        }
    }
}
