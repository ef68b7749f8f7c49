//! The numbers that describe a two-dimensional convolution.

use crate::error::{KernelError, check_len};
use crate::padding::Padding;
use std::fmt;

/// Rows or columns of padding on one side, or of a step, at most: more would be a mistake, and sizes must not overflow.
const MOST_PADDING: usize = 1 << 16;

/// The numbers that describe a two-dimensional convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dParams {
    /// Channels in, a multiple of `groups`.
    pub in_channels: usize,
    /// Channels out, a multiple of `groups`.
    pub out_channels: usize,
    /// Height and width of the filter.
    pub kernel: [usize; 2],
    /// Step in both directions, 1 or 2; in one group also more.
    pub stride: usize,
    /// Zeros around the picture.
    pub padding: Padding,
    /// Each group of input channels sees only its own output channels; 1 is an ordinary convolution.
    pub groups: usize,
}

impl fmt::Display for Conv2dParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [height, width] = self.kernel;
        write!(
            f,
            "{} to {} channels, {height} x {width}, stride {}, padding {}, {} group(s)",
            self.in_channels, self.out_channels, self.stride, self.padding, self.groups
        )
    }
}

impl Conv2dParams {
    /// Describes a square filter with the padding that keeps `ceil(size / stride)` pixels, and one group.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize, stride: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride,
            padding: Padding::from(kernel / 2),
            groups: 1,
        }
    }

    /// Describes a depthwise convolution: as [`new`](Self::new), with a group per channel.
    pub fn depthwise(channels: usize, kernel: usize, stride: usize) -> Self {
        Self::new(channels, channels, kernel, stride).with_groups(channels)
    }

    /// Returns the same convolution with `groups` groups.
    pub fn with_groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Returns the same convolution with other padding.
    pub fn with_padding(self, padding: impl Into<Padding>) -> Self {
        Self {
            padding: padding.into(),
            ..self
        }
    }

    /// Returns true where every channel is convolved with a filter of its own.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// Returns `[out_channels, in_channels / groups, height, width]`, PyTorch's order.
    pub fn weight_shape(&self) -> [usize; 4] {
        let [kh, kw] = self.kernel;
        [
            self.out_channels,
            self.in_channels / self.groups.max(1),
            kh,
            kw,
        ]
    }

    /// Computes height and width of the output for an input of `size`: `(size + padding - kernel) / stride + 1`, rounded
    /// down.
    pub fn output_size(&self, size: [usize; 2]) -> Result<[usize; 2], KernelError> {
        window_output(self.kernel, self.stride, self.padding, size)
    }

    /// Computes the shape of the output for an input of `[batch, channels, height, width]`.
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

    /// Returns the taps of a filter as they lie.
    pub(crate) fn all_taps(&self) -> Vec<usize> {
        let [height, width] = self.kernel;
        (0..height * width).collect()
    }

    /// Counts multiplications with addition for a batch of `n` pictures of `size`, computed the plain way.
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
        let most = if g == 1 { MOST_PADDING } else { 2 };
        if !(1..=most).contains(&stride) {
            return Err(KernelError::InvalidLayer(format!(
                "a stride of {stride} is not supported with {g} group(s), only 1 to {most}"
            )));
        }
        if self.padding.largest() > MOST_PADDING {
            return Err(KernelError::InvalidLayer(format!(
                "padding of more than {MOST_PADDING} rows or columns is not supported, found {self}"
            )));
        }
        Ok(())
    }

    /// Checks that the layer is one, and that its weights fit.
    pub(crate) fn check_weights(
        &self,
        weight: &[f32],
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Result<(), KernelError> {
        self.check()?;
        let shape = self.weight_shape();
        check_len("the convolution's weight", weight.len(), &shape)?;
        if let Some((scale, shift)) = scale_shift {
            check_len("the scale", scale.len(), &[self.out_channels])?;
            check_len("the shift", shift.len(), &[self.out_channels])?;
        }
        Ok(())
    }
}

/// Folds BatchNorm in evaluation mode into `(scale, shift)`: `scale = gamma / sqrt(var + eps)`, `shift = beta - mean * scale`.
///
/// All slices have one value per channel. `eps` is 1e-5 by PyTorch's default, 1e-3 in EfficientNet and MobileNetV3.
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

/// Computes height and width of what a window of `kernel` finds in a padded picture of `size`.
pub(crate) fn window_output(
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
    size: [usize; 2],
) -> Result<[usize; 2], KernelError> {
    let around = [
        padding.top.saturating_add(padding.bottom),
        padding.left.saturating_add(padding.right),
    ];
    let [h, w] = [0, 1].map(|axis| size[axis].saturating_add(around[axis]));
    if h < kernel[0] || w < kernel[1] || size.contains(&0) || stride == 0 {
        return Err(KernelError::WindowTooLarge {
            kernel,
            padding,
            found: size,
        });
    }
    Ok([(h - kernel[0]) / stride + 1, (w - kernel[1]) / stride + 1])
}
