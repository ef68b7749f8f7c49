//! Runs a program forward in training: statistics that it normalises by, and values for the backward pass.

use std::sync::Arc;

use rekindle_kernels::{Activation, Isa, KernelError, Statistics, on_pool_thread};

use super::forward::{Executor, run};
use super::layer::SavedLayer;
use super::operand::Operand;
use super::pixels::SavedPixels;
use super::program::{Layer, Linear, Pixels, Program};
use super::weights::Weights;

/// A unit for one batch.
#[derive(Clone, Debug)]
pub(crate) struct Training {
    pub program: Arc<Program>,
    /// Running statistics of frozen normalisations, by step.
    pub running: Vec<Option<Statistics>>,
    /// Factor that a drop path has drawn for each image, by step.
    pub factors: Vec<Vec<f32>>,
}

/// Values that a unit's backward pass needs.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    /// Values that are read, by index.
    pub values: Vec<Option<Operand>>,
    /// Other values that each step keeps.
    pub steps: Vec<SavedStep>,
}

/// Values that a step keeps for its backward pass in addition to its inputs and outputs.
#[derive(Clone, Debug, Default)]
pub(super) enum SavedStep {
    #[default]
    Nothing,
    Layer(SavedLayer),
    /// Rows before the function of a linear layer.
    Rows(Vec<f32>),
    Pixels(SavedPixels),
}

/// Result of a unit's forward pass.
pub(super) struct Given {
    pub y: Arc<Activation>,
    /// Batch statistics that layers normalised by, by step.
    pub taken: Vec<Option<Statistics>>,
    pub saved: Saved,
}

impl Training {
    /// Runs the unit; what is saved is empty unless `has_gradients`.
    pub fn forward(
        &self,
        weights: &Weights,
        x: Operand,
        has_gradients: bool,
    ) -> Result<Given, KernelError> {
        let steps = self.program.steps.len();
        let kept = match has_gradients {
            true => self.program.kept(),
            false => vec![false; steps + 1],
        };
        let mut pass = Pass {
            training: self,
            weights,
            has_gradients,
            taken: vec![None; steps],
            steps: vec![SavedStep::Nothing; steps],
        };
        on_pool_thread(|| {
            let mut values = run(&self.program, &mut pass, x, &kept)?;
            let y = values[self.program.output].as_ref().map(Operand::maps);
            let y = y.unwrap_or_else(|| {
                Err(KernelError::InvalidLayer("a unit gives no value".into()))
            })?;
            for (value, kept) in values.iter_mut().zip(&kept) {
                if !kept {
                    *value = None;
                }
            }
            Ok(Given {
                y,
                taken: pass.taken,
                saved: Saved {
                    values,
                    steps: pass.steps,
                },
            })
        })
    }
}

struct Pass<'a> {
    training: &'a Training,
    weights: &'a Weights,
    has_gradients: bool,
    taken: Vec<Option<Statistics>>,
    steps: Vec<SavedStep>,
}

impl Executor for Pass<'_> {
    fn layer(
        &mut self,
        step: usize,
        layer: &Layer,
        x: Operand,
        other: Option<&Activation>,
    ) -> Result<Arc<Activation>, KernelError> {
        let running = self.training.running[step].as_ref();
        if !self.has_gradients {
            let (y, taken) = layer.infer(self.weights, x, other, running)?;
            self.taken[step] = taken;
            return Ok(y);
        }
        let (y, saved) = layer.forward(self.weights, &x, other, running)?;
        if running.is_none() {
            self.taken[step].clone_from(&saved.statistics);
        }
        self.steps[step] = SavedStep::Layer(saved);
        Ok(y)
    }

    fn linear(&mut self, step: usize, linear: &Linear, x: &[f32]) -> Result<Vec<f32>, KernelError> {
        let packed = linear.packed(self.weights)?;
        if !self.has_gradients {
            return linear.by(&packed, x, linear.function);
        }
        let rows = linear.by(&packed, x, Default::default())?;
        let mut y = rows.clone();
        linear.function.apply(Isa::detect(), &mut y)?;
        self.steps[step] = SavedStep::Rows(rows);
        Ok(y)
    }

    fn pixels(
        &mut self,
        step: usize,
        pixels: &Pixels,
        x: Operand,
    ) -> Result<Activation, KernelError> {
        if !self.has_gradients {
            return pixels.infer(self.weights, x);
        }
        let (y, saved) = pixels.forward(self.weights, &*x.maps()?)?;
        self.steps[step] = SavedStep::Pixels(saved);
        Ok(y)
    }

    fn factors(&self, step: usize) -> &[f32] {
        &self.training.factors[step]
    }
}
