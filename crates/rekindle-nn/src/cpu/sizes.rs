//! Sizes of operations as the kernels know them.

use rekindle_kernels::{ActivationFn, Conv2dParams, Padding};

use super::error::NoKernel;
use super::program::Window;
use crate::graph::Node;
use crate::op::{Activation, Conv2d, Pool2d};
use crate::shape::Shape;

/// More rows or columns of padding, or in a step, than this have no kernel.
const MOST_PADDING: usize = 1 << 16;

pub(super) fn refused(node: &Node, reason: &'static str) -> NoKernel {
    NoKernel::Sizes {
        node: node.name.clone(),
        reason,
    }
}

fn sides([[top, bottom], [left, right]]: [[usize; 2]; 2]) -> Padding {
    Padding {
        top,
        left,
        bottom,
        right,
    }
}

pub(super) fn params(
    node: &Node,
    conv: &Conv2d,
    size: [usize; 2],
) -> Result<Conv2dParams, NoKernel> {
    let [stride, along_width] = conv.stride;
    let most = if conv.groups == 1 { MOST_PADDING } else { 2 };
    if stride != along_width || !(1..=most).contains(&stride) {
        return Err(refused(
            node,
            "only equal strides have a kernel, and in groups those of 1 and 2",
        ));
    }
    if [0, 1]
        .iter()
        .any(|i| conv.dilation[*i] > 1 && conv.kernel[*i] > 1)
    {
        return Err(refused(node, "dilation has no kernel"));
    }
    let pairs = conv.padding.pairs(size, conv.window(), conv.stride);
    if pairs.as_flattened().iter().any(|side| *side > MOST_PADDING) {
        return Err(refused(node, "so much padding has no kernel"));
    }
    Ok(Conv2dParams {
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        kernel: conv.kernel,
        stride,
        padding: sides(pairs),
        groups: conv.groups,
    })
}

/// Refuses a convolution whose gradient by the input has no kernel.
pub(super) fn check_gradient(node: &Node, params: &Conv2dParams) -> Result<(), NoKernel> {
    let [height, width] = params.kernel;
    let Padding {
        top,
        left,
        bottom,
        right,
    } = params.padding;
    let is_narrow = height != width || top.max(left).max(bottom).max(right) >= height;
    match is_narrow && !params.is_depthwise() && params.stride <= 2 {
        true => Err(refused(
            node,
            "the gradient needs a square filter wider than its padding",
        )),
        false => Ok(()),
    }
}

pub(super) fn window(node: &Node, pool: &Pool2d, input: Shape) -> Result<Window, NoKernel> {
    let Shape::Maps { size, .. } = input else {
        return Err(refused(node, "rows are not pooled"));
    };
    let is_square = [pool.kernel, pool.stride, pool.padding]
        .iter()
        .all(|p| p[0] == p[1]);
    if !is_square || pool.padding[0] > pool.kernel[0] / 2 {
        return Err(refused(node, "only square windows are pooled"));
    }
    Ok(Window {
        size: pool.kernel[0],
        stride: pool.stride[0],
        padding: sides(pool.pairs(size)),
    })
}

pub(super) fn average(node: &Node, pool: &Pool2d, input: Shape) -> Result<Conv2dParams, NoKernel> {
    let Window {
        size,
        stride,
        padding,
    } = window(node, pool, input)?;
    if stride > 2 {
        return Err(refused(
            node,
            "averages have a kernel only at strides of 1 and 2",
        ));
    }
    Ok(Conv2dParams::depthwise(input.channels(), size, stride).with_padding(padding))
}

pub(super) fn function(activation: Activation) -> ActivationFn {
    match activation {
        Activation::Relu => ActivationFn::Relu,
        Activation::Relu6 => ActivationFn::Relu6,
        Activation::Silu => ActivationFn::Silu,
        Activation::HardSwish => ActivationFn::HardSwish,
        Activation::HardSigmoid => ActivationFn::HardSigmoid,
        Activation::Sigmoid => ActivationFn::Sigmoid,
        Activation::Gelu => ActivationFn::Gelu,
        Activation::QuickGelu => ActivationFn::QuickGelu,
        Activation::GeluTanh => ActivationFn::GeluTanh,
        Activation::Mish => ActivationFn::Mish,
        Activation::Tanh => ActivationFn::Tanh,
        Activation::Elu => ActivationFn::Elu,
        Activation::LeakyRelu => ActivationFn::LeakyRelu,
        Activation::LeakyReluTenth => ActivationFn::LeakyReluTenth,
    }
}
