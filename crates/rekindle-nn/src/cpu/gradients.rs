//! Gradients by values on their way back, summed where several readers give one.

use std::sync::Arc;

use rekindle_kernels::{
    Activation, Isa, KernelError, global_average_pool_gradient, scale_channels,
    squeeze_excitation_gradient,
};

use super::layer::sum;
use super::operand::Operand;
use super::program::Program;

/// A gradient for each value of a program, where there is one already.
pub(super) struct Gradients {
    found: Vec<Option<Gradient>>,
    /// `[batch, channels, height, width]` of each value.
    shapes: Vec<[usize; 4]>,
}

enum Gradient {
    Maps(Arc<Activation>),
    /// Maps with a factor for each channel of each image, not multiplied yet: the means' gradient may join in the
    /// same pass.
    Scaled(Arc<Activation>, Vec<f32>),
    /// Gradients of maps of one pixel, `[batch, channels]`.
    Rows(Vec<f32>),
}

impl Gradients {
    pub fn new(program: &Program, batch: usize) -> Self {
        let shapes = program.shapes.iter();
        let shapes = shapes.map(|&[channels, height, width]| [batch, channels, height, width]);
        Self {
            found: program.shapes.iter().map(|_| None).collect(),
            shapes: shapes.collect(),
        }
    }

    /// Takes a value's gradient out, as maps.
    pub fn take(&mut self, value: usize) -> Result<Option<Arc<Activation>>, KernelError> {
        let [_, channels, ..] = self.shapes[value];
        Ok(match self.found[value].take() {
            None => None,
            Some(Gradient::Maps(maps)) => Some(maps),
            Some(Gradient::Scaled(maps, factors)) => Some(Arc::new(scaled(maps, &factors)?)),
            Some(Gradient::Rows(rows)) => Some(Operand::rows(rows, channels).maps()?),
        })
    }

    /// Takes the gradient by maps of one pixel out, as rows.
    pub fn take_rows(&mut self, value: usize) -> Result<Option<Vec<f32>>, KernelError> {
        if let Some(Gradient::Rows(rows)) = &mut self.found[value] {
            let rows = std::mem::take(rows);
            self.found[value] = None;
            return Ok(Some(rows));
        }
        Ok(self.take(value)?.map(|maps| maps.to_nchw()))
    }

    /// Adds `gradient` to a value's.
    pub fn add(&mut self, value: usize, gradient: Arc<Activation>) -> Result<(), KernelError> {
        let gradient = match self.take(value)? {
            Some(before) => Arc::new(sum(&before, &gradient, false)?),
            None => gradient,
        };
        self.found[value] = Some(Gradient::Maps(gradient));
        Ok(())
    }

    /// Adds `factors * gradient`, one factor for each channel of each image.
    pub fn add_scaled(
        &mut self,
        value: usize,
        gradient: Arc<Activation>,
        factors: Vec<f32>,
    ) -> Result<(), KernelError> {
        if self.found[value].is_some() {
            return self.add(value, Arc::new(scaled(gradient, &factors)?));
        }
        self.found[value] = Some(Gradient::Scaled(gradient, factors));
        Ok(())
    }

    /// Adds the gradient by maps of one pixel.
    pub fn add_rows(&mut self, value: usize, mut rows: Vec<f32>) -> Result<(), KernelError> {
        if let Some(before) = self.take_rows(value)? {
            rows.iter_mut().zip(before).for_each(|(a, b)| *a += b);
        }
        self.found[value] = Some(Gradient::Rows(rows));
        Ok(())
    }

    /// Adds what the gradient by a value's means makes of its pixels.
    pub fn add_means(&mut self, value: usize, means: Vec<f32>) -> Result<(), KernelError> {
        if let Some(Gradient::Scaled(..)) = &self.found[value]
            && let Some(Gradient::Scaled(maps, factors)) = self.found[value].take()
        {
            let maps = Arc::unwrap_or_clone(maps);
            let both = squeeze_excitation_gradient(Isa::detect(), maps, &factors, &means)?;
            self.found[value] = Some(Gradient::Maps(Arc::new(both)));
            return Ok(());
        }
        let spread = global_average_pool_gradient(&means, self.shapes[value])?;
        self.add(value, Arc::new(spread))
    }
}

fn scaled(maps: Arc<Activation>, factors: &[f32]) -> Result<Activation, KernelError> {
    let isa = Isa::detect();
    match Arc::try_unwrap(maps) {
        Ok(maps) => squeeze_excitation_gradient(isa, maps, factors, &vec![0.0; factors.len()]),
        Err(maps) => scale_channels(isa, &maps, factors),
    }
}
