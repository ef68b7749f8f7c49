//! The kernels as operations of Burn's backends.

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};
use rekindle_kernels::{
    Activation, KernelError, Statistics, global_average_pool, global_average_pool_gradient,
};

use super::layer::Weights;
use super::memory::{Images, Operand, contiguous, from_values, to_activation, to_tensor, values};
use super::tensors::Tensors;
use super::train::Training;

/// Units of a network as one operation each, with a backward pass under autodiff.
///
/// Between them, feature maps are tensors `[batch, channels / 16, height, width, 16]`. What each step took of the
/// batch's statistics comes back by step.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait UnitOperations: Backend {
    /// A unit with its parameters: images `[batch, channels, height, width]` or blocked feature maps to blocked feature
    /// maps.
    fn unit(
        x: FloatTensor<Self>,
        #[extension_type] tensors: Tensors<Self>,
        training: Training,
    ) -> (FloatTensor<Self>, Vec<Option<Statistics>>);

    /// Blocked feature maps to the mean of each channel, `[batch, channels]`.
    fn average_pool(x: FloatTensor<Self>, channels: usize) -> FloatTensor<Self>;

    /// `[batch, channels, height, width]` to blocked feature maps.
    fn to_blocked(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Blocked feature maps to `[batch, channels, height, width]`.
    fn from_blocked(x: FloatTensor<Self>, channels: usize) -> FloatTensor<Self>;
}

/// Why no operation returns an error.
pub(super) const CHECKED: &str = "shapes are computed before an operation is called";

impl UnitOperations for Flex {
    fn unit(
        x: FlexTensor,
        tensors: Tensors<Self>,
        training: Training,
    ) -> (FlexTensor, Vec<Option<Statistics>>) {
        let weights = Weights::new(tensors.0);
        let x = Operand::from_tensor(x, training.program.in_channels()).expect(CHECKED);
        let given = training.forward(&weights, x, false).expect(CHECKED);
        (to_tensor(given.y), given.taken)
    }

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

/// Computes the gradient by blocked feature maps of `shape` for `dy`, the gradient by their average
/// `[batch, channels]`.
pub(super) fn average_pool_gradient(
    dy: FlexTensor,
    shape: [usize; 4],
) -> Result<FlexTensor, KernelError> {
    let dx = global_average_pool_gradient(values(&contiguous(dy)), shape)?;
    Ok(to_tensor(dx.into()))
}
