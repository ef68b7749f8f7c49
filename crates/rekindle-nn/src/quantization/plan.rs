//! Chooses which values a file rounds to bytes, and which layers multiply these.

use super::fold::{is_cut, is_layer};
use crate::graph::{Graph, Value};
use crate::op::Op;

/// How a layer of weights is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// By products of bytes.
    Bytes,
    /// In `f32`, by weights that were rounded to bytes.
    BytesOfWeights,
}

/// What is rounded.
pub(super) struct Plan {
    /// By value, the one whose range it is rounded by: itself, or what it is a part of. None for what stays `f32`.
    pub sources: Vec<Option<Value>>,
    /// By node; none where it has no weights to round.
    pub layers: Vec<Option<Layer>>,
}

impl Plan {
    /// Rounds what a convolution or a linear layer takes and gives, behind ReLU and ReLU6, which runtimes fuse with it. The
    /// output stays `f32`, and so do layers on maps of one pixel, the gates of squeeze and excitation: they take a
    /// thousandth of the time, and everything is multiplied by what they give.
    pub fn new(graph: &Graph) -> Self {
        let nodes = graph.nodes();
        let last = nodes.len();
        let mut readers = vec![Vec::new(); last + 1];
        for (index, node) in nodes.iter().enumerate() {
            for value in &node.inputs {
                readers[value.index()].push(index);
            }
        }
        let mut is_pooled = vec![false; last + 1];
        let mut is_rounded = vec![false; last + 1];
        let mut layers = Vec::with_capacity(last);
        for (index, node) in nodes.iter().enumerate() {
            let (input, output) = (node.inputs[0].index(), index + 1);
            let is_layer = is_layer(&node.op);
            is_pooled[output] = match node.op {
                Op::GlobalAvgPool => true,
                Op::Activation(_) => is_pooled[input],
                _ => is_layer && is_pooled[input],
            };
            layers.push(match (is_layer, is_pooled[input]) {
                (false, _) => None,
                (true, true) => Some(Layer::BytesOfWeights),
                (true, false) => {
                    let seen = match readers[output].as_slice() {
                        [reader] if is_cut(&nodes[*reader].op) => reader + 1,
                        _ => output,
                    };
                    is_rounded[input] = true;
                    is_rounded[seen] |= seen != last;
                    Some(Layer::Bytes)
                }
            });
        }
        let mut sources = vec![is_rounded[0].then_some(Value::IMAGES)];
        for (index, node) in nodes.iter().enumerate() {
            let value = Value::of_node(index);
            let own = is_rounded[value.index()].then_some(value);
            let taken = sources[node.inputs[0].index()];
            sources.push(match node.op {
                // Some of the numbers that they take.
                Op::MaxPool(_) | Op::Slice { .. } | Op::ChannelShuffle { .. } | Op::Flatten
                    if taken.is_some() && value.index() != last =>
                {
                    taken
                }
                _ => own,
            });
        }
        Self { sources, layers }
    }
}
