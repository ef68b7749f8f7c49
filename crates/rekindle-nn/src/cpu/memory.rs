//! Tensors of Burn's flex backend and values of the kernels, without a copy between them.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};
use rekindle_kernels::{Activation, AlignedVec, KernelError, LANES};

/// Returns a tensor `[batch, channels / 16, height, width, 16]` that lies where the activation lies.
pub fn to_tensor(activation: Arc<Activation>) -> FlexTensor {
    let [n, c, h, w] = activation.shape();
    shared(Maps(activation), [n, c.div_ceil(LANES), h, w, LANES])
}

/// Returns a tensor of a kernel's values in row-major order, where they lie.
pub fn from_kernel(values: AlignedVec, shape: impl Into<burn::tensor::Shape>) -> FlexTensor {
    shared(Numbers(values), shape)
}

/// Reads the feature maps in a tensor that [`to_tensor`] could have given, of which `channels` are in use.
///
/// # Errors
///
/// [`KernelError`] for a tensor of another shape.
pub fn to_activation(tensor: FlexTensor, channels: usize) -> Result<Activation, KernelError> {
    let shape = tensor.layout().shape();
    let shape = [shape[0], channels, shape[2], shape[3]];
    Activation::from_shared(Arc::new(Contiguous(contiguous(tensor))), shape)
}

/// Returns a tensor of `values` in row-major order.
pub fn from_values(values: Vec<f32>, shape: impl Into<burn::tensor::Shape>) -> FlexTensor {
    tensor(TensorData::new(values, shape))
}

/// Returns the tensor with its values in row-major order.
pub fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// Returns the values of a tensor that [`contiguous`] gave.
pub fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().unwrap_or(&[])
}

/// Tells whether two tensors lie at one place in one order. While either is held nothing else can come to lie there, so
/// their numbers are the same.
pub fn is_same(a: &FlexTensor, b: &FlexTensor) -> bool {
    a.bytes().as_ptr() == b.bytes().as_ptr() && a.layout() == b.layout()
}

fn tensor(data: TensorData) -> FlexTensor {
    Flex::float_from_data(data, &Default::default())
}

fn shared(
    owner: impl AsRef<[u8]> + Send + 'static,
    shape: impl Into<burn::tensor::Shape>,
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

/// Images, or maps in the same order: row-major `[batch, channels, height, width]`.
#[derive(Clone, Debug)]
pub struct Images {
    tensor: FlexTensor,
    /// Its four extents.
    pub shape: [usize; 4],
}

impl Images {
    /// Takes a tensor of four dimensions.
    pub fn new(tensor: FlexTensor) -> Self {
        let tensor = contiguous(tensor);
        let shape = tensor.layout().shape();
        let shape = [shape[0], shape[1], shape[2], shape[3]];
        Self { tensor, shape }
    }

    /// Returns the numbers.
    pub fn values(&self) -> &[f32] {
        values(&self.tensor)
    }
}
