//! The gradient of a convolution by its weight.

use crate::activation::Activation;
use crate::algorithm::Algorithm;
use crate::buffer::{AlignedVec, Buffer, SendPtr};
use crate::depthwise;
use crate::direct::{Source, Windows};
use crate::dispatch::Kernels;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::outer::Outer;
use crate::padding::Padding;
use crate::params::Conv2dParams;
use crate::weights::{Layout, Panel, is_planar};
use crate::winograd::{self, Winograd};
use rayon::prelude::*;
use std::ops::Range;

/// Input and gradient that a band of pixels holds, about.
const BAND_BYTES: usize = 128 << 10;
/// Blocks of input and of output channels that share a band.
const GROUP: usize = 8;
/// Pieces of work to cut into, so that many threads find some.
const TASKS: usize = 16;

/// Computes the gradient by the weight, `[out, in / groups, height, width]`, for the forward pass's input `x` and the
/// gradient `dy` by its output.
pub fn weight_gradient(
    isa: Isa,
    params: &Conv2dParams,
    x: &Activation,
    dy: &Activation,
) -> Result<AlignedVec, KernelError> {
    let algorithm = match Algorithm::choose(params) {
        Algorithm::Winograd if !Winograd::takes_gradient(params) => Algorithm::Direct,
        algorithm => algorithm,
    };
    weight_gradient_by(isa, params, x, dy, algorithm)
}

/// Computes the gradient like [`weight_gradient`], by the given algorithm.
pub fn weight_gradient_by(
    isa: Isa,
    params: &Conv2dParams,
    x: &Activation,
    dy: &Activation,
    algorithm: Algorithm,
) -> Result<AlignedVec, KernelError> {
    check(isa, params, x.shape(), dy)?;
    match algorithm {
        Algorithm::Direct => Ok(direct(isa, params, Source::Blocked(x), x.shape(), dy)),
        Algorithm::Winograd if Winograd::takes_gradient(params) => Ok(
            winograd::weight_gradient::weight_gradient(isa, params, x, dy),
        ),
        Algorithm::Winograd => Err(Winograd::refuses(params)),
        Algorithm::Depthwise => {
            algorithm.check(params)?;
            Ok(depthwise::weight_gradient(isa, params, x, dy))
        }
    }
}

/// Computes the gradient like [`weight_gradient`], from an input in row-major `[batch, channels, height,
/// width]`: the stem's.
pub fn weight_gradient_nchw(
    isa: Isa,
    params: &Conv2dParams,
    x: &[f32],
    shape: [usize; 4],
    dy: &Activation,
) -> Result<AlignedVec, KernelError> {
    check_len("the picture batch", x.len(), &shape)?;
    if !is_planar(params) && !Windows::takes(params) {
        return weight_gradient(isa, params, &Activation::from_nchw(x, shape)?, dy);
    }
    check(isa, params, shape, dy)?;
    Ok(direct(isa, params, Source::Planar(x), shape, dy))
}

fn check(
    isa: Isa,
    params: &Conv2dParams,
    shape: [usize; 4],
    dy: &Activation,
) -> Result<(), KernelError> {
    check_isa(isa)?;
    params.check()?;
    dy.check_shape("the gradient", params.output_shape(shape)?)
}

fn direct(
    isa: Isa,
    params: &Conv2dParams,
    source: Source<'_>,
    shape: [usize; 4],
    dy: &Activation,
) -> AlignedVec {
    if dy.lines().is_empty() {
        return AlignedVec::zeros(params.weight_shape().iter().product());
    }
    let kernels = Kernels::of(isa);
    let layer = match Windows::takes(params) {
        true => Windows::layer(params),
        false => *params,
    };
    let layout = Layout::new(&layer, kernels.outer_blocks, kernels.outer_rows);
    let input = match Windows::takes(params) {
        true => {
            let ([n, _, h, w], [_, _, oh, ow]) = (shape, dy.shape());
            Padded::of_windows(&Windows::new(params, source, [h, w], [oh, ow]), n, &layer)
        }
        false => Padded::new(params, source, shape, layout.planar, layout.rows),
    };
    let job = Job {
        params: &layer,
        kernels,
        input: &input,
        dy,
        layout: &layout,
    };
    let (mut sums, parts) = job.run();
    layout.unpack(kernels, sums.lines_mut(), parts)
}

/// The input with its padding written out, so that no window needs a look at borders.
struct Padded {
    /// Owns what `base` points into, unless that is the input itself.
    _buffer: Option<Buffer>,
    base: SendPtr,
    /// Values between pictures, blocks of channels (channels where planar), rows and pixels.
    picture: usize,
    plane: usize,
    row: usize,
    pixel: usize,
}

impl Padded {
    /// Returns the windows as the pixels of `layer`, a 1x1 convolution.
    fn of_windows(windows: &Windows<'_>, n: usize, layer: &Conv2dParams) -> Self {
        let (inputs, [oh, ow]) = (layer.in_channels.div_ceil(LANES), windows.out());
        let mut buffer = Buffer::new(n * inputs * oh * ow);
        let planes = buffer.lines_mut().par_chunks_exact_mut(oh * ow);
        planes.enumerate().for_each(|(plane, lines)| {
            let out = Line::values_mut(lines);
            windows.fill(plane / inputs, plane % inputs, 0..oh, out);
        });
        let (base, row) = (SendPtr::new(buffer.as_mut_ptr()), ow * LANES);
        Self {
            _buffer: Some(buffer),
            base,
            picture: inputs * oh * row,
            plane: oh * row,
            row,
            pixel: LANES,
        }
    }

    fn new(
        params: &Conv2dParams,
        source: Source<'_>,
        [n, c, h, w]: [usize; 4],
        planar: bool,
        rows: usize,
    ) -> Self {
        let Padding {
            top,
            left,
            bottom,
            right,
        } = params.padding;
        let (inputs, pixel) = if planar {
            (c, 1)
        } else {
            (c.div_ceil(LANES), LANES)
        };
        let (height, width) = (h + top + bottom, w + left + right);
        let row = width * pixel;
        let mut padded = Self {
            _buffer: None,
            base: SendPtr::new(std::ptr::null_mut()),
            picture: inputs * height * row,
            plane: height * row,
            row,
            pixel,
        };
        if let (Source::Blocked(x), true, false) = (source, params.padding.is_zero(), planar) {
            padded.base = SendPtr::new(x.as_ptr().cast_mut());
            return padded;
        }
        // Rows of a register tile past the filter's width read on behind the last pixel.
        let mut buffer = Buffer::zeroed((n * padded.picture + rows).div_ceil(LANES));
        padded.base = SendPtr::new(buffer.as_mut_ptr());
        (0..n * inputs).into_par_iter().for_each(|plane| {
            let (n, c) = (plane / inputs, plane % inputs);
            for y in 0..h {
                let at = plane * padded.plane + (y + top) * row + left * pixel;
                // SAFETY: the row lies in the buffer, and no other task has this plane.
                let out =
                    unsafe { std::slice::from_raw_parts_mut(padded.base.get().add(at), w * pixel) };
                match source {
                    Source::Planar(x) => {
                        out.copy_from_slice(&x[(plane * h + y) * w..][..w]);
                    }
                    Source::Blocked(x) => {
                        let block = if planar { c / LANES } else { c };
                        let lines = &x.lines()[((n * x.blocks() + block) * h + y) * w..][..w];
                        for (out, line) in out.chunks_exact_mut(pixel).zip(lines) {
                            if planar {
                                out[0] = line.0[c % LANES];
                            } else {
                                out.copy_from_slice(&line.0);
                            }
                        }
                    }
                }
            }
        });
        padded._buffer = Some(buffer);
        padded
    }
}

struct Job<'a> {
    params: &'a Conv2dParams,
    kernels: &'static Kernels,
    input: &'a Padded,
    dy: &'a Activation,
    layout: &'a Layout,
}

/// Output pixels that are summed in one go.
struct Band {
    pictures: Range<usize>,
    y: Range<usize>,
    x: Range<usize>,
}

impl Job<'_> {
    /// Partial sums `[part, lines]`. How many parts there are depends on the shapes only, never on the threads.
    fn run(&self) -> (Buffer, usize) {
        let lines = self.layout.lines;
        let n = self.dy.shape()[0];
        let per_group = (GROUP / self.kernels.outer_blocks).max(1);
        let groups: Vec<(&[Panel], Range<usize>)> = self
            .layout
            .panels
            .chunks(per_group)
            .flat_map(|panels| {
                let first = panels.iter().map(|p| p.inputs.start).min().unwrap_or(0);
                let last = panels.iter().map(|p| p.inputs.end).max().unwrap_or(0);
                let starts = (first..last).step_by(GROUP);
                starts.map(move |start| (panels, start..(start + GROUP).min(last)))
            })
            .collect();
        let parts = TASKS.div_ceil(groups.len()).clamp(1, n);
        let mut sums = Buffer::new(parts * lines);
        let out = SendPtr::new(sums.as_mut_ptr());
        (0..parts * groups.len()).into_par_iter().for_each(|task| {
            let (part, (panels, inputs)) = (task % parts, &groups[task / parts]);
            let pictures = part * n / parts..(part + 1) * n / parts;
            let out = SendPtr::new(out.get().wrapping_add(part * lines * LANES));
            let bands = self.bands(pictures);
            for (i, band) in bands.iter().enumerate() {
                let next = bands.get(i + 1).unwrap_or(band);
                for (k, panel) in panels.iter().enumerate() {
                    let from = inputs.start.max(panel.inputs.start);
                    for input in from..inputs.end.min(panel.inputs.end) {
                        // The first use of the next band would otherwise wait for the memory.
                        let ahead = [k == 0, input == from].map(|first| first.then_some(next));
                        self.sum(panel, input, band, ahead, i > 0, out);
                    }
                }
            }
        });
        (sums, parts)
    }

    fn bands(&self, pictures: Range<usize>) -> Vec<Band> {
        let [_, _, oh, ow] = self.dy.shape();
        let pixels = (BAND_BYTES / (2 * GROUP * LANES * 4)).max(1);
        // A 1x1 convolution does not see rows: a picture is one long row.
        let flat = self.params.kernel == [1, 1]
            && self.params.stride == 1
            && self.params.padding.is_zero();
        let (height, width) = if flat { (1, oh * ow) } else { (oh, ow) };
        let mut bands = Vec::new();
        if height * width <= pixels {
            let step = pixels / (height * width);
            for first in pictures.clone().step_by(step) {
                bands.push(Band {
                    pictures: first..(first + step).min(pictures.end),
                    y: 0..height,
                    x: 0..width,
                });
            }
            return bands;
        }
        let rows = (pixels / width).max(1);
        let columns = if rows > 1 {
            width
        } else {
            pixels.max(width.min(2 * LANES))
        };
        for n in pictures {
            for y in (0..height).step_by(rows) {
                for x in (0..width).step_by(columns) {
                    bands.push(Band {
                        pictures: n..n + 1,
                        y: y..(y + rows).min(height),
                        x: x..(x + columns).min(width),
                    });
                }
            }
        }
        bands
    }

    /// Fetches the input and the gradient `ahead` meanwhile.
    fn sum(
        &self,
        panel: &Panel,
        input: usize,
        band: &Band,
        ahead: [Option<&Band>; 2],
        accumulate: bool,
        out: SendPtr,
    ) {
        let [_, _, oh, ow] = self.dy.shape();
        let stride = self.params.stride;
        let view = self.input;
        let input_of = |band: &Band| {
            band.pictures.start * view.picture
                + input * view.plane
                + band.y.start * stride * view.row
                + band.x.start * stride * view.pixel
        };
        let gradient_of = |band: &Band| {
            let block = band.pictures.start * self.dy.blocks() + panel.first_block;
            (block * oh * ow + band.y.start * ow + band.x.start) * LANES
        };
        let a = view.base.get().wrapping_add(input_of(band));
        let b = self.dy.as_ptr().wrapping_add(gradient_of(band));
        let a_ahead = ahead[0].map_or(0, |next| input_of(next) - input_of(band));
        let b_ahead = ahead[1].map_or(0, |next| gradient_of(next) - gradient_of(band));
        let Layout {
            planar, taps, rows, ..
        } = *self.layout;
        let sums = panel.first_line + (input - panel.inputs.start) * taps * rows * panel.blocks;
        let kernel = self.kernels.outer(panel.blocks);
        for tap in 0..taps {
            let (ky, kx) = if planar {
                (tap, 0)
            } else {
                (tap / self.params.kernel[1], tap % self.params.kernel[1])
            };
            for r in (0..rows).step_by(self.kernels.outer_rows) {
                let line = sums + (tap * rows + r) * panel.blocks;
                let outer = Outer {
                    a: a.wrapping_add(ky * view.row + kx * view.pixel + r),
                    a_pixel: stride * view.pixel,
                    a_row: stride * view.row,
                    a_picture: view.picture,
                    b,
                    b_block: oh * ow * LANES,
                    b_row: ow * LANES,
                    b_picture: self.dy.blocks() * oh * ow * LANES,
                    a_ahead: if r == 0 { a_ahead } else { 0 },
                    b_ahead: if r == 0 && tap == 0 { b_ahead } else { 0 },
                    count: band.x.len(),
                    rows: band.y.len(),
                    pictures: band.pictures.len(),
                    out: out.get().wrapping_add(line * LANES),
                    out_stride: panel.blocks * LANES,
                    out_block: LANES,
                    accumulate,
                };
                // SAFETY: the padded input covers the windows of all pixels of the band, and each task has its own
                // panels, inputs and part of the sums.
                unsafe { kernel(&outer) };
            }
        }
    }
}
