//! One forward pass: how it is cut into tasks, and what each of them does.

use super::activation::{Quantization, QuantizedActivation};
use super::dispatch::Kernels;
use super::planar::PlanarRow;
use super::tile::{LINE, Out, Tile};
use super::weights::{Panel, Weights};
use crate::buffer::{SendPtr, with_scratch};
use crate::line::LANES;
use crate::params::Conv2dParams;
use crate::partition::WorkPartition;
use crate::tile::pieces;
use std::ops::Range;

/// Input of a task at most, part of a usual second-level cache.
const BAND_BYTES: usize = 256 << 10;

/// Source of input values.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Bytes(&'a QuantizedActivation),
    /// Row-major `[batch, channels, height, width]`, rounded when read. For narrow layouts.
    Planar(&'a [f32], Quantization),
}

/// Destination of the output.
#[derive(Clone, Copy)]
pub(super) enum OutPtr {
    Bytes(SendPtr),
    Floats(SendPtr),
}

/// Operations applied to the sums, see [`Tile`].
pub(super) struct Epilogue {
    pub start: Vec<i32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub residual: *const u8,
    pub residual_scale: f32,
    pub floor: f32,
    /// The byte around the picture.
    pub padding: u8,
}

/// One forward pass.
pub(super) struct Pass<'a> {
    pub params: &'a Conv2dParams,
    pub weights: &'a Weights,
    pub kernels: &'static Kernels,
    pub source: Source<'a>,
    pub size: [usize; 2],
    pub out_size: [usize; 2],
    /// Output rows, or register tiles where flat.
    pub units: usize,
    pub flat: bool,
    pub epilogue: Epilogue,
    pub out: OutPtr,
}

// SAFETY: the residual is only read, and outlives the pass by the borrows in `QuantizedConv2d`.
unsafe impl Sync for Pass<'_> {}

/// The part of the input that a task reads, as the micro-kernel sees it.
struct View {
    /// Byte of the first picture that output unit 0 starts at; virtual where the view holds only a band.
    base: *const u8,
    /// Bytes between pictures, blocks of channels, rows and pixels.
    picture: usize,
    plane: usize,
    row: usize,
    pixel: usize,
}

impl Pass<'_> {
    pub fn run(&self, n: usize) {
        if self.units == 0 || self.out_size[1] == 0 {
            return;
        }
        let [h, w] = self.size;
        let partition = WorkPartition {
            pictures: n,
            picture_bytes: self.planes() * h * w * self.pixel(),
            units: self.units,
            panels: self.weights.layout.panels.len(),
            band_bytes: BAND_BYTES,
        };
        partition.for_each(|pictures, units, panels| self.task(pictures, units, panels));
    }

    /// Planes of a picture: blocks of channels, or one of all.
    fn planes(&self) -> usize {
        if self.weights.layout.is_narrow {
            1
        } else {
            self.params.in_channels.div_ceil(LINE)
        }
    }

    /// Bytes of a pixel in a plane.
    fn pixel(&self) -> usize {
        if self.weights.layout.is_narrow {
            self.params.in_channels
        } else {
            LINE
        }
    }

    fn task(&self, pictures: Range<usize>, units: Range<usize>, panels: Range<usize>) {
        let Conv2dParams {
            kernel: [kh, kw],
            stride,
            padding,
            ..
        } = *self.params;
        let [height, width] = self.size;
        match self.source {
            Source::Bytes(x) if padding.is_zero() && !self.weights.layout.is_narrow => {
                let plane = height * width * LINE;
                let picture = plane * self.planes();
                let view = View {
                    base: x.bytes()[pictures.start * picture..].as_ptr(),
                    picture,
                    plane,
                    row: width * LINE,
                    pixel: LINE,
                };
                self.compute(&view, pictures, units, panels);
            }
            _ => {
                let rows = (units.len() - 1) * stride + kh;
                let pixel = self.pixel();
                let row = ((self.out_size[1] - 1) * stride + kw) * pixel;
                let (plane, planes) = (rows * row, self.planes());
                // The last quad of a narrow row may reach beyond it.
                let bytes = plane * planes * pictures.len() + LINE;
                with_scratch(bytes.div_ceil(LINE), |scratch| {
                    let memory = scratch.as_mut_ptr().cast::<u8>();
                    let top = (units.start * stride) as isize - padding.top as isize;
                    for (i, n) in pictures.clone().enumerate() {
                        for c in 0..planes {
                            let at = (i * planes + c) * plane;
                            // SAFETY: the scratch holds `plane` bytes from there on, of which every pattern is valid.
                            let plane =
                                unsafe { std::slice::from_raw_parts_mut(memory.add(at), plane) };
                            self.copy_plane(n, c, top, plane, row);
                        }
                    }
                    let view = View {
                        // Unit 0 is above the band, unless the band is the first.
                        base: memory.wrapping_sub(units.start * stride * row),
                        picture: plane * planes,
                        plane,
                        row,
                        pixel,
                    };
                    self.compute(&view, pictures, units, panels);
                });
            }
        }
    }

    /// Copies input rows of `row` bytes from row `top` on into `out`, with zeros where they lie in the padding.
    fn copy_plane(&self, n: usize, c: usize, top: isize, out: &mut [u8], row: usize) {
        let ([height, width], padding, pixel) = (self.size, self.params.padding, self.pixel());
        let columns = row / pixel;
        let before = padding.left.min(columns);
        let used = width.min(columns - before);
        for (i, out) in out.chunks_exact_mut(row).enumerate() {
            let y = top + i as isize;
            if y < 0 || y >= height as isize {
                out.fill(self.epilogue.padding);
                continue;
            }
            let y = y as usize;
            out[..before * pixel].fill(self.epilogue.padding);
            out[(before + used) * pixel..].fill(self.epilogue.padding);
            let out = &mut out[before * pixel..(before + used) * pixel];
            match self.source {
                Source::Planar(x, quantization) => {
                    let row = PlanarRow {
                        input: x[(n * pixel * height + y) * width..].as_ptr(),
                        plane: height * width,
                        channels: pixel,
                        pixels: used,
                        quantization,
                        out: out.as_mut_ptr(),
                    };
                    // SAFETY: the row lies in the planes, whose lengths were checked at the border, and in `out`.
                    unsafe { (self.kernels.planar_row)(&row) };
                }
                Source::Bytes(x) => {
                    let at = ((n * x.blocks() + c) * height + y) * width * LINE;
                    let row = &x.bytes()[at..at + used * LINE];
                    if pixel == LINE {
                        out.copy_from_slice(row);
                    } else {
                        let pixels = out.chunks_exact_mut(pixel).zip(row.chunks_exact(LINE));
                        pixels.for_each(|(out, row)| out.copy_from_slice(&row[..pixel]));
                    }
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
        let layout = &self.weights.layout;
        let stride = self.params.stride;
        let [oh, ow] = self.out_size;
        let step = stride * view.pixel;
        for panel in &layout.panels[panels] {
            let offsets = self.offsets(view, panel);
            let first = panel.first_block * LANES;
            let tile = Tile {
                a: view.base,
                step,
                w: self.weights.of(panel),
                offsets: offsets.as_ptr(),
                segments: offsets.len(),
                quads: layout.quads,
                start: self.epilogue.start[first..].as_ptr(),
                scale: self.epilogue.scale[first..].as_ptr(),
                shift: self.epilogue.shift[first..].as_ptr(),
                residual: std::ptr::null(),
                residual_scale: self.epilogue.residual_scale,
                floor: self.epilogue.floor,
                fetch_next: self.params.kernel == [1, 1],
                out: Out::Bytes(std::ptr::null_mut()),
            };
            for (i, n) in pictures.clone().enumerate() {
                // Line of the panel's first output pixel, and its place in the line.
                let lines = self.params.out_channels.div_ceil(LINE);
                let line = (n * lines + first / LINE) * oh * ow;
                let blocks = self.params.out_channels.div_ceil(LANES);
                let block = (n * blocks + panel.first_block) * oh * ow;
                for unit in units.clone() {
                    let (y, from, len) = self.unit(unit);
                    for (x, pixels) in pieces(len, self.kernels.mr) {
                        let x = from + x;
                        let at = y * ow + x;
                        let byte = (line + at) * LINE + first % LINE;
                        let input = i * view.picture + y * stride * view.row + x * step;
                        let tile = Tile {
                            a: tile.a.wrapping_add(input),
                            residual: if self.epilogue.residual.is_null() {
                                std::ptr::null()
                            } else {
                                self.epilogue.residual.wrapping_add(byte)
                            },
                            out: match self.out {
                                OutPtr::Bytes(out) => {
                                    Out::Bytes(out.get().cast::<u8>().wrapping_add(byte))
                                }
                                OutPtr::Floats(out) => {
                                    let out = out.get().wrapping_add((block + at) * LANES);
                                    Out::Floats(out, oh * ow * LANES)
                                }
                            },
                            ..tile
                        };
                        // SAFETY: shapes were checked at the border; the view covers the window of every output pixel of
                        // the band, weights, offsets and the epilogue's vectors cover the panel, which lies in one line,
                        // and no other task has this panel of these pixels.
                        unsafe { self.kernels.tile(pixels, panel.blocks, step)(&tile) };
                    }
                }
            }
        }
    }

    /// Row, first pixel and pixels of a unit of work.
    fn unit(&self, unit: usize) -> (usize, usize, usize) {
        let [oh, ow] = self.out_size;
        if self.flat {
            let pixels = oh * ow;
            let (from, to) = (unit * pixels / self.units, (unit + 1) * pixels / self.units);
            (0, from, to - from)
        } else {
            (unit, 0, ow)
        }
    }

    /// Returns the start offset of each segment of a panel's sum.
    fn offsets(&self, view: &View, panel: &Panel) -> Vec<isize> {
        let ([kh, kw], layout) = (self.params.kernel, &self.weights.layout);
        if layout.is_narrow {
            return (0..kh).map(|y| (y * view.row) as isize).collect();
        }
        let mut offsets = Vec::with_capacity(panel.inputs.len() * kh * kw);
        for input in panel.inputs.clone() {
            let channel = input * layout.group;
            for y in 0..kh {
                for x in 0..kw {
                    let at = channel / LINE * view.plane + y * view.row + x * view.pixel;
                    offsets.push((at + channel % LINE) as isize);
                }
            }
        }
        offsets
    }
}
