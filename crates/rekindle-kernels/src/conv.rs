//! A convolution with everything that is fused into it.

use crate::activation::Activation;
use crate::buffer::LANES;
use crate::direct::{Direct, Source};
use crate::error::{KernelError, check_isa, check_len};
use crate::filters::Filters;
use crate::isa::Isa;
use crate::winograd::{OnTheFly, Winograd};

/// The numbers that describe a two-dimensional convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dParams {
    /// Channels in, a multiple of `groups`.
    pub in_channels: usize,
    /// Channels out, a multiple of `groups`.
    pub out_channels: usize,
    /// Height and width of the filter.
    pub kernel: [usize; 2],
    /// Step in both directions, 1 or 2.
    pub stride: usize,
    /// Zeros around the picture, on every side.
    pub padding: usize,
    /// Each group of input channels sees only its own output channels; 1 is an ordinary convolution.
    pub groups: usize,
}

impl std::fmt::Display for Conv2dParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [height, width] = self.kernel;
        write!(
            f,
            "{} to {} channels, {height} x {width}, stride {}, padding {}, {} group(s)",
            self.in_channels, self.out_channels, self.stride, self.padding, self.groups
        )
    }
}

impl Conv2dParams {
    /// A square filter with the padding that keeps `ceil(size / stride)` pixels, and one group.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize, stride: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride,
            padding: kernel / 2,
            groups: 1,
        }
    }

    /// The same with `groups` groups.
    pub fn with_groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// `[out_channels, in_channels / groups, height, width]`, PyTorch's order.
    pub fn weight_shape(&self) -> [usize; 4] {
        let [kh, kw] = self.kernel;
        [
            self.out_channels,
            self.in_channels / self.groups.max(1),
            kh,
            kw,
        ]
    }

    /// Height and width of the output for an input of `size`.
    pub fn output_size(&self, size: [usize; 2]) -> Result<[usize; 2], KernelError> {
        window_output(self.kernel, self.stride, self.padding, size)
    }

    /// Shape of the output for an input of `[batch, channels, height, width]`.
    pub(crate) fn output_shape(&self, [n, c, h, w]: [usize; 4]) -> Result<[usize; 4], KernelError> {
        if c != self.in_channels {
            return Err(KernelError::WrongChannels {
                found: c,
                expected: self.in_channels,
            });
        }
        let [oh, ow] = self.output_size([h, w])?;
        Ok([n, self.out_channels, oh, ow])
    }

    /// The output of an input of `shape`, contents unspecified. `residual` must have its shape.
    pub(crate) fn output(
        &self,
        shape: [usize; 4],
        residual: Option<&Activation>,
    ) -> Result<Activation, KernelError> {
        let shape = self.output_shape(shape)?;
        if let Some(residual) = residual {
            residual.check_shape("the residual", shape)?;
        }
        Ok(Activation::uninit(shape))
    }

    /// The taps of a filter as they lie.
    pub(crate) fn all_taps(&self) -> Vec<usize> {
        let [height, width] = self.kernel;
        (0..height * width).collect()
    }

    /// Multiplications with addition for a batch of `n` pictures of `size`, computed the plain way.
    pub fn multiply_adds(&self, n: usize, size: [usize; 2]) -> Result<usize, KernelError> {
        let [oh, ow] = self.output_size(size)?;
        Ok(n * oh * ow * self.weight_shape().iter().product::<usize>())
    }

    pub(crate) fn check(&self) -> Result<(), KernelError> {
        let Self {
            in_channels: i,
            out_channels: o,
            kernel: [kh, kw],
            stride,
            groups: g,
            ..
        } = *self;
        if i == 0 || o == 0 || g == 0 || kh == 0 || kw == 0 {
            return Err(KernelError::InvalidLayer(format!(
                "channels, groups and kernel must be at least 1, found {self}"
            )));
        }
        if !i.is_multiple_of(g) || !o.is_multiple_of(g) {
            return Err(KernelError::InvalidLayer(format!(
                "{i} input and {o} output channels do not divide into {g} groups"
            )));
        }
        if !(1..=2).contains(&stride) {
            return Err(KernelError::InvalidLayer(format!(
                "stride {stride} is not supported, only 1 and 2"
            )));
        }
        Ok(())
    }
}

pub(crate) fn window_output(
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    size: [usize; 2],
) -> Result<[usize; 2], KernelError> {
    let [h, w] = size.map(|s| s + 2 * padding);
    if h < kernel[0] || w < kernel[1] || size.contains(&0) {
        return Err(KernelError::WindowTooLarge {
            kernel,
            padding,
            found: size,
        });
    }
    Ok([(h - kernel[0]) / stride + 1, (w - kernel[1]) / stride + 1])
}

/// A way to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The plain sum, as an implicit matrix product. Takes any convolution.
    Direct,
    /// Winograd's F(4x4, 3x3): a quarter of the multiplications, four times the memory for weights, and a rounding
    /// error of about 1e-6 of the largest output instead of 1e-7. Takes 3x3 filters of stride 1 in one group, and as
    /// F(3x3, 4x4) the stem's 7x7 filter of stride 2.
    Winograd,
}

impl Algorithm {
    /// Returns the faster one for `params`.
    pub fn choose(params: &Conv2dParams) -> Self {
        // Narrow layers would transform mostly zeros.
        let wide = params.in_channels >= LANES || params.stride == 2;
        if wide && params.out_channels >= LANES && Winograd::takes(params) {
            Self::Winograd
        } else {
            Self::Direct
        }
    }

    /// Returns true where it takes `params` forward.
    pub(crate) fn check(self, params: &Conv2dParams) -> Result<(), KernelError> {
        match self {
            Self::Winograd if !Winograd::takes(params) => Err(Winograd::refuses(params)),
            _ => Ok(()),
        }
    }
}

/// A convolution's weights, packed once for an instruction set and used for any number of pictures of any size.
/// For weights that are used once there is [`UnpackedConv2d`](crate::UnpackedConv2d).
///
/// ```
/// use rekindle_kernels::{Activation, Conv2dParams, Isa, PackedConv2d};
///
/// let params = Conv2dParams::new(16, 32, 3, 1);
/// let weight = vec![0.01; 32 * 16 * 3 * 3];
/// let conv = PackedConv2d::new(Isa::detect(), &params, &weight, None)?;
/// let x = Activation::from_nchw(&vec![1.0; 16 * 8 * 8], [1, 16, 8, 8])?;
/// let relu = true;
/// let y = conv.forward(&x, None, relu)?;
/// assert_eq!(y.shape(), [1, 32, 8, 8]);
/// # Ok::<(), rekindle_kernels::KernelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PackedConv2d {
    params: Conv2dParams,
    isa: Isa,
    packed: Packed,
}

#[derive(Clone, Debug)]
enum Packed {
    Direct(Direct),
    Winograd(Winograd),
    OnTheFly(OnTheFly),
}

impl PackedConv2d {
    /// Packs `weight` (`[out, in / groups, height, width]`) by the algorithm that is fastest.
    ///
    /// `scale_shift` is applied to each output channel: `scale * conv(x) + shift`. See [`fold_batch_norm`]; a plain bias
    /// is a scale of ones.
    pub fn new(
        isa: Isa,
        params: &Conv2dParams,
        weight: &[f32],
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Result<Self, KernelError> {
        Self::with_algorithm(isa, params, weight, scale_shift, Algorithm::choose(params))
    }

    /// As [`new`](Self::new), by the algorithm that is asked for.
    pub fn with_algorithm(
        isa: Isa,
        params: &Conv2dParams,
        weight: &[f32],
        scale_shift: Option<(&[f32], &[f32])>,
        algorithm: Algorithm,
    ) -> Result<Self, KernelError> {
        check_isa(isa)?;
        check_weights(params, weight, scale_shift)?;
        let taps = params.all_taps();
        let filters = Filters::new(params, weight, &taps);
        Self::pack(isa, params, filters, scale_shift, algorithm)
    }

    /// Everything but the algorithm has been checked.
    pub(crate) fn pack(
        isa: Isa,
        params: &Conv2dParams,
        filters: Filters<'_>,
        scale_shift: Option<(&[f32], &[f32])>,
        algorithm: Algorithm,
    ) -> Result<Self, KernelError> {
        algorithm.check(params)?;
        let packed = match algorithm {
            Algorithm::Direct => Packed::Direct(Direct::pack(isa, params, filters, scale_shift)),
            Algorithm::Winograd if Winograd::outgrows_caches(params) => {
                Packed::OnTheFly(OnTheFly::pack(isa, params, filters, scale_shift))
            }
            Algorithm::Winograd => {
                Packed::Winograd(Winograd::pack(isa, params, filters, scale_shift))
            }
        };
        Ok(Self {
            params: *params,
            isa,
            packed,
        })
    }

    /// `relu(scale * conv(x) + shift + residual)`, without what is not asked for.
    ///
    /// `residual` has the output's shape.
    pub fn forward(
        &self,
        x: &Activation,
        residual: Option<&Activation>,
        relu: bool,
    ) -> Result<Activation, KernelError> {
        let (isa, shape) = (self.isa, x.shape());
        let mut out = self.params.output(shape, residual)?;
        let source = Source::Blocked(x);
        match &self.packed {
            Packed::Direct(c) => c.forward(isa, source, shape, residual, relu, &mut out),
            Packed::Winograd(c) => c.forward(isa, source, shape, residual, relu, &mut out),
            Packed::OnTheFly(c) => c.forward(isa, x, residual, relu, &mut out),
        }
        Ok(out)
    }

    /// As [`forward`](Self::forward) from row-major `[batch, channels, height, width]`.
    ///
    /// A stem of few channels and stride 2 reads it where it lies; others convert it first.
    pub fn forward_nchw(
        &self,
        x: &[f32],
        shape: [usize; 4],
        relu: bool,
    ) -> Result<Activation, KernelError> {
        check_len("the picture batch", x.len(), &shape)?;
        match &self.packed {
            Packed::Direct(c) if c.is_planar() => {
                let mut out = self.params.output(shape, None)?;
                c.forward(self.isa, Source::Planar(x), shape, None, relu, &mut out);
                Ok(out)
            }
            Packed::Winograd(c) if c.is_planar() => {
                let mut out = self.params.output(shape, None)?;
                c.forward(self.isa, Source::Planar(x), shape, None, relu, &mut out);
                Ok(out)
            }
            _ => self.forward(&Activation::from_nchw(x, shape)?, None, relu),
        }
    }

    /// What it was packed from.
    pub fn params(&self) -> &Conv2dParams {
        &self.params
    }

    /// The instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How it computes.
    pub fn algorithm(&self) -> Algorithm {
        match self.packed {
            Packed::Direct(_) => Algorithm::Direct,
            Packed::Winograd(_) | Packed::OnTheFly(_) => Algorithm::Winograd,
        }
    }

    /// Memory of the packed weights in bytes.
    pub fn packed_bytes(&self) -> usize {
        match &self.packed {
            Packed::Direct(c) => c.bytes(),
            Packed::Winograd(c) => c.bytes(),
            Packed::OnTheFly(c) => c.bytes(),
        }
    }
}

/// Whether they fit the layer, and the layer is one.
pub(crate) fn check_weights(
    params: &Conv2dParams,
    weight: &[f32],
    scale_shift: Option<(&[f32], &[f32])>,
) -> Result<(), KernelError> {
    params.check()?;
    check_len(
        "the convolution's weight",
        weight.len(),
        &params.weight_shape(),
    )?;
    if let Some((scale, shift)) = scale_shift {
        check_len("the scale", scale.len(), &[params.out_channels])?;
        check_len("the shift", shift.len(), &[params.out_channels])?;
    }
    Ok(())
}

/// BatchNorm in evaluation mode as `(scale, shift)`: `scale = gamma / sqrt(var + eps)`, `shift = beta - mean * scale`.
///
/// All slices have one value a channel.
pub fn fold_batch_norm(
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    var: &[f32],
    eps: f32,
) -> Result<(Vec<f32>, Vec<f32>), KernelError> {
    let channels = [gamma.len()];
    check_len("beta", beta.len(), &channels)?;
    check_len("the running mean", mean.len(), &channels)?;
    check_len("the running variance", var.len(), &channels)?;
    let scale = |i: usize| f64::from(gamma[i]) / (f64::from(var[i]) + f64::from(eps)).sqrt();
    Ok((0..gamma.len())
        .map(|i| {
            let s = scale(i);
            (
                s as f32,
                (f64::from(beta[i]) - f64::from(mean[i]) * s) as f32,
            )
        })
        .unzip())
}

/// The shift as whole lines, zero past the last channel.
pub(crate) fn packed_bias(
    channels: usize,
    scale_shift: Option<(&[f32], &[f32])>,
) -> Vec<crate::buffer::Line> {
    let mut lines = vec![crate::buffer::Line::ZERO; channels.div_ceil(LANES)];
    if let Some((_, shift)) = scale_shift {
        for (line, values) in lines.iter_mut().zip(shift.chunks(LANES)) {
            line.0[..values.len()].copy_from_slice(values);
        }
    }
    lines
}
