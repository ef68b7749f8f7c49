//! Rows of planes in `f32` to bytes that lie pixel after pixel.

use super::activation::Quantization;
use super::simd::Sums;
use crate::line::LANES;

/// One row of up to four channels.
pub(super) struct PlanarRow {
    /// The first channel's row, and values from one channel to the next.
    pub input: *const f32,
    pub plane: usize,
    pub channels: usize,
    pub pixels: usize,
    pub quantization: Quantization,
    /// `channels` bytes per pixel.
    pub out: *mut u8,
}

/// # Safety
/// The instruction set of `S` must be there, and the row's pointers valid.
#[inline(always)]
pub(super) unsafe fn planar_row<S: Sums>(r: &PlanarRow) {
    let whole = r.pixels / LANES * LANES;
    // SAFETY: by the contract above; whole vectors end with the row.
    unsafe {
        let (inverse, zero) = r.quantization.inverse();
        let (inverse, zero) = (S::splat(inverse), S::splat(zero));
        let nothing = S::splat(0.0);
        for first in (0..whole).step_by(LANES) {
            let mut values = [nothing; 4];
            for (channel, values) in values.iter_mut().enumerate().take(r.channels) {
                let x = S::load_float(r.input.add(channel * r.plane + first));
                *values = S::max(S::add(S::mul(x, inverse), zero), nothing);
            }
            let mut pixels = [0u8; 4 * LANES];
            for (i, pixel) in S::interleave(values).into_iter().enumerate() {
                // What one pixel has too much, the next overwrites.
                let at = pixels.as_mut_ptr().add(i * r.channels);
                at.cast::<[u8; 4]>().write(pixel.to_le_bytes());
            }
            let out = r.out.add(first * r.channels);
            std::ptr::copy_nonoverlapping(pixels.as_ptr(), out, LANES * r.channels);
        }
        for pixel in whole..r.pixels {
            for channel in 0..r.channels {
                let x = *r.input.add(channel * r.plane + pixel);
                *r.out.add(pixel * r.channels + channel) = r.quantization.quantize(x);
            }
        }
    }
}
