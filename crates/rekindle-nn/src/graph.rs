//! A network as a list of operations.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::GraphError;
use crate::init::{Init, LinearInit};
use crate::op::{Op, Tokens};
use crate::shape::Shape;

/// A value of a network: the images, or what a node gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Value(usize);

impl Value {
    /// The images.
    pub const IMAGES: Self = Self(0);

    /// Returns what the node with this index gives.
    pub const fn of_node(node: usize) -> Self {
        Self(node + 1)
    }

    /// Returns the position among all values: the images' is 0, a node's its index and 1.
    pub const fn index(self) -> usize {
        self.0
    }

    /// Returns the index of the node that gives it; none for the images.
    pub const fn node(self) -> Option<usize> {
        self.0.checked_sub(1)
    }
}

/// One operation with its inputs and parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The module's name in the published network, or one made up for an operation without parameters.
    pub name: String,
    /// Operation that it computes.
    pub op: Op,
    /// Its inputs, all of them computed by earlier nodes.
    pub inputs: Vec<Value>,
    /// Its parameters in [`Graph::tensors`], in the order that [`Op`] lists them.
    pub tensors: Vec<usize>,
}

/// A parameter or a running statistic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Its name in the published state dict.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// Kind of the tensor.
    pub kind: TensorKind,
    /// Its initial values.
    pub init: Init,
}

impl TensorSpec {
    /// Computes the number of its elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A tensor that is written down before the operation that uses it, see [`Builder::parameter`](crate::Builder::parameter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter(pub(crate) usize);

/// Kind of a tensor, with its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorKind {
    /// A convolution's weight `[out, in / groups, height, width]`.
    Kernel,
    /// A linear layer's weight `[out, in]`.
    Matrix,
    /// A matrix that is published as it lies here: the weight `[in, out]` of a projection, or positions
    /// `[positions, channels]`.
    PlainMatrix,
    /// A bias or a normalisation's weight, or a class token, `[channels]`.
    Vector,
    /// Tokens or positions `[1, tokens, channels]`, or a factor per channel `[channels, 1, 1]`.
    Table,
    /// A running mean `[channels]`: no gradient, moved by forward passes in training.
    RunningMean,
    /// A running variance `[channels]`, likewise; a counter of batches follows it in a state dict.
    RunningVar,
}

impl TensorKind {
    /// Tells whether it is a statistic, no parameter.
    pub fn is_statistic(self) -> bool {
        matches!(self, Self::RunningMean | Self::RunningVar)
    }
}

/// Nodes in a row that take one value and give one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Indices of the nodes.
    pub nodes: Range<usize>,
    /// Input of the nodes.
    pub input: Value,
    /// Output of the nodes: the last one's value.
    pub output: Value,
}

/// A part of a network that can be frozen, or cut off, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Its nodes.
    pub segment: Segment,
    /// Blocks inside it, in order; there may be nodes between them.
    pub blocks: Vec<Segment>,
}

/// The classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its name in a state dict.
    pub name: String,
    /// Length of the rows that it takes.
    pub features: usize,
    /// Number of classes; 0 where there is no classifier and the network gives features.
    pub classes: usize,
    /// Its nodes: a dropout perhaps, and a linear layer.
    pub nodes: Range<usize>,
}

/// A network as data: what every interpreter of it reads.
///
/// Made by a [`Builder`](crate::Builder), which checks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub(crate) name: String,
    pub(crate) in_channels: usize,
    pub(crate) nodes: Vec<Node>,
    pub(crate) tensors: Vec<TensorSpec>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) head: Head,
    pub(crate) head_dropout: f64,
    pub(crate) linear_init: LinearInit,
    /// No code describes it: files of it carry the description.
    pub(crate) is_imported: bool,
}

impl Graph {
    /// Returns the network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the network under another name.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// Tells whether the network was read from a file that describes it, and no code does. What is saved of it has to carry
    /// [`to_json`](Self::to_json).
    pub fn is_imported(&self) -> bool {
        self.is_imported
    }

    /// Returns what a file of an imported network has to carry, [`to_json`](Self::to_json); none where code describes it.
    pub fn description(&self, image_size: [usize; 2]) -> Option<String> {
        self.is_imported.then(|| self.to_json(image_size))
    }

    /// Returns the number of channels of the images: 3 for RGB.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// Returns all nodes, in an order in which they can be computed.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns all parameters and running statistics, in the order of the published state dict.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Returns the stages; each takes what the one before gives.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Returns the names of the stages, in order.
    pub fn stage_names(&self) -> Vec<&str> {
        self.stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect()
    }

    /// Returns the classifier.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the nodes between the last stage and the classifier: they turn feature maps into rows.
    pub fn pooling(&self) -> Range<usize> {
        let start = self.stages.last().map_or(0, |s| s.segment.nodes.end);
        start..self.head.nodes.start
    }

    /// Tells whether the pooling averages feature maps and does no more.
    pub(crate) fn pools_by_means(&self) -> bool {
        let pooling = self.nodes[self.pooling()].iter();
        pooling
            .map(|node| &node.op)
            .eq([&Op::GlobalAvgPool, &Op::Flatten])
    }

    /// Returns the nodes of a range of stages.
    ///
    /// # Errors
    ///
    /// [`GraphError::UnknownStage`] for a range that reaches beyond the last stage, or ends before it begins.
    pub fn stage_nodes(&self, stages: Range<usize>) -> Result<Range<usize>, GraphError> {
        let cut = |stage: usize| match stage.checked_sub(1) {
            Some(before) => self.stages.get(before).map(|s| s.segment.nodes.end),
            None => Some(0),
        };
        match (cut(stages.start), cut(stages.end)) {
            (Some(start), Some(end)) if start <= end => Ok(start..end),
            _ => Err(GraphError::UnknownStage {
                start: stages.start,
                end: stages.end,
                stages: self.stages.len(),
            }),
        }
    }

    /// Finds the stage that uses the tensor or module with this name; the last stage for what the pooling uses, and
    /// none for the head and for unknown names.
    pub fn stage_of(&self, path: &str) -> Option<usize> {
        let is_of = |node: &Node| {
            node.tensors.iter().any(|t| self.tensors[*t].name == path)
                || path
                    .strip_prefix(node.name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let node = self.nodes.iter().position(is_of)?;
        if node >= self.head.nodes.start {
            return None;
        }
        let holds = |stage: &Stage| node < stage.segment.nodes.end;
        let last = self.stages.len().checked_sub(1);
        self.stages.iter().position(holds).or(last)
    }

    /// Counts the parameters, without running statistics.
    pub fn num_params(&self) -> usize {
        let tensors = self.tensors.iter().filter(|t| !t.kind.is_statistic());
        tensors.map(TensorSpec::elements).sum()
    }

    /// Lists names and shapes as a PyTorch state dict has them, counters of batches included (without extents).
    pub fn state_dict(&self) -> Vec<(String, Vec<usize>)> {
        let mut entries = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            entries.push((tensor.name.clone(), tensor.shape.clone()));
            let module = tensor.name.strip_suffix(".running_var");
            if let (Some(module), TensorKind::RunningVar) = (module, tensor.kind) {
                entries.push((format!("{module}.num_batches_tracked"), Vec::new()));
            }
        }
        entries
    }

    /// Returns how the network turns patches into tokens; none where it has no tokens.
    pub fn tokens(&self) -> Option<Tokens> {
        self.tokens_of_patches().map(|(tokens, _)| tokens)
    }

    /// Returns height and width of the images that a network with tokens has positions for; none for those that take
    /// images of any size.
    pub fn native_size(&self) -> Option<[usize; 2]> {
        let (tokens, patches) = self.tokens_of_patches()?;
        match &self.nodes[patches.node()?].op {
            Op::Conv2d(conv) => Some([0, 1].map(|axis| tokens.grid[axis] * conv.stride[axis])),
            _ => None,
        }
    }

    /// Returns rows and columns of the patches that images of `height` by `width` pixels fall into; none for images that a
    /// window doesn't fit into, and for networks without tokens.
    pub fn patch_grid(&self, height: usize, width: usize) -> Option<[usize; 2]> {
        let (_, patches) = self.tokens_of_patches()?;
        match self.shapes(height, width).ok()?[patches.index()] {
            Shape::Maps { size, .. } => Some(size),
            Shape::Rows { .. } => None,
        }
    }

    fn tokens_of_patches(&self) -> Option<(Tokens, Value)> {
        self.nodes.iter().find_map(|node| match node.op {
            Op::Tokens(tokens) => Some((tokens, *node.inputs.first()?)),
            _ => None,
        })
    }

    /// Sets the grid that positions are for, and returns the index of their tensor; none where there are no tokens.
    pub(crate) fn set_position_grid(&mut self, grid: [usize; 2]) -> Option<usize> {
        let mut nodes = self.nodes.iter_mut();
        let (tokens, position) = nodes.find_map(|node| match &mut node.op {
            Op::Tokens(tokens) => Some((tokens, *node.tensors.last()?)),
            _ => None,
        })?;
        tokens.grid = grid;
        let shape = &mut self.tensors[position].shape;
        let rows = shape.len() - 2;
        shape[rows] = tokens.positions();
        Some(position)
    }

    /// Tells whether a value is rows, not feature maps.
    pub(crate) fn is_rows(&self, value: Value) -> bool {
        let Some(node) = value.node().and_then(|node| self.nodes.get(node)) else {
            return false;
        };
        match node.op {
            Op::Flatten | Op::Token { .. } | Op::TokenMean { .. } => true,
            Op::Linear(_)
            | Op::LayerNorm(_)
            | Op::Activation(_)
            | Op::Dropout { .. }
            | Op::Add
            | Op::Sub
            | Op::Concat => node.inputs.first().is_some_and(|x| self.is_rows(*x)),
            _ => false,
        }
    }

    /// Cuts nodes out that take one value and give one.
    ///
    /// # Errors
    ///
    /// [`GraphError::Cut`] where there is no such value, or there are several.
    pub fn segment(&self, nodes: Range<usize>) -> Result<Segment, GraphError> {
        cut(&self.nodes, nodes, "segment")
    }
}

/// Cuts nodes out that take one value and give one; `what` is the name that an error says.
pub(crate) fn cut(nodes: &[Node], range: Range<usize>, what: &str) -> Result<Segment, GraphError> {
    let wrong = |reason: String| {
        Err(GraphError::Cut {
            what: what.to_string(),
            reason,
        })
    };
    if range.is_empty() || range.end > nodes.len() {
        return wrong("it has no nodes".into());
    }
    let first = Value::of_node(range.start);
    let inside = nodes[range.clone()].iter().flat_map(|node| &node.inputs);
    let mut outside: Vec<Value> = inside.copied().filter(|value| *value < first).collect();
    outside.sort_unstable();
    outside.dedup();
    let &[input] = outside.as_slice() else {
        return wrong(format!("{} values enter it, not one", outside.len()));
    };
    let output = Value::of_node(range.end - 1);
    for node in &nodes[range.end..] {
        if let Some(value) = node.inputs.iter().find(|v| **v >= first && **v < output) {
            let from = &nodes[value.0 - 1].name;
            return wrong(format!("{} uses {from}, which is inside", node.name));
        }
    }
    Ok(Segment {
        nodes: range,
        input,
        output,
    })
}
