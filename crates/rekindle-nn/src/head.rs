//! The classifier of a description.

use crate::graph::{Graph, Node, TensorKind, TensorSpec, Value};
use crate::init::Init;
use crate::op::{Linear, Op};

impl Graph {
    /// Returns the network with a classifier for `classes` classes in place of its own; 0 takes it away, and the
    /// network gives features.
    pub fn with_classes(mut self, classes: usize) -> Self {
        let start = self.head.nodes.start;
        let tensors = self.nodes[start..].iter().map(|node| node.tensors.len());
        let kept = self.tensors.len() - tensors.sum::<usize>();
        self.nodes.truncate(start);
        self.tensors.truncate(kept);
        self.head.classes = classes;
        if classes > 0 {
            if self.head_dropout > 0.0 {
                self.nodes.push(Node {
                    name: format!("{}_drop", self.head.name),
                    op: Op::Dropout {
                        rate: self.head_dropout,
                    },
                    inputs: vec![Value::of_node(start - 1)],
                    tensors: Vec::new(),
                });
            }
            let linear = Linear {
                in_features: self.head.features,
                out_features: classes,
                has_bias: true,
            };
            let init = self.linear_init.choose(self.head.features, classes);
            let name = self.head.name.clone();
            let specs = linear_tensors(linear, init).into_iter();
            self.tensors
                .extend(specs.map(|(part, shape, kind, init)| TensorSpec {
                    name: format!("{name}.{part}"),
                    shape,
                    kind,
                    init,
                }));
            self.nodes.push(Node {
                name,
                op: Op::Linear(linear),
                inputs: vec![Value::of_node(self.nodes.len() - 1)],
                tensors: (kept..self.tensors.len()).collect(),
            });
        }
        self.head.nodes = start..self.nodes.len();
        self
    }
}

/// A tensor's last name, shape, kind and initial values.
pub(crate) type Part = (&'static str, Vec<usize>, TensorKind, Init);

/// Lists a linear layer's tensors.
pub(crate) fn linear_tensors(linear: Linear, [weight, bias]: [Init; 2]) -> Vec<Part> {
    let shape = vec![linear.out_features, linear.in_features];
    let mut tensors = vec![("weight", shape, TensorKind::Matrix, weight)];
    if linear.has_bias {
        tensors.push(("bias", vec![linear.out_features], TensorKind::Vector, bias));
    }
    tensors
}
