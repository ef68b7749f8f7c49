//! The kernels as operations of Burn's backends.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};
use rekindle_kernels::{Activation, Statistics};
use rekindle_nn::cpu::memory::{Images, contiguous, from_values, to_activation, to_tensor, values};

use super::layer::{Input, Layer, TENSORS, Weights};
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
            Self::Images(images) => Input::Images(images.values(), images.shape),
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
