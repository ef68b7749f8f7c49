//! Sizes of a convolution, some of which follow from its input.

use crate::op::{Conv2d, Padding};

/// Sizes of a convolution for [`Builder::conv2d`](crate::Builder::conv2d).
///
/// By default stride, dilation and groups are 1, there is no bias, and the padding keeps height and width at stride 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    out_channels: Option<usize>,
    kernel: usize,
    stride: usize,
    padding: Option<Padding>,
    dilation: usize,
    groups: Option<usize>,
    has_bias: bool,
}

impl Conv {
    /// Returns a convolution to `out_channels` by a square kernel.
    pub fn new(out_channels: usize, kernel: usize) -> Self {
        Self {
            out_channels: Some(out_channels),
            kernel,
            stride: 1,
            padding: None,
            dilation: 1,
            groups: Some(1),
            has_bias: false,
        }
    }

    /// Returns a convolution of each channel on its own by a square kernel.
    pub fn depthwise(kernel: usize) -> Self {
        Self {
            out_channels: None,
            groups: None,
            ..Self::new(0, kernel)
        }
    }

    /// Sets the steps along height and width.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Sets the padding.
    pub fn padding(self, padding: Padding) -> Self {
        Self {
            padding: Some(padding),
            ..self
        }
    }

    /// Sets the distance between the kernel's numbers.
    pub fn dilation(self, dilation: usize) -> Self {
        Self { dilation, ..self }
    }

    /// Sets the number of groups.
    pub fn groups(self, groups: usize) -> Self {
        Self {
            groups: Some(groups),
            ..self
        }
    }

    /// Adds a number per output channel.
    pub fn bias(self) -> Self {
        Self {
            has_bias: true,
            ..self
        }
    }

    /// Computes all sizes on an input of `in_channels` channels.
    pub(crate) fn on(self, in_channels: usize) -> Conv2d {
        let half = self.kernel.saturating_sub(1) / 2 * self.dilation;
        Conv2d {
            in_channels,
            out_channels: self.out_channels.unwrap_or(in_channels),
            kernel: [self.kernel; 2],
            stride: [self.stride; 2],
            padding: self.padding.unwrap_or(Padding::all(half)),
            dilation: [self.dilation; 2],
            groups: self.groups.unwrap_or(in_channels),
            has_bias: self.has_bias,
        }
    }
}
