//! Feature maps in bytes.

use super::convert::{ToBytes, ToFloats};
use super::dispatch::Kernels;
use super::tile::LINE;
use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::error::{KernelError, check_len};
use crate::isa::Isa;
use crate::line::LANES;
use rayon::prelude::*;

/// Pixels that a task turns into bytes, or back.
const BAND: usize = 1 << 12;

/// Affine quantization of bytes: a byte stands for `scale * (byte - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    scale: f32,
    zero_point: u8,
}

impl Quantization {
    /// Returns the finest quantization that covers `min..=max` and has a byte that is exactly zero. Behind a ReLU
    /// `min` is zero, and so is the zero point.
    ///
    /// An error where the range is not finite or `min` is above `max`.
    pub fn of_range(min: f32, max: f32) -> Result<Self, KernelError> {
        let (low, high) = (min.min(0.0), max.max(0.0));
        if !(min <= max && (high - low).is_finite()) {
            return Err(KernelError::InvalidLayer(format!(
                "a range to quantise needs finite ends in ascending order, found {min} to {max}"
            )));
        }
        let scale = (high - low) / 255.0;
        if scale == 0.0 {
            return Self::new(1.0, 0);
        }
        Self::new(scale, (-low / scale).round_ties_even() as u8)
    }

    /// Creates a quantization; an error where `scale` is not a positive finite number.
    pub fn new(scale: f32, zero_point: u8) -> Result<Self, KernelError> {
        if scale > 0.0 && scale.is_finite() {
            return Ok(Self { scale, zero_point });
        }
        Err(KernelError::InvalidLayer(format!(
            "a quantisation's scale must be positive and finite, found {scale}"
        )))
    }

    /// Returns the step from one byte to the next.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Returns the byte that stands for zero.
    pub fn zero_point(&self) -> u8 {
        self.zero_point
    }

    /// Returns the nearest byte.
    pub fn quantize(&self, x: f32) -> u8 {
        let (inverse, zero) = self.inverse();
        // A cast of a value out of range gives the nearest end, and of a NaN zero.
        (x * inverse + zero).round_ties_even() as u8
    }

    /// Returns the factor that a value is multiplied by, and the offset that is added before rounding.
    pub(super) fn inverse(&self) -> (f32, f32) {
        (1.0 / self.scale, f32::from(self.zero_point))
    }

    /// Returns the value that `byte` stands for.
    pub fn dequantize(&self, byte: u8) -> f32 {
        self.scale * (f32::from(byte) - f32::from(self.zero_point))
    }
}

/// Feature maps `[batch, channels, height, width]` in bytes, stored as `[batch, channels / 64, height, width, 64]`.
///
/// The bytes past the last channel are unspecified.
#[derive(Clone, Debug)]
pub struct QuantizedActivation {
    shape: [usize; 4],
    quantization: Quantization,
    /// A line of memory is a pixel's 64 channels.
    buffer: Buffer,
}

impl QuantizedActivation {
    /// Rounds `f32` maps to bytes, each value as [`Quantization::quantize`] does.
    pub fn from_activation(x: &Activation, quantization: Quantization) -> Self {
        Self::from_activation_by(Kernels::of(Isa::detect()), x, quantization)
    }

    /// Quantizes like [`from_activation`](Self::from_activation); the machine can run `kernels`.
    pub(super) fn from_activation_by(
        kernels: &Kernels,
        x: &Activation,
        quantization: Quantization,
    ) -> Self {
        let mut out = Self::uninit(x.shape(), quantization);
        let [_, _, h, w] = x.shape();
        let (pixels, blocks, ins) = (h * w, out.blocks(), x.blocks());
        if pixels == 0 || blocks == 0 {
            return out;
        }
        let planes = out.bytes_mut().par_chunks_mut(pixels * LINE);
        planes.enumerate().for_each(|(plane, bytes)| {
            let (n, first) = (plane / blocks, plane % blocks * (LINE / LANES));
            let count = (ins - first).min(LINE / LANES);
            let lines = &x.lines()[(n * ins + first) * pixels..][..count * pixels];
            let bands = bytes.par_chunks_mut(BAND * LINE);
            bands.enumerate().for_each(|(band, bytes)| {
                let part = ToBytes {
                    input: lines[band * BAND..].as_ptr().cast(),
                    block: pixels * LANES,
                    blocks: count,
                    pixels: bytes.len() / LINE,
                    quantization,
                    out: bytes.as_mut_ptr(),
                };
                // SAFETY: the caller's promise of the instruction set; the band's pixels lie in `bytes` and, in each of
                // the blocks, in `lines`.
                unsafe { (kernels.to_bytes)(&part) };
            });
        });
        out
    }

    /// Turns bytes into `f32` maps, each as [`Quantization::dequantize`] does.
    pub fn dequantize(&self) -> Activation {
        self.dequantize_by(Kernels::of(Isa::detect()))
    }

    /// Converts like [`dequantize`](Self::dequantize); the machine can run `kernels`.
    pub(super) fn dequantize_by(&self, kernels: &Kernels) -> Activation {
        let [_, _, h, w] = self.shape;
        let mut out = Activation::uninit(self.shape);
        let (pixels, blocks, outs) = (h * w, self.blocks(), out.blocks());
        if pixels == 0 || outs == 0 {
            return out;
        }
        let planes = out.lines_mut().par_chunks_mut(pixels);
        planes.enumerate().for_each(|(plane, lines)| {
            let (n, block) = (plane / outs, plane % outs);
            let first = (n * blocks + block * LANES / LINE) * pixels * LINE;
            let bytes = &self.bytes()[first..][..pixels * LINE];
            let bands = lines.par_chunks_mut(BAND);
            bands.enumerate().for_each(|(band, lines)| {
                let part = ToFloats {
                    input: bytes[band * BAND * LINE + block * LANES % LINE..].as_ptr(),
                    pixels: lines.len(),
                    quantization: self.quantization,
                    out: lines.as_mut_ptr().cast(),
                };
                // SAFETY: the caller's promise of the instruction set; the band's pixels lie in `bytes` and `lines`.
                unsafe { (kernels.to_floats)(&part) };
            });
        });
        out.clear_past_channels();
        out
    }

    /// Converts from row-major `[batch, channels, height, width]`.
    pub fn from_nchw(
        x: &[u8],
        shape: [usize; 4],
        quantization: Quantization,
    ) -> Result<Self, KernelError> {
        check_len("the quantised maps", x.len(), &shape)?;
        let mut out = Self::uninit(shape, quantization);
        let [_, c, h, w] = shape;
        let (pixels, blocks) = (h * w, out.blocks());
        let bytes = out.bytes_mut();
        bytes.fill(0);
        for (plane, x) in x.chunks_exact(pixels.max(1)).enumerate() {
            let (n, channel) = (plane / c, plane % c);
            let first = (n * blocks + channel / LINE) * pixels * LINE + channel % LINE;
            for (byte, x) in bytes[first..].iter_mut().step_by(LINE).zip(x) {
                *byte = *x;
            }
        }
        Ok(out)
    }

    /// Converts to row-major `[batch, channels, height, width]`.
    pub fn to_nchw(&self) -> Vec<u8> {
        let [n, c, h, w] = self.shape;
        let (pixels, blocks) = (h * w, self.blocks());
        let mut out = Vec::with_capacity(n * c * pixels);
        for (n, channel) in (0..n).flat_map(|n| (0..c).map(move |channel| (n, channel))) {
            let first = (n * blocks + channel / LINE) * pixels * LINE + channel % LINE;
            out.extend((0..pixels).map(|p| self.bytes()[first + p * LINE]));
        }
        out
    }

    /// Contents unspecified.
    pub(super) fn uninit(shape: [usize; 4], quantization: Quantization) -> Self {
        let [n, c, h, w] = shape;
        Self {
            shape,
            quantization,
            buffer: Buffer::new(n * c.div_ceil(LINE) * h * w),
        }
    }

    /// Returns the shape `[batch, channels, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Returns the quantization of its bytes.
    pub fn quantization(&self) -> Quantization {
        self.quantization
    }

    /// Groups of 64 channels.
    pub(super) fn blocks(&self) -> usize {
        self.shape[1].div_ceil(LINE)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let lines = self.buffer.lines();
        // SAFETY: a line is 64 initialised bytes, of which every pattern is valid.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines)) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let lines = self.buffer.lines_mut();
        // SAFETY: as above; and every pattern of bytes is a valid line.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size_of_val(lines)) }
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.buffer.as_mut_ptr()
    }
}
