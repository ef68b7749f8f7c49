//! Minimisation of smooth functions by L-BFGS (Liu and Nocedal 1989).

use std::collections::VecDeque;

/// Stopping criteria and memory of the optimiser.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lbfgs {
    /// Steps at most.
    pub max_iterations: usize,
    /// Pairs of steps and gradient changes that approximate the curvature.
    pub memory: usize,
    /// Stops when no partial derivative is larger than this.
    pub gradient_tolerance: f64,
    /// Stops when a step lowers the value by less than this share of it.
    pub value_tolerance: f64,
}

impl Default for Lbfgs {
    fn default() -> Self {
        Self {
            max_iterations: 100,
            memory: 10,
            gradient_tolerance: 1e-6,
            value_tolerance: 1e-9,
        }
    }
}

impl Lbfgs {
    /// Minimises `function` from `x` on; it writes the gradient into its second argument and returns the
    /// value. Returns the best point found.
    pub fn minimize(
        &self,
        mut x: Vec<f64>,
        mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    ) -> Vec<f64> {
        let mut gradient = vec![0.0; x.len()];
        let mut value = function(&x, &mut gradient);
        let mut memory: VecDeque<Pair> = VecDeque::with_capacity(self.memory);
        let mut next_gradient = vec![0.0; x.len()];
        for _ in 0..self.max_iterations {
            if gradient.iter().all(|g| g.abs() <= self.gradient_tolerance) {
                break;
            }
            let mut direction = descent(&memory, &gradient);
            let mut slope = product(&direction, &gradient);
            if slope >= 0.0 {
                // The remembered curvature misleads: forget it.
                memory.clear();
                direction = gradient.iter().map(|g| -g).collect();
                slope = -product(&gradient, &gradient);
            }
            let first = if memory.is_empty() {
                (1.0 / product(&gradient, &gradient).sqrt()).min(1.0)
            } else {
                1.0
            };
            let Some((next, next_value)) = line_search(
                &x,
                value,
                &direction,
                slope,
                first,
                &mut next_gradient,
                &mut function,
            ) else {
                break;
            };
            let step = difference(&next, &x);
            let change = difference(&next_gradient, &gradient);
            let curvature = product(&step, &change);
            if curvature > 1e-12 * product(&change, &change) {
                if memory.len() == self.memory {
                    memory.pop_front();
                }
                memory.push_back(Pair {
                    step,
                    change,
                    curvature,
                });
            }
            let gain = value - next_value;
            x = next;
            value = next_value;
            std::mem::swap(&mut gradient, &mut next_gradient);
            if gain <= self.value_tolerance * value.abs().max(1e-12) {
                break;
            }
        }
        x
    }
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    curvature: f64,
}

/// Minus the approximate inverse Hessian times the gradient, by the two-loop recursion.
fn descent(memory: &VecDeque<Pair>, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut weights = Vec::with_capacity(memory.len());
    for pair in memory.iter().rev() {
        let weight = product(&pair.step, &q) / pair.curvature;
        add_scaled(&mut q, -weight, &pair.change);
        weights.push(weight);
    }
    if let Some(last) = memory.back() {
        let scale = last.curvature / product(&last.change, &last.change);
        q.iter_mut().for_each(|value| *value *= scale);
    }
    for (pair, weight) in memory.iter().zip(weights.into_iter().rev()) {
        let correction = weight - product(&pair.change, &q) / pair.curvature;
        add_scaled(&mut q, correction, &pair.step);
    }
    q
}

/// Returns the first of the steps `first`, half of it, a quarter, ... that lowers the value enough (Armijo).
fn line_search(
    x: &[f64],
    value: f64,
    direction: &[f64],
    slope: f64,
    first: f64,
    gradient: &mut [f64],
    function: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Option<(Vec<f64>, f64)> {
    let mut length = first;
    for _ in 0..40 {
        let mut next = x.to_vec();
        add_scaled(&mut next, length, direction);
        let next_value = function(&next, gradient);
        if next_value <= value + 1e-4 * length * slope {
            return Some((next, next_value));
        }
        length *= 0.5;
    }
    None
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn add_scaled(target: &mut [f64], scale: f64, other: &[f64]) {
    for (target, other) in target.iter_mut().zip(other) {
        *target += scale * other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_an_ill_conditioned_quadratic() {
        let scales: Vec<f64> = (0..20).map(|i| 10f64.powf(f64::from(i) / 5.0)).collect();
        let found = Lbfgs {
            max_iterations: 500,
            value_tolerance: 0.0,
            ..Lbfgs::default()
        }
        .minimize(vec![0.0; 20], |x, gradient| {
            let mut value = 0.0;
            for (i, scale) in scales.iter().enumerate() {
                let offset = x[i] - i as f64;
                gradient[i] = scale * offset;
                value += 0.5 * scale * offset * offset;
            }
            value
        });
        for (i, x) in found.iter().enumerate() {
            assert!((x - i as f64).abs() < 1e-4, "{i}: {x}");
        }
    }

    #[test]
    fn finds_the_minimum_of_rosenbrocks_valley() {
        let options = Lbfgs {
            max_iterations: 1000,
            value_tolerance: 0.0,
            ..Lbfgs::default()
        };
        let found = options.minimize(vec![-1.2, 1.0], |x, gradient| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            gradient[0] = -2.0 * a - 400.0 * x[0] * b;
            gradient[1] = 200.0 * b;
            a * a + 100.0 * b * b
        });
        assert!(
            (found[0] - 1.0).abs() < 1e-5 && (found[1] - 1.0).abs() < 1e-5,
            "{found:?}"
        );
    }

    #[test]
    fn a_minimum_is_left_alone() {
        let found = Lbfgs::default().minimize(vec![3.0], |x, gradient| {
            gradient[0] = x[0] - 3.0;
            0.5 * (x[0] - 3.0).powi(2)
        });
        assert_eq!(found, [3.0]);
    }
}
