//! Parameters of any rank as vectors, so that they fit into one table.

use burn::prelude::*;

#[cfg(feature = "flex")]
use super::in_place::{is_same, supports_in_place, update_in_place};

/// The numbers of a tensor in a row, without their gradient.
pub(super) fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let tensor = if tensor.is_autodiff() {
        tensor.inner()
    } else {
        tensor
    };
    let count = tensor.dims().iter().product::<usize>();
    tensor.reshape([count])
}

/// Goes `share` of the way from `tensor` to `target`, in the memory of `tensor` where it can; nowhere, where the two are one
/// piece of memory, as a frozen parameter and its source are.
pub(super) fn step_towards(tensor: Tensor<1>, target: Tensor<1>, share: f64) -> Tensor<1> {
    #[cfg(feature = "flex")]
    {
        if is_same(&tensor, &target) {
            return tensor;
        }
        if supports_in_place(&tensor) && supports_in_place(&target) {
            let share = share as f32;
            let [tensor] = update_in_place([tensor], target, |[value], target| {
                *value += (target - *value) * share;
            });
            return tensor;
        }
    }
    tensor.clone() + (target - tensor).mul_scalar(share)
}
