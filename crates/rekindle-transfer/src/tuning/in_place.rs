//! Parameters of Burn's flex backend, changed where they lie.
//!
//! Burn's own optimisers, operation by operation, walk over memory a dozen times per step, which at small batches takes as
//! long as a stage of the network.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::prelude::*;
use burn::tensor::DType;
use rayon::prelude::*;

/// Numbers that a thread takes at once.
const CHUNK: usize = 1 << 14;

/// Tells whether [`update_in_place`] can read and change the tensor: `f32` on the flex device, without autodiff.
#[doc(hidden)]
pub fn supports_in_place<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex() && tensor.dtype() == DType::F32
}

/// Tells whether two tensors are one piece of memory, so that their numbers are the same.
pub(super) fn is_same<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> bool {
    if !supports_in_place(a) || !supports_in_place(b) {
        return false;
    }
    let [a, b] = [a, b].map(|tensor| tensor.clone().try_into_primitive::<Flex>());
    match (a, b) {
        (Ok(a), Ok(b)) => a.bytes().as_ptr() == b.bytes().as_ptr() && a.layout() == b.layout(),
        _ => false,
    }
}

/// Applies `step` to the numbers at each place of `tensors` and to the number that `read` has there, all of one shape and
/// [supported in place](supports_in_place): in the tensors' memory where nobody else holds it.
#[doc(hidden)]
pub fn update_in_place<const D: usize, const N: usize>(
    tensors: [Tensor<D>; N],
    read: Tensor<D>,
    step: impl Fn([&mut f32; N], f32) + Sync,
) -> [Tensor<D>; N] {
    let read = primitive(read);
    let read = read.as_slice::<f32>().unwrap_or(&[]);
    let mut tensors = tensors.map(primitive);
    let mut left = tensors.each_mut().map(|tensor| tensor.storage_mut::<f32>());
    let mut chunks = Vec::with_capacity(read.len().div_ceil(CHUNK));
    for read in read.chunks(CHUNK) {
        let chunk = left.each_mut().map(|left| {
            left.split_off_mut(..read.len())
                .expect("the tensors have the shape of what is read")
        });
        chunks.push((chunk, read));
    }
    chunks.into_par_iter().for_each(|(chunk, read)| {
        let mut chunk = chunk.map(|chunk| &mut chunk[..read.len()]);
        for (place, read) in read.iter().enumerate() {
            step(chunk.each_mut().map(|chunk| &mut chunk[place]), *read);
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
