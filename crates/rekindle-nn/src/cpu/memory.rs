//! Tensors of Burn's flex backend and values of the kernels, without a copy between them.

use std::borrow::Cow;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};
use rekindle_kernels::{Activation, AlignedVec, KernelError, LANES};

/// Returns a tensor `[batch, channels / 16, height, width, 16]` that lies where the activation lies.
pub(super) fn to_tensor(activation: Arc<Activation>) -> FlexTensor {
    let [n, c, h, w] = activation.shape();
    shared(Maps(activation), [n, c.div_ceil(LANES), h, w, LANES])
}

/// Returns a tensor of a kernel's values in row-major order, where they lie.
pub(super) fn from_kernel(values: AlignedVec, shape: Vec<usize>) -> FlexTensor {
    shared(Numbers(values), shape)
}

/// Reads the feature maps in a tensor that [`to_tensor`] could have given, of which `channels` are in use.
pub(super) fn to_activation(
    tensor: FlexTensor,
    channels: usize,
) -> Result<Activation, KernelError> {
    let shape = tensor.layout().shape();
    let shape = [shape[0], channels, shape[2], shape[3]];
    Activation::from_shared(Arc::new(Contiguous(contiguous(tensor))), shape)
}

/// Returns a tensor of `values` in row-major order.
pub(super) fn from_values(values: Vec<f32>, shape: impl Into<burn::tensor::Shape>) -> FlexTensor {
    tensor(TensorData::new(values, shape))
}

/// Returns the tensor with its values in row-major order.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// Returns the values of a tensor that [`contiguous`] gave.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().unwrap_or(&[])
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
pub(super) struct Images {
    tensor: FlexTensor,
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

    pub fn values(&self) -> &[f32] {
        values(&self.tensor)
    }
}

/// A value between steps, in whichever order its step gave it.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Images(Images),
    Maps(Arc<Activation>),
    /// Maps of one pixel, row-major `[batch, channels]`.
    Rows {
        values: Arc<Vec<f32>>,
        channels: usize,
    },
}

impl Operand {
    pub fn new(maps: Activation) -> Self {
        Self::Maps(Arc::new(maps))
    }

    pub fn rows(values: Vec<f32>, channels: usize) -> Self {
        let values = Arc::new(values);
        Self::Rows { values, channels }
    }

    /// Takes maps that come into a program, in either order.
    pub fn from_tensor(x: FlexTensor, channels: usize) -> Result<Self, KernelError> {
        match x.layout().shape().num_dims() {
            4 => Ok(Self::Images(Images::new(x))),
            _ => to_activation(x, channels).map(Self::new),
        }
    }

    /// Returns feature maps.
    pub fn maps(&self) -> Result<Arc<Activation>, KernelError> {
        match self {
            Self::Maps(maps) => Ok(Arc::clone(maps)),
            Self::Images(x) => Activation::from_nchw(x.values(), x.shape).map(Arc::new),
            Self::Rows { values, channels } => {
                let shape = [values.len() / (*channels).max(1), *channels, 1, 1];
                Activation::from_nchw(values, shape).map(Arc::new)
            }
        }
    }

    /// Returns maps of one pixel as rows.
    pub fn as_rows(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Maps(maps) => Cow::Owned(maps.to_nchw()),
            Self::Images(x) => Cow::Borrowed(x.values()),
            Self::Rows { values, .. } => Cow::Borrowed(values),
        }
    }

    /// Returns a gradient in the order of this input.
    pub fn like(&self, gradient: Arc<Activation>) -> FlexTensor {
        match self {
            Self::Images(_) => from_values(gradient.to_nchw(), gradient.shape()),
            Self::Maps(_) | Self::Rows { .. } => to_tensor(gradient),
        }
    }
}
