//! A network as it predicts: batch normalisation folded into the convolutions, nothing that only training does.

use std::collections::BTreeMap;

use burn::prelude::*;

use crate::graph::{Graph, Head, Node, Segment, Stage, TensorKind, TensorSpec, Value};
use crate::init::Init;
use crate::network::Network;
use crate::op::{Activation, BatchNorm, Op};

/// A description with the values of its tensors, in its order.
#[derive(Clone)]
pub(super) struct Folded {
    pub graph: Graph,
    pub values: Vec<Vec<f32>>,
}

impl Folded {
    /// Folds every batch normalisation that follows a convolution alone, and leaves dropouts out.
    pub fn new(network: &Network) -> Self {
        let graph = network.graph();
        let mut folding = Folding {
            network,
            nodes: Vec::new(),
            tensors: Vec::new(),
            values: Vec::new(),
            places: vec![None; graph.tensors().len()],
        };
        let mut readers = vec![0; graph.nodes().len() + 1];
        for value in graph.nodes().iter().flat_map(|node| &node.inputs) {
            readers[value.index()] += 1;
        }
        // What each value of the network has become, and how many nodes were kept before each node.
        let mut values = vec![Value::IMAGES];
        let mut kept = vec![0];
        for (index, node) in graph.nodes().iter().enumerate() {
            let inputs: Vec<Value> = node.inputs.iter().map(|v| values[v.index()]).collect();
            let is_first = |stage: &Stage| stage.segment.nodes.start == index;
            let follows = folding.nodes.len().checked_sub(1).map(Value::of_node)
                == inputs.first().copied()
                && !graph.stages().iter().any(is_first);
            let is_left_out = follows
                && match &node.op {
                    Op::Dropout { .. } | Op::DropPath { .. } => true,
                    Op::BatchNorm(norm) => {
                        let of = node.inputs[0];
                        let before = of.node().map(|before| &graph.nodes()[before].op);
                        let is_of_convolution = matches!(before, Some(Op::Conv2d(_)));
                        is_of_convolution
                            && readers[of.index()] == 1
                            && folding.normalise(norm, node)
                    }
                    _ => false,
                };
            values.push(match is_left_out {
                true => inputs[0],
                false => folding.keep(node, inputs),
            });
            kept.push(folding.nodes.len());
        }
        let segment = |segment: &Segment| Segment {
            nodes: kept[segment.nodes.start]..kept[segment.nodes.end],
            input: values[segment.input.index()],
            output: values[segment.output.index()],
        };
        let layers = layers(&folding.nodes);
        let stages = graph.stages().iter().map(|stage| {
            let segment = segment(&stage.segment);
            let is_inside = |layer: &&Segment| {
                segment.nodes.contains(&layer.nodes.start) && layer.nodes.end <= segment.nodes.end
            };
            Stage {
                name: stage.name.clone(),
                blocks: layers.iter().filter(is_inside).cloned().collect(),
                segment,
            }
        });
        let head = graph.head();
        Self {
            graph: Graph {
                stages: stages.collect(),
                head: Head {
                    nodes: kept[head.nodes.start]..kept[head.nodes.end],
                    ..head.clone()
                },
                head_dropout: 0.0,
                nodes: folding.nodes,
                tensors: folding.tensors,
                ..graph.clone()
            },
            values: folding.values,
        }
    }

    /// Returns the network.
    pub fn network(self, device: &Device) -> Result<Network, crate::GraphError> {
        let names = self.graph.tensors().iter().map(|spec| spec.name.clone());
        let mut values: BTreeMap<String, Vec<f32>> = names.zip(self.values).collect();
        let take = |name: &str| values.remove(name).unwrap_or_default();
        Network::with_values(self.graph, take, device)
    }
}

/// Lists convolutions and linear layers, each with a ReLU or ReLU6 that alone reads it: what is computed at once between two
/// values that are rounded.
fn layers(nodes: &[Node]) -> Vec<Segment> {
    let layers = nodes.iter().enumerate().filter_map(|(index, node)| {
        let &[input] = node.inputs.as_slice() else {
            return None;
        };
        let output = Value::of_node(index);
        let mut readers = nodes[index..]
            .iter()
            .filter(|node| node.inputs.contains(&output));
        let end = match (readers.next(), readers.next()) {
            (Some(reader), None) if is_cut(&reader.op) && nodes.get(index + 1) == Some(reader) => {
                index + 2
            }
            _ => index + 1,
        };
        is_layer(&node.op).then(|| Segment {
            nodes: index..end,
            input,
            output: Value::of_node(end - 1),
        })
    });
    layers.collect()
}

/// Tells whether it has weights to round.
pub(super) fn is_layer(op: &Op) -> bool {
    matches!(op, Op::Conv2d(_) | Op::Linear(_))
}

/// Tells whether runtimes take it together with the layer before it.
pub(super) fn is_cut(op: &Op) -> bool {
    matches!(op, Op::Activation(Activation::Relu | Activation::Relu6))
}

/// The nodes and tensors that are kept.
struct Folding<'a> {
    network: &'a Network,
    nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
    values: Vec<Vec<f32>>,
    /// New places of the network's tensors.
    places: Vec<Option<usize>>,
}

impl Folding<'_> {
    fn keep(&mut self, node: &Node, inputs: Vec<Value>) -> Value {
        let tensors = node.tensors.iter().map(|tensor| self.place(*tensor));
        let tensors = tensors.collect();
        self.nodes.push(Node {
            inputs,
            tensors,
            ..node.clone()
        });
        Value::of_node(self.nodes.len() - 1)
    }

    fn place(&mut self, tensor: usize) -> usize {
        if let Some(place) = self.places[tensor] {
            return place;
        }
        let spec = self.network.graph().tensors()[tensor].clone();
        let place = self.add(spec, self.network.slots[tensor].values());
        self.places[tensor] = Some(place);
        place
    }

    fn add(&mut self, spec: TensorSpec, values: Vec<f32>) -> usize {
        self.tensors.push(spec);
        self.values.push(values);
        self.tensors.len() - 1
    }

    /// Takes a normalisation into the convolution that was kept last; false where that is none.
    fn normalise(&mut self, norm: &BatchNorm, node: &Node) -> bool {
        let Some(last) = self.nodes.len().checked_sub(1) else {
            return false;
        };
        let [weight, bias, mean, var] =
            [0, 1, 2, 3].map(|part| self.network.slots[node.tensors[part]].values());
        let factors: Vec<f64> = weight
            .iter()
            .zip(&var)
            .map(|(weight, var)| f64::from(*weight) / (f64::from(*var) + norm.epsilon).sqrt())
            .collect();
        let Op::Conv2d(conv) = &mut self.nodes[last].op else {
            return false;
        };
        let had_bias = std::mem::replace(&mut conv.has_bias, true);
        let kernel = &mut self.values[self.nodes[last].tensors[0]];
        let filter = (kernel.len() / factors.len().max(1)).max(1);
        for (filter, factor) in kernel.chunks_mut(filter).zip(&factors) {
            for value in filter {
                *value = (f64::from(*value) * factor) as f32;
            }
        }
        let before = match had_bias {
            true => self.values[self.nodes[last].tensors[1]].clone(),
            false => vec![0.0; factors.len()],
        };
        let summands = bias.iter().zip(&mean).zip(&factors);
        let biases = before
            .iter()
            .zip(summands)
            .map(|(own, ((bias, mean), factor))| {
                ((f64::from(*own) - f64::from(*mean)) * factor + f64::from(*bias)) as f32
            });
        let biases: Vec<f32> = biases.collect();
        match had_bias {
            true => {
                let place = self.nodes[last].tensors[1];
                self.values[place] = biases;
            }
            false => {
                let spec = TensorSpec {
                    name: format!("{}.bias", self.nodes[last].name),
                    shape: vec![biases.len()],
                    kind: TensorKind::Vector,
                    init: Init::Constant(0.0),
                };
                let place = self.add(spec, biases);
                self.nodes[last].tensors.push(place);
            }
        }
        true
    }
}
