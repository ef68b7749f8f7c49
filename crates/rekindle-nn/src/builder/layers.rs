//! Operations with parameters.

use std::fmt::Display;

use super::Builder;
use crate::GraphError;
use crate::graph::{Parameter, TensorKind, TensorSpec, Value};
use crate::head::{Part, linear_tensors};
use crate::init::Init;
use crate::op::{BatchNorm, GroupNorm, LayerNorm, Linear, Op, Tokens};
use crate::spec::Conv;

impl Builder {
    /// Adds a convolution; a depthwise one keeps the number of channels.
    pub fn conv2d(&mut self, name: impl Display, x: Value, conv: Conv) -> Value {
        let name = self.full(name);
        let conv = conv.on(self.channels(x));
        let (inputs, outputs, groups) = (conv.in_channels, conv.out_channels, conv.groups);
        let zero = |what, size| (size == 0).then_some(what);
        let zeros = [
            zero("its number of channels", outputs.min(inputs)),
            zero("its kernel", conv.kernel[0].min(conv.kernel[1])),
            zero("its stride", conv.stride[0].min(conv.stride[1])),
            zero("its dilation", conv.dilation[0].min(conv.dilation[1])),
            zero("its number of groups", groups),
        ];
        if let Some(what) = zeros.into_iter().flatten().next() {
            return self.mistaken(x, GraphError::Zero { node: name, what });
        }
        if inputs % groups != 0 || outputs % groups != 0 {
            let mistake = GraphError::Groups {
                node: name,
                in_channels: inputs,
                out_channels: outputs,
                groups,
            };
            return self.mistaken(x, mistake);
        }
        let shape = [outputs, inputs / groups, conv.kernel[0], conv.kernel[1]];
        let [weight, bias] = self.conv_init.choose(shape, groups);
        let mut tensors = vec![("weight", shape.to_vec(), TensorKind::Kernel, weight)];
        if conv.has_bias {
            tensors.push(("bias", vec![outputs], TensorKind::Vector, bias));
        }
        self.push(name, Op::Conv2d(conv), vec![x], tensors)
    }

    /// Adds a batch normalisation.
    pub fn batch_norm(&mut self, name: impl Display, x: Value) -> Value {
        let channels = self.channels(x);
        let one = Init::Constant(1.0);
        let zero = Init::Constant(0.0);
        let tensors = vec![
            ("weight", vec![channels], TensorKind::Vector, one),
            ("bias", vec![channels], TensorKind::Vector, zero),
            (
                "running_mean",
                vec![channels],
                TensorKind::RunningMean,
                zero,
            ),
            ("running_var", vec![channels], TensorKind::RunningVar, one),
        ];
        let norm = BatchNorm {
            channels,
            epsilon: self.epsilon,
            momentum: self.momentum,
        };
        let name = self.full(name);
        self.push(name, Op::BatchNorm(norm), vec![x], tensors)
    }

    /// Writes a tensor down in front of the operation that uses it: for those whose place in the state dict, or whose
    /// name, is not that of a module. Its rank says what it is: a vector, a matrix `[out, in]`, a table or a kernel.
    pub fn parameter(&mut self, name: impl Display, shape: &[usize], init: Init) -> Parameter {
        let kind = match shape.len() {
            1 => TensorKind::Vector,
            2 => TensorKind::Matrix,
            3 => TensorKind::Table,
            _ => TensorKind::Kernel,
        };
        self.parameter_of(kind, name, shape, init)
    }

    /// Writes a matrix down as [`parameter`](Self::parameter) does, one that is published as it lies here: positions
    /// `[positions, channels]`.
    pub fn plain_matrix(&mut self, name: impl Display, shape: [usize; 2], init: Init) -> Parameter {
        self.parameter_of(TensorKind::PlainMatrix, name, &shape, init)
    }

    fn parameter_of(
        &mut self,
        kind: TensorKind,
        name: impl Display,
        shape: &[usize],
        init: Init,
    ) -> Parameter {
        self.tensors.push(TensorSpec {
            name: self.full(name),
            shape: shape.to_vec(),
            kind,
            init,
        });
        Parameter(self.tensors.len() - 1)
    }

    /// Adds a linear layer with bias, on rows or on the channels of each pixel.
    pub fn linear(&mut self, name: impl Display, x: Value, out_features: usize) -> Value {
        let name = self.full(name);
        let linear = Linear {
            in_features: self.channels(x),
            out_features,
            has_bias: true,
        };
        let init = self.linear_init.choose(linear.in_features, out_features);
        self.push(
            name,
            Op::Linear(linear),
            vec![x],
            linear_tensors(linear, init),
        )
    }

    /// Adds a linear layer whose weight and bias have names of their own.
    pub fn linear_of(&mut self, x: Value, out_features: usize, names: [&str; 2]) -> Value {
        let in_features = self.channels(x);
        let [weight, bias] = self.linear_init.choose(in_features, out_features);
        let weight = self.parameter(names[0], &[out_features, in_features], weight);
        let bias = self.parameter(names[1], &[out_features], bias);
        let linear = Linear {
            in_features,
            out_features,
            has_bias: true,
        };
        self.add_with("linear", Op::Linear(linear), x, vec![weight, bias])
    }

    /// Adds a product of rows and a matrix `[in, out]` without bias, written down as a
    /// [`plain_matrix`](Self::plain_matrix).
    pub fn project(&mut self, x: Value, weight: Parameter) -> Value {
        let out_features = match self.tensors[weight.0].shape.as_slice() {
            &[_, out_features] => out_features,
            _ => 0,
        };
        let linear = Linear {
            in_features: self.channels(x),
            out_features,
            has_bias: false,
        };
        self.add_with("linear", Op::Linear(linear), x, vec![weight])
    }

    /// Adds a layer normalisation over the channels.
    pub fn layer_norm(&mut self, name: impl Display, x: Value) -> Value {
        let norm = LayerNorm {
            channels: self.channels(x),
            epsilon: self.epsilon,
        };
        let tensors = weight_and_bias(norm.channels, 1.0);
        let name = self.full(name);
        self.push(name, Op::LayerNorm(norm), vec![x], tensors)
    }

    /// Adds a group normalisation, with PyTorch's epsilon.
    pub fn group_norm(&mut self, name: impl Display, x: Value, groups: usize) -> Value {
        let norm = GroupNorm {
            channels: self.channels(x),
            groups,
            epsilon: 1e-5,
        };
        let name = self.full(name);
        if groups == 0 || !norm.channels.is_multiple_of(groups) {
            let mistake = GraphError::Groups {
                node: name,
                in_channels: norm.channels,
                out_channels: norm.channels,
                groups,
            };
            return self.mistaken(x, mistake);
        }
        let tensors = weight_and_bias(norm.channels, 1.0);
        self.push(name, Op::GroupNorm(norm), vec![x], tensors)
    }

    /// Adds a global response normalisation, with the epsilon of its paper.
    pub fn global_response_norm(&mut self, name: impl Display, x: Value) -> Value {
        let norm = LayerNorm {
            channels: self.channels(x),
            epsilon: 1e-6,
        };
        let tensors = weight_and_bias(norm.channels, 0.0);
        let name = self.full(name);
        self.push(name, Op::GlobalResponseNorm(norm), vec![x], tensors)
    }

    /// Adds a product with a number per channel.
    pub fn layer_scale(&mut self, x: Value, gamma: Parameter) -> Value {
        let channels = self.channels(x);
        self.add_with("scale", Op::LayerScale { channels }, x, vec![gamma])
    }

    /// Adds the turn of patches into tokens. `tensors` are those that [`Tokens`] lists.
    pub fn tokens(&mut self, x: Value, tokens: Tokens, tensors: Vec<Parameter>) -> Value {
        self.add_with("tokens", Op::Tokens(tokens), x, tensors)
    }
}

/// Lists the tensors of a normalisation whose bias begins at zero.
fn weight_and_bias(channels: usize, weight: f32) -> Vec<Part> {
    let vector = |name, value| {
        let shape = vec![channels];
        (name, shape, TensorKind::Vector, Init::Constant(value))
    };
    vec![vector("weight", weight), vector("bias", 0.0)]
}
