//! Tensors of Burn's flex backend, changed where they lie.
//!
//! Burn's own optimisers, operation by operation, walk over memory a dozen times a step, which at small batches takes as
//! long as a stage of the network.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::prelude::*;
use burn::tensor::DType;
use rayon::prelude::*;

/// Numbers that a thread takes at once.
const CHUNK: usize = 1 << 14;

/// Tells whether [`update`] can read and change the tensor.
pub fn is_at_home<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex() && tensor.dtype() == DType::F32
}

/// Applies `step` to the numbers at each place of `tensors`, all of the shape of `gradient`, and to the gradient there:
/// in the tensors' memory where nobody else holds it.
pub fn update<const D: usize, const N: usize>(
    tensors: [Tensor<D>; N],
    gradient: Tensor<D>,
    step: impl Fn([&mut f32; N], f32) + Sync,
) -> [Tensor<D>; N] {
    let gradient = primitive(gradient);
    let gradient = gradient.as_slice::<f32>().unwrap_or(&[]);
    let mut tensors = tensors.map(primitive);
    let mut left = tensors.each_mut().map(|tensor| tensor.storage_mut::<f32>());
    let mut chunks = Vec::with_capacity(gradient.len().div_ceil(CHUNK));
    for gradient in gradient.chunks(CHUNK) {
        let chunk = left.each_mut().map(|left| {
            left.split_off_mut(..gradient.len())
                .expect("the tensors have the gradient's shape")
        });
        chunks.push((chunk, gradient));
    }
    chunks.into_par_iter().for_each(|(chunk, gradient)| {
        let mut chunk = chunk.map(|chunk| &mut chunk[..gradient.len()]);
        for (place, gradient) in gradient.iter().enumerate() {
            step(chunk.each_mut().map(|chunk| &mut chunk[place]), *gradient);
        }
    });
    tensors.map(Tensor::from_primitive::<Flex>)
}

/// The tensor on its backend, its values in row-major order from the beginning of its memory.
fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    let tensor = tensor
        .try_into_primitive::<Flex>()
        .expect("a tensor whose device is flex lies on the backend of that name");
    let whole = tensor.layout().contiguous_offsets() == Some((0, tensor.storage::<f32>().len()));
    if whole {
        tensor
    } else {
        tensor.to_contiguous()
    }
}
