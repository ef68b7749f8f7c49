//! The operations under autodiff: what they keep, and their backward passes.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as GradientStore;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use rekindle_kernels::Statistics;

use super::backward::{Numbers, RequestedGradients};
use super::memory::{from_kernel, from_values, to_activation, to_tensor};
use super::operand::Operand;
use super::operations::{CHECKED, UnitOperations};
use super::tensors::Tensors;
use super::train::{Saved, Training};
use super::weights::Weights;

type Tracked<C> = FloatTensor<Autodiff<Flex, C>>;
type Outcome<C> = (Tracked<C>, Vec<Option<Statistics>>);

/// Runs the call with the number of nodes as a constant, which Burn's graph wants to know when it is compiled.
macro_rules! with_count {
    ($count:expr, |$known:ident| $call:expr, $($n:literal)*) => {
        match $count {
            $($n => {
                const $known: usize = $n;
                $call
            })*
            count => unreachable!("a unit has at most 16 parameters, found {count} nodes"),
        }
    };
}

impl<C: CheckpointStrategy> UnitOperations for Autodiff<Flex, C> {
    fn unit(x: Tracked<C>, tensors: Tensors<Self>, training: Training) -> Outcome<C> {
        let (x, node) = x.into_parts();
        let (tensors, nodes): (Vec<_>, Vec<_>) =
            tensors.0.into_iter().map(Tracked::<C>::into_parts).unzip();
        let nodes: Vec<NodeGuard> = std::iter::once(node).chain(nodes).collect();
        with_count!(nodes.len(), |N| unit::<C, N>(x, tensors, nodes, training),
            1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17)
    }
}

/// `N` nodes: the input's and those of the parameters.
fn unit<C: CheckpointStrategy, const N: usize>(
    x: FlexTensor,
    tensors: Vec<FlexTensor>,
    nodes: Vec<NodeGuard>,
    training: Training,
) -> Outcome<C> {
    let nodes: [NodeGuard; N] = match nodes.try_into() {
        Ok(nodes) => nodes,
        Err(nodes) => unreachable!("{N} tensors have {} nodes", Vec::len(&nodes)),
    };
    match UnitBackward::<N>
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let weights = Weights::new(tensors);
            let x = Operand::from_tensor(x, training.program.in_channels()).expect(CHECKED);
            let takes_images = matches!(x, Operand::Images(_));
            let given = training.forward(&weights, x, true).expect(CHECKED);
            let state = UnitState {
                takes_images,
                weights,
                training,
                saved: given.saved,
            };
            (prep.finish(state, to_tensor(given.y)), given.taken)
        }
        OpsKind::UnTracked(prep) => {
            let (y, taken) = Flex::unit(x, Tensors(tensors), training);
            (prep.finish(y), taken)
        }
    }
}

#[derive(Clone, Debug)]
struct UnitState {
    takes_images: bool,
    weights: Weights,
    training: Training,
    saved: Saved,
}

#[derive(Debug)]
struct UnitBackward<const N: usize>;

impl<const N: usize> Backward<Flex, N> for UnitBackward<N> {
    type State = UnitState;

    fn backward(self, ops: Ops<UnitState, N>, grads: &mut GradientStore, _: &mut Checkpointer) {
        let UnitState {
            takes_images,
            weights,
            training,
            saved,
        } = ops.state;
        let dy = grads.consume::<Flex>(&ops.node);
        let dy = to_activation(dy, training.program.out_channels()).expect(CHECKED);
        let requested = RequestedGradients {
            input: ops.parents[0].is_some(),
            tensors: ops.parents[1..].iter().map(Option::is_some).collect(),
        };
        let found = training
            .backward(&weights, saved, dy, &requested)
            .expect(CHECKED);
        let dx = found.input.map(|dx| match takes_images {
            true => from_values(dx.to_nchw(), dx.shape()),
            false => to_tensor(dx),
        });
        let tensors = found.tensors.into_iter().enumerate();
        let tensors = tensors.map(|(position, numbers)| {
            numbers.map(|numbers| {
                let shape = weights.shape(position);
                match numbers {
                    Numbers::Kernel(values) => from_kernel(values, shape),
                    Numbers::Plain(values) => from_values(values, shape),
                }
            })
        });
        let gradients = std::iter::once(dx).chain(tensors);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}
