//! The kernels as operations of Burn's backends.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};
use rekindle_kernels::{
    Activation, KernelError, Statistics, global_average_pool, global_average_pool_gradient,
};

use super::layer::{Input, Layer, TENSORS, Weights};
use super::memory::{contiguous, from_values, to_activation, to_tensor, values};
use super::residual::ResidualBlock;
use super::stem::{self, Pooling};
use super::weights::{BlockWeights, LayerWeights};

/// Parts of a ResNet as one operation each, with a backward pass under autodiff.
///
/// Between them, feature maps are tensors `[batch, channels / 16, height, width, 16]`. What each layer took of the
/// batch's statistics comes back, in the order of the layers' weights.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait ResNetOperations: Backend {
    /// A layer with ReLU and max pooling, such as a stem: images `[batch, channels, height, width]` or blocked feature
    /// maps to blocked feature maps.
    fn stem(
        x: FloatTensor<Self>,
        #[extension_type] weights: LayerWeights<Self>,
        layer: Layer,
        pooling: Pooling,
    ) -> (FloatTensor<Self>, Vec<Option<Statistics>>);

    /// A residual block on blocked feature maps.
    fn residual_block(
        x: FloatTensor<Self>,
        #[extension_type] weights: BlockWeights<Self>,
        block: ResidualBlock,
    ) -> (FloatTensor<Self>, Vec<Option<Statistics>>);

    /// Blocked feature maps to the mean of each channel, `[batch, channels]`.
    fn average_pool(x: FloatTensor<Self>, channels: usize) -> FloatTensor<Self>;

    /// `[batch, channels, height, width]` to blocked feature maps.
    fn to_blocked(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Blocked feature maps to `[batch, channels, height, width]`.
    fn from_blocked(x: FloatTensor<Self>, channels: usize) -> FloatTensor<Self>;
}

/// Why no operation returns an error.
pub(super) const CHECKED: &str = "shapes are compared before an operation is called";

impl ResNetOperations for Flex {
    fn stem(
        x: FlexTensor,
        weights: LayerWeights<Self>,
        layer: Layer,
        pooling: Pooling,
    ) -> (FlexTensor, Vec<Option<Statistics>>) {
        let (x, weights) = (
            LayerInput::new(x, &layer),
            LayerTensors::new(weights.into_tensors()),
        );
        let (y, statistics) =
            stem::infer(&layer, weights.views()[0], x.input(), pooling).expect(CHECKED);
        (to_tensor(y.into()), vec![statistics])
    }

    fn residual_block(
        x: FlexTensor,
        weights: BlockWeights<Self>,
        block: ResidualBlock,
    ) -> (FlexTensor, Vec<Option<Statistics>>) {
        let weights = LayerTensors::new(weights.into_tensors());
        let x = to_activation(x, block.in_channels()).expect(CHECKED);
        let (y, statistics) = block.infer(&weights.views(), &x).expect(CHECKED);
        (to_tensor(y.into()), statistics)
    }

    fn average_pool(x: FlexTensor, channels: usize) -> FlexTensor {
        let x = to_activation(x, channels).expect(CHECKED);
        let pooled = global_average_pool(&x).expect(CHECKED);
        from_values(pooled, [x.shape()[0], channels])
    }

    fn to_blocked(x: FlexTensor) -> FlexTensor {
        let images = Images::new(x);
        let x = Activation::from_nchw(values(&images.tensor), images.shape).expect(CHECKED);
        to_tensor(x.into())
    }

    fn from_blocked(x: FlexTensor, channels: usize) -> FlexTensor {
        let x = to_activation(x, channels).expect(CHECKED);
        from_values(x.to_nchw(), x.shape())
    }
}

/// The gradient by blocked feature maps of `shape` for `dy`, the gradient by their average `[batch, channels]`.
pub(super) fn average_pool_gradient(
    dy: FlexTensor,
    shape: [usize; 4],
) -> Result<FlexTensor, KernelError> {
    let dx = global_average_pool_gradient(values(&contiguous(dy)), shape)?;
    Ok(to_tensor(dx.into()))
}

/// Images of the network, or maps in the same order.
#[derive(Clone, Debug)]
pub(super) struct Images {
    tensor: FlexTensor,
    shape: [usize; 4],
}

impl Images {
    pub fn new(tensor: FlexTensor) -> Self {
        let tensor = contiguous(tensor);
        let shape = tensor.layout().shape();
        let shape = [shape[0], shape[1], shape[2], shape[3]];
        Self { tensor, shape }
    }

    pub fn input(&self) -> Input<'_> {
        Input::Images(values(&self.tensor), self.shape)
    }
}

/// What a pooled layer reads, in either order.
#[derive(Clone, Debug)]
pub(super) enum LayerInput {
    Images(Images),
    Blocked(Arc<Activation>),
}

impl LayerInput {
    pub fn new(x: FlexTensor, layer: &Layer) -> Self {
        if x.layout().shape().num_dims() == 4 {
            return Self::Images(Images::new(x));
        }
        let x = to_activation(x, layer.conv.in_channels).expect(CHECKED);
        Self::Blocked(Arc::new(x))
    }

    pub fn input(&self) -> Input<'_> {
        match self {
            Self::Images(images) => images.input(),
            Self::Blocked(x) => Input::Blocked(x),
        }
    }

    /// A gradient in the order of this input.
    pub fn like(&self, gradient: Activation) -> FlexTensor {
        match self {
            Self::Images(_) => from_values(gradient.to_nchw(), gradient.shape()),
            Self::Blocked(_) => to_tensor(gradient.into()),
        }
    }
}

/// Weights of some layers, kept as long as their views are needed.
#[derive(Clone, Debug)]
pub(super) struct LayerTensors(Vec<FlexTensor>);

impl LayerTensors {
    pub fn new(tensors: impl IntoIterator<Item = FlexTensor>) -> Self {
        Self(tensors.into_iter().map(contiguous).collect())
    }

    pub fn views(&self) -> Vec<Weights<'_>> {
        let layers = self.0.chunks_exact(TENSORS);
        layers
            .map(|layer| Weights {
                conv: values(&layer[0]),
                gamma: values(&layer[1]),
                beta: values(&layer[2]),
            })
            .collect()
    }
}
