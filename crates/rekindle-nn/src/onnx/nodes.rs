//! One operation as one node of ONNX, or as a few where ONNX has none for it.

use std::ops::Range;

use super::parts::{self, attribute, float, int, ints};
use super::proto::{ATTRIBUTE_STRING, AttributeProto, FLOAT, INT64, NodeProto, TensorProto};
use crate::graph::{Node, TensorKind, TensorSpec};
use crate::op::{Activation, Conv2d, Op, Padding, Pool2d};

/// Name of what an operation gives.
pub enum Output {
    /// As the network's output is called.
    Called(String),
    /// Made from the node's name, and not one of a weight: those have a dot before their last part, and this ends in
    /// `:0`.
    Of(String),
}

impl Output {
    fn name(self) -> String {
        match self {
            Self::Called(name) => name,
            Self::Of(node) => format!("{node}:0"),
        }
    }
}

/// Collects nodes and the numbers that they need besides weights.
pub struct Writer<'a> {
    tensors: &'a [TensorSpec],
    pub nodes: Vec<NodeProto>,
    pub constants: Vec<TensorProto>,
}

impl<'a> Writer<'a> {
    /// Begins with all weights.
    pub fn new(tensors: &'a [TensorSpec]) -> Self {
        Self {
            tensors,
            nodes: Vec::new(),
            constants: Vec::new(),
        }
    }

    /// Writes an operation on values of these names and returns the name of what it gives. `is_rows` tells whether the
    /// first of them are rows.
    pub fn write(&mut self, node: &Node, inputs: &[&str], is_rows: bool, output: Output) -> String {
        let output = output.name();
        let name = node.name.as_str();
        let mut all = inputs.to_vec();
        let tensors = self.tensors;
        let tensors = node.tensors.iter().map(|tensor| &tensors[*tensor]);
        all.extend(tensors.clone().map(|tensor| tensor.name.as_str()));
        let all = all.as_slice();
        match &node.op {
            Op::Conv2d(conv) => self.add("Conv", name, all, &output, convolution(conv)),
            Op::BatchNorm(norm) => {
                let epsilon = vec![float("epsilon", norm.epsilon as f32)];
                self.add("BatchNormalization", name, all, &output, epsilon);
            }
            Op::Activation(activation) => self.activation(*activation, name, all[0], &output),
            Op::Add => self.add("Add", name, all, &output, Vec::new()),
            Op::Sub => self.add("Sub", name, all, &output, Vec::new()),
            Op::Mul => self.add("Mul", name, all, &output, Vec::new()),
            Op::MaxPool(pool) => self.add("MaxPool", name, all, &output, pooling(pool)),
            Op::AvgPool(pool) => {
                let mut attributes = pooling(pool);
                attributes.push(int("count_include_pad", 0));
                self.add("AveragePool", name, all, &output, attributes);
            }
            Op::GlobalAvgPool => self.add("GlobalAveragePool", name, all, &output, Vec::new()),
            Op::Flatten => self.add("Flatten", name, all, &output, vec![int("axis", 1)]),
            Op::Linear(_) if is_rows => {
                let is_plain = tensors.clone().next().map(|tensor| tensor.kind)
                    == Some(TensorKind::PlainMatrix);
                let turns = vec![int("transB", usize::from(!is_plain))];
                self.add("Gemm", name, all, &output, turns);
            }
            Op::Linear(_) => self.multiply_pixels(name, all, &output),
            Op::LayerNorm(norm) => self.layer_norm(norm, name, all, &output, is_rows),
            Op::LayerScale { .. } => self.layer_scale(name, all, &output),
            Op::GlobalResponseNorm(norm) => self.respond(norm, name, all, &output),
            Op::GroupNorm(norm) => self.group_norm(norm, name, all, &output),
            Op::Tokens(tokens) => {
                let ranks: Vec<usize> = tensors.map(|tensor| tensor.shape.len()).collect();
                self.tokenise(tokens, name, all, &ranks, &output);
            }
            Op::Attention(attention) => self.attend(attention, name, all[0], &output),
            Op::Token { index } => self.token(*index, name, all[0], &output),
            Op::TokenMean { start } => self.token_mean(*start, name, all[0], &output),
            Op::Concat => self.add("Concat", name, all, &output, vec![int("axis", 1)]),
            Op::Slice { start, channels } => {
                self.slice(name, all[0], 1, *start..start + channels, &output);
            }
            Op::ChannelShuffle { groups } => self.shuffle(*groups, name, all[0], &output),
            // As it predicts.
            Op::Dropout { .. } | Op::DropPath { .. } => {
                self.add("Identity", name, all, &output, Vec::new());
            }
        }
        output
    }

    fn activation(&mut self, activation: Activation, name: &str, x: &str, output: &str) {
        let mut simple = |operation: &str| self.add(operation, name, &[x], output, Vec::new());
        match activation {
            Activation::Relu => simple("Relu"),
            Activation::Sigmoid => simple("Sigmoid"),
            Activation::HardSwish => simple("HardSwish"),
            Activation::Tanh => simple("Tanh"),
            Activation::Elu => simple("Elu"),
            Activation::LeakyRelu | Activation::LeakyReluTenth => {
                let slope = if activation == Activation::LeakyRelu {
                    0.01
                } else {
                    0.1
                };
                let attributes = vec![float("alpha", slope)];
                self.add("LeakyRelu", name, &[x], output, attributes);
            }
            Activation::HardSigmoid => {
                let attributes = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
                self.add("HardSigmoid", name, &[x], output, attributes);
            }
            Activation::Relu6 => {
                let least = self.number(format!("{name}:min"), 0.0);
                let most = self.number(format!("{name}:max"), 6.0);
                self.add("Clip", name, &[x, &least, &most], output, Vec::new());
            }
            Activation::Silu => {
                let gate = self.step("Sigmoid", name, "gate", &[x]);
                self.add("Mul", name, &[x, &gate], output, Vec::new());
            }
            Activation::QuickGelu => {
                let factor = self.number(format!("{name}:factor"), 1.702);
                let scaled = self.step("Mul", name, "scaled", &[x, &factor]);
                let gate = self.step("Sigmoid", name, "gate", &[&scaled]);
                self.add("Mul", name, &[x, &gate], output, Vec::new());
            }
            Activation::GeluTanh => {
                let [root, cubic, one, half] = [
                    ("root", (2.0 / std::f32::consts::PI).sqrt()),
                    ("cubic", 0.044715),
                    ("one", 1.0),
                    ("half", 0.5),
                ]
                .map(|(of, number)| self.number(format!("{name}:{of}"), number));
                let square = self.step("Mul", name, "square", &[x, x]);
                let scaled = self.step("Mul", name, "scaled", &[&square, &cubic]);
                let factor = self.step("Add", name, "factor", &[&scaled, &one]);
                let inside = self.step("Mul", name, "inside", &[x, &factor]);
                let inside = self.step("Mul", name, "argument", &[&inside, &root]);
                let tangent = self.step("Tanh", name, "tanh", &[&inside]);
                let share = self.step("Add", name, "share", &[&tangent, &one]);
                let product = self.step("Mul", name, "product", &[x, &share]);
                self.add("Mul", name, &[&product, &half], output, Vec::new());
            }
            Activation::Mish => {
                let soft = self.step("Softplus", name, "softplus", &[x]);
                let gate = self.step("Tanh", name, "gate", &[&soft]);
                self.add("Mul", name, &[x, &gate], output, Vec::new());
            }
            Activation::Gelu => {
                let root = self.number(format!("{name}:sqrt2"), std::f32::consts::SQRT_2);
                let one = self.number(format!("{name}:one"), 1.0);
                let half = self.number(format!("{name}:half"), 0.5);
                let scaled = self.step("Div", name, "scaled", &[x, &root]);
                let error = self.step("Erf", name, "erf", &[&scaled]);
                let share = self.step("Add", name, "share", &[&error, &one]);
                let product = self.step("Mul", name, "product", &[x, &share]);
                self.add("Mul", name, &[&product, &half], output, Vec::new());
            }
        }
    }

    /// Splits the channels into groups, turns both around, and gives the result the shape of `x` again.
    ///
    /// A target shape may leave one extent open: height times width is it, so channels are counted when the model runs.
    fn shuffle(&mut self, groups: usize, name: &str, x: &str, output: &str) {
        let shape = self.step("Shape", name, "shape", &[x]);
        let start = self.signed(format!("{name}:start"), &[1]);
        let end = self.signed(format!("{name}:end"), &[2]);
        let channels = self.step("Slice", name, "channels", &[&shape, &start, &end]);
        let divisor = self.integers(format!("{name}:groups"), &[groups]);
        let per_group = self.step("Div", name, "per_group", &[&channels, &divisor]);
        let before = self.signed(format!("{name}:before"), &[0, groups as i64]);
        let behind = self.signed(format!("{name}:behind"), &[-1]);
        let target = format!("{name}:target");
        let parts = [before.as_str(), &per_group, &behind];
        self.add("Concat", &target, &parts, &target, vec![int("axis", 0)]);
        let grouped = self.step("Reshape", name, "grouped", &[x, &target]);
        let turned = format!("{name}:turned");
        let order = vec![ints("perm", [0, 2, 1, 3])];
        self.add("Transpose", &turned, &[&grouped], &turned, order);
        self.add("Reshape", name, &[&turned, &shape], output, Vec::new());
    }

    /// Takes a range along an axis.
    pub(super) fn slice(
        &mut self,
        name: &str,
        x: &str,
        axis: usize,
        range: Range<usize>,
        output: &str,
    ) {
        let starts = self.integers(format!("{name}:starts"), &[range.start]);
        let ends = self.integers(format!("{name}:ends"), &[range.end]);
        let axes = self.integers(format!("{name}:axes"), &[axis]);
        let inputs = [x, &starts, &ends, &axes];
        self.add("Slice", name, &inputs, output, Vec::new());
    }

    /// Adds a node on the way to a result and returns the name of what it gives.
    pub(super) fn step(
        &mut self,
        operation: &str,
        name: &str,
        part: &str,
        inputs: &[&str],
    ) -> String {
        let output = format!("{name}:{part}");
        self.add(operation, &output, inputs, &output, Vec::new());
        output
    }

    pub(super) fn add(
        &mut self,
        operation: &str,
        name: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<AttributeProto>,
    ) {
        let node = parts::node(operation, name, inputs, output, attributes);
        self.nodes.push(node);
    }

    pub(super) fn number(&mut self, name: String, value: f32) -> String {
        self.constant(name, FLOAT, Vec::new(), value.to_le_bytes().to_vec())
    }

    pub(super) fn integers(&mut self, name: String, values: &[usize]) -> String {
        let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
        self.signed(name, &values)
    }

    pub(super) fn signed(&mut self, name: String, values: &[i64]) -> String {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.constant(name, INT64, vec![values.len() as i64], bytes)
    }

    pub(super) fn constant(
        &mut self,
        name: String,
        kind: i32,
        dims: Vec<i64>,
        bytes: Vec<u8>,
    ) -> String {
        self.constants.push(TensorProto {
            dims,
            data_type: Some(kind),
            name: Some(name.clone()),
            raw_data: Some(bytes),
            ..TensorProto::default()
        });
        name
    }
}

fn convolution(conv: &Conv2d) -> Vec<AttributeProto> {
    let mut attributes = vec![
        ints("dilations", conv.dilation),
        int("group", conv.groups),
        ints("kernel_shape", conv.kernel),
        ints("strides", conv.stride),
    ];
    attributes.push(match conv.padding {
        Padding::Explicit {
            top,
            left,
            bottom,
            right,
        } => ints("pads", [top, left, bottom, right]),
        Padding::Same => AttributeProto {
            s: Some(b"SAME_UPPER".to_vec()),
            ..attribute("auto_pad", ATTRIBUTE_STRING)
        },
    });
    attributes
}

fn pooling(pool: &Pool2d) -> Vec<AttributeProto> {
    let [y, x] = pool.padding;
    let mut attributes = vec![
        ints("kernel_shape", pool.kernel),
        ints("pads", [y, x, y, x]),
        ints("strides", pool.stride),
    ];
    if pool.ceil_mode {
        attributes.push(int("ceil_mode", 1));
    }
    attributes
}
