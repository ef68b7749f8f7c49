//! A network run by Burn's operations, on any device, with gradients where the device has them; by the CPU's own
//! kernels where they can.

mod feature;
mod operations;
pub(crate) mod positions;
mod tokens;
mod watch;

use std::collections::BTreeMap;
use std::ops::Range;

use burn::prelude::*;
use burn::tensor::module::{avg_pool2d, linear, max_pool2d};

use crate::GraphError;
#[cfg(feature = "kernels")]
use crate::cpu::layout::Blocked;
#[cfg(feature = "kernels")]
use crate::cpu::{Maps, Unit};
use crate::graph::{Node, Value};
use crate::network::Network;
use crate::op::Op;
use feature::{Feature, concatenate};
use operations::{activate, avg_pooling, convolve, max_pooling, normalise};
use tokens::{attend, group_norm, layer_norm, multiply_pixels, respond, tokenise};
use watch::{Rounded, Unseen, Watch};

/// Whoever built the graph has checked it ([`Builder`](crate::Builder)).
const CHECKED: &str = "a checked graph";

impl Network {
    /// Computes logits `[batch, classes]` of images `[batch, channels, height, width]`; pooled features
    /// `[batch, num_features]` where there is no classifier.
    ///
    /// Batch normalisation uses a batch's own statistics on an autodiff device, unless it is frozen, and the running
    /// ones elsewhere; [`check`](Self::check) tells beforehand whether the images fit.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.run(0..self.graph.nodes().len(), Feature::Maps(images))
            .rows()
    }

    /// Computes the last stage's feature maps of images `[batch, channels, height, width]`.
    pub fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        let end = self.graph.pooling().start;
        self.run(0..end, Feature::Maps(images)).maps()
    }

    /// Runs some stages in a row by their indices, on what the first of them takes; an empty range gives `x` back.
    ///
    /// # Errors
    ///
    /// [`GraphError::UnknownStage`] for a range that reaches beyond the last stage, or ends before it begins.
    pub fn forward_stages(
        &self,
        stages: Range<usize>,
        x: Tensor<4>,
    ) -> Result<Tensor<4>, GraphError> {
        let nodes = self.graph.stage_nodes(stages)?;
        Ok(self.run(nodes, Feature::Maps(x)).maps())
    }

    /// Computes the feature maps after each stage, in order, of images `[batch, channels, height, width]`.
    pub fn forward_intermediates(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = images;
        let mut start = 0;
        let stages = self.graph.stages().iter();
        let stages = stages.map(|stage| {
            let end = stage.segment.nodes.end;
            x = self.run(start..end, Feature::Maps(x.clone())).maps();
            start = end;
            x.clone()
        });
        stages.collect()
    }

    /// Runs all stages from the one with index `start` on, and pools: what that stage takes to features
    /// `[batch, num_features]`. The number of stages only pools.
    ///
    /// # Errors
    ///
    /// [`GraphError::UnknownStage`] for a larger `start`.
    pub fn pool_stages(&self, start: usize, x: Tensor<4>) -> Result<Tensor<2>, GraphError> {
        let stages = self.graph.stages().len();
        let nodes = self.graph.stage_nodes(start..stages)?;
        let nodes = nodes.start..self.graph.pooling().end;
        Ok(self.run(nodes, Feature::Maps(x)).rows())
    }

    /// Turns the last stage's feature maps into features `[batch, num_features]`.
    pub fn pool(&self, x: Tensor<4>) -> Tensor<2> {
        self.run(self.graph.pooling(), Feature::Maps(x)).rows()
    }

    /// Computes logits `[batch, classes]` of pooled features `[batch, num_features]`, which it gives back where there
    /// is no classifier.
    pub fn classify(&self, pooled: Tensor<2>) -> Tensor<2> {
        let nodes = self.graph.head().nodes.clone();
        self.run(nodes, Feature::Rows(pooled)).rows()
    }

    /// Computes logits `[batch, classes]` of the last stage's feature maps.
    pub fn forward_head(&self, x: Tensor<4>) -> Tensor<2> {
        self.classify(self.pool(x))
    }

    /// Checks that images `[batch, channels, height, width]` fit.
    ///
    /// # Errors
    ///
    /// [`GraphError::Input`] for another number of channels, and those of [`Graph::shapes`](crate::Graph::shapes).
    pub fn check(&self, images: &Tensor<4>) -> Result<(), GraphError> {
        let [_, channels, height, width] = images.dims();
        if channels != self.graph.in_channels() {
            return Err(GraphError::Input {
                node: self.graph.name().to_string(),
                expected: format!("images of {} channels", self.graph.in_channels()),
                found: crate::Shape::Maps {
                    channels,
                    size: [height, width],
                },
            });
        }
        self.graph.shapes(height, width).map(drop)
    }

    /// Runs nodes that take one value and give one, dropping each value after its last use.
    fn run(&self, nodes: Range<usize>, x: Feature) -> Feature {
        match &self.roundings {
            Some(roundings) => self.run_watched(nodes, x, &mut Rounded(roundings)),
            None => self.run_watched(nodes, x, &mut Unseen),
        }
    }

    /// Runs nodes as [`run`](Self::run) does, and shows `watch` what it looks at.
    fn run_watched(&self, nodes: Range<usize>, x: Feature, watch: &mut dyn Watch) -> Feature {
        let mut uses = BTreeMap::<Value, usize>::new();
        for node in &self.graph.nodes()[nodes.clone()] {
            for value in &node.inputs {
                *uses.entry(*value).or_default() += 1;
            }
        }
        let Some(input) = uses.keys().next().copied() else {
            return x;
        };
        let output = Value::of_node(nodes.end - 1);
        let x = match input == Value::IMAGES && watch.is_seen(input) {
            true => watch.see(input, x),
            false => x,
        };
        #[cfg(feature = "kernels")]
        let units = match &x {
            Feature::Maps(x) => self.units_for(x),
            _ => &[],
        };
        let mut live = Live {
            features: BTreeMap::from([(input, x)]),
            uses,
        };
        let mut index = nodes.start;
        while index < nodes.end {
            #[cfg(feature = "kernels")]
            if let Some(end) = self.run_by_kernels(units, index..nodes.end, &mut live, watch) {
                index = end;
                continue;
            }
            let node = &self.graph.nodes()[index];
            let inputs = node.inputs.iter().map(|value| live.take(*value));
            let mut result = self.compute(index, node, inputs.collect());
            let value = Value::of_node(index);
            if watch.is_seen(value) {
                result = watch.see(value, result);
            }
            live.features.insert(value, result);
            index += 1;
        }
        live.features.remove(&output).expect(CHECKED)
    }

    /// Runs the unit that begins with the first of `nodes`, and those that continue it; returns the node behind them.
    /// `None` where Burn's operations have to compute that node.
    #[cfg(feature = "kernels")]
    fn run_by_kernels(
        &self,
        units: &[Unit],
        nodes: Range<usize>,
        live: &mut Live,
        watch: &mut dyn Watch,
    ) -> Option<usize> {
        let first = units
            .iter()
            .position(|u| u.segment.nodes.start == nodes.start)?;
        let is_possible = |unit: &Unit| {
            let mut inner = unit.segment.nodes.clone();
            inner.end -= 1;
            unit.segment.nodes.end <= nodes.end
                && !inner.map(Value::of_node).any(|value| watch.is_seen(value))
        };
        if !is_possible(&units[first]) {
            return None;
        }
        let pairs = units[first..].iter().zip(&units[first + 1..]);
        let follows = |(unit, next): &(&Unit, &Unit)| {
            !watch.is_seen(unit.segment.output) && next.continues && is_possible(next)
        };
        let count = 1 + pairs.take_while(follows).count();
        let input = units[first].segment.input;
        let x = match live.features.get(&input)? {
            Feature::Maps(x) => Maps::Plain(x.clone()),
            Feature::Blocked(x) => Maps::Blocked(x.clone()),
            Feature::Rows(_) => return None,
        };
        let (y, count) = self.run_units(first, count, x).ok()?;
        for node in &self.graph.nodes()[units[first].segment.nodes.clone()] {
            for value in node.inputs.iter().filter(|value| **value == input) {
                live.take(*value);
            }
        }
        let last = &units[first + count - 1].segment;
        let y = match watch.is_seen(last.output) {
            true => watch.see(last.output, Feature::Blocked(y)),
            false => Feature::Blocked(y),
        };
        live.features.insert(last.output, y);
        Some(last.nodes.end)
    }

    fn compute(&self, index: usize, node: &Node, inputs: Vec<Feature>) -> Feature {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect(CHECKED);
        let slot = |position: usize| &self.slots[node.tensors[position]];
        match &node.op {
            Op::Conv2d(conv) => {
                let bias = conv.has_bias.then(|| slot(1).vector());
                Feature::Maps(convolve(conv, next().maps(), slot(0).kernel(), bias))
            }
            Op::BatchNorm(norm) => {
                let slots = [0, 1, 2, 3].map(slot);
                let x = next().maps();
                Feature::Maps(normalise(norm, x, slots, self.is_training(index)))
            }
            Op::Activation(activation) => match next() {
                Feature::Rows(x) => Feature::Rows(activate(*activation, x)),
                x => Feature::Maps(activate(*activation, x.maps())),
            },
            Op::Add => match (next(), next()) {
                (Feature::Rows(x), y) => Feature::Rows(x + y.rows()),
                (x, y) => Feature::Maps(x.maps() + y.maps()),
            },
            Op::Sub => match (next(), next()) {
                (Feature::Rows(x), y) => Feature::Rows(x - y.rows()),
                (x, y) => Feature::Maps(x.maps() - y.maps()),
            },
            Op::Mul => Feature::Maps(next().maps() * next().maps()),
            Op::MaxPool(pool) => Feature::Maps(max_pool2d(next().maps(), max_pooling(pool))),
            Op::AvgPool(pool) => Feature::Maps(avg_pool2d(next().maps(), avg_pooling(pool))),
            Op::GlobalAvgPool => Feature::Maps(self.average(next())),
            Op::Flatten => Feature::Rows(next().maps().flatten(1, 3)),
            Op::Linear(layer) => {
                let bias = layer.has_bias.then(|| slot(1).vector());
                match next() {
                    Feature::Rows(x) => Feature::Rows(linear(x, slot(0).matrix(), bias)),
                    x => Feature::Maps(multiply_pixels(x.maps(), slot(0).matrix(), bias)),
                }
            }
            Op::LayerNorm(norm) => {
                let parameters = [0, 1].map(|position| slot(position).vector());
                match next() {
                    Feature::Rows(x) => Feature::Rows(layer_norm(norm, x, parameters)),
                    x => Feature::Maps(layer_norm(norm, x.maps(), parameters)),
                }
            }
            Op::LayerScale { channels } => {
                let gamma = slot(0).per_channel().reshape([1, *channels, 1, 1]);
                Feature::Maps(next().maps() * gamma)
            }
            Op::GlobalResponseNorm(norm) => {
                let parameters = [0, 1].map(|position| slot(position).vector());
                Feature::Maps(respond(norm, next().maps(), parameters))
            }
            Op::GroupNorm(norm) => {
                let parameters = [0, 1].map(|position| slot(position).vector());
                Feature::Maps(group_norm(norm, next().maps(), parameters))
            }
            Op::Tokens(tokens) => {
                let tables = node
                    .tensors
                    .iter()
                    .map(|tensor| self.slots[*tensor].table());
                Feature::Maps(tokenise(tokens, next().maps(), tables.collect()))
            }
            Op::Attention(attention) => Feature::Maps(attend(attention, next().maps())),
            Op::Token { index } => Feature::Rows(next().maps().narrow(3, *index, 1).flatten(1, 3)),
            Op::TokenMean { start } => {
                let x = next().maps();
                let tokens = x.dims()[3] - start;
                Feature::Rows(x.narrow(3, *start, tokens).mean_dim(3).flatten(1, 3))
            }
            Op::Concat => concatenate(inputs.collect()),
            Op::Slice { start, channels } => {
                Feature::Maps(next().maps().narrow(1, *start, *channels))
            }
            Op::ChannelShuffle { groups } => {
                let x = next().maps();
                let [batch, channels, height, width] = x.dims();
                let grouped = x.reshape([batch, *groups, channels / groups, height * width]);
                let shuffled = grouped.swap_dims(1, 2);
                Feature::Maps(shuffled.reshape([batch, channels, height, width]))
            }
            Op::Dropout { rate } => {
                let is_training = self.is_training(index);
                match next() {
                    Feature::Rows(x) => {
                        Feature::Rows(self.drop_out(index, x, *rate, 2, is_training))
                    }
                    x => Feature::Maps(self.drop_out(index, x.maps(), *rate, 4, is_training)),
                }
            }
            Op::DropPath { rate } => {
                let is_training = self.is_training(index);
                Feature::Maps(self.drop_out(index, next().maps(), *rate, 1, is_training))
            }
        }
    }

    /// Computes means over height and width, `[batch, channels, 1, 1]`.
    fn average(&self, x: Feature) -> Tensor<4> {
        #[cfg(feature = "kernels")]
        let x = match x {
            Feature::Blocked(x) => return x.pool().unsqueeze_dims(&[2, 3]),
            // The same sum, so that stages one by one give what the network gives at once.
            Feature::Maps(x) if !self.units_for(&x).is_empty() => {
                return Blocked::new(x).pool().unsqueeze_dims(&[2, 3]);
            }
            x => x,
        };
        let x = x.maps();
        let [batch, channels, _, _] = x.dims();
        let mean = x.flatten::<3>(2, 3).mean_dim(2);
        mean.reshape([batch, channels, 1, 1])
    }

    /// Zeroes a share of `x` in training and scales the rest up; a number is drawn for every index of the first `ranks`
    /// dimensions.
    fn drop_out<const D: usize>(
        &self,
        node: usize,
        x: Tensor<D>,
        rate: f64,
        ranks: usize,
        is_training: bool,
    ) -> Tensor<D> {
        let device = x.device();
        if !(is_training && device.is_autodiff()) || rate <= 0.0 {
            return x;
        }
        let kept = 1.0 - rate;
        if kept <= 0.0 {
            return x.mul_scalar(0.0);
        }
        let mut shape = x.dims();
        shape[ranks..].fill(1);
        x * self.draws.mask(node, shape, kept, &device)
    }
}

/// Values that somebody will read, and how often.
struct Live {
    features: BTreeMap<Value, Feature>,
    uses: BTreeMap<Value, usize>,
}

impl Live {
    fn take(&mut self, value: Value) -> Feature {
        let left = self.uses.get_mut(&value).expect(CHECKED);
        *left -= 1;
        let found = match *left {
            0 => self.features.remove(&value),
            _ => self.features.get(&value).cloned(),
        };
        found.expect(CHECKED)
    }
}
