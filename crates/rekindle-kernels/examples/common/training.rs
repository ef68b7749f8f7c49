//! A ResNet's training step: forward, backward and SGD with momentum.

use super::{Options, Times, blocks, describe, random, random_weight};
use rayon::prelude::*;
use rekindle_kernels::{
    Activation, BatchNorm, Conv2dParams, Gate, Isa, KernelError, PackedLinear, Statistics,
    UnpackedConv2d, global_average_pool, global_average_pool_gradient, input_gradient,
    linear_gradients, max_pool, max_pool_gradient, weight_gradient, weight_gradient_nchw,
};
use std::sync::Arc;

/// A tensor that SGD moves.
struct Parameter {
    value: Vec<f32>,
    velocity: Vec<f32>,
}

impl Parameter {
    fn new(value: Vec<f32>) -> Self {
        Self {
            velocity: vec![0.0; value.len()],
            value,
        }
    }

    fn step(&mut self, gradient: &[f32]) {
        let values = self
            .value
            .par_chunks_mut(1 << 14)
            .zip(self.velocity.par_chunks_mut(1 << 14));
        values
            .zip(gradient.par_chunks(1 << 14))
            .for_each(|((value, velocity), gradient)| {
                for ((p, v), g) in value.iter_mut().zip(velocity).zip(gradient) {
                    *v = 0.9 * *v + g;
                    *p -= 1e-3 * *v;
                }
            });
    }
}

/// A convolution with its BatchNorm.
struct Unit {
    isa: Isa,
    params: Conv2dParams,
    weight: Parameter,
    gamma: Parameter,
    beta: Parameter,
    layers: bool,
}

/// Values of the forward pass that the backward pass needs.
struct Saved {
    conv: Activation,
    statistics: Statistics,
}

#[derive(Clone, Copy)]
enum Input<'a> {
    Blocked(&'a Activation),
    Pictures(&'a [f32], [usize; 4]),
}

impl Input<'_> {
    fn shape(&self) -> [usize; 4] {
        match self {
            Self::Blocked(x) => x.shape(),
            Self::Pictures(_, shape) => *shape,
        }
    }
}

impl Unit {
    fn new(options: &Options, params: Conv2dParams) -> Self {
        Self {
            isa: options.isa,
            params,
            weight: Parameter::new(random_weight(&params)),
            gamma: Parameter::new(vec![1.0; params.out_channels]),
            beta: Parameter::new(vec![0.0; params.out_channels]),
            layers: options.layers,
        }
    }

    fn norm(&self) -> BatchNorm<'_> {
        BatchNorm {
            gamma: &self.gamma.value,
            beta: &self.beta.value,
            eps: 1e-5,
        }
    }

    /// The name of a piece of work on an input of `shape`, and its multiply-adds.
    fn kind(&self, work: &str, [n, _, h, w]: [usize; 4]) -> Result<(String, usize), KernelError> {
        let layer = match self.layers {
            true => format!("{:<26} {}", work, describe(&self.params, h)),
            false => work.to_string(),
        };
        Ok((layer, self.params.multiply_adds(n, [h, w])?))
    }

    fn forward(
        &self,
        x: Input<'_>,
        residual: Option<&Activation>,
        relu: bool,
        times: &mut Times,
    ) -> Result<(Activation, Saved), KernelError> {
        let layer = UnpackedConv2d::new(self.isa, &self.params, &self.weight.value, None)?;
        let (kind, work) = self.kind("forward", x.shape())?;
        let conv = times.run(&kind, work, || match x {
            Input::Blocked(x) => layer.forward(x, None, false),
            Input::Pictures(x, shape) => layer.forward_nchw(x, shape, false),
        })?;
        let statistics = times.run("batch statistics", 0, || {
            Statistics::of_batch(self.isa, &conv)
        })?;
        let saved = Saved { conv, statistics };
        Ok((self.normalise(&saved, residual, relu, times)?, saved))
    }

    fn normalise(
        &self,
        saved: &Saved,
        residual: Option<&Activation>,
        relu: bool,
        times: &mut Times,
    ) -> Result<Activation, KernelError> {
        times.run("normalise", 0, || {
            let norm = self.norm();
            norm.forward(self.isa, &saved.conv, &saved.statistics, residual, relu)
        })
    }

    /// Gradients by input (unless the input is the pictures) and by residual; moves the parameters.
    #[allow(clippy::too_many_arguments)]
    fn backward(
        &mut self,
        x: Input<'_>,
        saved: &Saved,
        gate: Gate<'_>,
        dy: Activation,
        want_residual: bool,
        add: Option<&Activation>,
        times: &mut Times,
    ) -> Result<(Option<Activation>, Option<Activation>), KernelError> {
        let back = times.run("batch norm backward", 0, || {
            let (norm, statistics) = (self.norm(), &saved.statistics);
            norm.backward(self.isa, &saved.conv, statistics, gate, dy, want_residual)
        })?;
        let (kind, work) = self.kind("gradient by weight", x.shape())?;
        let dw = times.run(&kind, work, || match x {
            Input::Blocked(x) => weight_gradient(self.isa, &self.params, x, &back.x),
            Input::Pictures(x, shape) => {
                weight_gradient_nchw(self.isa, &self.params, x, shape, &back.x)
            }
        })?;
        let dx = match x {
            Input::Pictures(..) => None,
            Input::Blocked(x) => {
                let [_, _, h, w] = x.shape();
                let (kind, work) = self.kind("gradient by input", x.shape())?;
                let weight = &self.weight.value;
                Some(times.run(&kind, work, || {
                    input_gradient(self.isa, &self.params, weight, &back.x, [h, w], add)
                })?)
            }
        };
        times.run("SGD", 0, || {
            self.weight.step(&dw);
            self.gamma.step(&back.gamma);
            self.beta.step(&back.beta);
        });
        Ok((dx, back.residual))
    }
}

struct Block {
    units: Vec<Unit>,
    downsample: Option<Unit>,
}

struct BlockSaved {
    x: Arc<Activation>,
    units: Vec<Saved>,
    downsample: Option<Saved>,
    y: Arc<Activation>,
}

impl Block {
    fn forward(
        &self,
        x: &Arc<Activation>,
        times: &mut Times,
    ) -> Result<(Arc<Activation>, BlockSaved), KernelError> {
        let (identity, downsample) = match &self.downsample {
            Some(unit) => {
                let (y, saved) = unit.forward(Input::Blocked(x), None, false, times)?;
                (Some(y), Some(saved))
            }
            None => (None, None),
        };
        let mut units = Vec::new();
        let mut y = Arc::clone(x);
        for (i, unit) in self.units.iter().enumerate() {
            let last = i + 1 == self.units.len();
            let identity = last.then_some(identity.as_ref().unwrap_or(x));
            let (output, saved) = unit.forward(Input::Blocked(&y), identity, true, times)?;
            y = Arc::new(output);
            units.push(saved);
        }
        let saved = BlockSaved {
            x: Arc::clone(x),
            units,
            downsample,
            y: Arc::clone(&y),
        };
        Ok((y, saved))
    }

    fn backward(
        &mut self,
        mut saved: BlockSaved,
        mut dy: Activation,
        times: &mut Times,
    ) -> Result<Activation, KernelError> {
        let mut identity = None;
        for i in (0..self.units.len()).rev() {
            let last = i + 1 == self.units.len();
            let Some(unit) = saved.units.pop() else {
                continue;
            };
            let gate = match last {
                true => Gate::Output(&saved.y),
                false => Gate::Relu,
            };
            // Normalising again costs less than keeping the output of every convolution twice.
            let again = match saved.units.last() {
                Some(before) => Some(self.units[i - 1].normalise(before, None, true, times)?),
                None => None,
            };
            let input = Input::Blocked(again.as_ref().unwrap_or(&saved.x));
            if let (0, Some(down), Some(kept)) = (i, &mut self.downsample, &saved.downsample)
                && let Some(d) = identity.take()
            {
                (identity, _) = down.backward(input, kept, Gate::None, d, false, None, times)?;
            }
            let add = if i == 0 { identity.as_ref() } else { None };
            let (dx, residual) =
                self.units[i].backward(input, &unit, gate, dy, last, add, times)?;
            identity = residual.or(identity);
            let Some(dx) = dx else {
                unreachable!("the input is an activation")
            };
            dy = dx;
        }
        Ok(dy)
    }
}

/// A network, its gradients and its optimizer.
pub struct Network {
    isa: Isa,
    stem: Unit,
    blocks: Vec<Block>,
    features: usize,
    weight: Parameter,
    bias: Parameter,
}

impl Network {
    pub fn new(options: &Options) -> Self {
        let (plans, features) = blocks(&options.arch);
        let unit = |params| Unit::new(options, params);
        let blocks = plans.into_iter().map(|plan| Block {
            units: plan.convs.into_iter().map(unit).collect(),
            downsample: plan.downsample.map(unit),
        });
        let weight = random(1000 * features).iter().map(|w| w * 0.05).collect();
        Self {
            isa: options.isa,
            stem: unit(Conv2dParams::new(3, 64, 7, 2)),
            blocks: blocks.collect(),
            features,
            weight: Parameter::new(weight),
            bias: Parameter::new(vec![0.0; 1000]),
        }
    }

    /// One step of SGD on `n` pictures, row-major `[n, 3, 224, 224]`.
    pub fn step(
        &mut self,
        pictures: &[f32],
        n: usize,
        times: &mut Times,
    ) -> Result<(), KernelError> {
        let isa = self.isa;
        let pictures = Input::Pictures(pictures, [n, 3, 224, 224]);
        let (stem, stem_saved) = self.stem.forward(pictures, None, true, times)?;
        let mut x = Arc::new(times.run("max pool", 0, || max_pool(isa, &stem, 3, 2, 1))?);
        let pooled = Arc::clone(&x);
        let mut saved = Vec::new();
        for block in &self.blocks {
            let (y, kept) = block.forward(&x, times)?;
            saved.push(kept);
            x = y;
        }
        let features = global_average_pool(&x)?;
        let shape = [n, 1000, self.features];
        let gradients = times.run("linear", 0, || {
            let weight = &self.weight.value;
            let head = PackedLinear::new(isa, [1000, shape[2]], weight, Some(&self.bias.value))?;
            let dy = cross_entropy_gradient(&head.forward(&features, n)?, n);
            linear_gradients(isa, &features, weight, &dy, shape)
        })?;
        times.run("SGD", 0, || {
            self.weight.step(&gradients.weight);
            self.bias.step(&gradients.bias);
        });
        let mut dy = global_average_pool_gradient(&gradients.x, x.shape())?;
        drop(x);
        for (block, saved) in self.blocks.iter_mut().zip(saved).rev() {
            dy = block.backward(saved, dy, times)?;
        }
        let d_stem = times.run("max pool backward", 0, || {
            max_pool_gradient(isa, &stem, &pooled, &dy, 3, 2, 1)
        })?;
        let gate = Gate::Relu;
        let stem = &mut self.stem;
        stem.backward(pictures, &stem_saved, gate, d_stem, false, None, times)?;
        Ok(())
    }
}

/// Of the mean over the batch, for class `row` in row `row`.
fn cross_entropy_gradient(logits: &[f32], n: usize) -> Vec<f32> {
    let classes = logits.len() / n;
    let mut out = logits.to_vec();
    for (i, row) in out.chunks_mut(classes).enumerate() {
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        row.iter_mut().for_each(|v| *v = (*v - max).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|v| *v /= sum * n as f32);
        row[i % classes] -= 1.0 / n as f32;
    }
    out
}
