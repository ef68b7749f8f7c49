//! Offers the building blocks that a family's file is written with.

mod layers;
mod plain;

use std::fmt::Display;
use std::ops::Range;

use crate::GraphError;
use crate::cuts::{Marked, check_names, cut_stages};
use crate::graph::{Graph, Head, Node, Parameter, TensorSpec, Value, cut};
use crate::head::Part;
use crate::infer::infer;
use crate::init::{ConvInit, LinearInit};
use crate::op::Op;
use crate::shape::Shape;

/// Writes a network down, operation by operation.
///
/// Names are relative to the [`scope`](Self::scope)s they are given in, and become the keys of the state dict; tensors
/// are listed in the order in which they are written down. The first mistake is kept and returned by
/// [`finish`](Self::finish), so that a description reads without a `?` in every line.
///
/// ```
/// use rekindle_nn::{Builder, Conv};
///
/// let mut b = Builder::new("tiny", 3);
/// let x = b.images();
/// let x = b.stage("stem", |b| {
///     let x = b.conv2d("conv1", x, Conv::new(16, 3).stride(2));
///     let x = b.batch_norm("bn1", x);
///     b.relu(x)
/// });
/// let x = b.global_pool(x);
/// let graph = b.finish("fc", x, 10)?;
/// assert_eq!(graph.num_params(), 16 * 27 + 32 + 170);
/// # Ok::<(), rekindle_nn::GraphError>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    name: String,
    scopes: Vec<String>,
    nodes: Vec<Node>,
    shapes: Vec<Shape>,
    tensors: Vec<TensorSpec>,
    stages: Vec<Marked>,
    blocks: Vec<Range<usize>>,
    conv_init: ConvInit,
    linear_init: LinearInit,
    epsilon: f64,
    momentum: f64,
    dropout: f64,
    mistake: Option<GraphError>,
}

/// Side in pixels of the images that a description is checked with.
const CHECKED_SIDE: usize = 256;

impl Builder {
    /// Begins a network on images of `in_channels` channels, with PyTorch's defaults.
    pub fn new(name: impl Display, in_channels: usize) -> Self {
        Self {
            name: name.to_string(),
            scopes: Vec::new(),
            nodes: Vec::new(),
            shapes: vec![Shape::Maps {
                channels: in_channels,
                size: [CHECKED_SIDE; 2],
            }],
            tensors: Vec::new(),
            stages: Vec::new(),
            blocks: Vec::new(),
            conv_init: ConvInit::PyTorch,
            linear_init: LinearInit::PyTorch,
            epsilon: 1e-5,
            momentum: 0.1,
            dropout: 0.0,
            mistake: None,
        }
    }

    /// Begins a network on feature maps `[batch, channels, height, width]` of one size in place of images, such as the rows
    /// of tokens of a text.
    pub fn on_maps(name: impl Display, channels: usize, size: [usize; 2]) -> Self {
        Self {
            shapes: vec![Shape::Maps { channels, size }],
            ..Self::new(name, channels)
        }
    }

    /// Sets the initial weights of the layers that follow. The default is PyTorch's.
    pub fn init(mut self, conv: ConvInit, linear: LinearInit) -> Self {
        (self.conv_init, self.linear_init) = (conv, linear);
        self
    }

    /// Sets epsilon of the normalisations that follow, and momentum of those by batch. The default is 1e-5 and 0.1.
    pub fn norm(mut self, epsilon: f64, momentum: f64) -> Self {
        (self.epsilon, self.momentum) = (epsilon, momentum);
        self
    }

    /// Sets the rate of the dropout in front of the classifier. By default there is none.
    pub fn head_dropout(mut self, rate: f64) -> Self {
        self.dropout = rate;
        self
    }

    /// Returns the images.
    pub fn images(&self) -> Value {
        Value::IMAGES
    }

    /// Returns the number of channels of a value; 0 for one that isn't of this network.
    pub fn channels(&self, x: Value) -> usize {
        self.shape(x).channels()
    }

    fn shape(&self, x: Value) -> Shape {
        let shape = self.shapes.get(x.index()).copied();
        shape.unwrap_or(Shape::Rows { channels: 0 })
    }

    /// Puts `name` and a dot in front of all names inside.
    pub fn scope<T>(&mut self, name: impl Display, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(name.to_string());
        let result = inside(self);
        self.scopes.pop();
        result
    }

    /// Marks what is written inside as a stage. Stages follow each other without gaps, from the images on.
    pub fn stage(&mut self, name: impl Display, inside: impl FnOnce(&mut Self) -> Value) -> Value {
        let start = self.nodes.len();
        self.blocks.clear();
        let x = inside(self);
        let blocks = std::mem::take(&mut self.blocks);
        self.stages.push(Marked {
            name: name.to_string(),
            nodes: start..self.nodes.len(),
            blocks,
        });
        x
    }

    /// Marks what is written inside as a block: one value enters, one leaves, and it has at most
    /// [`MOST_BLOCK_TENSORS`](crate::MOST_BLOCK_TENSORS) parameters.
    pub fn block(&mut self, inside: impl FnOnce(&mut Self) -> Value) -> Value {
        let start = self.nodes.len();
        let x = inside(self);
        self.blocks.push(start..self.nodes.len());
        x
    }

    /// Adds the classifier called `head` on the rows `x` and returns the network; 0 classes leave the features.
    ///
    /// # Errors
    ///
    /// The first mistake in the description.
    pub fn finish(
        mut self,
        head: impl Display,
        x: Value,
        classes: usize,
    ) -> Result<Graph, GraphError> {
        let features = self.channels(x);
        let head = Head {
            name: head.to_string(),
            features,
            classes: 0,
            nodes: self.nodes.len()..self.nodes.len(),
        };
        if !matches!(self.shape(x), Shape::Rows { .. }) || features == 0 {
            let mistake = GraphError::Input {
                node: head.name.clone(),
                expected: "rows".into(),
                found: self.shape(x),
            };
            self.mistaken(x, mistake);
        }
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        check_names(&self.tensors)?;
        let stages = cut_stages(&self.nodes, &self.tensors, self.stages)?;
        let last = stages.last().map_or(0, |stage| stage.segment.nodes.end);
        let pooling = cut(&self.nodes, last..self.nodes.len(), "pooling")?;
        if pooling.output != x {
            return Err(GraphError::Cut {
                what: "pooling".into(),
                reason: "the classifier does not stand on the last value".into(),
            });
        }
        let graph = Graph {
            name: self.name,
            in_channels: self.shapes[0].channels(),
            nodes: self.nodes,
            tensors: self.tensors,
            stages,
            head,
            head_dropout: self.dropout,
            linear_init: self.linear_init,
            is_imported: false,
        };
        Ok(graph.with_classes(classes))
    }

    fn full(&self, name: impl Display) -> String {
        let mut full = self.scopes.join(".");
        if !full.is_empty() {
            full.push('.');
        }
        full + &name.to_string()
    }

    /// Adds an operation without parameters under a name of its own.
    fn add_op(&mut self, kind: &str, op: Op, inputs: Vec<Value>) -> Value {
        let name = self.full(format!("{kind}_{}", self.nodes.len()));
        self.push(name, op, inputs, Vec::new())
    }

    /// Adds an operation on tensors that are written down already.
    fn add_with(&mut self, kind: &str, op: Op, x: Value, tensors: Vec<Parameter>) -> Value {
        let name = self.full(format!("{kind}_{}", self.nodes.len()));
        let tensors = tensors.into_iter().map(|parameter| parameter.0).collect();
        self.push_node(
            Node {
                name,
                op,
                inputs: vec![x],
                tensors,
            },
            Vec::new(),
        )
    }

    fn push(&mut self, name: String, op: Op, inputs: Vec<Value>, tensors: Vec<Part>) -> Value {
        let first = self.tensors.len();
        let node = Node {
            name,
            op,
            inputs,
            tensors: (first..first + tensors.len()).collect(),
        };
        self.push_node(node, tensors)
    }

    /// Adds a node with the tensors of it that are new.
    fn push_node(&mut self, node: Node, tensors: Vec<Part>) -> Value {
        if node.inputs.iter().any(|v| v.index() >= self.shapes.len()) {
            let what = "value that a node takes";
            return self.mistaken(Value::IMAGES, GraphError::Missing { what });
        }
        let shapes: Vec<Shape> = node.inputs.iter().map(|v| self.shape(*v)).collect();
        let shape = match infer(&node, &shapes) {
            Ok(shape) => shape,
            Err(mistake) => {
                let x = node.inputs.first().copied().unwrap_or(Value::IMAGES);
                return self.mistaken(x, mistake);
            }
        };
        let specs = tensors.into_iter();
        self.tensors
            .extend(specs.map(|(part, shape, kind, init)| TensorSpec {
                name: format!("{}.{part}", node.name),
                shape,
                kind,
                init,
            }));
        self.shapes.push(shape);
        self.nodes.push(node);
        Value::of_node(self.nodes.len() - 1)
    }

    /// Keeps a mistake, if it is the first, and goes on with `x`.
    fn mistaken(&mut self, x: Value, mistake: GraphError) -> Value {
        self.mistake.get_or_insert(mistake);
        x
    }
}
