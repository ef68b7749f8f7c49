//! Renders the blocks of a whole picture as pixels.

use image::RgbImage;

use super::coefficients::Coefficients;
use super::color::{cmyk_row, grey_row, rgb_row, ycck_row};
use super::huffman::Block;
use super::idct::inverse;
use super::markers::Model;
use super::region::Plane;
#[cfg(target_arch = "x86_64")]
use super::vector::Avx2;
use super::vector::{Portable, Vector};

/// A component.
pub(super) struct Layer {
    /// Blocks in each row.
    pub(super) across: usize,
    pub(super) blocks: Vec<Coefficients>,
    pub(super) steps: [f32; 64],
    /// Pixels that a sample covers.
    pub(super) pixels_across: usize,
    /// Pixels that a sample covers.
    pub(super) pixels_down: usize,
}

pub(super) fn render(width: usize, height: usize, layers: Vec<Layer>, model: Model) -> RgbImage {
    let planes: Vec<Plane> = layers
        .into_iter()
        .map(|layer| {
            let mut plane = Plane::whole(&layer, width, height);
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = pulp::x86::V3::try_new() {
                simd.vectorize(WithAvx2(simd, &layer, &mut plane));
                return plane;
            }
            fill::<Portable>((), &layer, &mut plane);
            plane
        })
        .collect();
    let mut pixels = vec![0; 3 * width * height];
    let mut between = vec![0; width / 2 + 4];
    let mut rows = vec![vec![0; width + 3]; planes.len()];
    for (y, out) in pixels.chunks_exact_mut(3 * width).enumerate() {
        for (plane, row) in planes.iter().zip(&mut rows) {
            plane.row_of_pixels(y, &(0..width), &mut between, row);
        }
        match (model, &rows[..]) {
            (Model::Grey, [grey, ..]) => grey_row(&grey[..width], out),
            (Model::YCbCr, [luma, blue, red, ..]) => rgb_row(&luma[..width], blue, red, out),
            (Model::Rgb, [red, green, blue, ..]) => {
                for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
                    pixel.copy_from_slice(&[red[x], green[x], blue[x]]);
                }
            }
            (Model::Cmyk, [cyan, magenta, yellow, black]) => {
                cmyk_row([cyan, magenta, yellow, black], out);
            }
            (Model::Ycck, [luma, blue, red, black]) => {
                ycck_row(&luma[..width], blue, red, black, out);
            }
            _ => {}
        }
    }
    RgbImage::from_raw(width as u32, height as u32, pixels).unwrap_or_default()
}

#[cfg(target_arch = "x86_64")]
struct WithAvx2<'a>(pulp::x86::V3, &'a Layer, &'a mut Plane);

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for WithAvx2<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        fill::<Avx2>(self.0, self.1, self.2);
    }
}

#[inline(always)]
fn fill<V: Vector>(token: V::Token, layer: &Layer, plane: &mut Plane) {
    let mut block: Block = [0; 72];
    for (i, coefficients) in layer.blocks.iter().enumerate() {
        block[..64].copy_from_slice(coefficients);
        let is_flat = coefficients[1..].iter().all(|value| *value == 0);
        let place = 8 * (i / layer.across * plane.stride + i % layer.across);
        inverse::<V>(
            token,
            &block,
            &plane.factors,
            if is_flat { 0 } else { 63 },
            8,
            &mut plane.samples[place..],
            plane.stride,
        );
    }
}
