//! The network to be: values, some of them computed already and some still open.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::constant::Constant;
use super::error::Outcome;
use super::function::Step;
use super::precision::Precision;
use crate::description::bounded;
use crate::graph::{Node, TensorKind, TensorSpec, Value};
use crate::infer::infer;
use crate::init::Init;
use crate::op::{Activation, Conv2d, Op};
use crate::shape::Shape;

/// Numbers with the name that the file gives them.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    pub values: Vec<f32>,
    pub name: Option<Rc<str>>,
}

impl Weight {
    /// Takes the real numbers of a constant; none for whole ones.
    pub fn of(constant: &Constant) -> Option<Self> {
        Some(Self {
            values: constant.as_floats()?.to_vec(),
            name: constant.name.clone(),
        })
    }
}

/// Operator that a layer multiplies by.
#[derive(Clone, Debug)]
pub(super) enum Product {
    Conv(Conv2d),
    /// A product over the channels of each pixel.
    Linear {
        inputs: usize,
        outputs: usize,
    },
}

/// An operand of a function of one number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    Base(usize),
    Number(f64),
}

/// A value `[batch, channels, height, width]`, or what will be one.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub extents: [usize; 4],
    pub state: State,
}

/// Progress of a value. All but the first wait for the next node to complete them.
#[derive(Clone, Debug)]
pub(super) enum State {
    Ready(Value),
    /// A convolution or a linear layer that may still get a bias.
    Layer {
        of: usize,
        product: Product,
        weight: Weight,
        bias: Option<Weight>,
        node: String,
    },
    /// A function of each number of `root`.
    Function {
        root: usize,
        step: Step,
        operands: [Operand; 2],
    },
    /// The mean over the channels, and what normalisations are made of from there.
    ChannelMean {
        of: usize,
    },
    Centered {
        of: usize,
    },
    Squared {
        of: usize,
    },
    Variance {
        of: usize,
    },
    /// The variance with epsilon.
    Above {
        of: usize,
        epsilon: f64,
    },
    Deviation {
        of: usize,
        epsilon: f64,
    },
    InverseDeviation {
        of: usize,
        epsilon: f64,
    },
    LayerNorm {
        of: usize,
        epsilon: f64,
        weight: Option<Weight>,
        bias: Option<Weight>,
    },
    GroupNorm {
        of: usize,
        groups: usize,
        epsilon: f64,
        weight: Option<Weight>,
        bias: Option<Weight>,
    },
    /// A factor and a summand per channel.
    Affine {
        of: usize,
        weight: Option<Weight>,
        bias: Option<Weight>,
    },
    /// Norms over height and width, and what response normalisation is made of from there.
    Norms {
        of: usize,
    },
    MeanOfNorms {
        of: usize,
    },
    AboveNorms {
        of: usize,
        epsilon: f64,
    },
    Response {
        of: usize,
        epsilon: f64,
        weight: Option<Weight>,
    },
    Responded {
        of: usize,
        epsilon: f64,
        weight: Option<Weight>,
        bias: Option<Weight>,
    },
    GlobalResponse {
        of: usize,
        epsilon: f64,
        weight: Option<Weight>,
        bias: Option<Weight>,
    },
    /// Patches with their positions.
    Placed {
        of: usize,
        positions: Weight,
    },
    /// Patches with their positions that have become a row of tokens, another value.
    InRow(usize),
    /// Tokens in front of patches.
    Tokens {
        of: usize,
        prefix: Vec<Weight>,
        positions: Option<Weight>,
        /// The first token has a position.
        has_class_position: bool,
    },
}

/// A tensor of a node: its name, shape, kind, initial values, and what the file has.
pub(super) struct Part {
    pub name: String,
    pub shape: Vec<usize>,
    pub kind: TensorKind,
    pub init: Init,
    pub values: Vec<f32>,
}

/// The network to be.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub nodes: Vec<Node>,
    pub tensors: Vec<TensorSpec>,
    pub values: Vec<Vec<f32>>,
    pub shapes: Vec<Shape>,
    pub bases: Vec<Base>,
    names: BTreeSet<String>,
    /// Modules around the node that is read, for names of what has none.
    pub scope: String,
    pub precision: Precision,
}

impl Draft {
    /// Begins with images `[batch, channels, height, width]`.
    pub fn new(images: [usize; 4], precision: Precision) -> Self {
        let [_, channels, height, width] = images;
        let mut draft = Self {
            shapes: vec![Shape::Maps {
                channels,
                size: [height, width],
            }],
            precision,
            ..Self::default()
        };
        draft.ready(images, Value::IMAGES);
        draft
    }

    pub fn add(&mut self, extents: [usize; 4], state: State) -> usize {
        self.bases.push(Base { extents, state });
        self.bases.len() - 1
    }

    pub fn ready(&mut self, extents: [usize; 4], value: Value) -> usize {
        self.add(extents, State::Ready(value))
    }

    pub fn extents(&self, base: usize) -> [usize; 4] {
        self.bases[base].extents
    }

    pub fn state(&self, base: usize) -> &State {
        &self.bases[base].state
    }

    pub fn channels(&self, base: usize) -> usize {
        self.extents(base)[1]
    }

    /// Adds a value with the extents of another.
    pub fn like(&mut self, of: usize, state: State) -> usize {
        self.add(self.extents(of), state)
    }

    /// Adds a node of the network and returns what it gives.
    pub fn emit(
        &mut self,
        name: &str,
        op: Op,
        inputs: Vec<Value>,
        parts: Vec<Part>,
    ) -> Outcome<Value> {
        // What no description of a network may say.
        bounded(&op)?;
        let name = self.unique(name);
        let shapes: Vec<Shape> = inputs.iter().map(|v| self.shapes[v.index()]).collect();
        let first = self.tensors.len();
        let node = Node {
            name,
            op,
            inputs,
            tensors: (first..first + parts.len()).collect(),
        };
        let shape = infer(&node, &shapes)?;
        for part in parts {
            let count: usize = part.shape.iter().product();
            if count != part.values.len() {
                let found = part.values.len();
                return Err(format!("{} needs {count} numbers and has {found}", part.name).into());
            }
            let name = self.unique(&part.name);
            self.tensors.push(TensorSpec {
                name,
                shape: part.shape,
                kind: part.kind,
                init: part.init,
            });
            self.values.push(part.values);
        }
        self.shapes.push(shape);
        self.nodes.push(node);
        Ok(Value::of_node(self.nodes.len() - 1))
    }

    /// Adds a node without parameters, named after the module that is read.
    pub fn apply(&mut self, kind: &str, op: Op, inputs: Vec<Value>) -> Outcome<Value> {
        self.emit(&self.call(kind), op, inputs, Vec::new())
    }

    /// Returns true if a value is known to have no number below zero, by the function that gives it.
    pub fn is_non_negative(&self, value: Value) -> bool {
        let node = value.index().checked_sub(1);
        let node = node.and_then(|at| self.nodes.get(at));
        node.is_some_and(|node| match &node.op {
            Op::Activation(function) => matches!(
                function,
                Activation::Relu
                    | Activation::Relu6
                    | Activation::Sigmoid
                    | Activation::HardSigmoid
            ),
            Op::MaxPool(_) | Op::Dropout { .. } => self.is_non_negative(node.inputs[0]),
            Op::Concat => node.inputs.iter().all(|x| self.is_non_negative(*x)),
            _ => false,
        })
    }

    /// Makes a name that no node or tensor has: names of nodes and of tensors may be equal to each other's beginnings, but
    /// not to each other.
    fn unique(&mut self, wanted: &str) -> String {
        let wanted = clean(wanted);
        let mut name = wanted.clone();
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            name = match wanted.rsplit_once('.') {
                Some((module, last)) if ["weight", "bias"].contains(&last) => {
                    format!("{module}_{number}.{last}")
                }
                _ => format!("{wanted}_{number}"),
            };
            number += 1;
        }
        name
    }

    /// Returns a name in the module that is read.
    pub fn call(&self, kind: &str) -> String {
        let number = self.nodes.len();
        match self.scope.is_empty() {
            true => format!("{kind}_{number}"),
            false => format!("{}.{kind}_{number}", self.scope),
        }
    }
}

/// Makes a path of modules out of a name of any origin.
fn clean(name: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let replaced: String = name
        .replace("::", "_")
        .chars()
        .map(|c| match c {
            '/' => '.',
            c if allowed(c) => c,
            _ => '_',
        })
        .collect();
    let parts: Vec<&str> = replaced
        .split('.')
        .filter(|part| !part.is_empty())
        .collect();
    match parts.is_empty() {
        true => "value".into(),
        false => parts.join("."),
    }
}

/// Names a layer's weight and bias after what the file calls them, or else after its node.
pub(super) fn layer_names(weight: &Weight, bias: Option<&Weight>, node: &str) -> [String; 3] {
    let known = |weight: &Weight| {
        let name = weight.name.as_deref()?;
        (!name.starts_with("onnx::") && !name.starts_with("val_")).then(|| name.to_string())
    };
    let turned =
        |name: &str, from: &str, to: &str| Some(format!("{}{to}", name.strip_suffix(from)?));
    let of_weight = known(weight).filter(|name| name.ends_with("weight"));
    let of_bias = bias.and_then(known).filter(|name| name.ends_with("bias"));
    let weight_name = of_weight
        .or_else(|| turned(of_bias.as_deref()?, "bias", "weight"))
        .unwrap_or_else(|| format!("{node}.weight"));
    let bias_name = of_bias
        .or_else(|| turned(&weight_name, "weight", "bias"))
        .unwrap_or_else(|| format!("{node}.bias"));
    let module = weight_name.strip_suffix(".weight").unwrap_or(node);
    [module.to_string(), weight_name.clone(), bias_name]
}
