//! BatchNorm in training: statistics, normalisation fused with residual sum and activation function, and the gradients of all of it.
//!
//! Ioffe and Szegedy, "Batch Normalization" (2015).

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::buffer::SendPtr;
use crate::dispatch::Kernels;
use crate::elementwise::{Affine, GatePtr, NormGradient, NormPass};
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::planes::{for_each_plane, moments_by_plane, sums_by_plane};

/// Mean and variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// One value per channel.
    pub mean: Vec<f32>,
    /// One value per channel, divided by the number of values (not that number less one).
    pub var: Vec<f32>,
    /// Values each was computed from, or `None` for fixed statistics, through which no gradient flows.
    pub count: Option<usize>,
}

impl Statistics {
    /// Computes the statistics over batch, height and width of `x`.
    pub fn of_batch(isa: Isa, x: &Activation) -> Result<Self, KernelError> {
        check_isa(isa)?;
        let [n, c, h, w] = x.shape();
        let count = n * h * w;
        if count == 0 {
            return Err(KernelError::InvalidLayer(
                "BatchNorm needs at least one value per channel, found an empty batch".into(),
            ));
        }
        // The first pixel of each channel stands in for the mean.
        let shift: Vec<Line> = (0..x.blocks()).map(|b| x.lines()[b * h * w]).collect();
        let planes = moments_by_plane(isa, x, |plane| &shift[plane % shift.len()]);
        let (mut mean, mut var) = (Vec::with_capacity(c), Vec::with_capacity(c));
        for channel in 0..c {
            let (sum, square) = planes.channel(channel);
            let offset = sum / count as f64;
            mean.push((f64::from(shift[channel / LANES].0[channel % LANES]) + offset) as f32);
            var.push((square / count as f64 - offset * offset).max(0.0) as f32);
        }
        Ok(Self {
            mean,
            var,
            count: Some(count),
        })
    }

    /// Takes the running statistics of a layer in evaluation mode.
    pub fn fixed(mean: Vec<f32>, var: Vec<f32>) -> Self {
        Self {
            mean,
            var,
            count: None,
        }
    }
}

/// A BatchNorm layer's parameters, one value per channel.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Factor after normalisation, PyTorch's `weight`.
    pub gamma: &'a [f32],
    /// Summand after normalisation, PyTorch's `bias`.
    pub beta: &'a [f32],
    /// Added to the variance; PyTorch's default is `1e-5`, EfficientNet and MobileNetV3 use `1e-3`.
    pub eps: f32,
}

/// The activation function that followed a BatchNorm, through which its gradient comes.
///
/// The function's input is recomputed from the layer's input and statistics.
#[derive(Clone, Copy, Debug)]
pub enum Gate<'a> {
    /// None followed.
    None,
    /// A ReLU followed at once, without a residual sum.
    Relu,
    /// A ReLU followed the residual sum, and this is its output.
    Output(&'a Activation),
    /// This function followed at once, without a residual sum.
    Function(ActivationFn),
    /// This function followed the sum with this residual.
    FunctionOfSum(ActivationFn, &'a Activation),
}

/// Gradients of a batch normalisation.
#[derive(Clone, Debug)]
pub struct BatchNormGradients {
    /// Gradient by the layer's input.
    pub x: Activation,
    /// Gradient by the residual, where [`BatchNorm::backward`] was asked for it.
    pub residual: Option<Activation>,
    /// Gradient by gamma.
    pub gamma: Vec<f32>,
    /// Gradient by beta.
    pub beta: Vec<f32>,
}

impl BatchNorm<'_> {
    /// Computes `function(gamma * (x - mean) / sqrt(var + eps) + beta + residual)`, without what is not asked for.
    ///
    /// `residual` has the shape of `x`; `function` may be `true` for ReLU and `false` for none.
    pub fn forward(
        &self,
        isa: Isa,
        x: &Activation,
        statistics: &Statistics,
        residual: Option<&Activation>,
        function: impl Into<ActivationFn>,
    ) -> Result<Activation, KernelError> {
        self.check(isa, x, statistics)?;
        if let Some(residual) = residual {
            residual.check_shape("the residual", x.shape())?;
        }
        let [scale, shift, _] = self.lines(statistics);
        let function = function.into();
        let mut y = Activation::uninit(x.shape());
        let out = y.send_ptr();
        for_each_plane(x, |plane, first, count| {
            let block = plane % scale.len();
            let mut affine = Affine {
                x: x.as_ptr().wrapping_add(first * LANES),
                residual: residual
                    .map_or(std::ptr::null(), |r| r.as_ptr().wrapping_add(first * LANES)),
                y: SendPtr::get(out).wrapping_add(first * LANES),
                count,
                scale: &scale[block],
                shift: &shift[block],
                function,
            };
            // SAFETY: all three have one shape, and each task has its own plane.
            unsafe { (Kernels::of(isa).affine)(&mut affine) };
        });
        Ok(y.finished(function))
    }

    /// Gradients for `dy`, the gradient by the output of [`forward`](Self::forward).
    ///
    /// `x` and `statistics` are those of the forward pass. The memory of `dy` becomes that of the gradient by `x`.
    pub fn backward(
        &self,
        isa: Isa,
        x: &Activation,
        statistics: &Statistics,
        gate: Gate<'_>,
        mut dy: Activation,
        want_residual: bool,
    ) -> Result<BatchNormGradients, KernelError> {
        self.check(isa, x, statistics)?;
        dy.check_shape("the gradient", x.shape())?;
        match gate {
            Gate::Output(y) => y.check_shape("the output", x.shape())?,
            Gate::FunctionOfSum(_, residual) => residual.check_shape("the residual", x.shape())?,
            Gate::None | Gate::Relu | Gate::Function(_) => {}
        }
        let [scale, shift, mean] = self.lines(statistics);
        let extra = match gate {
            Gate::Output(y) | Gate::FunctionOfSum(_, y) => y.as_ptr(),
            Gate::None | Gate::Relu | Gate::Function(_) => std::ptr::null(),
        };
        let shared = [dy.send_ptr(), SendPtr::new(extra.cast_mut())];
        let input = |plane: usize, first: usize, count: usize, pass: NormPass<'_>| {
            let (block, at) = (plane % scale.len(), first * LANES);
            let mut gradient = NormGradient {
                x: x.as_ptr().wrapping_add(at),
                dy: SendPtr::get(shared[0]).wrapping_add(at),
                gate: match gate {
                    Gate::None => GatePtr::At(ActivationFn::Identity),
                    Gate::Relu => GatePtr::At(ActivationFn::Relu),
                    Gate::Function(function) => GatePtr::At(function),
                    Gate::Output(_) => GatePtr::Output(SendPtr::get(shared[1]).wrapping_add(at)),
                    Gate::FunctionOfSum(function, _) => {
                        GatePtr::AtSum(function, SendPtr::get(shared[1]).wrapping_add(at))
                    }
                },
                count,
                scale: &scale[block],
                shift: &shift[block],
                mean: &mean[block],
                pass,
            };
            // SAFETY: all tensors have one shape, and each task has its own plane.
            unsafe { (Kernels::of(isa).norm_gradient)(&mut gradient) };
        };
        let planes = sums_by_plane(x.shape(), x.blocks(), |plane, first, count, sums| {
            input(plane, first, count, NormPass::Sums(sums));
        });
        let channels = self.gamma.len();
        let (mut gamma, mut beta) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
        let mut c = vec![[Line::ZERO; 3]; x.blocks()];
        for channel in 0..channels {
            let (sum, product) = planes.channel(channel);
            let rstd = self.rstd(statistics, channel);
            gamma.push((product * rstd) as f32);
            beta.push(sum as f32);
            let scale = f64::from(self.gamma[channel]) * rstd;
            let (c, lane) = (&mut c[channel / LANES], channel % LANES);
            c[0].0[lane] = scale as f32;
            if let Some(count) = statistics.count {
                c[1].0[lane] = (-scale * rstd * rstd * product / count as f64) as f32;
                c[2].0[lane] = (-scale * sum / count as f64) as f32;
            }
        }
        let mut residual = want_residual.then(|| Activation::uninit(x.shape()));
        let gated = residual.as_mut().map(Activation::send_ptr);
        for_each_plane(x, |plane, first, count| {
            let at = first * LANES;
            let pass = NormPass::Apply {
                c: &c[plane % c.len()],
                dx: SendPtr::get(shared[0]).wrapping_add(at),
                gated: gated.map_or(std::ptr::null_mut(), |g| g.get().wrapping_add(at)),
            };
            input(plane, first, count, pass);
        });
        Ok(BatchNormGradients {
            x: dy,
            residual,
            gamma,
            beta,
        })
    }

    fn check(&self, isa: Isa, x: &Activation, statistics: &Statistics) -> Result<(), KernelError> {
        check_isa(isa)?;
        let channels = [x.shape()[1]];
        check_len("gamma", self.gamma.len(), &channels)?;
        check_len("beta", self.beta.len(), &channels)?;
        check_len("the mean", statistics.mean.len(), &channels)?;
        check_len("the variance", statistics.var.len(), &channels)
    }

    fn rstd(&self, statistics: &Statistics, channel: usize) -> f64 {
        1.0 / (f64::from(statistics.var[channel]) + f64::from(self.eps)).sqrt()
    }

    /// Scale, shift and mean in whole lines, zero past the last channel.
    fn lines(&self, statistics: &Statistics) -> [Vec<Line>; 3] {
        let mut lines = [(); 3].map(|()| vec![Line::ZERO; self.gamma.len().div_ceil(LANES)]);
        for channel in 0..self.gamma.len() {
            let scale = f64::from(self.gamma[channel]) * self.rstd(statistics, channel);
            let mean = statistics.mean[channel];
            let shift = f64::from(self.beta[channel]) - f64::from(mean) * scale;
            for (lines, value) in lines.iter_mut().zip([scale as f32, shift as f32, mean]) {
                lines[channel / LANES].0[channel % LANES] = value;
            }
        }
        lines
    }
}
