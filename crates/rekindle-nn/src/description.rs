//! A network's description as text, for files of networks that no code describes.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::GraphError;
use crate::cuts::{Marked, check_names, cut_stages};
use crate::graph::{Graph, Head, Node, TensorKind, TensorSpec, cut};
use crate::infer::infer;
use crate::init::LinearInit;
use crate::op::{Op, Padding};
use crate::shape::Shape;

/// Reason why a text is no description of a network.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// It is no JSON of this form.
    #[error("the description of its network can't be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A later version of rekindle wrote it.
    #[error(
        "its network is described in version {found} of the format; this program reads version {VERSION}"
    )]
    Version {
        /// The version that was found.
        found: u32,
    },
    /// A node has tensors that its operation doesn't take, or a size beyond all bounds.
    #[error("the description of its network has a mistake at {node}: {reason}")]
    Node {
        /// The node's name.
        node: String,
        /// The problem with it.
        reason: String,
    },
    /// It describes no network.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

const VERSION: u32 = 1;
/// Bounds of what a description may say, far above all networks.
const MOST_NODES: usize = 100_000;
const MOST_SIZE: usize = 1 << 20;
const MOST_ELEMENTS: usize = 1 << 31;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    version: u32,
    name: String,
    in_channels: usize,
    /// Height and width of images that fit.
    image_size: [usize; 2],
    nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
    stages: Vec<Marked>,
    head: String,
    head_dropout: f64,
    linear_init: LinearInit,
    classes: usize,
}

impl Graph {
    /// Writes the description as JSON; `image_size` is one of the sizes of images that fit.
    pub fn to_json(&self, image_size: [usize; 2]) -> String {
        let end = self.head.nodes.start;
        let nodes = self.nodes[..end].to_vec();
        let tensors: usize = nodes
            .iter()
            .flat_map(|node| &node.tensors)
            .map(|t| t + 1)
            .max()
            .unwrap_or(0);
        let description = Description {
            version: VERSION,
            name: self.name.clone(),
            in_channels: self.in_channels,
            image_size,
            nodes,
            tensors: self.tensors[..tensors].to_vec(),
            stages: self.stages.iter().map(Marked::of).collect(),
            head: self.head.name.clone(),
            head_dropout: self.head_dropout,
            linear_init: self.linear_init,
            classes: self.head.classes,
        };
        serde_json::to_string(&description).unwrap_or_default()
    }

    /// Reads what [`to_json`](Self::to_json) wrote, and checks all of it.
    ///
    /// # Errors
    ///
    /// [`DescriptionError`].
    pub fn from_json(text: &str) -> Result<Self, DescriptionError> {
        let description: Description = serde_json::from_str(text)?;
        if description.version != VERSION {
            let found = description.version;
            return Err(DescriptionError::Version { found });
        }
        let Description {
            name,
            in_channels,
            image_size,
            nodes,
            tensors,
            stages,
            head,
            head_dropout,
            linear_init,
            classes,
            ..
        } = description;
        let whole = |reason: &str| DescriptionError::Node {
            node: name.clone(),
            reason: reason.into(),
        };
        let sizes = [in_channels, image_size[0], image_size[1]];
        if sizes
            .iter()
            .any(|size| !(1..=MOST_SIZE >> 4).contains(size))
        {
            return Err(whole("its images have no size, or one beyond all bounds"));
        }
        if nodes.len() > MOST_NODES || classes > MOST_SIZE || !(0.0..1.0).contains(&head_dropout) {
            return Err(whole(
                "its nodes, its classes or its dropout are beyond all bounds",
            ));
        }
        let mut shapes = vec![Shape::Maps {
            channels: in_channels,
            size: image_size,
        }];
        let mut is_used = vec![false; tensors.len()];
        for node in &nodes {
            let shape = checked(node, &tensors, &shapes, &mut is_used)?;
            shapes.push(shape);
        }
        if is_used.contains(&false) {
            return Err(whole("it has tensors that no node uses"));
        }
        check_names(&tensors)?;
        let stages = cut_stages(&nodes, &tensors, stages)?;
        let last = stages.last().map_or(0, |stage| stage.segment.nodes.end);
        cut(&nodes, last..nodes.len(), "pooling")?;
        let Some(Shape::Rows { channels: features }) = shapes.last().copied() else {
            return Err(whole("it gives no rows of features"));
        };
        let end = nodes.len();
        let graph = Self {
            name,
            in_channels,
            nodes,
            tensors,
            stages,
            head: Head {
                name: head,
                features,
                classes: 0,
                nodes: end..end,
            },
            head_dropout,
            linear_init,
            is_imported: true,
        };
        let graph = graph.with_classes(classes);
        check_names(&graph.tensors)?;
        Ok(graph)
    }
}

/// Returns what is wrong with the sizes of an operation by themselves.
pub(crate) fn bounded(op: &Op) -> Result<(), String> {
    if let Some(size) = sizes(op).into_iter().find(|size| *size > MOST_SIZE) {
        return Err(format!("its size {size} is beyond all bounds"));
    }
    if positives(op).contains(&0) {
        return Err("one of its sizes is zero".into());
    }
    misfit(op).map_or(Ok(()), |reason| Err(reason.into()))
}

/// Checks a node with what it takes, and returns the shape that it gives. Each tensor is of one node; `is_used` says of which
/// ones it is known already.
fn checked(
    node: &Node,
    tensors: &[TensorSpec],
    shapes: &[Shape],
    is_used: &mut [bool],
) -> Result<Shape, DescriptionError> {
    let wrong = |reason: String| DescriptionError::Node {
        node: node.name.clone(),
        reason,
    };
    bounded(&node.op).map_err(wrong)?;
    let inputs: Option<Vec<Shape>> = node
        .inputs
        .iter()
        .map(|value| shapes.get(value.index()).copied())
        .collect();
    let inputs = inputs.ok_or_else(|| wrong("it takes what is computed behind it".into()))?;
    let mut found = Vec::with_capacity(node.tensors.len());
    for index in &node.tensors {
        match (is_used.get_mut(*index), tensors.get(*index)) {
            (Some(is_used), Some(tensor)) if !*is_used => {
                *is_used = true;
                found.push(tensor);
            }
            _ => return Err(wrong("its tensors don't exist, or are another's".into())),
        }
    }
    let expected = parameters(&node.op);
    let is_like = |(tensor, (kinds, shape)): (&&TensorSpec, &Expected)| {
        let bare = |shape: &[usize]| -> Vec<usize> {
            shape
                .iter()
                .copied()
                .filter(|extent| *extent != 1)
                .collect()
        };
        let is_free = matches!(tensor.kind, TensorKind::Vector | TensorKind::Table);
        let mut own = tensor.shape.clone();
        if tensor.kind == TensorKind::PlainMatrix && matches!(node.op, Op::Linear(_)) {
            own.reverse();
        }
        let same = own == *shape || (is_free && bare(&own) == bare(shape));
        let rank = match tensor.kind {
            TensorKind::Kernel => 4,
            TensorKind::Matrix | TensorKind::PlainMatrix => 2,
            TensorKind::Table => 3,
            _ => 1,
        };
        kinds.contains(&tensor.kind) && same && tensor.shape.len() == rank
    };
    let elements = |tensor: &TensorSpec| {
        let extents = tensor.shape.iter();
        extents.copied().try_fold(1usize, usize::checked_mul)
    };
    let is_small = |tensor: &TensorSpec| elements(tensor).is_some_and(|n| n <= MOST_ELEMENTS);
    if found.len() != expected.len()
        || !found.iter().all(|tensor| is_small(tensor))
        || !found.iter().zip(&expected).all(is_like)
    {
        let shapes: Vec<&[usize]> = found.iter().map(|tensor| tensor.shape.as_slice()).collect();
        return Err(wrong(format!(
            "its tensors of shapes {shapes:?} are not those of its operation"
        )));
    }
    let shape = infer(node, &inputs)?;
    match shape.channels() <= 64 * MOST_SIZE {
        true => Ok(shape),
        false => Err(wrong("it gives more channels than there may be".into())),
    }
}

/// Kinds that a tensor may have, and its shape.
type Expected = (&'static [TensorKind], Vec<usize>);

/// Lists the tensors of an operation.
fn parameters(op: &Op) -> Vec<Expected> {
    const VECTOR: &[TensorKind] = &[TensorKind::Vector];
    const TABLE: &[TensorKind] = &[TensorKind::Table];
    let bias = |has_bias: bool, channels: usize| has_bias.then(|| (VECTOR, vec![channels]));
    match op {
        Op::Conv2d(conv) => {
            let per_group = conv.in_channels / conv.groups.max(1);
            let shape = vec![conv.out_channels, per_group, conv.kernel[0], conv.kernel[1]];
            let weight: Expected = (&[TensorKind::Kernel], shape);
            std::iter::once(weight)
                .chain(bias(conv.has_bias, conv.out_channels))
                .collect()
        }
        Op::Linear(linear) => {
            let shape = vec![linear.out_features, linear.in_features];
            let weight: Expected = (&[TensorKind::Matrix, TensorKind::PlainMatrix], shape);
            std::iter::once(weight)
                .chain(bias(linear.has_bias, linear.out_features))
                .collect()
        }
        Op::BatchNorm(norm) => vec![
            (VECTOR, vec![norm.channels]),
            (VECTOR, vec![norm.channels]),
            (&[TensorKind::RunningMean], vec![norm.channels]),
            (&[TensorKind::RunningVar], vec![norm.channels]),
        ],
        Op::LayerNorm(norm) | Op::GlobalResponseNorm(norm) => {
            vec![(VECTOR, vec![norm.channels]), (VECTOR, vec![norm.channels])]
        }
        Op::GroupNorm(norm) => vec![(VECTOR, vec![norm.channels]); 2],
        Op::LayerScale { channels } => {
            vec![(&[TensorKind::Vector, TensorKind::Table], vec![*channels])]
        }
        Op::Tokens(tokens) => {
            let mut all: Vec<Expected> = Vec::new();
            if !tokens.lacks_class_token {
                let kinds = &[TensorKind::Table, TensorKind::Vector];
                all.push((kinds, vec![1, 1, tokens.channels]));
            }
            if tokens.registers > 0 {
                all.push((TABLE, vec![1, tokens.registers, tokens.channels]));
            }
            all.push((TABLE, vec![1, tokens.positions(), tokens.channels]));
            all
        }
        _ => Vec::new(),
    }
}

/// Lists all sizes of an operation.
fn sizes(op: &Op) -> Vec<usize> {
    let mut sizes = positives(op);
    match op {
        Op::Conv2d(conv) => {
            if let Padding::Explicit {
                top,
                left,
                bottom,
                right,
            } = conv.padding
            {
                sizes.extend([top, left, bottom, right]);
            }
        }
        Op::MaxPool(pool) | Op::AvgPool(pool) => sizes.extend(pool.padding),
        Op::Tokens(tokens) => sizes.push(tokens.registers),
        Op::Token { index } => sizes.push(*index),
        Op::TokenMean { start } => sizes.push(*start),
        Op::Slice { start, .. } => sizes.push(*start),
        _ => {}
    }
    sizes
}

/// Lists the sizes of an operation that can't be zero.
fn positives(op: &Op) -> Vec<usize> {
    match op {
        Op::Conv2d(conv) => {
            let mut sizes = vec![conv.in_channels, conv.out_channels, conv.groups];
            sizes.extend([conv.kernel, conv.stride, conv.dilation].as_flattened());
            sizes
        }
        Op::MaxPool(pool) | Op::AvgPool(pool) => [pool.kernel, pool.stride].as_flattened().to_vec(),
        Op::Linear(linear) => vec![linear.in_features, linear.out_features],
        Op::BatchNorm(norm) => vec![norm.channels],
        Op::LayerNorm(norm) | Op::GlobalResponseNorm(norm) => vec![norm.channels],
        Op::GroupNorm(norm) => vec![norm.channels, norm.groups],
        Op::LayerScale { channels } | Op::Slice { channels, .. } => vec![*channels],
        Op::Tokens(tokens) => vec![tokens.channels, tokens.grid[0], tokens.grid[1]],
        Op::Attention(attention) => vec![attention.channels, attention.heads],
        Op::ChannelShuffle { groups } => vec![*groups],
        _ => Vec::new(),
    }
}

/// Says what of an operation doesn't go together.
fn misfit(op: &Op) -> Option<&'static str> {
    let rate = match op {
        Op::Dropout { rate } | Op::DropPath { rate } => *rate,
        _ => 0.0,
    };
    match op {
        _ if !(0.0..1.0).contains(&rate) => Some("its rate is not between 0 and 1"),
        Op::Conv2d(conv) => {
            let divides = |channels: usize| channels.is_multiple_of(conv.groups);
            let fits = divides(conv.in_channels) && divides(conv.out_channels);
            (!fits).then_some("its channels can't be divided into its groups")
        }
        Op::Attention(attention) => {
            let fits = attention.channels.is_multiple_of(attention.heads);
            (!fits).then_some("its channels can't be divided into its heads")
        }
        Op::GroupNorm(norm) => {
            let fits = norm.channels.is_multiple_of(norm.groups);
            (!fits).then_some("its channels can't be divided into its groups")
        }
        Op::MaxPool(pool) | Op::AvgPool(pool) => {
            let fits = (0..2).all(|axis| 2 * pool.padding[axis] <= pool.kernel[axis]);
            (!fits).then_some("its padding is more than half of its window")
        }
        Op::Tokens(tokens) => (tokens.lacks_class_token && tokens.has_class_position)
            .then_some("it has a position for a class token that it lacks"),
        Op::BatchNorm(norm) => {
            let fits = norm.epsilon >= 0.0 && (0.0..=1.0).contains(&norm.momentum);
            (!fits).then_some("its epsilon or its momentum is out of range")
        }
        _ => None,
    }
}
