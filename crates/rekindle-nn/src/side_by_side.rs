//! Several networks as one: each looks at the images, and their features stand side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use burn::module::{Flag, Param};

use crate::cuts::{Marked, cut_stages};
use crate::graph::{Graph, Head, Node, TensorKind, TensorSpec, Value};
use crate::init::Init;
use crate::multilevel::SIDES;
use crate::network::Network;
use crate::op::{Conv2d, Op};
use crate::shape::Shape;
use crate::slot::Slot;

/// Name of the one stage.
const STAGE: &str = "networks";

/// A network to put beside others, see [`Network::side_by_side`].
#[derive(Clone, Debug)]
pub struct Member {
    /// The network; its classifier is left out.
    pub network: Network,
    /// Factor and summand for each channel of the images, where it wants them scaled otherwise than they are given.
    pub rescaling: Option<Vec<[f32; 2]>>,
}

/// Networks side by side.
#[derive(Clone, Debug)]
pub struct SideBySide {
    /// All of them as one, without a classifier.
    pub network: Network,
    /// Numbers of features of each, in order.
    pub parts: Vec<usize>,
}

impl Network {
    /// Joins networks into one whose features are those of the first, then those of the second, and so on.
    ///
    /// Networks that learnt the same task in different ways err on different images, so that a classifier on the features of
    /// all knows more than one on those of any. The result is a network like others: one stage, whose feature maps are
    /// those of all, behind it each member's pooling. Tensors have their names behind that of their network and a point.
    ///
    /// Returns none for a single network, for networks of tokens, and for those whose feature maps of images of
    /// 256 by 256 pixels differ in height or width.
    pub fn side_by_side(members: &[Member]) -> Option<SideBySide> {
        let [first, _, ..] = members else {
            return None;
        };
        let in_channels = first.network.graph.in_channels();
        let fits = |member: &Member| {
            let graph = &member.network.graph;
            let rescaling = member.rescaling.as_ref();
            graph.tokens().is_none()
                && graph.in_channels() == in_channels
                && member.network.roundings.is_none()
                && rescaling.is_none_or(|channels| channels.len() == in_channels)
        };
        if !members.iter().all(fits) {
            return None;
        }
        let mut joined = Joined::default();
        let names = names(members);
        let named = members.iter().zip(&names);
        let added: Vec<Added> = named
            .map(|(member, name)| joined.add_stages(member, name.clone()))
            .collect();
        let blocks = std::mem::take(&mut joined.blocks);
        let all = joined.add("concat", Op::Concat, added.iter().map(|m| m.maps).collect());
        let stage = Marked {
            name: STAGE.to_string(),
            nodes: 0..joined.nodes.len(),
            blocks,
        };
        joined.add_pooling(&added, all);
        let parts: Vec<usize> = added.iter().map(|m| m.network.num_features()).collect();
        let graph = joined.graph(names.join("+"), &first.network.graph, &parts, stage)?;
        let [side, _] = SIDES;
        graph.shapes(side, side).ok()?;
        let network = Network {
            graph: Arc::new(graph),
            slots: joined.slots,
            training: joined.training,
            draws: first.network.draws.clone(),
            roundings: None,
            #[cfg(feature = "kernels")]
            execution: first.network.execution.of_another(),
        };
        Some(SideBySide { network, parts })
    }
}

/// Names the networks: each by its own name, with a number where another has it as well.
fn names(members: &[Member]) -> Vec<String> {
    let mut used = BTreeSet::new();
    let mut free = |own: &str| {
        let numbered = (2..).map(|number| format!("{own}_{number}"));
        let mut all = std::iter::once(own.to_string()).chain(numbered);
        let name = all.find(|name| !used.contains(name)).unwrap_or_default();
        used.insert(name.clone());
        name
    };
    let own = members.iter().map(|member| member.network.graph.name());
    own.map(|own| free(&own.replace('.', "_"))).collect()
}

/// What there is so far.
#[derive(Default)]
struct Joined {
    nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
    slots: Vec<Slot>,
    training: BTreeMap<usize, Param<Flag>>,
    blocks: Vec<Range<usize>>,
}

/// A network whose stages are there.
struct Added {
    /// Without its classifier.
    network: Network,
    name: String,
    /// Index of its first tensor.
    tensors: usize,
    /// Its feature maps.
    maps: Value,
    channels: usize,
}

impl Joined {
    fn add_stages(&mut self, member: &Member, name: String) -> Added {
        let (network, _) = member.network.clone().split_classifier();
        let images = match &member.rescaling {
            Some(channels) => self.rescale(channels, &name, &network),
            None => Value::IMAGES,
        };
        let tensors = self.tensors.len();
        let renamed = network.graph.tensors().iter().map(|spec| TensorSpec {
            name: format!("{name}.{}", spec.name),
            ..spec.clone()
        });
        self.tensors.extend(renamed);
        self.slots.extend(network.slots.iter().cloned());
        let end = network.graph.pooling().start;
        let start = self.nodes.len();
        let stages = network.graph.stages().iter();
        let blocks = stages.flat_map(|stage| Marked::of(stage).blocks);
        let moved = blocks.map(|block| block.start + start..block.end + start);
        self.blocks.extend(moved);
        let channels = network.graph.channels_of_maps();
        let mut added = Added {
            network,
            name,
            tensors,
            maps: images,
            channels,
        };
        added.maps = self.append(&added, 0..end, images);
        added
    }

    /// Puts a convolution of single pixels in front that scales each channel.
    fn rescale(&mut self, channels: &[[f32; 2]], name: &str, like: &Network) -> Value {
        let count = channels.len();
        let spec = |what: &str, shape: Vec<usize>, kind| TensorSpec {
            name: format!("{name}.rescale.{what}"),
            shape,
            kind,
            init: Init::Constant(0.0),
        };
        let weight = spec("weight", vec![count, count, 1, 1], TensorKind::Kernel);
        let bias = spec("bias", vec![count], TensorKind::Vector);
        let mut factors = vec![0.0; count * count];
        for (channel, [factor, _]) in channels.iter().enumerate() {
            factors[channel * (count + 1)] = *factor;
        }
        let summands = channels.iter().map(|[_, summand]| *summand).collect();
        let first = self.tensors.len();
        let device = like.device();
        for (spec, values) in [(weight, factors), (bias, summands)] {
            self.slots.push(Slot::of_values(&spec, values, &device));
            self.tensors.push(spec);
        }
        let at = self.nodes.len();
        self.nodes.push(Node {
            name: format!("{name}.rescale"),
            op: Op::Conv2d(Conv2d::of_pixels([count; 2], 1, true)),
            inputs: vec![Value::IMAGES],
            tensors: vec![first, first + 1],
        });
        self.blocks.push(at..at + 1);
        Value::of_node(at)
    }

    /// Appends some nodes of a network, which take `input` in place of what is before them; returns what the last one gives.
    fn append(&mut self, of: &Added, range: Range<usize>, input: Value) -> Value {
        let by = self.nodes.len();
        let moved = |value: &Value| match value.node() {
            Some(node) if node >= range.start => Value::of_node(by + node - range.start),
            _ => input,
        };
        for at in range.clone() {
            let node = &of.network.graph.nodes()[at];
            if let Some(flag) = of.network.training.get(&at) {
                self.training.insert(self.nodes.len(), flag.clone());
            }
            self.nodes.push(Node {
                name: format!("{}.{}", of.name, node.name),
                op: node.op.clone(),
                inputs: node.inputs.iter().map(moved).collect(),
                tensors: node.tensors.iter().map(|t| t + of.tensors).collect(),
            });
        }
        Value::of_node(self.nodes.len() - 1)
    }

    /// Turns the maps of all into rows of features.
    fn add_pooling(&mut self, members: &[Added], all: Value) {
        if members.iter().all(|m| m.network.graph.pools_by_means()) {
            let means = self.add("mean", Op::GlobalAvgPool, vec![all]);
            self.add("flatten", Op::Flatten, vec![means]);
            return;
        }
        let (mut start, mut rows) = (0, Vec::new());
        for member in members {
            let channels = member.channels;
            let name = format!("{}_maps", member.name);
            let own = self.add(&name, Op::Slice { start, channels }, vec![all]);
            start += channels;
            rows.push(self.append(member, member.network.graph.pooling(), own));
        }
        self.add("features", Op::Concat, rows);
    }

    /// Adds an operation without parameters.
    fn add(&mut self, name: &str, op: Op, inputs: Vec<Value>) -> Value {
        self.nodes.push(Node {
            name: format!("{STAGE}.{name}"),
            op,
            inputs,
            tensors: Vec::new(),
        });
        Value::of_node(self.nodes.len() - 1)
    }

    fn graph(&self, name: String, first: &Graph, parts: &[usize], stage: Marked) -> Option<Graph> {
        let end = self.nodes.len();
        Some(Graph {
            name,
            in_channels: first.in_channels(),
            nodes: self.nodes.clone(),
            tensors: self.tensors.clone(),
            stages: cut_stages(&self.nodes, &self.tensors, vec![stage]).ok()?,
            head: Head {
                name: first.head().name.clone(),
                features: parts.iter().sum(),
                classes: 0,
                nodes: end..end,
            },
            head_dropout: first.head_dropout,
            linear_init: first.linear_init,
            is_imported: true,
        })
    }
}

impl Graph {
    /// Returns the number of channels of the last stage's feature maps; 0 where it gives none.
    fn channels_of_maps(&self) -> usize {
        let [side, _] = SIDES;
        let last = self.stages.last().map(|stage| stage.segment.output);
        let shapes = self.shapes(side, side).ok();
        match last.and_then(|last| shapes?.get(last.index()).copied()) {
            Some(Shape::Maps { channels, .. }) => channels,
            _ => 0,
        }
    }
}
