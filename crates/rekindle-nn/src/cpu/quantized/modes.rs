//! Decides which steps run in bytes.

use rekindle_kernels::ActivationFn;

use crate::cpu::program::{Conv, Kind, Layer, Program, Step};

/// Numbers that a step takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Bytes to bytes.
    Bytes,
    /// Bytes to `f32`.
    Dequantized,
    /// `f32` to `f32`.
    Floats,
}

/// Modes of a program's steps in eight bits.
#[derive(Debug)]
pub(super) struct Modes {
    /// Mode of each step.
    pub of_steps: Vec<Mode>,
    /// For each value, whether bytes are to cover its range.
    pub is_ranged: Vec<bool>,
    /// Values with a range in the order in which a digest reads them: each behind what it is computed of, and a summand
    /// before the row of layers that it is added to.
    pub order: Vec<usize>,
}

impl Modes {
    /// Decides step by step: dense and grouped convolutions of strides 1 and 2 run in bytes, and max pooling behind them; nothing else has a
    /// kernel for bytes. A value that a kernel of `f32` reads, and the output, is not rounded where it is computed.
    pub fn new(program: &Program) -> Self {
        let values = program.steps.len() + 1;
        // Steps that take bytes, and values that may be given as such.
        let mut takes_bytes = Vec::with_capacity(program.steps.len());
        let mut may_be_bytes = vec![false; values];
        for (index, step) in program.steps.iter().enumerate() {
            let (takes, gives) = match &step.kind {
                Kind::Layer(layer) if byte_conv(layer).is_some() => {
                    (true, saturates(layer.function))
                }
                Kind::MaxPool(_) => (may_be_bytes[step.input], may_be_bytes[step.input]),
                _ => (false, false),
            };
            takes_bytes.push(takes);
            may_be_bytes[index + 1] = gives;
        }
        let mut is_read_as_floats = vec![false; values];
        let mut is_read_as_bytes = vec![false; values];
        is_read_as_floats[program.output] = true;
        for (step, takes_bytes) in program.steps.iter().zip(&takes_bytes) {
            let readers = match takes_bytes {
                true => &mut is_read_as_bytes,
                false => &mut is_read_as_floats,
            };
            step.inputs().for_each(|value| readers[value] = true);
        }
        let mut is_ranged = vec![true];
        let mut of_steps = Vec::with_capacity(program.steps.len());
        for (index, step) in program.steps.iter().enumerate() {
            let (value, is_pool) = (index + 1, matches!(step.kind, Kind::MaxPool(_)));
            let may_be_bytes = may_be_bytes[value];
            of_steps.push(match takes_bytes[index] {
                true if may_be_bytes && (is_pool || !is_read_as_floats[value]) => Mode::Bytes,
                true => Mode::Dequantized,
                false => Mode::Floats,
            });
            // The largest of bytes are bytes of the same range.
            let is_same_range = takes_bytes[index] && is_pool;
            is_ranged.push(!is_same_range && (may_be_bytes || is_read_as_bytes[value]));
        }
        let order = order(program).into_iter();
        Self {
            of_steps,
            order: order.filter(|value| is_ranged[*value]).collect(),
            is_ranged,
        }
    }
}

/// Returns a layer's convolution where it has a kernel for bytes.
pub(super) fn byte_conv(layer: &Layer) -> Option<&Conv> {
    let conv = layer.conv.as_ref();
    conv.filter(|conv| !conv.params.is_depthwise() && conv.params.stride <= 2)
}

/// Tells whether bytes apply the function by being cut off at their ends: at the byte of zero, and at the largest, which
/// for ReLU6 stands for 6 or less.
pub(super) fn saturates(function: ActivationFn) -> bool {
    matches!(
        function,
        ActivationFn::Identity | ActivationFn::Relu | ActivationFn::Relu6
    )
}

/// Lists the values that the output is computed of, by a walk from it in depth.
fn order(program: &Program) -> Vec<usize> {
    let mut order = Vec::with_capacity(program.steps.len() + 1);
    let mut is_seen = vec![false; program.steps.len() + 1];
    let mut stack = vec![(program.output, false)];
    while let Some((value, has_inputs)) = stack.pop() {
        if has_inputs {
            order.push(value);
            continue;
        }
        if std::mem::replace(&mut is_seen[value], true) {
            continue;
        }
        stack.push((value, true));
        if let Some(index) = value.checked_sub(1) {
            let Step { input, other, .. } = &program.steps[index];
            stack.push((*input, false));
            stack.extend(other.map(|other| (other, false)));
        }
    }
    order
}
