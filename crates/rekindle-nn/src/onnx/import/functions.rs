//! Rows of steps on single numbers that become one activation.

use super::draft::{Draft, Operand, State, Weight};
use super::error::Outcome;
use super::function::{Known, places, recognise};
use crate::graph::Value;
use crate::op::Op;

/// Steps of a function that are looked through.
const MOST_STEPS: usize = 48;

impl Draft {
    /// Finds the known function that a row of steps is, of the value they began with or of one on the way.
    pub(super) fn function(&mut self, base: usize) -> Outcome<Value> {
        let mut ancestors = Vec::new();
        self.collect(base, &mut ancestors);
        // The farthest first.
        ancestors.sort_unstable();
        for root in ancestors {
            let mut memo = Vec::new();
            let Some(found) = self.computed(base, root, &mut memo) else {
                continue;
            };
            let Some(known) = recognise(&found) else {
                continue;
            };
            let x = self.value(root)?;
            return match known {
                Known::Identity => Ok(x),
                Known::Activation(activation) => {
                    self.apply("act", Op::Activation(activation), vec![x])
                }
                Known::Multiple(activation, factor) => {
                    let x = self.apply("act", Op::Activation(activation), vec![x])?;
                    let activated = self.like(root, State::Ready(x));
                    let weight = self.everywhere(activated, factor);
                    self.scaled(activated, Some(weight), None)
                }
                Known::Scale(factor) => {
                    let weight = self.everywhere(root, factor);
                    self.scaled(root, Some(weight), None)
                }
                Known::Line(factor, summand) => {
                    let [weight, bias] = [factor, summand].map(|all| self.everywhere(root, all));
                    self.scaled(root, Some(weight), Some(bias))
                }
            };
        }
        let known = "ReLU, ReLU6, SiLU, hard swish, hard sigmoid, sigmoid, tanh, GELU (by erf or tanh), QuickGELU, Mish, ELU and leaky ReLU of 0.01 or 0.1";
        Err(format!("what is computed of each number is none of {known}").into())
    }

    /// Returns one number for every channel of a value.
    fn everywhere(&self, of: usize, number: f64) -> Weight {
        Weight {
            values: vec![number as f32; self.channels(of)],
            name: None,
        }
    }

    /// Lists the values that a function is computed from, directly or on the way.
    fn collect(&self, base: usize, ancestors: &mut Vec<usize>) {
        let State::Function { operands, .. } = self.state(base) else {
            return;
        };
        for operand in operands {
            if let Operand::Base(of) = operand
                && !ancestors.contains(of)
                && ancestors.len() < MOST_STEPS
            {
                ancestors.push(*of);
                self.collect(*of, ancestors);
            }
        }
    }

    /// Computes a function of `root` at [`places`]; none where it depends on something else.
    fn computed(
        &self,
        base: usize,
        root: usize,
        memo: &mut Vec<(usize, Vec<f64>)>,
    ) -> Option<Vec<f64>> {
        if base == root {
            return Some(places());
        }
        if let Some((_, found)) = memo.iter().find(|(of, _)| *of == base) {
            return Some(found.clone());
        }
        let State::Function { step, operands, .. } = self.state(base) else {
            return None;
        };
        if memo.len() >= MOST_STEPS {
            return None;
        }
        let count = places().len();
        let mut side = |operand: &Operand| match operand {
            Operand::Number(number) => Some(vec![*number; count]),
            Operand::Base(of) => self.computed(*of, root, memo),
        };
        let (a, b) = (side(&operands[0])?, side(&operands[1])?);
        let found: Vec<f64> = a.iter().zip(&b).map(|(x, y)| step.apply(*x, *y)).collect();
        memo.push((base, found.clone()));
        Some(found)
    }

    /// Returns the value that another is a multiple of, with the factor: itself with 1 for all others.
    pub fn unscaled(&self, base: usize) -> (usize, f64) {
        let State::Function { root, .. } = self.state(base) else {
            return (base, 1.0);
        };
        let found = self.computed(base, *root, &mut Vec::new());
        match found.and_then(|found| recognise(&found)) {
            Some(Known::Scale(factor)) => (*root, factor),
            Some(Known::Identity) => (*root, 1.0),
            _ => (base, 1.0),
        }
    }
}
