//! Gradient surgery: tasks that don't undo each other.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::prelude::*;

use crate::TransferError;
use crate::initialise::permutation;

/// Computes the sum of the tasks' gradients after each has lost what works against the others (PCGrad; Yu et al.
/// 2020, <https://arxiv.org/abs/2001.06782>).
///
/// For task `i`, and the others `j` in random order (a function of `seed`): where `g_i . g_j < 0`, `g_i` becomes
/// `g_i - (g_i . g_j / |g_j|^2) g_j`, with `g_j` as it was. Scalar products run over all parameters of `module`,
/// flattened into one vector; a parameter that a task doesn't reach counts as a gradient of 0. Gradients that
/// agree are added up unchanged. It costs one backward pass per task, and hurts little; where one task should give way
/// to another, plain weights say so better.
///
/// # Errors
///
/// [`TransferError::Degenerate`] without tasks.
pub fn pcgrad<M: Module>(
    module: &M,
    tasks: Vec<GradientsParams>,
    seed: u64,
) -> Result<GradientsParams, TransferError> {
    if tasks.is_empty() {
        return Err(TransferError::Degenerate {
            method: "PCGrad",
            reason: "no task; give at least one set of gradients".into(),
        });
    }
    let count = tasks.len();
    let products = Gram::of(module, &tasks);
    // Every projected gradient is a mixture of the given ones, so that scalar products suffice.
    let mut total = vec![0.0; count];
    for task in 0..count {
        let mut mixture = vec![0.0; count];
        mixture[task] = 1.0;
        for other in permutation(count, seed, task) {
            let square = products.of_pair(other, other);
            let product: f64 = (0..count)
                .map(|i| mixture[i] * products.of_pair(i, other))
                .sum();
            if other != task && product < 0.0 && square > 0.0 {
                mixture[other] -= product / square;
            }
        }
        for (sum, share) in total.iter_mut().zip(mixture) {
            *sum += share;
        }
    }
    let mut mix = Mix {
        tasks,
        shares: total,
        mixed: GradientsParams::new(),
    };
    module.visit(&mut mix);
    Ok(mix.mixed)
}

/// Scalar products of all pairs of gradients.
struct Gram<'a> {
    tasks: &'a [GradientsParams],
    products: Vec<f64>,
}

impl<'a> Gram<'a> {
    fn of<M: Module>(module: &M, tasks: &'a [GradientsParams]) -> Self {
        let mut gram = Self {
            tasks,
            products: vec![0.0; tasks.len() * tasks.len()],
        };
        module.visit(&mut gram);
        gram
    }

    fn of_pair(&self, i: usize, j: usize) -> f64 {
        self.products[i * self.tasks.len() + j]
    }
}

impl ModuleVisitor for Gram<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let grads = gradients::<D>(self.tasks, param.id);
        let count = grads.len();
        for i in 0..count {
            for j in 0..count {
                if let (Some(a), Some(b)) = (&grads[i], &grads[j]) {
                    let product = (a.clone() * b.clone()).sum().into_scalar::<f32>();
                    self.products[i * count + j] += f64::from(product);
                }
            }
        }
    }
}

fn gradients<const D: usize>(tasks: &[GradientsParams], id: ParamId) -> Vec<Option<Tensor<D>>> {
    tasks.iter().map(|grads| grads.get::<D>(id)).collect()
}

struct Mix {
    tasks: Vec<GradientsParams>,
    shares: Vec<f64>,
    mixed: GradientsParams,
}

impl ModuleVisitor for Mix {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let sum = gradients::<D>(&self.tasks, param.id)
            .into_iter()
            .enumerate()
            .filter_map(|(task, grad)| Some(grad?.mul_scalar(self.shares[task])))
            .reduce(|sum, next| sum + next);
        if let Some(sum) = sum {
            self.mixed.register(param.id, sum);
        }
    }
}
