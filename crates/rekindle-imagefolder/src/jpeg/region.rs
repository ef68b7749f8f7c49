//! Decoding a part of a baseline JPEG: everything before it is read, but only its blocks are
//! transformed, and what comes after it is left alone.

use std::ops::Range;

use image::RgbImage;

use super::color::{grey_row, rgb_row, upsampled_row};
use super::header::{Component, Header};
use super::huffman::{Bits, Unstuffed};
use super::idct::{Factors, inverse};
use super::render::Layer;
#[cfg(target_arch = "x86_64")]
use super::vector::Avx2;
use super::vector::{Portable, Vector};

/// Pixels of the image divided by `scale` (rounded up).
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) columns: Range<usize>,
    pub(super) rows: Range<usize>,
    /// 1, 2, 4 or 8.
    pub(super) scale: usize,
}

/// Gives the window's pixels; the same whatever else is decoded with them. `None` for damaged data.
pub(super) fn decode(header: &Header, window: &Window) -> Option<RgbImage> {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(WithAvx2(simd, header, window));
    }
    decode_with::<Portable>((), header, window)
}

/// Not a closure, because instructions are used only where everything is inlined.
#[cfg(target_arch = "x86_64")]
struct WithAvx2<'a>(pulp::x86::V3, &'a Header<'a>, &'a Window);

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for WithAvx2<'_> {
    type Output = Option<RgbImage>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        decode_with::<Avx2>(self.0, self.1, self.2)
    }
}

#[inline(always)]
fn decode_with<V: Vector>(token: V::Token, header: &Header, window: &Window) -> Option<RgbImage> {
    let grid = Grid::new(header, window);
    let mut planes: Vec<Plane> = header
        .components
        .iter()
        .map(|component| Plane::new(component, header, window, &grid))
        .collect();
    read_blocks::<V>(token, header, &grid, &mut planes)?;
    Some(to_rgb(&planes, window))
}

/// The MCUs of the image, and those that the window needs.
struct Grid {
    across: usize,
    down: usize,
    columns: Range<usize>,
    rows: Range<usize>,
}

impl Grid {
    fn new(header: &Header, window: &Window) -> Self {
        let luma = &header.components[0];
        let (width, height) = (8 * luma.across, 8 * luma.down);
        // Upsampling looks at the next sample of the chroma, two pixels wide.
        let needed = |range: &Range<usize>, blocks: usize, side: usize, mcu: usize| {
            let margin = if luma.across * luma.down > 1 { 2 } else { 0 };
            let first = range.start.saturating_sub(margin) * window.scale / mcu;
            let end = ((range.end + margin) * window.scale)
                .min(side)
                .div_ceil(mcu);
            first..end.min(blocks)
        };
        let across = header.width.div_ceil(width);
        let down = header.height.div_ceil(height);
        Self {
            across,
            down,
            columns: needed(&window.columns, across, header.width, width),
            rows: needed(&window.rows, down, header.height, height),
        }
    }
}

/// A component's samples in the needed MCUs.
pub(super) struct Plane {
    pub(super) samples: Vec<u8>,
    pub(super) stride: usize,
    /// Position of the first sample.
    pub(super) left: usize,
    /// Position of the first sample.
    pub(super) top: usize,
    /// Columns of the whole component.
    pub(super) width: usize,
    /// Rows of the whole component.
    pub(super) height: usize,
    /// Pixels that a sample covers, 1 to 4.
    pub(super) pixels_across: usize,
    /// Pixels that a sample covers, 1 to 4.
    pub(super) pixels_down: usize,
    /// Samples across and down of a block: 8, 4, 2 or 1.
    block: usize,
    pub(super) factors: Factors,
}

impl Plane {
    fn new(component: &Component, header: &Header, window: &Window, grid: &Grid) -> Self {
        let luma = &header.components[0];
        let mut block = 8 / window.scale;
        let mut pixels_across = luma.across / component.across;
        let mut pixels_down = luma.down / component.down;
        // A reduced image needs no upsampling where the chroma is reduced less.
        if block < 8 && pixels_across == 2 && pixels_down == 2 {
            block *= 2;
            (pixels_across, pixels_down) = (1, 1);
        }
        let (mcu_width, mcu_height) = (block * component.across, block * component.down);
        let stride = grid.columns.len() * mcu_width;
        Self {
            samples: vec![0; stride * grid.rows.len() * mcu_height],
            stride,
            left: grid.columns.start * mcu_width,
            top: grid.rows.start * mcu_height,
            width: header.width.div_ceil(window.scale).div_ceil(pixels_across),
            height: header.height.div_ceil(window.scale).div_ceil(pixels_down),
            pixels_across,
            pixels_down,
            block,
            factors: Factors::new(&component.steps),
        }
    }
}

#[inline(always)]
fn read_blocks<V: Vector>(
    token: V::Token,
    header: &Header,
    grid: &Grid,
    planes: &mut [Plane],
) -> Option<()> {
    let mcus = grid.across * grid.rows.end;
    let interval = match header.restart_interval {
        0 => grid.across * grid.down,
        mcus => mcus,
    };
    let scan = Unstuffed::read(header.scan, mcus.div_ceil(interval))?;
    let mut bits = Bits::new(&scan.data, 0);
    let mut ends = scan.ends.iter();
    let mut end = 0;
    let mut before = [0_i32; 3];
    let mut block = [0; 72];
    let mut until_restart = 0;
    for row in 0..grid.rows.end {
        for column in 0..grid.across {
            if until_restart == 0 {
                bits = Bits::new(&scan.data, end);
                end = *ends.next()?;
                before = [0; 3];
                until_restart = interval;
            }
            until_restart -= 1;
            let is_needed = row >= grid.rows.start && grid.columns.contains(&column);
            for (index, component) in header.components.iter().enumerate() {
                let (dc, ac) = (&*component.dc, &*component.ac);
                let before = &mut before[index];
                if !is_needed {
                    for _ in 0..component.across * component.down {
                        bits.skip_block(dc, ac, before)?;
                    }
                    continue;
                }
                let plane = &mut planes[index];
                for down in 0..component.down {
                    for across in 0..component.across {
                        let last = bits.block(dc, ac, before, &mut block)?;
                        let x = (column - grid.columns.start) * component.across + across;
                        let y = (row - grid.rows.start) * component.down + down;
                        let place = (y * plane.stride + x) * plane.block;
                        inverse::<V>(
                            token,
                            &block,
                            &plane.factors,
                            last,
                            plane.block,
                            &mut plane.samples[place..],
                            plane.stride,
                        );
                        block.fill(0);
                    }
                }
            }
            if bits.is_beyond(end) {
                return None;
            }
        }
    }
    Some(())
}

#[inline(always)]
fn to_rgb(planes: &[Plane], window: &Window) -> RgbImage {
    let width = window.columns.len();
    let mut pixels = vec![0; 3 * width * window.rows.len()];
    let mut between = vec![0; width / 2 + 4];
    let mut chroma = [vec![0; width + 3], vec![0; width + 3]];
    for (y, out) in window.rows.clone().zip(pixels.chunks_exact_mut(3 * width)) {
        let luma = planes[0].row(y, &window.columns);
        let [_, blue, red] = planes else {
            grey_row(luma, out);
            continue;
        };
        if (blue.pixels_across, blue.pixels_down) == (1, 1) {
            let (blue, red) = (blue.row(y, &window.columns), red.row(y, &window.columns));
            rgb_row(luma, blue, red, out);
            continue;
        }
        let mut skip = 0;
        for (plane, row) in [blue, red].into_iter().zip(&mut chroma) {
            skip = plane.row_of_pixels(y, &window.columns, &mut between, row);
        }
        rgb_row(luma, &chroma[0][skip..], &chroma[1][skip..], out);
    }
    RgbImage::from_raw(width as u32, window.rows.len() as u32, pixels).unwrap_or_default()
}

impl Plane {
    /// Creates the plane of a whole component, all black.
    pub(super) fn whole(layer: &Layer, width: usize, height: usize) -> Self {
        Self {
            samples: vec![0; 64 * layer.blocks.len()],
            stride: 8 * layer.across,
            left: 0,
            top: 0,
            width: width.div_ceil(layer.pixels_across),
            height: height.div_ceil(layer.pixels_down),
            pixels_across: layer.pixels_across,
            pixels_down: layer.pixels_down,
            block: 8,
            factors: Factors::new(&layer.steps),
        }
    }

    /// Samples of a row of a plane that is not upsampled.
    pub(super) fn row(&self, y: usize, columns: &Range<usize>) -> &[u8] {
        let start = (y - self.top) * self.stride + columns.start - self.left;
        &self.samples[start..start + columns.len()]
    }

    /// Writes a row of pixels as libjpeg upsamples them. Returns how many values of `out` come
    /// before those of `columns`. `between` is scratch space.
    #[inline(always)]
    pub(super) fn row_of_pixels(
        &self,
        y: usize,
        columns: &Range<usize>,
        between: &mut [u16],
        out: &mut [u8],
    ) -> usize {
        match (self.pixels_across, self.pixels_down) {
            (1, 1) => out[..columns.len()].copy_from_slice(self.row(y, columns)),
            (1, 2) => return upsampled_row(self, y, columns, between, out),
            (2, 1 | 2) if self.width > 2 => return upsampled_row(self, y, columns, between, out),
            (across, down) => {
                let line = &self.samples[(y / down - self.top) * self.stride..];
                for (x, out) in columns.clone().zip(out) {
                    *out = line[x / across - self.left];
                }
            }
        }
        0
    }
}
