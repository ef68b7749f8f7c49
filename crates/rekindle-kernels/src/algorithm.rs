//! Ways to compute a convolution, and which is fastest.

use crate::depthwise::Depthwise;
use crate::error::KernelError;
use crate::line::LANES;
use crate::params::Conv2dParams;
use crate::winograd::Winograd;

/// A way to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The plain sum, as an implicit matrix product. Takes any convolution.
    Direct,
    /// Winograd's F(4x4, 3x3): a quarter of the multiplications, four times the memory for weights, and a rounding
    /// error of about 1e-6 of the largest output instead of 1e-7. Takes 3x3 filters of stride 1 in one group, and as
    /// F(3x3, 4x4) the stem's 7x7 filter of stride 2.
    Winograd,
    /// One pass over each channel. Takes convolutions with a group per channel.
    Depthwise,
}

impl Algorithm {
    /// Returns the faster one for `params`.
    pub fn choose(params: &Conv2dParams) -> Self {
        if Depthwise::takes(params) {
            return Self::Depthwise;
        }
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
            Self::Depthwise if !Depthwise::takes(params) => Err(Depthwise::refuses(params)),
            _ => Ok(()),
        }
    }
}
