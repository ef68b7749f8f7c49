//! Feature maps in the kernels' layout, and the ways into and out of it, as operations of Burn's backends.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::prelude::*;
use rekindle_kernels::{Activation, LANES, global_average_pool, global_average_pool_gradient};

use super::memory::{Images, contiguous, from_values, to_activation, to_tensor, values};

/// Feature maps in the kernels' layout.
#[derive(Clone)]
pub struct Blocked {
    /// `[batch, channels / 16, height, width, 16]`.
    pub tensor: Tensor<5>,
    /// Number of channels in use.
    pub channels: usize,
}

impl Blocked {
    /// Takes `[batch, channels, height, width]`.
    pub fn new(x: Tensor<4>) -> Self {
        let channels = x.dims()[1];
        let tensor = Tensor::from_dispatch(Dispatch::to_blocked(x.into_dispatch()));
        Self { tensor, channels }
    }

    /// Takes what a kernel gave where no gradients are followed.
    pub fn from_activation(x: impl Into<std::sync::Arc<Activation>>) -> Self {
        let x = x.into();
        let channels = x.shape()[1];
        let tensor = Tensor::from_primitive::<Flex>(to_tensor(x));
        Self { tensor, channels }
    }

    /// Puts maps one behind the other along the channels; none where the channels of one but the last end within a block.
    pub fn concat(parts: Vec<Self>) -> Option<Self> {
        let (_, others) = parts.split_last()?;
        if others
            .iter()
            .any(|part| !part.channels.is_multiple_of(LANES))
        {
            return None;
        }
        let channels = parts.iter().map(|part| part.channels).sum();
        let tensors = parts.into_iter().map(|part| part.tensor).collect();
        let tensor = Tensor::cat(tensors, 1);
        Some(Self { tensor, channels })
    }

    /// Returns them as `[batch, channels, height, width]`.
    pub fn into_tensor(self) -> Tensor<4> {
        let tensor = self.tensor.into_dispatch();
        Tensor::from_dispatch(Dispatch::from_blocked(tensor, self.channels))
    }

    /// Computes the means over height and width, `[batch, channels]`.
    pub fn pool(self) -> Tensor<2> {
        let tensor = self.tensor.into_dispatch();
        Tensor::from_dispatch(Dispatch::average_pool(tensor, self.channels))
    }
}

/// Changes of layout, and the pooling that ends it, with a backward pass under autodiff.
#[backend_extension(Flex, Autodiff)]
pub trait LayoutOperations: Backend {
    /// Blocked feature maps to the mean of each channel, `[batch, channels]`.
    fn average_pool(x: FloatTensor<Self>, channels: usize) -> FloatTensor<Self>;

    /// `[batch, channels, height, width]` to blocked feature maps.
    fn to_blocked(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Blocked feature maps to `[batch, channels, height, width]`.
    fn from_blocked(x: FloatTensor<Self>, channels: usize) -> FloatTensor<Self>;
}

/// Reason why no operation returns an error.
const CHECKED: &str = "a blocked tensor has the shape of blocked maps";

impl LayoutOperations for Flex {
    fn average_pool(x: FlexTensor, channels: usize) -> FlexTensor {
        let x = to_activation(x, channels).expect(CHECKED);
        let pooled = global_average_pool(&x).expect(CHECKED);
        from_values(pooled, [x.shape()[0], channels])
    }

    fn to_blocked(x: FlexTensor) -> FlexTensor {
        let images = Images::new(x);
        let x = Activation::from_nchw(images.values(), images.shape).expect(CHECKED);
        to_tensor(x.into())
    }

    fn from_blocked(x: FlexTensor, channels: usize) -> FlexTensor {
        let x = to_activation(x, channels).expect(CHECKED);
        from_values(x.to_nchw(), x.shape())
    }
}

type Tracked<C> = FloatTensor<Autodiff<Flex, C>>;

impl<C: CheckpointStrategy> LayoutOperations for Autodiff<Flex, C> {
    fn average_pool(x: Tracked<C>, channels: usize) -> Tracked<C> {
        let (x, node) = x.into_parts();
        let shape = x.layout().shape();
        let shape = [shape[0], channels, shape[2], shape[3]];
        let y = Flex::average_pool(x, channels);
        tracked::<C>(node, Change::AveragePool(shape), y)
    }

    fn to_blocked(x: Tracked<C>) -> Tracked<C> {
        let (x, node) = x.into_parts();
        let channels = x.layout().shape()[1];
        let y = Flex::to_blocked(x);
        tracked::<C>(node, Change::ToBlocked { channels }, y)
    }

    fn from_blocked(x: Tracked<C>, channels: usize) -> Tracked<C> {
        let (x, node) = x.into_parts();
        let y = Flex::from_blocked(x, channels);
        tracked::<C>(node, Change::FromBlocked, y)
    }
}

/// Conversion from one layout or shape to another.
#[derive(Clone, Debug)]
enum Change {
    /// Average pooling of feature maps of this shape.
    AveragePool([usize; 4]),
    ToBlocked {
        channels: usize,
    },
    FromBlocked,
}

fn tracked<C: CheckpointStrategy>(node: NodeGuard, change: Change, y: FlexTensor) -> Tracked<C> {
    let prep = ChangeBackward.prepare::<C>([node]).compute_bound();
    match prep.stateful() {
        OpsKind::Tracked(prep) => prep.finish(change, y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

#[derive(Debug)]
struct ChangeBackward;

impl Backward<Flex, 1> for ChangeBackward {
    type State = Change;

    fn backward(self, ops: Ops<Change, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [Some(node)] = ops.parents else { return };
        let dx = match ops.state {
            Change::AveragePool(shape) => {
                let dx = global_average_pool_gradient(values(&contiguous(dy)), shape);
                to_tensor(dx.expect(CHECKED).into())
            }
            Change::ToBlocked { channels } => Flex::from_blocked(dy, channels),
            Change::FromBlocked => Flex::to_blocked(dy),
        };
        grads.register::<Flex>(node.id, dx);
    }
}
