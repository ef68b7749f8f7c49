//! Activation functions on their own, where no layer before them takes them along.

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::dispatch::Kernels;
use crate::error::{KernelError, check_isa, check_len};
use crate::functions::{Apply, ApplyGradient};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use rayon::prelude::*;

/// Lines of a task.
const TASK: usize = 1 << 10;

impl ActivationFn {
    /// Applies the function to each value.
    ///
    /// ```
    /// use rekindle_kernels::{ActivationFn, Isa};
    ///
    /// let mut values = [-4.0, 0.0, 4.0];
    /// ActivationFn::HardSigmoid.apply(Isa::detect(), &mut values)?;
    /// assert_eq!(values, [0.0, 0.5, 1.0]);
    /// # Ok::<(), rekindle_kernels::KernelError>(())
    /// ```
    pub fn apply(self, isa: Isa, values: &mut [f32]) -> Result<(), KernelError> {
        check_isa(isa)?;
        let kernels = Kernels::of(isa);
        values.par_chunks_mut(TASK * LANES).for_each(|values| {
            let (lines, tail) = values.split_at_mut(values.len() / LANES * LANES);
            // SAFETY: the slice has so many lines.
            unsafe { (kernels.apply)(&self.on(lines.as_mut_ptr(), lines.len() / LANES)) };
            let mut line = Line::ZERO;
            line.0[..tail.len()].copy_from_slice(tail);
            // SAFETY: it is one line.
            unsafe { (kernels.apply)(&self.on(line.0.as_mut_ptr(), 1)) };
            tail.copy_from_slice(&line.0[..tail.len()]);
        });
        Ok(())
    }

    /// Turns `gradient`, by the function's results, into the gradient by its arguments `z`.
    ///
    /// At a corner of a piecewise function the derivative is that of its flat side.
    pub fn apply_gradient(
        self,
        isa: Isa,
        z: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), KernelError> {
        check_isa(isa)?;
        check_len("the gradient", gradient.len(), &[z.len()])?;
        let kernels = Kernels::of(isa);
        let tasks = gradient.par_chunks_mut(TASK * LANES);
        tasks.zip(z.par_chunks(TASK * LANES)).for_each(|(g, z)| {
            let whole = g.len() / LANES * LANES;
            let ((g, g_tail), (z, z_tail)) = (g.split_at_mut(whole), z.split_at(whole));
            let back = |z: *const f32, gradient: *mut f32, count: usize| ApplyGradient {
                z,
                gradient,
                count,
                function: self,
            };
            // SAFETY: both slices have so many lines.
            unsafe {
                (kernels.apply_gradient)(&back(z.as_ptr(), g.as_mut_ptr(), whole / LANES));
            }
            let [mut g, mut z] = [Line::ZERO; 2];
            g.0[..g_tail.len()].copy_from_slice(g_tail);
            z.0[..z_tail.len()].copy_from_slice(z_tail);
            // SAFETY: both are one line.
            unsafe { (kernels.apply_gradient)(&back(z.0.as_ptr(), g.0.as_mut_ptr(), 1)) };
            g_tail.copy_from_slice(&g.0[..g_tail.len()]);
        });
        Ok(())
    }

    /// Applies the function to feature maps, in their memory.
    pub fn forward(self, isa: Isa, mut x: Activation) -> Result<Activation, KernelError> {
        self.apply(isa, Line::values_mut(x.lines_mut()))?;
        Ok(x.finished(self))
    }

    /// Computes the gradient by the feature maps `z` that the function was applied to, for `dy` by its results, whose memory
    /// it takes.
    pub fn backward(
        self,
        isa: Isa,
        z: &Activation,
        mut dy: Activation,
    ) -> Result<Activation, KernelError> {
        dy.check_shape("the gradient", z.shape())?;
        self.apply_gradient(isa, z.as_blocked(), Line::values_mut(dy.lines_mut()))?;
        Ok(dy)
    }

    fn on(self, values: *mut f32, count: usize) -> Apply {
        Apply {
            values,
            rows: 1,
            count,
            row_stride: 0,
            line_stride: LANES,
            function: self,
        }
    }
}
