//! Parameters of any rank as vectors, so that they fit into one table.

use burn::prelude::*;

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
