//! Units as operations of Burn's backends.

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};
use rekindle_kernels::Statistics;

use super::memory::to_tensor;
use super::operand::Operand;
use super::tensors::Tensors;
use super::train::Training;
use super::weights::Weights;

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
}

/// Reason why no operation returns an error.
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
}
