//! A program's steps in reverse, with a gradient for each value that needs one.

use std::sync::Arc;

use rekindle_kernels::{
    Activation, AlignedVec, Isa, KernelError, input_gradient, linear_gradients, max_pool_gradient,
    multiply, on_pool_thread, scale_channels_gradient,
};

use super::forward::{equal_weights, per_channel, uncounted};
use super::gradients::Gradients;
use super::layer::{LayerGradients, NeedsGrad, Returned};
use super::operand::Operand;
use super::program::{Kind, Layer, Linear, Pixels, Program, Step, Window};
use super::train::{Saved, SavedStep, Training};
use super::weights::Weights;

/// Gradients of a unit that somebody waits for.
#[derive(Clone, Debug)]
pub(super) struct RequestedGradients {
    pub input: bool,
    /// Needed gradients, in the order of the program's tensors.
    pub tensors: Vec<bool>,
}

/// Gradients of a unit.
pub(super) struct Found {
    pub input: Option<Arc<Activation>>,
    /// Gradients, in the order of the program's tensors.
    pub tensors: Vec<Option<Numbers>>,
}

/// A gradient by a parameter, row-major.
pub(super) enum Numbers {
    Kernel(AlignedVec),
    Plain(Vec<f32>),
}

impl Training {
    /// Computes the gradients that are needed for `dy`, the gradient by the output. What was saved is given up step by
    /// step.
    pub fn backward(
        &self,
        weights: &Weights,
        saved: Saved,
        dy: Activation,
        requested: &RequestedGradients,
    ) -> Result<Found, KernelError> {
        let [batch, ..] = dy.shape();
        let mut pass = Pass {
            training: self,
            program: &self.program,
            weights,
            saved,
            requested,
            needed: needed(&self.program, requested),
            gradients: Gradients::new(&self.program, batch),
            tensors: requested.tensors.iter().map(|_| None).collect(),
        };
        on_pool_thread(|| {
            pass.gradients.add(self.program.output, Arc::new(dy))?;
            for index in (0..self.program.steps.len()).rev() {
                if pass.needed[index + 1] {
                    pass.step(index)?;
                }
                pass.saved.values[index + 1] = None;
            }
            Ok(Found {
                input: match requested.input {
                    true => pass.gradients.take(0)?,
                    false => None,
                },
                tensors: pass.tensors,
            })
        })
    }
}

/// Tells for each value whether its gradient is on the way to one that is needed.
fn needed(program: &Program, requested: &RequestedGradients) -> Vec<bool> {
    let mut needed = vec![requested.input];
    for step in &program.steps {
        let is_trained = step.parameters().into_iter().any(|t| requested.tensors[t]);
        needed.push(is_trained || step.inputs().any(|value| needed[value]));
    }
    needed
}

struct Pass<'a> {
    training: &'a Training,
    program: &'a Program,
    weights: &'a Weights,
    saved: Saved,
    requested: &'a RequestedGradients,
    needed: Vec<bool>,
    gradients: Gradients,
    tensors: Vec<Option<Numbers>>,
}

impl Pass<'_> {
    fn step(&mut self, index: usize) -> Result<(), KernelError> {
        let program = self.program;
        let step = &program.steps[index];
        let isa = Isa::detect();
        match &step.kind {
            Kind::Layer(layer) => self.layer(index, step, layer),
            Kind::Linear(linear) => self.linear(index, step, linear),
            Kind::Means => match self.gradients.take_rows(index + 1)? {
                Some(dm) => self.gradients.add_means(step.input, dm),
                None => Ok(()),
            },
            Kind::Scale => self.scale(index, step),
            Kind::Product => self.product(index, step),
            Kind::Difference => self.difference(index, step),
            Kind::MaxPool(window) => self.max_pool(index, step, *window),
            Kind::Pixels(pixels) => self.pixels(index, step, pixels),
            Kind::AvgPool(params) => {
                let Some(dy) = self.gradients.take(index + 1)? else {
                    return Ok(());
                };
                let [_, height, width] = program.shapes[step.input];
                let add = self.gradients.take(step.input)?;
                let weights = equal_weights(params);
                let size = [height, width];
                let mut dy = Arc::unwrap_or_clone(dy);
                uncounted(params, &mut dy, size)?;
                let dx = input_gradient(isa, params, &weights, &dy, size, add.as_deref())?;
                self.gradients.add(step.input, Arc::new(dx))
            }
            Kind::DropPath(_) => {
                let Some(dy) = self.gradients.take(index + 1)? else {
                    return Ok(());
                };
                let channels = program.shapes[index + 1][0];
                let factors = per_channel(&self.training.factors[index], channels);
                self.gradients.add_scaled(step.input, dy, factors)
            }
        }
    }

    fn layer(&mut self, index: usize, step: &Step, layer: &Layer) -> Result<(), KernelError> {
        let dy = self.gradients.take(index + 1)?;
        let (Some(dy), SavedStep::Layer(saved)) = (dy, self.saved_by(index)) else {
            return Ok(());
        };
        let is_wanted = |tensor: Option<usize>| tensor.is_some_and(|t| self.requested.tensors[t]);
        let conv = layer.conv.as_ref();
        let needs = NeedsGrad {
            input: self.needed[step.input],
            other: step.other.is_some_and(|other| self.needed[other]),
            weight: is_wanted(conv.map(|conv| conv.weight)),
            bias: is_wanted(conv.and_then(|conv| conv.bias)),
        };
        let [_, height, width] = self.program.shapes[step.input];
        // A summand that is the input as well comes back through the sum first.
        let is_twice = step.other == Some(step.input);
        let add = match needs.input && !is_twice {
            true => self.gradients.take(step.input)?,
            false => None,
        };
        let repeated = match needs.weight {
            true => self.repeated(step.input)?,
            false => None,
        };
        let values = &self.saved.values;
        let returned = Returned {
            dy,
            input: values[step.input].as_ref().or(repeated.as_ref()),
            other: step.other.and_then(|other| values[other].as_ref()),
            output: values[index + 1].as_ref(),
            add,
            size: [height, width],
        };
        let LayerGradients {
            input,
            other,
            weight,
            bias,
            norm,
        } = layer.backward(self.weights, saved, returned, needs)?;
        if let (Some(other), Some(gradient)) = (step.other, other) {
            self.gradients.add(other, gradient)?;
        }
        if let Some(gradient) = input {
            self.gradients.add(step.input, gradient)?;
        }
        if let Some(conv) = conv {
            self.tensors[conv.weight] = weight.map(Numbers::Kernel);
            if let Some(position) = conv.bias {
                self.tensors[position] = bias.map(Numbers::Plain);
            }
        }
        if let (Some(positions), Some([gamma, beta])) = (&layer.norm, norm) {
            self.tensors[positions.gamma] = Some(Numbers::Plain(gamma));
            if let Some(position) = positions.beta {
                self.tensors[position] = Some(Numbers::Plain(beta));
            }
        }
        Ok(())
    }

    /// Computes a value again that was not kept because that costs little.
    fn repeated(&self, value: usize) -> Result<Option<Operand>, KernelError> {
        let Some(index) = value.checked_sub(1) else {
            return Ok(None);
        };
        if self.saved.values[value].is_some() || !self.program.is_cheap(value) {
            return Ok(None);
        }
        let step = &self.program.steps[index];
        let y = match (&step.kind, &self.saved.steps[index]) {
            (Kind::Pixels(pixels), _) => match &self.saved.values[step.input] {
                Some(x) => Some(pixels.forward(self.weights, &*x.maps()?)?.0),
                None => None,
            },
            (Kind::Layer(layer), SavedStep::Layer(saved)) => layer.repeat(self.weights, saved)?,
            _ => None,
        };
        Ok(y.map(Operand::new))
    }

    fn linear(&mut self, index: usize, step: &Step, linear: &Linear) -> Result<(), KernelError> {
        let isa = Isa::detect();
        let dy = self.gradients.take_rows(index + 1)?;
        let (Some(mut dz), SavedStep::Rows(z)) = (dy, self.saved_by(index)) else {
            return Ok(());
        };
        linear.function.apply_gradient(isa, &z, &mut dz)?;
        let Some(x) = &self.saved.values[step.input] else {
            return Ok(());
        };
        let x = x.as_rows();
        let weight = self.weights.of(linear.weight);
        let batch = x.len() / linear.inputs.max(1);
        let shape = [batch, linear.outputs, linear.inputs];
        let found = linear_gradients(isa, &x, weight, &dz, shape)?;
        self.tensors[linear.weight] = Some(Numbers::Plain(found.weight));
        if let Some(bias) = linear.bias {
            self.tensors[bias] = Some(Numbers::Plain(found.bias));
        }
        match self.needed[step.input] {
            true => self.gradients.add_rows(step.input, found.x),
            false => Ok(()),
        }
    }

    /// Takes out what a step kept.
    fn saved_by(&mut self, index: usize) -> SavedStep {
        std::mem::take(&mut self.saved.steps[index])
    }

    fn pixels(&mut self, index: usize, step: &Step, pixels: &Pixels) -> Result<(), KernelError> {
        let dy = self.gradients.take(index + 1)?;
        let (Some(dy), SavedStep::Pixels(saved)) = (dy, self.saved_by(index)) else {
            return Ok(());
        };
        let add = self.gradients.take(step.input)?;
        let maps = |value: usize| self.saved.values[value].as_ref().map(Operand::maps);
        let values = [maps(step.input).transpose()?, maps(index + 1).transpose()?];
        let Some(found) = pixels.backward(self.weights, &saved, values, dy, add)? else {
            return Ok(());
        };
        if let Some((norm, [weight, bias])) = found.parameters {
            self.tensors[norm.weight] = Some(Numbers::Plain(weight));
            self.tensors[norm.bias] = Some(Numbers::Plain(bias));
        }
        self.gradients.add(step.input, Arc::new(found.input))
    }

    fn scale(&mut self, index: usize, step: &Step) -> Result<(), KernelError> {
        let Some(gate) = step.other else {
            return Ok(());
        };
        let dy = self.gradients.take(index + 1)?;
        let values = &self.saved.values;
        let (Some(dy), Some(x), Some(factors)) = (dy, &values[step.input], &values[gate]) else {
            return Ok(());
        };
        let factors = factors.as_rows().into_owned();
        if self.needed[gate] {
            let ds = scale_channels_gradient(Isa::detect(), &*x.maps()?, &dy)?;
            self.gradients.add_rows(gate, ds)?;
        }
        match self.needed[step.input] {
            true => self.gradients.add_scaled(step.input, dy, factors),
            false => Ok(()),
        }
    }

    fn product(&mut self, index: usize, step: &Step) -> Result<(), KernelError> {
        let Some(second) = step.other else {
            return Ok(());
        };
        let Some(dy) = self.gradients.take(index + 1)? else {
            return Ok(());
        };
        for (by, other) in [(step.input, second), (second, step.input)] {
            if let (true, Some(factor)) = (self.needed[by], &self.saved.values[other]) {
                let gradient = multiply(&*factor.maps()?, &dy)?;
                self.gradients.add(by, Arc::new(gradient))?;
            }
        }
        Ok(())
    }

    fn difference(&mut self, index: usize, step: &Step) -> Result<(), KernelError> {
        let Some(dy) = self.gradients.take(index + 1)? else {
            return Ok(());
        };
        if let Some(second) = step.other
            && self.needed[second]
        {
            let [batch, channels, ..] = dy.shape();
            let factors = vec![-1.0; batch * channels];
            self.gradients.add_scaled(second, dy.clone(), factors)?;
        }
        match self.needed[step.input] {
            true => self.gradients.add(step.input, dy),
            false => Ok(()),
        }
    }

    fn max_pool(&mut self, index: usize, step: &Step, window: Window) -> Result<(), KernelError> {
        let isa = Isa::detect();
        let dy = self.gradients.take(index + 1)?;
        let (Some(dy), Some(y)) = (dy, &self.saved.values[index + 1]) else {
            return Ok(());
        };
        let x = match (
            &self.saved.values[step.input],
            self.program.repeatable(step.input),
        ) {
            (Some(x), _) => Some(x.maps()?),
            // Computed again: kept, it would often be the largest activation of the network.
            (None, Some((by, layer))) => match &self.saved.steps[by] {
                SavedStep::Layer(saved) => layer.repeat(self.weights, saved)?.map(Arc::new),
                _ => None,
            },
            (None, None) => None,
        };
        let Some(x) = x else {
            return Ok(());
        };
        let Window {
            size,
            stride,
            padding,
        } = window;
        let y = y.maps()?;
        let dx = max_pool_gradient(isa, &x, &y, &dy, size, stride, padding)?;
        self.gradients.add(step.input, Arc::new(dx))
    }
}
