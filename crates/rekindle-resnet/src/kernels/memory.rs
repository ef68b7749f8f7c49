//! Tensors of Burn's flex backend and feature maps of the kernels, without a copy between them.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};
use rekindle_kernels::{Activation, AlignedVec, KernelError, LANES};

/// Extents of a tensor that holds feature maps `[batch, channels, height, width]` in blocks of channels.
pub(super) fn blocked_shape([n, c, h, w]: [usize; 4]) -> [usize; 5] {
    [n, c.div_ceil(LANES), h, w, LANES]
}

/// A tensor of shape [`blocked_shape`] that lies where the activation lies.
pub(super) fn to_tensor(activation: Arc<Activation>) -> FlexTensor {
    let shape = blocked_shape(activation.shape());
    shared(Maps(activation), shape)
}

/// A tensor of a kernel's values in row-major order, where they lie.
pub(super) fn from_kernel<const D: usize>(values: AlignedVec, shape: [usize; D]) -> FlexTensor {
    shared(Numbers(values), shape)
}

/// The feature maps in a tensor of shape [`blocked_shape`], of which `channels` are in use.
pub(super) fn to_activation(
    tensor: FlexTensor,
    channels: usize,
) -> Result<Activation, KernelError> {
    let shape = tensor.layout().shape();
    let shape = [shape[0], channels, shape[2], shape[3]];
    Activation::from_shared(Arc::new(Contiguous(contiguous(tensor))), shape)
}

/// A tensor of `values` in row-major order.
pub(super) fn from_values<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    tensor(TensorData::new(values, shape))
}

/// The tensor with its values in row-major order.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The values of a tensor that [`contiguous`] gave.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().unwrap_or(&[])
}

fn tensor(data: TensorData) -> FlexTensor {
    Flex::float_from_data(data, &Default::default())
}

fn shared<const D: usize>(
    owner: impl AsRef<[u8]> + Send + 'static,
    shape: [usize; D],
) -> FlexTensor {
    let bytes = bytes::Bytes::from_owner(owner);
    let bytes = Bytes::from_shared(bytes, AllocationProperty::Native);
    tensor(TensorData::from_bytes(bytes, shape, DType::F32))
}

struct Maps(Arc<Activation>);

impl AsRef<[u8]> for Maps {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self.0.as_blocked())
    }
}

struct Numbers(AlignedVec);

impl AsRef<[u8]> for Numbers {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// A tensor that holds feature maps.
struct Contiguous(FlexTensor);

impl AsRef<[f32]> for Contiguous {
    fn as_ref(&self) -> &[f32] {
        values(&self.0)
    }
}
