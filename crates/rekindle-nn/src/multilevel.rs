//! Features of two levels: what the last stage gives, and what it was made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::nn::Linear;
use burn::prelude::*;

use crate::cuts::{Marked, cut_stages};
use crate::graph::{Graph, Node, Stage, Value};
use crate::network::Network;
use crate::op::{Op, Pool2d};
use crate::shape::Shape;

/// First part of the names of the nodes that are added.
const SCOPE: &str = "multilevel";

/// Sides of the images that a network must take: feature maps of even and of odd extents.
pub(crate) const SIDES: [usize; 2] = [256, 240];

/// Poolings of the earlier level, its average and its maximum: where halving an odd extent rounds up, and down.
const HALVES: [[Pool2d; 2]; 2] = [
    [Pool2d::new(3, 2, 1), Pool2d::new(7, 2, 3)],
    [Pool2d::new(2, 2, 0), Pool2d::new(6, 2, 2)],
];

/// Pooling of the last level.
const LARGEST: Pool2d = Pool2d::new(7, 1, 3);

/// A network whose features are of two levels, see [`Network::with_multilevel_features`].
#[derive(Clone, Debug)]
pub struct Multilevel {
    /// The network.
    pub network: Network,
    /// Numbers of features: those that it had, the largest of the last stage's maps, and the average and the largest of the
    /// level before; of a network of tokens those that it had, and the mean of the tokens.
    pub parts: Vec<usize>,
}

impl Network {
    /// Appends features of the level before the last, and more of the last, to those that the network has.
    ///
    /// What sets the classes of another task apart may be in earlier layers, which the last one forgot if the source task
    /// had no use for it (Evci et al. 2022, <https://arxiv.org/abs/2201.03529>), above all where pictures are unlike the source's. The
    /// level before is that of the last stage whose feature maps are twice as high and wide. Beside its average it gives the
    /// largest number of each neighbourhood of 7 by 7, averaged over the map; so does the last level. A classifier gets
    /// weights of zero for what is new, and answers as before. Stages behind the earlier level become one.
    ///
    /// A network of tokens keeps its one level, and gives the mean of all tokens beside the class token, which may have let go of
    /// what the patches show (Oquab et al. 2024, <https://arxiv.org/abs/2304.07193>, probe both).
    ///
    /// Returns none for networks whose features are not averages of maps or that have no such level.
    pub fn with_multilevel_features(self) -> Option<Multilevel> {
        if self.roundings.is_some() {
            return None;
        }
        let (graph, parts, added) = widened(&self.graph)?;
        let classes = self.num_classes();
        let (mut network, head) = self.split_classifier();
        let end = network.graph.pooling().start;
        let flags = std::mem::take(&mut network.training).into_iter();
        network.training = flags
            .map(|(node, flag)| (if node < end { node } else { node + added }, flag))
            .collect::<BTreeMap<_, _>>();
        network.graph = Arc::new(graph);
        #[cfg(feature = "kernels")]
        {
            network.execution = network.execution.of_another();
        }
        let Some(Linear { weight, bias }) = head.filter(|_| classes > 0) else {
            return Some(Multilevel { network, parts });
        };
        let more = network.num_features() - parts[0];
        let weight = weight.map(|weight| {
            let zeros = Tensor::zeros([more, classes], &weight.device());
            Tensor::cat(vec![weight, zeros], 0)
        });
        let network = network.with_classifier(Linear { weight, bias }).ok()?;
        Some(Multilevel { network, parts })
    }
}

impl Graph {
    /// Returns how many of the features the network had before others
    /// [were appended](Network::with_multilevel_features): all where none were.
    pub fn own_features(&self) -> usize {
        let all = self.head().features;
        // Features that are pooled apart are put together behind the pooling.
        let named = |name: &str| {
            let name = format!("{SCOPE}.{name}");
            self.nodes().iter().find(|node| node.name == name)
        };
        let Some(together) = named("features").or_else(|| named("concat")) else {
            return all;
        };
        let [height, width] = self.native_size().unwrap_or([SIDES[0]; 2]);
        let shapes = self.shapes(height, width).ok();
        let first = together.inputs.first();
        match shapes.zip(first).map(|(shapes, of)| shapes[of.index()]) {
            Some(Shape::Maps { channels, .. } | Shape::Rows { channels }) => channels,
            None => all,
        }
    }
}

/// Describes the network without a classifier and with features of two levels: with the lengths of their parts, and the number
/// of nodes in front of those of the pooling.
fn widened(graph: &Graph) -> Option<(Graph, Vec<usize>, usize)> {
    let is_done = |node: &Node| node.name.starts_with(SCOPE);
    if graph.nodes().iter().any(is_done) {
        return None;
    }
    if graph.tokens().is_some() {
        return with_mean_of_tokens(graph).map(|(wide, parts)| (wide, parts, 0));
    }
    HALVES.iter().find_map(|halves| widened_by(graph, *halves))
}

fn widened_by(
    graph: &Graph,
    [average, largest]: [Pool2d; 2],
) -> Option<(Graph, Vec<usize>, usize)> {
    let [side, _] = SIDES;
    let shapes = graph.shapes(side, side).ok()?;
    let maps = |stage: &Stage| match shapes[stage.segment.output.index()] {
        Shape::Maps { channels, size } => Some((channels, size)),
        Shape::Rows { .. } => None,
    };
    let (last, others) = graph.stages().split_last()?;
    let (last_channels, size) = maps(last)?;
    let is_before =
        |stage: &Stage| maps(stage).is_some_and(|(_, s)| s == size.map(|side| 2 * side));
    let before = others.iter().rposition(is_before)?;
    let (before_channels, _) = maps(&others[before])?;
    let (from, end) = (others[before].segment.output, last.segment.nodes.end);

    let mut nodes = graph.nodes()[..end].to_vec();
    let mut add = |name, op, inputs: &[Value]| add(&mut nodes, name, op, inputs);
    let output = last.segment.output;
    let pooled = [
        add("last_max", Op::MaxPool(LARGEST), &[output]),
        add("before_mean", Op::AvgPool(average), &[from]),
        add("before_max", Op::MaxPool(largest), &[from]),
    ];
    let all = add(
        "concat",
        Op::Concat,
        &[output, pooled[0], pooled[1], pooled[2]],
    );
    let of_stages = nodes.len();

    let pooling = &graph.nodes()[graph.pooling()];
    let parts_behind = [last_channels, before_channels, before_channels];
    let added = match graph.pools_by_means() {
        true => {
            append(&mut nodes, pooling, end, of_stages - end, all);
            of_stages - end
        }
        false => pooled_apart(
            &mut nodes,
            pooling,
            end,
            all,
            [last_channels, parts_behind.iter().sum()],
        ),
    };

    let mut stages: Vec<Marked> = graph.stages()[..=before].iter().map(Marked::of).collect();
    let merged = &graph.stages()[before + 1..];
    let blocks = merged.iter().flat_map(|stage| Marked::of(stage).blocks);
    let is_block = |at: &usize| !matches!(nodes[*at].op, Op::Concat);
    let alone = (end..of_stages).filter(is_block).map(|at| at..at + 1);
    stages.push(Marked {
        name: merged.first()?.name.clone(),
        nodes: merged.first()?.segment.nodes.start..of_stages,
        blocks: blocks.chain(alone).collect(),
    });

    let features = graph.head().features + parts_behind.iter().sum::<usize>();
    let mut wide = of_nodes(graph, nodes, features);
    wide.stages = cut_stages(&wide.nodes, graph.tensors(), stages).ok()?;
    let takes = |side: usize| {
        let shapes = wide.shapes(side, side).ok()?;
        let given = shapes.last()?;
        (*given == Shape::Rows { channels: features }).then_some(())
    };
    SIDES.into_iter().try_for_each(takes)?;
    let parts = [graph.head().features].into_iter().chain(parts_behind);
    Some((wide, parts.collect(), added))
}

/// Puts the mean of all tokens, as the class token is read from them, behind the features; returns the lengths of both.
fn with_mean_of_tokens(graph: &Graph) -> Option<(Graph, Vec<usize>)> {
    let pooling = graph.pooling();
    let mut readers = graph.nodes()[pooling.clone()].iter();
    let reader = readers.find(|node| matches!(node.op, Op::Token { .. }))?;
    let tokens = *reader.inputs.first()?;
    let [height, width] = graph.native_size()?;
    let shapes = graph.shapes(height, width).ok()?;
    let Shape::Maps { channels, .. } = shapes[tokens.index()] else {
        return None;
    };
    let mut nodes = graph.nodes()[..pooling.end].to_vec();
    let own = Value::of_node(pooling.end - 1);
    let mean = add(&mut nodes, "mean", Op::GlobalAvgPool, &[tokens]);
    let mean = add(&mut nodes, "flatten", Op::Flatten, &[mean]);
    add(&mut nodes, "features", Op::Concat, &[own, mean]);
    let parts = vec![graph.head().features, channels];
    let wide = of_nodes(graph, nodes, parts.iter().sum());
    wide.shapes(height, width).ok()?;
    Some((wide, parts))
}

/// Returns the network without a classifier and with other nodes, which give so many features.
fn of_nodes(graph: &Graph, nodes: Vec<Node>, features: usize) -> Graph {
    let mut wide = graph.clone().with_classes(0);
    wide.head.features = features;
    wide.head.nodes = nodes.len()..nodes.len();
    wide.nodes = nodes;
    wide.name = format!("{}_{SCOPE}", graph.name());
    wide.is_imported = true;
    wide
}

/// Appends nodes that stood from `start` on, `by` places further behind; they take `input` in place of what gave them their
/// maps.
fn append(nodes: &mut Vec<Node>, pooling: &[Node], start: usize, by: usize, input: Value) {
    let moved = |value: &Value| match value.node() {
        Some(node) if node >= start => Value::of_node(node + by),
        _ => input,
    };
    nodes.extend(pooling.iter().map(|node| Node {
        inputs: node.inputs.iter().map(moved).collect(),
        ..node.clone()
    }));
}

/// Appends a pooling that does more than average: it sees the channels that it knows, and the others are averaged beside it.
/// Returns by how many places its nodes moved.
fn pooled_apart(
    nodes: &mut Vec<Node>,
    pooling: &[Node],
    start: usize,
    all: Value,
    [own, others]: [usize; 2],
) -> usize {
    let slice = |start, channels| Op::Slice { start, channels };
    let input = add(nodes, "own", slice(0, own), &[all]);
    let by = nodes.len() - start;
    append(nodes, pooling, start, by, input);
    let first = Value::of_node(nodes.len() - 1);
    let rest = add(nodes, "others", slice(own, others), &[all]);
    let means = add(nodes, "mean", Op::GlobalAvgPool, &[rest]);
    let second = add(nodes, "flatten", Op::Flatten, &[means]);
    add(nodes, "features", Op::Concat, &[first, second]);
    by
}

/// Adds an operation without parameters.
fn add(nodes: &mut Vec<Node>, name: &str, op: Op, inputs: &[Value]) -> Value {
    nodes.push(Node {
        name: format!("{SCOPE}.{name}"),
        op,
        inputs: inputs.to_vec(),
        tensors: Vec::new(),
    });
    Value::of_node(nodes.len() - 1)
}
