//! One forward pass: how it is cut into tasks, and what each of them does.

use super::frame::{Frame, Source};
use super::weights::Direct;
use super::windows::Windows;
use crate::activation_fn::ActivationFn;
use crate::buffer::{SendPtr, with_scratch};
use crate::dispatch::Kernels;
use crate::functions::{Apply, Clamp};
use crate::line::LANES;
use crate::params::Conv2dParams;
use crate::partition::WorkPartition;
use crate::tile::{Tile, pieces};
use std::ops::Range;

/// Input of a task at most, half of a usual second-level cache.
const BAND_BYTES: usize = 384 << 10;
/// Terms of the sum that are added before moving to the next pixels.
const CHUNK: usize = 256;

/// Input of a pass.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    Map(Source<'a>),
    Windows(Windows<'a>),
}

/// One forward pass.
pub(super) struct Pass<'a> {
    pub conv: &'a Direct,
    pub kernels: &'static Kernels,
    pub source: Input<'a>,
    pub height: usize,
    pub width: usize,
    pub frame: Frame,
    /// Output rows, or register tiles where flat.
    pub units: usize,
    pub flat: bool,
    /// All windows lie inside the input, which can be read where it is.
    pub in_place: bool,
    pub residual: *const f32,
    pub function: ActivationFn,
    pub out: SendPtr,
}

// SAFETY: `residual` is only read, and outlives the pass by the borrow in `Direct::forward`.
unsafe impl Sync for Pass<'_> {}

/// The part of the input that a task reads, as the micro-kernel sees it.
struct View {
    /// Value of the first picture that output unit 0 starts at; virtual where the view holds only a band.
    base: *const f32,
    /// Values between pictures, blocks of channels (channels where planar), rows and pixels.
    picture: usize,
    plane: usize,
    row: usize,
    pixel: usize,
}

impl Pass<'_> {
    pub fn run(&self, n: usize) {
        let partition = WorkPartition {
            pictures: n,
            picture_bytes: self.inputs() * self.height * self.width * self.pixel_values() * 4,
            units: self.units,
            panels: self.conv.layout.panels.len(),
            band_bytes: BAND_BYTES,
        };
        partition.for_each(|pictures, units, panels| self.task(pictures, units, panels));
    }

    /// Blocks of input channels, or channels where planar.
    fn inputs(&self) -> usize {
        let channels = self.conv.params.in_channels;
        if self.conv.layout.planar {
            channels
        } else {
            channels.div_ceil(LANES)
        }
    }

    fn pixel_values(&self) -> usize {
        if self.conv.layout.planar { 1 } else { LANES }
    }

    fn task(&self, pictures: Range<usize>, units: Range<usize>, panels: Range<usize>) {
        match self.source {
            Input::Map(Source::Blocked(x)) if self.in_place => {
                let plane = self.height * self.width * LANES;
                let picture = plane * self.inputs();
                let view = View {
                    base: x.as_ptr().wrapping_add(pictures.start * picture),
                    picture,
                    plane,
                    row: self.width * LANES,
                    pixel: LANES,
                };
                self.compute(&view, pictures, units, panels);
            }
            _ => {
                let Conv2dParams {
                    kernel: [kh, kw],
                    stride,
                    ..
                } = self.conv.params;
                let rows = (units.len() - 1) * stride + kh;
                let pixel = self.pixel_values();
                let row = ((self.frame.size[1] - 1) * stride + kw) * pixel;
                let (plane, inputs) = (rows * row, self.inputs());
                let view = |base: *const f32| View {
                    base,
                    picture: plane * inputs,
                    plane,
                    row,
                    pixel,
                };
                let values = plane * inputs * pictures.len();
                with_scratch(values.div_ceil(LANES), |scratch| {
                    let values = scratch.as_mut_ptr().cast::<f32>();
                    let top = (units.start * stride) as isize - self.frame.top;
                    for (i, n) in pictures.clone().enumerate() {
                        for c in 0..inputs {
                            let at = (i * inputs + c) * plane;
                            // SAFETY: the scratch holds `plane` values from there on.
                            let plane =
                                unsafe { std::slice::from_raw_parts_mut(values.add(at), plane) };
                            self.copy_plane(n, c, top, rows, plane);
                        }
                    }
                    // Unit 0 is above the band, unless the band is the first.
                    let base = values.wrapping_sub(units.start * stride * row);
                    self.compute(&view(base), pictures, units, panels);
                });
            }
        }
    }

    /// Copies `rows` input rows from row `top` on into `out`, with zeros where they lie in the padding.
    fn copy_plane(&self, n: usize, c: usize, top: isize, rows: usize, out: &mut [f32]) {
        let source = match self.source {
            Input::Map(source) => source,
            Input::Windows(windows) => {
                // Pixels of windows have no padding, so that the first row is there.
                let top = top.max(0) as usize;
                return windows.fill(n, c, top..top + rows, out);
            }
        };
        let pixel = self.pixel_values();
        let row = out.len() / rows;
        let columns = (row / pixel) as isize;
        // Input columns `from..to` are there, `before` columns of zeros come first.
        let from = (-self.frame.left).clamp(0, self.width as isize);
        let to = (columns - self.frame.left).clamp(from, self.width as isize);
        let before = (from + self.frame.left).clamp(0, columns) as usize * pixel;
        let (from, to) = (from as usize, to as usize);
        let used = (to - from) * pixel;
        for (i, out) in out.chunks_exact_mut(row).enumerate() {
            let y = top + i as isize;
            if y < 0 || y >= self.height as isize {
                out.fill(0.0);
                continue;
            }
            out[..before].fill(0.0);
            out[before + used..].fill(0.0);
            let out = &mut out[before..before + used];
            let y = y as usize;
            match source {
                Source::Planar(x) => {
                    let channels = self.conv.params.in_channels;
                    let at = ((n * channels + c) * self.height + y) * self.width;
                    out.copy_from_slice(&x[at + from..at + to]);
                }
                Source::Blocked(x) if self.conv.layout.planar => {
                    let at = ((n * x.blocks() + c / LANES) * self.height + y) * self.width;
                    for (value, line) in out.iter_mut().zip(&x.lines()[at + from..at + to]) {
                        *value = line.0[c % LANES];
                    }
                }
                Source::Blocked(x) => {
                    let at = ((n * x.blocks() + c) * self.height + y) * self.width;
                    // SAFETY: a line is sixteen values without padding between them, and the row lies in the plane.
                    let lines = unsafe {
                        std::slice::from_raw_parts(x.as_ptr().add((at + from) * LANES), used)
                    };
                    out.copy_from_slice(lines);
                }
            }
        }
    }

    fn compute(
        &self,
        view: &View,
        pictures: Range<usize>,
        units: Range<usize>,
        panels: Range<usize>,
    ) {
        let Conv2dParams {
            kernel: [kh, kw],
            stride,
            out_channels,
            ..
        } = self.conv.params;
        let (offsets, segment_len, per_input) = self.segments(view);
        let (clamp, function) = Clamp::split(self.function);
        let chunk = (CHUNK / (per_input * segment_len)).max(1);
        let Frame {
            out_width,
            origin,
            step,
            ..
        } = self.frame;
        let out_plane = self.frame.out_plane * LANES;
        let out_picture = out_channels.div_ceil(LANES) * out_plane;
        debug_assert!(offsets.len() * segment_len == self.inputs() * kh * kw * view.pixel);
        for panel in &self.conv.layout.panels[panels] {
            for start in panel.inputs.clone().step_by(chunk) {
                let end = (start + chunk).min(panel.inputs.end);
                let skipped = (start - panel.inputs.start) * per_input * segment_len * panel.blocks;
                let last = end == panel.inputs.end;
                let tile = Tile {
                    a: view.base,
                    w: self.conv.weights.lines()[panel.first_line + skipped..]
                        .as_ptr()
                        .cast(),
                    offsets: offsets[start * per_input..].as_ptr(),
                    segments: (end - start) * per_input,
                    segment_len,
                    out: self.out.get(),
                    block_stride: out_plane,
                    pixel_stride: step * LANES,
                    residual: std::ptr::null(),
                    bias: self.conv.bias[panel.first_block..].as_ptr().cast(),
                    accumulate: start != panel.inputs.start,
                    clamp: if last { clamp } else { Clamp::None },
                    fetch_next: self.conv.params.kernel == [1, 1],
                    ahead: std::ptr::null(),
                };
                // The weights of the next chunk follow these; the first register tiles fetch a line of them per term.
                let terms = (end - start) * per_input * segment_len;
                let next = (0..panel.blocks).map(|i| (panel.blocks + i) * terms * LANES);
                let mut next = next.map(|at| tile.w.wrapping_add(at));
                for (i, n) in pictures.clone().enumerate() {
                    let out = n * out_picture + panel.first_block * out_plane;
                    for unit in units.clone() {
                        let (y, from, len) = self.unit(unit);
                        for (x, pixels) in pieces(len, self.kernels.mr) {
                            let x = from + x;
                            let (row, column) = (origin[0] + y * step, origin[1] + x * step);
                            let at = out + (row * out_width + column) * LANES;
                            let input =
                                i * view.picture + y * stride * view.row + x * stride * view.pixel;
                            let tile = Tile {
                                a: tile.a.wrapping_add(input),
                                out: tile.out.wrapping_add(at),
                                residual: if last && !self.residual.is_null() {
                                    self.residual.wrapping_add(at)
                                } else {
                                    std::ptr::null()
                                },
                                ahead: next.next().unwrap_or(tile.w),
                                ..tile
                            };
                            // SAFETY: shapes were checked at the border; the view covers the window of every output
                            // pixel of the band, weights, offsets and bias cover the panel, and no other task has
                            // this panel of these pixels.
                            unsafe {
                                self.kernels.tile(pixels, panel.blocks, stride * view.pixel)(&tile);
                                if let (true, Some(function)) = (last, function) {
                                    (self.kernels.apply)(&Apply {
                                        values: tile.out,
                                        rows: panel.blocks,
                                        count: pixels,
                                        row_stride: tile.block_stride,
                                        line_stride: tile.pixel_stride,
                                        function,
                                    });
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Row, first pixel and pixels of a unit of work.
    fn unit(&self, unit: usize) -> (usize, usize, usize) {
        if self.flat {
            let pixels = self.frame.size[0] * self.frame.size[1];
            let (from, to) = (unit * pixels / self.units, (unit + 1) * pixels / self.units);
            (0, from, to - from)
        } else {
            (unit, 0, self.frame.size[1])
        }
    }

    /// Offsets of all segments, values in one, and segments of an input block.
    fn segments(&self, view: &View) -> (Vec<isize>, usize, usize) {
        let [kh, kw] = self.conv.params.kernel;
        let taps = if self.conv.layout.planar { 1 } else { kw };
        let mut offsets = Vec::with_capacity(self.inputs() * kh * taps);
        for input in 0..self.inputs() {
            for ky in 0..kh {
                for kx in 0..taps {
                    offsets.push((input * view.plane + ky * view.row + kx * view.pixel) as isize);
                }
            }
        }
        (
            offsets,
            if self.conv.layout.planar { kw } else { LANES },
            kh * taps,
        )
    }
}
