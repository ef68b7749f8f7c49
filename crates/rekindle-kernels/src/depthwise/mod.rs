//! Depthwise convolution: every channel with a filter of its own.
//!
//! Memory bounds it, so that nothing is rearranged: a task takes some rows of one block of sixteen channels and reads each
//! input line where it lies. Rows that neighbouring output rows share stay in the first-level cache.

mod gradients;
mod pass;
pub(crate) mod row;
pub(crate) mod sums;

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::error::KernelError;
use crate::filters::Filters;
use crate::isa::Isa;
use crate::line::Line;
use crate::params::Conv2dParams;
pub(crate) use gradients::{input_gradient, weight_gradient};
use pass::{Part, Pass, packed};

/// Weights packed for a depthwise convolution.
#[derive(Clone, Debug)]
pub(crate) struct Depthwise {
    part: Part,
    stride: usize,
    bias: Vec<Line>,
}

impl Depthwise {
    pub fn takes(params: &Conv2dParams) -> bool {
        params.is_depthwise() && params.stride <= 2
    }

    pub fn refuses(params: &Conv2dParams) -> KernelError {
        KernelError::InvalidLayer(format!(
            "the depthwise algorithm needs as many groups as input and output channels, and a stride of 1 or 2, found {params}"
        ))
    }

    /// `params` must be what [`takes`](Self::takes) accepts.
    pub fn pack(
        params: &Conv2dParams,
        filters: Filters<'_>,
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Self {
        let taps: Vec<usize> = params.all_taps();
        let weights = packed(params.out_channels, taps.len(), |channel, tap| {
            let scale = scale_shift.map_or(1.0, |(scale, _)| scale[channel]);
            scale * filters.of_channel(channel, tap)
        });
        Self {
            part: Part {
                kernel: params.kernel,
                weights,
                first: [
                    -(params.padding.top as isize),
                    -(params.padding.left as isize),
                ],
                origin: [0, 0],
            },
            stride: params.stride,
            bias: Line::of_channels(params.out_channels, scale_shift.map(|s| s.1)),
        }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(self.part.weights.as_slice()) + size_of_val(self.bias.as_slice())
    }

    /// Shapes have been checked; `out` is fully written.
    pub fn forward(
        &self,
        isa: Isa,
        x: &Activation,
        residual: Option<&Activation>,
        function: ActivationFn,
        out: &mut Activation,
    ) {
        let pass = Pass {
            parts: std::slice::from_ref(&self.part),
            step: 1,
            stride: self.stride,
            bias: &self.bias,
            function,
        };
        pass.run(isa, x, residual, out);
    }
}
