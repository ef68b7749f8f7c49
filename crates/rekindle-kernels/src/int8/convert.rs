//! Feature maps in `f32` to bytes, and back.

use super::activation::Quantization;
use super::simd::Sums;
use super::tile::LINE;
use crate::line::LANES;

/// Pixels to round to bytes.
pub(super) struct ToBytes {
    /// The first pixel's first sixteen channels, of which the next pixel's follow.
    pub input: *const f32,
    /// Values from one block of sixteen channels to the next.
    pub block: usize,
    /// Blocks that fill a line of bytes, or what there is of it.
    pub blocks: usize,
    pub pixels: usize,
    pub quantization: Quantization,
    /// A line for each pixel.
    pub out: *mut u8,
}

/// Pixels of sixteen channels to turn into `f32`.
pub(super) struct ToFloats {
    /// The first pixel's bytes; the next pixel's are a line away.
    pub input: *const u8,
    pub pixels: usize,
    pub quantization: Quantization,
    /// Sixteen values for each pixel.
    pub out: *mut f32,
}

/// # Safety
/// The instruction set of `S` must be there, and pointers valid for all pixels and blocks.
#[inline(always)]
pub(super) unsafe fn to_bytes<S: Sums>(t: &ToBytes) {
    // SAFETY: by the contract above.
    unsafe {
        let (inverse, zero) = t.quantization.inverse();
        let (inverse, zero) = (S::splat(inverse), S::splat(zero));
        let nothing = S::splat(0.0);
        for pixel in 0..t.pixels {
            for block in 0..t.blocks {
                let x = S::load_float(t.input.add(block * t.block + pixel * LANES));
                // Of a NaN, too, the larger is zero.
                let y = S::max(S::add(S::mul(x, inverse), zero), nothing);
                S::store_bytes(t.out.add(pixel * LINE + block * LANES), y);
            }
        }
    }
}

/// # Safety
/// The instruction set of `S` must be there, and pointers valid for all pixels.
#[inline(always)]
pub(super) unsafe fn to_floats<S: Sums>(t: &ToFloats) {
    // SAFETY: by the contract above.
    unsafe {
        let scale = S::splat(t.quantization.scale());
        let minus_zero = S::splat(-f32::from(t.quantization.zero_point()));
        for pixel in 0..t.pixels {
            let x = S::bytes_to_float(t.input.add(pixel * LINE));
            S::store_float(
                t.out.add(pixel * LANES),
                S::mul(scale, S::add(x, minus_zero)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::activation::Activation;
    use crate::int8::activation::{Quantization, QuantizedActivation};
    use crate::int8::dispatch::Kernels;

    /// Both ways, for every instruction set of this machine, as one number after the other.
    #[test]
    fn maps_are_converted_as_numbers_are() {
        for (shape, scale, zero_point) in [
            ([2, 70, 3, 5], 0.013, 117),
            ([1, 16, 1, 1], 1.7, 0),
            ([3, 5, 2, 2], 0.4, 255),
            ([1, 144, 9, 7], 3e-4, 3),
            ([2, 33, 71, 61], 0.02, 130),
        ] {
            let q = Quantization::new(scale, zero_point).unwrap();
            let value = |i: usize| {
                let byte = (i.wrapping_mul(2_654_435_761) >> 7) as u8;
                match i % 29 {
                    0 => f32::NAN,
                    1 => f32::INFINITY,
                    2 => f32::NEG_INFINITY,
                    3 => 3e9,
                    // Halfway between two bytes, and anywhere.
                    4..12 => scale * (f32::from(byte) - f32::from(zero_point) + 0.5),
                    _ => scale * (1.3 * f32::from(byte) - f32::from(zero_point) - 20.3),
                }
            };
            let x: Vec<f32> = (0..shape.iter().product()).map(value).collect();
            let bytes: Vec<u8> = x.iter().map(|&x| q.quantize(x)).collect();
            let back: Vec<f32> = bytes.iter().map(|&byte| q.dequantize(byte)).collect();
            let maps = Activation::from_nchw(&x, shape).unwrap();
            for (name, kernels) in Kernels::available() {
                let found = QuantizedActivation::from_activation_by(kernels, &maps, q);
                assert!(found.to_nchw() == bytes, "{name} {shape:?}");
                let found = found.dequantize_by(kernels);
                assert!(found.to_nchw() == back, "{name} {shape:?}");
                let lines = found.as_blocked().chunks_exact(16);
                let last = shape[1].div_ceil(16) - 1;
                let pixels = shape[2] * shape[3];
                let used = shape[1] - last * 16;
                for (index, line) in lines.enumerate() {
                    if index / pixels % (last + 1) == last {
                        assert!(line[used..].iter().all(|v| v.to_bits() == 0), "{name}");
                    }
                }
            }
        }
    }
}
