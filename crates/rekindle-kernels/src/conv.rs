//! A convolution with everything that is fused into it.

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::algorithm::Algorithm;
use crate::depthwise::Depthwise;
use crate::direct::{Direct, Source, Windows};
use crate::error::{KernelError, check_isa, check_len};
use crate::filters::Filters;
use crate::isa::Isa;
use crate::params::Conv2dParams;
use crate::winograd::{OnTheFly, Winograd};

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
    /// The 1x1 convolution of windows.
    Windows(Direct),
    Winograd(Winograd),
    OnTheFly(OnTheFly),
    Depthwise(Depthwise),
}

impl PackedConv2d {
    /// Packs `weight` (`[out, in / groups, height, width]`) by the algorithm that is fastest.
    ///
    /// `scale_shift` is applied to each output channel: `scale * conv(x) + shift`. See
    /// [`fold_batch_norm`](crate::fold_batch_norm); a plain bias
    /// is a scale of ones.
    pub fn new(
        isa: Isa,
        params: &Conv2dParams,
        weight: &[f32],
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Result<Self, KernelError> {
        Self::with_algorithm(isa, params, weight, scale_shift, Algorithm::choose(params))
    }

    /// Creates the layer like [`new`](Self::new), with the given algorithm.
    pub fn with_algorithm(
        isa: Isa,
        params: &Conv2dParams,
        weight: &[f32],
        scale_shift: Option<(&[f32], &[f32])>,
        algorithm: Algorithm,
    ) -> Result<Self, KernelError> {
        check_isa(isa)?;
        params.check_weights(weight, scale_shift)?;
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
            Algorithm::Direct if Windows::takes(params) => {
                let (layer, filters) = (Windows::layer(params), filters.flattened());
                Packed::Windows(Direct::pack(isa, &layer, filters, scale_shift))
            }
            Algorithm::Direct => Packed::Direct(Direct::pack(isa, params, filters, scale_shift)),
            Algorithm::Depthwise => {
                Packed::Depthwise(Depthwise::pack(params, filters, scale_shift))
            }
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

    /// Computes `function(scale * conv(x) + shift + residual)`, without what is not asked for.
    ///
    /// `residual` has the output's shape; `function` may be `true` for ReLU and `false` for none.
    pub fn forward(
        &self,
        x: &Activation,
        residual: Option<&Activation>,
        function: impl Into<ActivationFn>,
    ) -> Result<Activation, KernelError> {
        let (isa, shape) = (self.isa, x.shape());
        let mut out = Activation::output(&self.params, shape, residual)?;
        let (source, function) = (Source::Blocked(x), function.into());
        match &self.packed {
            Packed::Direct(c) => c.forward(isa, source, shape, residual, function, &mut out),
            Packed::Windows(c) => {
                let windows = self.windows(source, shape, &out);
                c.forward_windows(isa, &windows, residual, function, &mut out);
            }
            Packed::Winograd(c) => c.forward(isa, source, shape, residual, function, &mut out),
            Packed::OnTheFly(c) => c.forward(isa, x, residual, function, &mut out),
            Packed::Depthwise(c) => c.forward(isa, x, residual, function, &mut out),
        }
        Ok(out.finished(function))
    }

    /// Computes [`forward`](Self::forward) from row-major `[batch, channels, height, width]`.
    ///
    /// A stem of few channels and stride 2, or of a larger stride, reads it where it lies; others convert it first.
    pub fn forward_nchw(
        &self,
        x: &[f32],
        shape: [usize; 4],
        function: impl Into<ActivationFn>,
    ) -> Result<Activation, KernelError> {
        let function = function.into();
        check_len("the picture batch", x.len(), &shape)?;
        match &self.packed {
            Packed::Direct(c) if c.is_planar() => {
                let mut out = Activation::output(&self.params, shape, None)?;
                c.forward(self.isa, Source::Planar(x), shape, None, function, &mut out);
                Ok(out.finished(function))
            }
            Packed::Winograd(c) if c.is_planar() => {
                let mut out = Activation::output(&self.params, shape, None)?;
                c.forward(self.isa, Source::Planar(x), shape, None, function, &mut out);
                Ok(out.finished(function))
            }
            Packed::Windows(c) => {
                let mut out = Activation::output(&self.params, shape, None)?;
                let windows = self.windows(Source::Planar(x), shape, &out);
                c.forward_windows(self.isa, &windows, None, function, &mut out);
                Ok(out.finished(function))
            }
            _ => self.forward(&Activation::from_nchw(x, shape)?, None, function),
        }
    }

    fn windows<'a>(
        &self,
        source: Source<'a>,
        [_, _, h, w]: [usize; 4],
        out: &Activation,
    ) -> Windows<'a> {
        let [_, _, oh, ow] = out.shape();
        Windows::new(&self.params, source, [h, w], [oh, ow])
    }

    /// Returns the parameters it was packed from.
    pub fn params(&self) -> &Conv2dParams {
        &self.params
    }

    /// Returns the instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns the algorithm it computes with.
    pub fn algorithm(&self) -> Algorithm {
        match self.packed {
            Packed::Direct(_) | Packed::Windows(_) => Algorithm::Direct,
            Packed::Depthwise(_) => Algorithm::Depthwise,
            Packed::Winograd(_) | Packed::OnTheFly(_) => Algorithm::Winograd,
        }
    }

    /// Returns the memory of the packed weights in bytes.
    pub fn packed_bytes(&self) -> usize {
        match &self.packed {
            Packed::Direct(c) | Packed::Windows(c) => c.bytes(),
            Packed::Winograd(c) => c.bytes(),
            Packed::OnTheFly(c) => c.bytes(),
            Packed::Depthwise(c) => c.bytes(),
        }
    }
}
