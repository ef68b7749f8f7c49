//! A convolution on bytes with everything that is fused into it.

use super::activation::{Quantization, QuantizedActivation};
use super::dispatch::Kernels;
use super::pass::{Epilogue, OutPtr, Pass, Source};
use super::weights::Weights;
use crate::activation::Activation;
use crate::buffer::SendPtr;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::LANES;
use crate::params::Conv2dParams;

/// A convolution's weights in bytes, packed once for an instruction set and used for maps of any size and quantisation.
///
/// Weights are rounded symmetrically, 127 being the largest of each output channel. All instruction sets give the same bytes;
/// where [`Isa::has_byte_products`] this is faster than [`PackedConv2d`](crate::PackedConv2d).
///
/// ```
/// use rekindle_kernels::{Activation, Conv2dParams, Isa, Quantization, QuantizedActivation, QuantizedConv2d};
///
/// let params = Conv2dParams::new(16, 32, 3, 1);
/// let conv = QuantizedConv2d::new(Isa::detect(), &params, &vec![0.01; 32 * 16 * 9], None)?;
/// let x = Activation::from_nchw(&vec![1.0; 16 * 8 * 8], [1, 16, 8, 8])?;
/// let x = QuantizedActivation::from_activation(&x, Quantization::of_range(0.0, 2.0)?);
/// let relu = true;
/// let y = conv.forward(&x, None, relu, Quantization::of_range(0.0, 1.5)?)?;
/// assert_eq!(y.shape(), [1, 32, 8, 8]);
/// let y = conv.forward_dequantized(&x, None, relu)?; // 1.44 in the middle
/// assert!((y.to_nchw()[9] - 1.44).abs() < 0.01);
/// # Ok::<(), rekindle_kernels::KernelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct QuantizedConv2d {
    params: Conv2dParams,
    kernels: &'static Kernels,
    weights: Weights,
    /// BatchNorm's, by output channel.
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl QuantizedConv2d {
    /// Rounds and packs `weight` (`[out, in / groups, height, width]`). `scale_shift` is applied to each output channel, as
    /// by [`PackedConv2d::new`](crate::PackedConv2d::new).
    ///
    /// An error where a number is not finite, too.
    pub fn new(
        isa: Isa,
        params: &Conv2dParams,
        weight: &[f32],
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Result<Self, KernelError> {
        check_isa(isa)?;
        Self::with_kernels(Kernels::of(isa), params, weight, scale_shift)
    }

    /// Creates the layer like [`new`](Self::new); the machine can run `kernels`.
    fn with_kernels(
        kernels: &'static Kernels,
        params: &Conv2dParams,
        weight: &[f32],
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Result<Self, KernelError> {
        params.check_weights(weight, scale_shift)?;
        if params.stride > 2 {
            return Err(KernelError::InvalidLayer(format!(
                "eight bits take strides of 1 and 2 only, found {params}"
            )));
        }
        let channels = params.out_channels;
        let (scale, shift) = match scale_shift {
            Some((scale, shift)) => (scale.to_vec(), shift.to_vec()),
            None => (vec![1.0; channels], vec![0.0; channels]),
        };
        for (what, values) in [("weight", weight), ("scale", &scale), ("shift", &shift)] {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(KernelError::InvalidLayer(format!(
                    "a {what} to quantise must be finite, found {value}"
                )));
            }
        }
        Ok(Self {
            params: *params,
            kernels,
            weights: Weights::new(params, weight, kernels.nr),
            scale,
            shift,
        })
    }

    /// Computes `relu(scale * conv(x) + shift + residual)` without what is not asked for, rounded to bytes that stand
    /// for `output`.
    ///
    /// `residual` has the output's shape, and any quantisation.
    pub fn forward(
        &self,
        x: &QuantizedActivation,
        residual: Option<&QuantizedActivation>,
        relu: bool,
        output: Quantization,
    ) -> Result<QuantizedActivation, KernelError> {
        let source = Source::Bytes(x);
        self.forward_from(source, x.shape(), x.quantization(), residual, relu, output)
    }

    /// Computes [`forward`](Self::forward) from row-major `[batch, channels, height, width]`, which is first
    /// rounded to `input`.
    pub fn forward_nchw(
        &self,
        x: &[f32],
        shape: [usize; 4],
        input: Quantization,
        relu: bool,
        output: Quantization,
    ) -> Result<QuantizedActivation, KernelError> {
        check_len("the picture batch", x.len(), &shape)?;
        if self.weights.layout.is_narrow {
            let source = Source::Planar(x, input);
            return self.forward_from(source, shape, input, None, relu, output);
        }
        let x = Activation::from_nchw(x, shape)?;
        let x = QuantizedActivation::from_activation(&x, input);
        self.forward(&x, None, relu, output)
    }

    /// Computes [`forward`](Self::forward) without the last rounding.
    pub fn forward_dequantized(
        &self,
        x: &QuantizedActivation,
        residual: Option<&QuantizedActivation>,
        relu: bool,
    ) -> Result<Activation, KernelError> {
        let source = Source::Bytes(x);
        self.dequantized_from(source, x.shape(), x.quantization(), residual, relu)
    }

    /// Computes `relu(scale * conv(x) + shift)` of row-major `[batch, channels, height, width]`, which is first rounded to
    /// `input`, without rounding again.
    pub fn forward_nchw_dequantized(
        &self,
        x: &[f32],
        shape: [usize; 4],
        input: Quantization,
        relu: bool,
    ) -> Result<Activation, KernelError> {
        check_len("the picture batch", x.len(), &shape)?;
        if self.weights.layout.is_narrow {
            return self.dequantized_from(Source::Planar(x, input), shape, input, None, relu);
        }
        let x = Activation::from_nchw(x, shape)?;
        let x = QuantizedActivation::from_activation(&x, input);
        self.forward_dequantized(&x, None, relu)
    }

    /// Returns the parameters it was packed from.
    pub fn params(&self) -> &Conv2dParams {
        &self.params
    }

    /// Returns the memory of the packed weights in bytes.
    pub fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }

    fn forward_from(
        &self,
        source: Source<'_>,
        shape: [usize; 4],
        input: Quantization,
        residual: Option<&QuantizedActivation>,
        relu: bool,
        output: Quantization,
    ) -> Result<QuantizedActivation, KernelError> {
        let out_shape = self.out_shape(shape, residual)?;
        let mut out = QuantizedActivation::uninit(out_shape, output);
        let to = OutPtr::Bytes(SendPtr::new(out.as_mut_ptr()));
        let epilogue = self.epilogue(input, residual, relu, Some(output));
        self.pass(source, shape, out_shape, epilogue, to);
        Ok(out)
    }

    fn dequantized_from(
        &self,
        source: Source<'_>,
        shape: [usize; 4],
        input: Quantization,
        residual: Option<&QuantizedActivation>,
        relu: bool,
    ) -> Result<Activation, KernelError> {
        let out_shape = self.out_shape(shape, residual)?;
        let mut out = Activation::uninit(out_shape);
        let to = OutPtr::Floats(out.send_ptr());
        let epilogue = self.epilogue(input, residual, relu, None);
        self.pass(source, shape, out_shape, epilogue, to);
        self.clear_padding(&mut out);
        Ok(out)
    }

    fn out_shape(
        &self,
        shape: [usize; 4],
        residual: Option<&QuantizedActivation>,
    ) -> Result<[usize; 4], KernelError> {
        let expected = self.params.output_shape(shape)?;
        match residual.map(QuantizedActivation::shape) {
            Some(found) if found != expected => Err(KernelError::WrongShape {
                what: "the residual",
                found,
                expected,
            }),
            _ => Ok(expected),
        }
    }

    /// Returns the factors and offsets that turn sums of bytes into steps of the output.
    fn epilogue(
        &self,
        input: Quantization,
        residual: Option<&QuantizedActivation>,
        relu: bool,
        output: Option<Quantization>,
    ) -> Epilogue {
        let step = output.map_or(1.0, |q| f64::from(q.scale()));
        let zero = output.map_or(0.0, |q| f32::from(q.zero_point()));
        let (residual_scale, residual_shift) = residual.map_or((0.0, 0.0), |residual| {
            let q = residual.quantization();
            let scale = f64::from(q.scale()) / step;
            (scale as f32, -scale * f64::from(q.zero_point()))
        });
        let padded = self.params.out_channels.next_multiple_of(LANES);
        let (mut start, mut scale, mut shift) =
            (vec![0; padded], vec![0.0; padded], vec![0.0; padded]);
        for c in 0..self.params.out_channels {
            start[c] = -i32::from(input.zero_point()) * self.weights.sums[c];
            let steps = f64::from(input.scale()) * f64::from(self.weights.steps[c]);
            scale[c] = (f64::from(self.scale[c]) * steps / step) as f32;
            let constant = f64::from(self.shift[c]) / step + residual_shift + f64::from(zero);
            shift[c] = constant as f32;
        }
        Epilogue {
            start,
            scale,
            shift,
            residual: residual.map_or(std::ptr::null(), |r| r.bytes().as_ptr()),
            residual_scale,
            floor: match (relu, output) {
                (true, _) => zero,
                (false, Some(_)) => 0.0,
                (false, None) => f32::NEG_INFINITY,
            },
            padding: input.zero_point(),
        }
    }

    fn pass(
        &self,
        source: Source<'_>,
        [n, _, height, width]: [usize; 4],
        [.., oh, ow]: [usize; 4],
        epilogue: Epilogue,
        out: OutPtr,
    ) {
        let Conv2dParams {
            kernel,
            stride,
            padding,
            ..
        } = self.params;
        let kernels = self.kernels;
        // A 1x1 convolution does not see rows, so that all pixels of a picture are one row, cut into register tiles.
        let flat = kernel == [1, 1] && stride == 1 && padding.is_zero();
        let pass = Pass {
            params: &self.params,
            weights: &self.weights,
            kernels,
            source,
            size: [height, width],
            out_size: [oh, ow],
            units: if flat {
                (oh * ow).div_ceil(kernels.mr)
            } else {
                oh
            },
            flat,
            epilogue,
            out,
        };
        pass.run(n);
    }

    /// Past the last channel `f32` maps are zero.
    fn clear_padding(&self, out: &mut Activation) {
        let used = self.params.out_channels % LANES;
        if used == 0 {
            return;
        }
        let [_, _, h, w] = out.shape();
        let (pixels, blocks) = (h * w, out.blocks());
        for picture in out.lines_mut().chunks_exact_mut(pixels * blocks) {
            for line in &mut picture[(blocks - 1) * pixels..] {
                line.0[used..].fill(0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_kernels_of_the_machine_give_the_same_bytes() {
        let byte = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u8;
        let q = |scale, zero_point| Quantization::new(scale, zero_point).unwrap();
        for (params, size) in [
            (Conv2dParams::new(3, 24, 7, 2), [19, 37]),
            (Conv2dParams::new(70, 40, 3, 1), [9, 14]),
            (Conv2dParams::new(64, 64, 3, 2).with_groups(16), [8, 11]),
            (Conv2dParams::new(130, 33, 1, 1), [5, 7]),
        ] {
            let shape = [2, params.in_channels, size[0], size[1]];
            let x: Vec<u8> = (0..shape.iter().product()).map(byte).collect();
            let pictures: Vec<f32> = x.iter().map(|&x| f32::from(x) * 0.0137 - 1.7).collect();
            let x = QuantizedActivation::from_nchw(&x, shape, q(0.02, 3)).unwrap();
            let len = params.weight_shape().iter().product();
            let weight: Vec<f32> = (0..len).map(|i| f32::from(byte(i)) - 127.3).collect();
            let [scale, shift] = [0.013, 1.7].map(|step| {
                let value = |c| step * (f32::from(byte(c)) - 99.0);
                (0..params.out_channels).map(value).collect::<Vec<_>>()
            });
            let run = |kernels| {
                let scale_shift = Some((&scale[..], &shift[..]));
                let conv = QuantizedConv2d::with_kernels(kernels, &params, &weight, scale_shift);
                let conv = conv.unwrap();
                let y = conv.forward(&x, None, false, q(31.0, 117)).unwrap();
                let z = conv.forward(&x, Some(&y), true, q(23.0, 5)).unwrap();
                let f = conv.forward_dequantized(&x, Some(&y), true).unwrap();
                let p = conv.forward_nchw(&pictures, shape, q(0.013, 130), true, q(29.0, 0));
                let p = p.unwrap().to_nchw();
                (y.to_nchw(), z.to_nchw(), f.to_nchw(), p)
            };
            let all = Kernels::available();
            let expected = run(all[0].1);
            for (name, kernels) in &all[1..] {
                assert!(run(kernels) == expected, "{name} {params:?}");
            }
            let spread = expected
                .1
                .iter()
                .filter(|&&y| (6..255).contains(&y))
                .count();
            assert!(
                spread > expected.1.len() / 4,
                "{spread} of {}",
                expected.1.len()
            );
        }
    }
}
