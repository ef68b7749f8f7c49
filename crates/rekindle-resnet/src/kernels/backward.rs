//! The operations under autodiff: what they keep, and their backward passes.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as GradientStore;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use rekindle_kernels::{Activation, Statistics};
use rekindle_nn::cpu::memory::{from_kernel, from_values, to_activation, to_tensor};

use super::layer::{Gradients, Layer, TENSORS, Wanted};
use super::operations::{CHECKED, LayerInput, LayerTensors, ResNetOperations};
use super::residual::{ResidualBlock, SavedBlock, WantedOfBlock};
use super::stem::{self, Pooling, SavedStem};
use super::weights::{BlockWeights, LayerWeights};

type Tracked<C> = FloatTensor<Autodiff<Flex, C>>;
type Outcome<C> = (Tracked<C>, Vec<Option<Statistics>>);

impl<C: CheckpointStrategy> ResNetOperations for Autodiff<Flex, C> {
    fn stem(
        x: Tracked<C>,
        weights: LayerWeights<Self>,
        layer: Layer,
        pooling: Pooling,
    ) -> Outcome<C> {
        let (x, image_node) = x.into_parts();
        let (weights, [conv, gamma, beta]) = detach(weights);
        let nodes = [image_node, conv, gamma, beta];
        match StemBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (state, pooled) = StemState::new(x, weights, layer, pooling);
                let statistics = state.layer.taken(state.saved.statistics());
                (prep.finish(state, to_tensor(pooled)), vec![statistics])
            }
            OpsKind::UnTracked(prep) => {
                let (y, statistics) = Flex::stem(x, weights, layer, pooling);
                (prep.finish(y), statistics)
            }
        }
    }

    fn residual_block(
        x: Tracked<C>,
        weights: BlockWeights<Self>,
        block: ResidualBlock,
    ) -> Outcome<C> {
        let (x, x_node) = x.into_parts();
        let ((weights, nodes), layers) = match weights {
            BlockWeights::Two(a, b) => (detach_all([a, b]), 2),
            BlockWeights::Three(a, b, c) => (detach_all([a, b, c]), 3),
            BlockWeights::Four(a, b, c, d) => (detach_all([a, b, c, d]), 4),
        };
        let nodes = std::iter::once(x_node).chain(nodes);
        match layers {
            2 => residual_block::<C, 7>(x, weights, nodes, block),
            3 => residual_block::<C, 10>(x, weights, nodes, block),
            _ => residual_block::<C, 13>(x, weights, nodes, block),
        }
    }
}

/// `N` nodes: the input's and those of each layer's tensors.
fn residual_block<C: CheckpointStrategy, const N: usize>(
    x: FlexTensor,
    weights: BlockWeights<Flex>,
    nodes: impl Iterator<Item = NodeGuard>,
    block: ResidualBlock,
) -> Outcome<C> {
    let nodes: [NodeGuard; N] = match nodes.collect::<Vec<_>>().try_into() {
        Ok(nodes) => nodes,
        Err(nodes) => unreachable!("{N} tensors have {} nodes", nodes.len()),
    };
    let prep = BlockBackward::<N>.prepare::<C>(nodes).compute_bound();
    match prep.stateful() {
        OpsKind::Tracked(prep) => {
            let (state, output) = BlockState::new(x, weights, block);
            let statistics = state.block.layers().zip(state.saved.statistics());
            let statistics = statistics.map(|(layer, s)| layer.taken(s)).collect();
            (prep.finish(state, to_tensor(output)), statistics)
        }
        OpsKind::UnTracked(prep) => {
            let (y, statistics) = Flex::residual_block(x, weights, block);
            (prep.finish(y), statistics)
        }
    }
}

/// A layer's weights without their places in the graph, and those places.
fn detach<C: CheckpointStrategy>(
    weights: LayerWeights<Autodiff<Flex, C>>,
) -> (LayerWeights<Flex>, [NodeGuard; TENSORS]) {
    let (conv, conv_node) = weights.conv.into_parts();
    let (gamma, gamma_node) = weights.gamma.into_parts();
    let (beta, beta_node) = weights.beta.into_parts();
    let weights = LayerWeights { conv, gamma, beta };
    (weights, [conv_node, gamma_node, beta_node])
}

fn detach_all<C: CheckpointStrategy, const LAYERS: usize>(
    layers: [LayerWeights<Autodiff<Flex, C>>; LAYERS],
) -> (BlockWeights<Flex>, Vec<NodeGuard>) {
    let (weights, nodes): (Vec<_>, Vec<_>) = layers.into_iter().map(detach).unzip();
    let weights = BlockWeights::new(weights).expect("a block has two to four layers");
    (weights, nodes.into_iter().flatten().collect())
}

#[derive(Clone, Debug)]
struct StemState {
    x: LayerInput,
    weights: LayerTensors,
    layer: Layer,
    pooling: Pooling,
    saved: SavedStem,
}

impl StemState {
    fn new(
        x: FlexTensor,
        weights: LayerWeights<Flex>,
        layer: Layer,
        pooling: Pooling,
    ) -> (Self, Arc<Activation>) {
        let x = LayerInput::new(x, &layer);
        let weights = LayerTensors::new(weights.into_tensors());
        let (pooled, saved) =
            stem::forward(&layer, weights.views()[0], x.input(), pooling).expect(CHECKED);
        let state = Self {
            x,
            weights,
            layer,
            pooling,
            saved,
        };
        (state, pooled)
    }
}

#[derive(Debug)]
struct StemBackward;

impl Backward<Flex, 4> for StemBackward {
    type State = StemState;

    fn backward(self, ops: Ops<StemState, 4>, grads: &mut GradientStore, _: &mut Checkpointer) {
        let state = ops.state;
        let channels = state.layer.conv.out_channels;
        let dy = to_activation(grads.consume::<Flex>(&ops.node), channels).expect(CHECKED);
        let wanted = Wanted {
            input: ops.parents[0].is_some(),
            weight: ops.parents[1].is_some(),
            residual: false,
        };
        let mut found = stem::backward(
            &state.layer,
            state.weights.views()[0],
            state.x.input(),
            &state.saved,
            state.pooling,
            &dy,
            wanted,
        )
        .expect(CHECKED);
        let dx = found.input.take().map(|dx| state.x.like(dx));
        let gradients = std::iter::once(dx).chain(by_weights(found, &state.layer));
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

#[derive(Clone, Debug)]
struct BlockState {
    x: Arc<Activation>,
    weights: LayerTensors,
    block: ResidualBlock,
    saved: SavedBlock,
}

impl BlockState {
    fn new(
        x: FlexTensor,
        weights: BlockWeights<Flex>,
        block: ResidualBlock,
    ) -> (Self, Arc<Activation>) {
        let weights = LayerTensors::new(weights.into_tensors());
        let x = to_activation(x, block.in_channels()).expect(CHECKED);
        let (output, saved) = block.forward(&weights.views(), &x).expect(CHECKED);
        let state = Self {
            x: Arc::new(x),
            weights,
            block,
            saved,
        };
        (state, output)
    }
}

#[derive(Debug)]
struct BlockBackward<const N: usize>;

impl<const N: usize> Backward<Flex, N> for BlockBackward<N> {
    type State = BlockState;

    fn backward(self, ops: Ops<BlockState, N>, grads: &mut GradientStore, _: &mut Checkpointer) {
        let BlockState {
            x,
            weights,
            block,
            saved,
        } = ops.state;
        let dy = grads.consume::<Flex>(&ops.node);
        let dy = to_activation(dy, block.out_channels()).expect(CHECKED);
        let wanted = WantedOfBlock {
            input: ops.parents[0].is_some(),
            weights: ops.parents[1..]
                .iter()
                .step_by(TENSORS)
                .map(Option::is_some)
                .collect(),
        };
        let found = block
            .backward(&weights.views(), &x, saved, dy, &wanted)
            .expect(CHECKED);
        let dx = found.input.map(|dx| to_tensor(dx.into()));
        let layers = found.layers.into_iter().zip(block.layers());
        let by_weights = layers.flat_map(|(found, layer)| by_weights(found, layer));
        let gradients = std::iter::once(dx).chain(by_weights);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// A layer's gradients in the order of its tensors.
fn by_weights(found: Gradients, layer: &Layer) -> [Option<FlexTensor>; TENSORS] {
    let channels = [layer.conv.out_channels];
    [
        found
            .weight
            .map(|weight| from_kernel(weight, layer.conv.weight_shape())),
        Some(from_values(found.gamma, channels)),
        Some(from_values(found.beta, channels)),
    ]
}
