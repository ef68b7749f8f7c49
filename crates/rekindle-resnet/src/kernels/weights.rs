//! Weights on their way through Burn's dispatch, which takes structs of tensors but no lists.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType};

/// Weights of one layer.
#[derive(ExtensionType)]
pub(crate) struct LayerWeights<B: Backend> {
    /// The convolution's, `[out_channels, in_channels / groups, height, width]`.
    pub conv: FloatTensor<B>,
    /// The normalisation's scale, `[out_channels]`.
    pub gamma: FloatTensor<B>,
    /// The normalisation's shift, `[out_channels]`.
    pub beta: FloatTensor<B>,
}

/// Weights of a residual block: layers in a row, then the one beside them.
#[derive(ExtensionType)]
pub(crate) enum BlockWeights<B: Backend> {
    Two(
        #[extension_type] LayerWeights<B>,
        #[extension_type] LayerWeights<B>,
    ),
    Three(
        #[extension_type] LayerWeights<B>,
        #[extension_type] LayerWeights<B>,
        #[extension_type] LayerWeights<B>,
    ),
    Four(
        #[extension_type] LayerWeights<B>,
        #[extension_type] LayerWeights<B>,
        #[extension_type] LayerWeights<B>,
        #[extension_type] LayerWeights<B>,
    ),
}

impl<B: Backend> LayerWeights<B> {
    pub fn into_tensors(self) -> [FloatTensor<B>; 3] {
        [self.conv, self.gamma, self.beta]
    }
}

impl<B: Backend> BlockWeights<B> {
    /// Of two to four layers.
    pub fn new(layers: impl IntoIterator<Item = LayerWeights<B>>) -> Option<Self> {
        let mut layers = layers.into_iter();
        let (first, second) = (layers.next()?, layers.next()?);
        let block = match (layers.next(), layers.next()) {
            (None, _) => Self::Two(first, second),
            (Some(third), None) => Self::Three(first, second, third),
            (Some(third), Some(fourth)) => Self::Four(first, second, third, fourth),
        };
        layers.next().is_none().then_some(block)
    }

    pub fn into_tensors(self) -> Vec<FloatTensor<B>> {
        let layers = match self {
            Self::Two(a, b) => vec![a, b],
            Self::Three(a, b, c) => vec![a, b, c],
            Self::Four(a, b, c, d) => vec![a, b, c, d],
        };
        let tensors = layers.into_iter().map(LayerWeights::into_tensors);
        tensors.flatten().collect()
    }
}
