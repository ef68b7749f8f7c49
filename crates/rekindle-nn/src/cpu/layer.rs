//! One layer on the kernels, forward and backward.

use std::sync::Arc;

use rekindle_kernels::{
    Activation, ActivationFn, AlignedVec, BatchNorm, Gate, Isa, KernelError, Statistics,
    UnpackedConv2d, bias_gradient, fold_batch_norm, input_gradient, transpose, weight_gradient,
    weight_gradient_nchw,
};

use super::operand::Operand;
use super::program::{Conv, Layer};
use super::weights::Weights;

/// Values that a layer keeps for its backward pass.
#[derive(Clone, Debug, Default)]
pub(super) struct SavedLayer {
    /// Input of the normalisation or, without one, the values that determine the function's derivative.
    before: Option<Arc<Activation>>,
    pub statistics: Option<Statistics>,
}

/// Gradients that a layer gives, those that were asked for.
#[derive(Default)]
pub(super) struct LayerGradients {
    pub input: Option<Arc<Activation>>,
    pub other: Option<Arc<Activation>>,
    pub weight: Option<AlignedVec>,
    pub bias: Option<Vec<f32>>,
    pub norm: Option<[Vec<f32>; 2]>,
}

/// Inputs of a layer's backward pass.
pub(super) struct Returned<'a> {
    /// The gradient by the output.
    pub dy: Arc<Activation>,
    /// Input, summand and output, where they were kept.
    pub input: Option<&'a Operand>,
    pub other: Option<&'a Operand>,
    pub output: Option<&'a Operand>,
    /// Gradient that reaches the input by another path.
    pub add: Option<Arc<Activation>>,
    /// Height and width of the input.
    pub size: [usize; 2],
}

/// Gradients of a layer that somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct NeedsGrad {
    pub input: bool,
    pub other: bool,
    pub weight: bool,
    pub bias: bool,
}

impl Layer {
    /// Computes the output and what a backward pass needs. Normalises by `running` or, without them, by the batch.
    pub fn forward(
        &self,
        weights: &Weights,
        x: &Operand,
        other: Option<&Activation>,
        running: Option<&Statistics>,
    ) -> Result<(Arc<Activation>, SavedLayer), KernelError> {
        let isa = Isa::detect();
        let Some(norm) = &self.norm else {
            return self.forward_plain(weights, x, other);
        };
        let before = match &self.conv {
            Some(conv) => {
                let (identity, bias) = (ActivationFn::Identity, conv.affine(weights));
                Arc::new(convolve(conv, weights, x, None, identity, bias)?)
            }
            None => x.maps()?,
        };
        let statistics = match running {
            Some(running) => running.clone(),
            None => Statistics::of_batch(isa, &before)?,
        };
        let norm = weights.norm(norm);
        let norm = norm.as_batch_norm();
        let y = norm.forward(isa, &before, &statistics, other, self.function)?;
        let saved = SavedLayer {
            before: Some(before),
            statistics: Some(statistics),
        };
        Ok((Arc::new(y), saved))
    }

    fn forward_plain(
        &self,
        weights: &Weights,
        x: &Operand,
        other: Option<&Activation>,
    ) -> Result<(Arc<Activation>, SavedLayer), KernelError> {
        let is_told_by_output = self.is_told_by_output();
        let first = match is_told_by_output {
            true => self.function,
            false => ActivationFn::Identity,
        };
        let before = match (&self.conv, other) {
            (Some(conv), _) => {
                let bias = conv.affine(weights);
                Arc::new(convolve(conv, weights, x, other, first, bias)?)
            }
            (None, Some(other)) => Arc::new(sum(&*x.maps()?, other, first)?),
            (None, None) => x.maps()?,
        };
        let y = if is_told_by_output && (self.conv.is_some() || other.is_some()) {
            Arc::clone(&before)
        } else {
            let copy = Activation::clone(&before);
            Arc::new(self.function.forward(Isa::detect(), copy)?)
        };
        let saved = SavedLayer {
            before: (self.function != ActivationFn::Identity).then_some(before),
            statistics: None,
        };
        Ok((y, saved))
    }

    /// Computes the output where no backward pass follows. Running statistics are folded into the convolution.
    pub fn infer(
        &self,
        weights: &Weights,
        x: Operand,
        other: Option<&Activation>,
        running: Option<&Statistics>,
    ) -> Result<(Arc<Activation>, Option<Statistics>), KernelError> {
        match (&self.conv, &self.norm) {
            (Some(conv), norm) if norm.is_none() || running.is_some() => {
                let affine = self.affine(conv, weights, running)?;
                let y = convolve(conv, weights, &x, other, self.function, affine)?;
                Ok((Arc::new(y), None))
            }
            (None, None) => {
                let x = x.maps()?;
                let y = match other {
                    Some(other) => sum(&x, other, self.function)?,
                    None => {
                        let x = Arc::unwrap_or_clone(x);
                        self.function.forward(Isa::detect(), x)?
                    }
                };
                Ok((Arc::new(y), None))
            }
            _ => {
                let (y, saved) = self.forward(weights, &x, other, running)?;
                let taken = saved.statistics.filter(|_| running.is_none());
                Ok((y, taken))
            }
        }
    }

    /// Returns what is applied to a convolution's sums where no backward pass follows: its bias, and normalisation by
    /// running statistics; none where there is neither.
    pub fn affine(
        &self,
        conv: &Conv,
        weights: &Weights,
        running: Option<&Statistics>,
    ) -> Result<Option<Affine>, KernelError> {
        let (Some(norm), Some(Statistics { mean, var, .. })) = (&self.norm, running) else {
            return Ok(conv.affine(weights));
        };
        let norm = weights.norm(norm);
        let mean = match conv.bias.map(|bias| weights.of(bias)) {
            Some(bias) => mean.iter().zip(bias).map(|(m, b)| m - b).collect(),
            None => mean.clone(),
        };
        let (scale, shift) = fold_batch_norm(norm.gamma, &norm.beta, &mean, var, norm.epsilon)?;
        Ok(Some(Affine { scale, shift }))
    }

    /// Computes the gradients that are asked for.
    pub fn backward(
        &self,
        weights: &Weights,
        saved: SavedLayer,
        returned: Returned<'_>,
        needs: NeedsGrad,
    ) -> Result<LayerGradients, KernelError> {
        let isa = Isa::detect();
        let SavedLayer { before, statistics } = saved;
        let Returned { dy, add, .. } = returned;
        let mut found = LayerGradients::default();
        let dz = match (&self.norm, before, &statistics) {
            (Some(norm), Some(before), Some(statistics)) => {
                let [other, output] = [returned.other, returned.output].map(|kept| match kept {
                    Some(kept) => kept.maps().map(Some),
                    None => Ok(None),
                });
                let (other, output) = (other?, output?);
                let gate = match (self.function, &other, &output) {
                    (ActivationFn::Identity, ..) => Gate::None,
                    (ActivationFn::Relu, _, Some(output)) => Gate::Output(output),
                    (function, Some(other), _) => Gate::FunctionOfSum(function, other),
                    (function, None, _) => Gate::Function(function),
                };
                let norm = weights.norm(norm);
                let dy = Arc::unwrap_or_clone(dy);
                let norm = norm.as_batch_norm();
                let back = norm.backward(isa, &before, statistics, gate, dy, needs.other)?;
                found.other = back.residual.map(Arc::new);
                found.norm = Some([back.gamma, back.beta]);
                Arc::new(back.x)
            }
            (_, before, _) => {
                let dz = match before {
                    Some(z) if self.function != ActivationFn::Identity => {
                        let dy = Arc::unwrap_or_clone(dy);
                        Arc::new(self.function.backward(isa, &z, dy)?)
                    }
                    _ => dy,
                };
                found.other = needs.other.then(|| Arc::clone(&dz));
                dz
            }
        };
        let Some(conv) = &self.conv else {
            found.input = match add {
                Some(add) if needs.input => Some(Arc::new(sum(&dz, &add, false)?)),
                _ => needs.input.then_some(dz),
            };
            return Ok(found);
        };
        if needs.bias {
            found.bias = Some(bias_gradient(isa, &dz)?);
        }
        if let (true, Some(x)) = (needs.weight, returned.input) {
            let gradient = match x {
                Operand::Images(x) => {
                    weight_gradient_nchw(isa, &conv.params, x.values(), x.shape, &dz)?
                }
                x => weight_gradient(isa, &conv.params, &*x.maps()?, &dz)?,
            };
            let shape = [conv.params.out_channels, conv.params.in_channels];
            found.weight = Some(match conv.is_matrix {
                true => transpose(isa, &gradient, shape)?,
                false => gradient,
            });
        }
        if needs.input {
            let (weight, size) = (weights.kernel(conv)?, returned.size);
            let dx = input_gradient(isa, &conv.params, &weight, &dz, size, add.as_deref())?;
            found.input = Some(Arc::new(dx));
        }
        Ok(found)
    }

    /// Computes the output again from what was kept, for a layer without a summand.
    pub fn repeat(
        &self,
        weights: &Weights,
        saved: &SavedLayer,
    ) -> Result<Option<Activation>, KernelError> {
        let Some(before) = &saved.before else {
            return Ok(None);
        };
        let isa = Isa::detect();
        match (&self.norm, &saved.statistics) {
            (Some(norm), Some(statistics)) => {
                let norm = weights.norm(norm);
                let norm = norm.as_batch_norm();
                let y = norm.forward(isa, before, statistics, None, self.function)?;
                Ok(Some(y))
            }
            (None, _) => {
                let copy = Activation::clone(before);
                self.function.forward(isa, copy).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl Conv {
    /// Returns its bias.
    fn affine(&self, weights: &Weights) -> Option<Affine> {
        let shift = weights.of(self.bias?).to_vec();
        let scale = vec![1.0; shift.len()];
        Some(Affine { scale, shift })
    }
}

/// A factor and a summand for each channel.
pub(super) struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Affine {
    pub fn as_slices(&self) -> (&[f32], &[f32]) {
        (&self.scale, &self.shift)
    }
}

fn convolve(
    conv: &Conv,
    weights: &Weights,
    x: &Operand,
    other: Option<&Activation>,
    function: ActivationFn,
    affine: Option<Affine>,
) -> Result<Activation, KernelError> {
    let affine = affine.as_ref().map(Affine::as_slices);
    let weight = weights.kernel(conv)?;
    let unpacked = UnpackedConv2d::new(Isa::detect(), &conv.params, &weight, affine)?;
    match (x, other) {
        (Operand::Images(x), None) => unpacked.forward_nchw(x.values(), x.shape, function),
        _ => unpacked.forward(&*x.maps()?, other, function),
    }
}

/// Computes `function(a + b)`.
pub(super) fn sum(
    a: &Activation,
    b: &Activation,
    function: impl Into<ActivationFn>,
) -> Result<Activation, KernelError> {
    let channels = a.shape()[1];
    let identity = BatchNorm {
        gamma: &vec![1.0; channels],
        beta: &vec![0.0; channels],
        eps: 0.0,
    };
    let statistics = Statistics::fixed(vec![0.0; channels], vec![1.0; channels]);
    identity.forward(Isa::detect(), a, &statistics, Some(b), function)
}
