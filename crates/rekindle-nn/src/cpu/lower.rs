//! Nodes to steps: what can be done in one pass becomes one step.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_kernels::{ActivationFn, Attention, Conv2dParams, LANES};

use super::error::NoKernel;
use super::program::{Conv, Kind, Layer, Linear, Norm, PixelNorm, Pixels, Program, Step};
use super::sizes;
use crate::graph::{Graph, Node, Segment, Value};
use crate::infer::infer;
use crate::op::{self, Conv2d, Op};
use crate::shape::Shape;

/// Uses that a program is compiled for.
pub(crate) struct Purpose<'a> {
    /// A backward pass follows.
    pub has_gradients: bool,
    /// Tells whether a node's switch is on and heeded.
    pub is_training: &'a dyn Fn(usize) -> bool,
}

/// Returns what a node computes where no kernel does.
pub(crate) fn without_kernel(graph: &Graph, node: &Node) -> Option<&'static str> {
    let is_on_rows = || node.inputs.first().is_some_and(|x| graph.is_rows(*x));
    match &node.op {
        Op::Conv2d(_)
        | Op::BatchNorm(_)
        | Op::Activation(_)
        | Op::Add
        | Op::Sub
        | Op::Mul
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::LayerScale { .. }
        | Op::GlobalResponseNorm(_)
        | Op::GroupNorm(_)
        | Op::DropPath { .. } => None,
        Op::Flatten | Op::Token { .. } | Op::TokenMean { .. } => Some("rows"),
        Op::Linear(_) => is_on_rows().then_some("a linear layer on rows"),
        Op::LayerNorm(_) => is_on_rows().then_some("a normalisation of rows"),
        Op::Attention(attention) => {
            let dim = attention.channels / attention.heads.max(1);
            let fits = dim > 0 && dim.is_multiple_of(LANES);
            (!fits).then_some("attention whose heads have no multiple of 16 channels")
        }
        Op::Concat => Some("a concatenation"),
        Op::Slice { .. } => Some("a part of the channels"),
        Op::ChannelShuffle { .. } => Some("a shuffle of channels"),
        Op::Dropout { .. } => Some("dropout"),
        Op::Tokens(_) => Some("a turn of patches into tokens"),
    }
}

/// Turns a segment whose input has this shape into steps.
pub(crate) fn lower(
    graph: &Graph,
    segment: &Segment,
    input: Shape,
    purpose: &Purpose<'_>,
) -> Result<Program, NoKernel> {
    let mut lowering = Lowering {
        graph,
        purpose,
        shapes: BTreeMap::from([(segment.input, input)]),
        uses: BTreeMap::new(),
        same: BTreeMap::new(),
        rows: BTreeSet::new(),
        drafts: Vec::new(),
        program: Program::default(),
    };
    for node in &graph.nodes()[segment.nodes.clone()] {
        for value in &node.inputs {
            *lowering.uses.entry(*value).or_default() += 1;
        }
    }
    for index in segment.nodes.clone() {
        lowering.node(index)?;
    }
    lowering.finish(segment)
}

/// A step whose values are still those of the graph.
struct Draft {
    kind: Kind,
    input: Value,
    other: Option<Value>,
    gives: Value,
}

struct Lowering<'a> {
    graph: &'a Graph,
    purpose: &'a Purpose<'a>,
    shapes: BTreeMap<Value, Shape>,
    /// Nodes that read each value.
    uses: BTreeMap<Value, usize>,
    /// Values that are others under another name.
    same: BTreeMap<Value, Value>,
    /// Values of one pixel that lie as rows.
    rows: BTreeSet<Value>,
    drafts: Vec<Draft>,
    program: Program,
}

impl Lowering<'_> {
    fn node(&mut self, index: usize) -> Result<(), NoKernel> {
        let graph = self.graph;
        let node = &graph.nodes()[index];
        if let Some(operation) = without_kernel(graph, node) {
            let node = node.name.clone();
            return Err(NoKernel::Operation { node, operation });
        }
        let gives = Value::of_node(index);
        let inputs: Vec<Shape> = node.inputs.iter().map(|v| self.shapes[v]).collect();
        let shape = infer(node, &inputs)?;
        self.shapes.insert(gives, shape);
        let values: Vec<Value> = node.inputs.iter().map(|v| self.resolved(*v)).collect();
        let input = values[0];
        let plain = |kind| Draft {
            kind,
            input,
            other: None,
            gives,
        };
        let draft = match &node.op {
            Op::Conv2d(conv) => plain(self.convolution(node, conv, input, gives)?),
            Op::BatchNorm(norm) => {
                let [gamma, beta] = [0, 1].map(|i| self.parameter(node, i));
                let norm = Norm {
                    node: index,
                    epsilon: norm.epsilon as f32,
                    gamma,
                    beta: Some(beta),
                };
                self.normalisation(norm, input, gives)
            }
            Op::Activation(activation) => {
                self.activation(sizes::function(*activation), input, gives)
            }
            Op::Add => self.sum([input, values[1]], gives),
            Op::Sub => Draft {
                other: Some(values[1]),
                ..plain(Kind::Difference)
            },
            Op::Mul => Draft {
                other: Some(values[1]),
                ..plain(match is_of_one_pixel(inputs[1]) {
                    true => Kind::Scale,
                    false => Kind::Product,
                })
            },
            Op::MaxPool(pool) => {
                self.program.depends_on_size |= pool.ceil_mode;
                plain(Kind::MaxPool(sizes::window(node, pool, inputs[0])?))
            }
            Op::AvgPool(pool) => {
                self.program.depends_on_size |= pool.ceil_mode;
                plain(Kind::AvgPool(sizes::average(node, pool, inputs[0])?))
            }
            Op::GlobalAvgPool => {
                self.rows.insert(gives);
                plain(Kind::Means)
            }
            Op::DropPath { rate } => {
                if !(self.purpose.is_training)(index) || *rate <= 0.0 {
                    self.rename(gives, input);
                    return Ok(());
                }
                plain(Kind::DropPath(index))
            }
            Op::Linear(linear) => plain(self.multiplication(node, linear)),
            Op::LayerNorm(norm) => {
                let norm = self.pixel_norm(node, norm.epsilon);
                plain(Kind::Pixels(Pixels::LayerNorm(norm)))
            }
            Op::GlobalResponseNorm(norm) => plain(Kind::Pixels(Pixels::ResponseNorm(
                self.pixel_norm(node, norm.epsilon),
            ))),
            Op::GroupNorm(norm) => plain(Kind::Pixels(Pixels::GroupNorm(
                self.pixel_norm(node, norm.epsilon),
                norm.groups,
            ))),
            Op::LayerScale { .. } => {
                let gamma = self.parameter(node, 0);
                let norm = Norm {
                    node: index,
                    epsilon: 0.0,
                    gamma,
                    beta: None,
                };
                self.normalisation(norm, input, gives)
            }
            Op::Attention(attention) => plain(Kind::Pixels(Pixels::Attention(Attention {
                heads: attention.heads,
                head_dim: attention.channels / attention.heads,
                is_causal: attention.is_causal,
            }))),
            Op::Flatten
            | Op::Concat
            | Op::Slice { .. }
            | Op::ChannelShuffle { .. }
            | Op::Dropout { .. }
            | Op::Tokens(_)
            | Op::Token { .. }
            | Op::TokenMean { .. } => return Err(sizes::refused(node, "it has no kernel")),
        };
        self.drafts.push(draft);
        Ok(())
    }

    fn resolved(&self, value: Value) -> Value {
        self.same.get(&value).copied().unwrap_or(value)
    }

    /// Makes `name` another name of `value`.
    fn rename(&mut self, name: Value, value: Value) {
        let uses = self.uses.get(&name).copied().unwrap_or_default();
        *self.uses.entry(value).or_default() += uses;
        *self.uses.entry(value).or_default() -= 1;
        self.same.insert(name, value);
    }

    fn parameter(&mut self, node: &Node, position: usize) -> usize {
        self.program.tensors.push(node.tensors[position]);
        self.program.tensors.len() - 1
    }

    /// Takes a step back that gives `value` to one reader only, if it fits.
    fn take(&mut self, value: Value, fits: impl Fn(&Draft) -> bool) -> Option<Draft> {
        if self.uses.get(&value) != Some(&1) {
            return None;
        }
        let is_it = |draft: &Draft| draft.gives == value && fits(draft);
        let position = self.drafts.iter().position(is_it)?;
        Some(self.drafts.remove(position))
    }

    fn convolution(
        &mut self,
        node: &Node,
        conv: &Conv2d,
        x: Value,
        gives: Value,
    ) -> Result<Kind, NoKernel> {
        let size = match self.shapes[&x] {
            Shape::Maps { size, .. } => size,
            Shape::Rows { .. } => return Err(sizes::refused(node, "rows are not convolved")),
        };
        let params = sizes::params(node, conv, size)?;
        if self.purpose.has_gradients {
            sizes::check_gradient(node, &params)?;
        }
        self.program.depends_on_size |= conv.padding == op::Padding::Same && params.stride > 1;
        let weight = self.parameter(node, 0);
        let bias = conv.has_bias.then(|| self.parameter(node, 1));
        let is_linear =
            params.kernel == [1, 1] && params.padding.uniform() == Some(0) && params.groups == 1;
        if is_linear && self.rows.contains(&x) {
            self.rows.insert(gives);
            return Ok(Kind::Linear(Linear {
                inputs: params.in_channels,
                outputs: params.out_channels,
                weight,
                bias,
                function: ActivationFn::Identity,
            }));
        }
        Ok(Kind::Layer(Layer {
            conv: Some(Conv {
                params,
                weight,
                bias,
                is_matrix: false,
            }),
            norm: None,
            function: ActivationFn::Identity,
        }))
    }

    /// Turns a linear layer on each pixel into a convolution of one pixel.
    fn multiplication(&mut self, node: &Node, linear: &op::Linear) -> Kind {
        let weight = self.parameter(node, 0);
        let bias = linear.has_bias.then(|| self.parameter(node, 1));
        let params = Conv2dParams::new(linear.in_features, linear.out_features, 1, 1);
        Kind::Layer(Layer {
            conv: Some(Conv {
                params: params.with_padding(0),
                weight,
                bias,
                is_matrix: true,
            }),
            norm: None,
            function: ActivationFn::Identity,
        })
    }

    fn pixel_norm(&mut self, node: &Node, epsilon: f64) -> PixelNorm {
        let [weight, bias] = [0, 1].map(|position| self.parameter(node, position));
        PixelNorm {
            weight,
            bias,
            epsilon: epsilon as f32,
        }
    }

    fn normalisation(&mut self, norm: Norm, x: Value, gives: Value) -> Draft {
        let is_bare = |draft: &Draft| match &draft.kind {
            Kind::Layer(layer) => {
                let is_done = layer.norm.is_some() || draft.other.is_some();
                !is_done && layer.conv.is_some() && layer.function == ActivationFn::Identity
            }
            Kind::Linear(linear) => linear.function == ActivationFn::Identity,
            _ => false,
        };
        let before = self.take(x, is_bare);
        let (conv, input) = match before {
            Some(Draft { kind, input, .. }) => (convolution_of(kind), input),
            None => (None, x),
        };
        Draft {
            kind: Kind::Layer(Layer {
                conv,
                norm: Some(norm),
                function: ActivationFn::Identity,
            }),
            input,
            other: None,
            gives,
        }
    }

    fn activation(&mut self, function: ActivationFn, x: Value, gives: Value) -> Draft {
        let is_open = |draft: &Draft| match &draft.kind {
            Kind::Layer(Layer { function, .. }) | Kind::Linear(Linear { function, .. }) => {
                *function == ActivationFn::Identity
            }
            _ => false,
        };
        let Some(mut draft) = self.take(x, is_open) else {
            return Draft {
                kind: Kind::Layer(Layer {
                    conv: None,
                    norm: None,
                    function,
                }),
                input: x,
                other: None,
                gives,
            };
        };
        if let Kind::Layer(Layer { function: f, .. }) | Kind::Linear(Linear { function: f, .. }) =
            &mut draft.kind
        {
            *f = function;
        }
        if self.rows.contains(&x) {
            self.rows.insert(gives);
        }
        Draft { gives, ..draft }
    }

    fn sum(&mut self, [a, b]: [Value; 2], gives: Value) -> Draft {
        let is_open = |draft: &Draft| match &draft.kind {
            Kind::Layer(layer) => {
                let is_one = layer.conv.is_some() || layer.norm.is_some();
                is_one && draft.other.is_none() && layer.function == ActivationFn::Identity
            }
            _ => false,
        };
        for (x, other) in [(a, b), (b, a)] {
            if let Some(draft) = self.take(x, is_open) {
                return Draft {
                    other: Some(other),
                    gives,
                    ..draft
                };
            }
        }
        Draft {
            kind: Kind::Layer(Layer {
                conv: None,
                norm: None,
                function: ActivationFn::Identity,
            }),
            input: a,
            other: Some(b),
            gives,
        }
    }

    /// Numbers the values.
    fn finish(mut self, segment: &Segment) -> Result<Program, NoKernel> {
        let gives = self.drafts.iter().map(|draft| draft.gives);
        let values: Vec<Value> = std::iter::once(segment.input).chain(gives).collect();
        let number = |value: Value| values.iter().position(|v| *v == value).unwrap_or_default();
        self.program.output = number(self.resolved(segment.output));
        for value in &values {
            let Shape::Maps { channels, size } = self.shapes[value] else {
                let node = &self.graph.nodes()[segment.nodes.start];
                return Err(sizes::refused(node, "there are no kernels on rows"));
            };
            self.program.shapes.push([channels, size[0], size[1]]);
        }
        let drafts = self.drafts.into_iter();
        let steps = drafts.map(|draft| Step {
            kind: draft.kind,
            input: number(draft.input),
            other: draft.other.map(number),
        });
        self.program.steps = steps.collect();
        Ok(self.program)
    }
}

fn is_of_one_pixel(shape: Shape) -> bool {
    matches!(shape, Shape::Maps { size: [1, 1], .. })
}

/// Returns the convolution of a step that is nothing else.
fn convolution_of(kind: Kind) -> Option<Conv> {
    match kind {
        Kind::Layer(layer) => layer.conv,
        Kind::Linear(linear) => Some(Conv {
            params: Conv2dParams::new(linear.inputs, linear.outputs, 1, 1),
            weight: linear.weight,
            bias: linear.bias,
            is_matrix: false,
        }),
        _ => None,
    }
}
