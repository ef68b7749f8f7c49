//! A convolution whose weights are used once.

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::algorithm::Algorithm;
use crate::conv::PackedConv2d;
use crate::error::{KernelError, check_isa};
use crate::filters::{Filters, Layer};
use crate::isa::Isa;
use crate::params::Conv2dParams;
use crate::winograd::{OnTheFly, Winograd};

/// A convolution that reads its weights where they lie: for training, where they move after every pass.
///
/// It computes what a [`PackedConv2d`] of the same weights does, bit for bit. Large layers never write packed weights to
/// memory; others pack them for the pass.
#[derive(Clone, Copy, Debug)]
pub struct UnpackedConv2d<'a> {
    isa: Isa,
    params: &'a Conv2dParams,
    weight: &'a [f32],
    scale_shift: Option<(&'a [f32], &'a [f32])>,
    algorithm: Algorithm,
}

impl<'a> UnpackedConv2d<'a> {
    /// `weight` is `[out, in / groups, height, width]`; `scale_shift` as of [`PackedConv2d::new`].
    pub fn new(
        isa: Isa,
        params: &'a Conv2dParams,
        weight: &'a [f32],
        scale_shift: Option<(&'a [f32], &'a [f32])>,
    ) -> Result<Self, KernelError> {
        Self::with_algorithm(isa, params, weight, scale_shift, Algorithm::choose(params))
    }

    /// Creates the layer like [`new`](Self::new), with the given algorithm.
    pub fn with_algorithm(
        isa: Isa,
        params: &'a Conv2dParams,
        weight: &'a [f32],
        scale_shift: Option<(&'a [f32], &'a [f32])>,
        algorithm: Algorithm,
    ) -> Result<Self, KernelError> {
        check_isa(isa)?;
        params.check_weights(weight, scale_shift)?;
        algorithm.check(params)?;
        Ok(Self {
            isa,
            params,
            weight,
            scale_shift,
            algorithm,
        })
    }

    /// Computes `function(scale * conv(x) + shift + residual)`, without what is not asked for.
    ///
    /// `residual` has the output's shape; `function` may be `true` for ReLU and `false` for none.
    pub fn forward(
        &self,
        x: &Activation,
        residual: Option<&Activation>,
        function: impl Into<ActivationFn>,
    ) -> Result<Activation, KernelError> {
        let taps = self.params.all_taps();
        Pass {
            layer: Layer {
                isa: self.isa,
                params: self.params,
                filters: Filters::new(self.params, self.weight, &taps),
                scale_shift: self.scale_shift,
            },
            algorithm: self.algorithm,
        }
        .run(x, residual, function.into())
    }

    /// Computes [`forward`](Self::forward) from row-major `[batch, channels, height, width]`.
    pub fn forward_nchw(
        &self,
        x: &[f32],
        shape: [usize; 4],
        function: impl Into<ActivationFn>,
    ) -> Result<Activation, KernelError> {
        let Self {
            isa,
            params,
            weight,
            scale_shift,
            algorithm,
        } = *self;
        PackedConv2d::with_algorithm(isa, params, weight, scale_shift, algorithm)?
            .forward_nchw(x, shape, function)
    }
}

/// One pass by filters in whatever order; all but the shape of the input has been checked.
pub(crate) struct Pass<'a> {
    pub layer: Layer<'a>,
    pub algorithm: Algorithm,
}

impl Pass<'_> {
    pub fn run(
        &self,
        x: &Activation,
        residual: Option<&Activation>,
        function: ActivationFn,
    ) -> Result<Activation, KernelError> {
        let algorithm = self.algorithm;
        let Layer {
            isa,
            params,
            filters,
            scale_shift,
        } = self.layer;
        if algorithm == Algorithm::Winograd && Winograd::outgrows_caches(params) {
            let mut out = Activation::output(params, x.shape(), residual)?;
            OnTheFly::forward_unpacked(&self.layer, x, residual, function, &mut out);
            return Ok(out.finished(function));
        }
        PackedConv2d::pack(isa, params, filters, scale_shift, algorithm)?
            .forward(x, residual, function)
    }
}
