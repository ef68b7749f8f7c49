//! A filter of stride 2 on few channels as one of stride 1 on four times as many.
//!
//! The four pixels of every 2x2 square become channels of one pixel. The stem's 7x7 filter of stride 2 on 3 channels turns
//! into a 4x4 filter of stride 1 on 12, which Winograd's F(3x3, 4x4) computes with 4 x 12 multiplications an output value
//! instead of 147.

use crate::activation::Activation;
use crate::direct::Source;
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
use rayon::prelude::*;

/// Height and width of the filter of stride 1.
pub(super) const FILTER: usize = 4;

pub(super) fn takes(params: &Conv2dParams) -> bool {
    let [kh, kw] = params.kernel;
    let Some(around) = params.padding.uniform() else {
        return false;
    };
    params.stride == 2
        && params.groups == 1
        && 4 * params.in_channels <= LANES
        && kh == kw
        && kh > around
        && (kh - 1 - around) / 2 + padding(params) + 1 == FILTER
}

/// Padding before the first pixel of the rearranged input.
pub(super) fn padding(params: &Conv2dParams) -> usize {
    params.padding.top.div_ceil(2)
}

/// Returns for every tap of the filter which of the four pixels of a square it meets, and its place in the 4x4 filter.
pub(super) fn places(params: &Conv2dParams) -> Vec<(usize, usize)> {
    let shift = 2 * padding(params) - params.padding.top;
    let [kh, kw] = params.kernel;
    let taps = (0..kh).flat_map(|y| (0..kw).map(move |x| (y + shift, x + shift)));
    taps.map(|(y, x)| (y % 2 * 2 + x % 2, y / 2 * FILTER + x / 2))
        .collect()
}

/// `[batch, channels, height, width]` to `[batch, 4 channels, height / 2, width / 2]`, with zeros behind odd edges.
pub(super) fn rearrange(source: Source<'_>, [n, c, h, w]: [usize; 4]) -> Activation {
    let (rows, columns) = (h.div_ceil(2), w.div_ceil(2));
    let mut out = Activation::uninit([n, 4 * c, rows, columns]);
    if n == 0 {
        return out;
    }
    out.lines_mut()
        .par_chunks_mut(columns)
        .enumerate()
        .for_each(|(row, lines)| {
            let (n, y) = (row / rows, row % rows * 2);
            lines.fill(Line::ZERO);
            for channel in 0..c {
                for half in 0..2.min(h - y) {
                    let lane = channel * 4 + half * 2;
                    match source {
                        Source::Planar(x) => {
                            let row = &x[((n * c + channel) * h + y + half) * w..][..w];
                            let pairs = row.chunks_exact(2);
                            if let [last] = pairs.remainder() {
                                lines[columns - 1].0[lane] = *last;
                            }
                            for (line, pair) in lines.iter_mut().zip(pairs) {
                                line.0[lane..lane + 2].copy_from_slice(pair);
                            }
                        }
                        Source::Blocked(x) => {
                            let row = &x.lines()[(n * h + y + half) * w..][..w];
                            for (x, pixel) in row.iter().enumerate() {
                                lines[x / 2].0[lane + x % 2] = pixel.0[channel];
                            }
                        }
                    }
                }
            }
        });
    out
}
