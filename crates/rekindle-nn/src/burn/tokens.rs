//! Operations of vision transformers and ConvNeXt, as Burn's.

use burn::prelude::*;
use burn::tensor::activation::softmax;

use super::positions::resample;
use crate::op::{Attention, GroupNorm, LayerNorm, Tokens};

/// Multiplies the channels of each pixel `[batch, in, height, width]` by `weight` `[in, out]`.
pub(super) fn multiply_pixels(
    x: Tensor<4>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<4> {
    let [batch, _, height, width] = x.dims();
    let [_, out] = weight.dims();
    let y = weight.transpose().unsqueeze::<3>().matmul(x.flatten(2, 3));
    let y = match bias {
        Some(bias) => y + bias.reshape([1, out, 1]),
        None => y,
    };
    y.reshape([batch, out, height, width])
}

/// Normalises dimension 1 by its own mean and variance.
pub(super) fn layer_norm<const D: usize>(
    norm: &LayerNorm,
    x: Tensor<D>,
    [weight, bias]: [Tensor<1>; 2],
) -> Tensor<D> {
    let mut shape = [1; D];
    shape[1] = norm.channels;
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let normalised = centred / (variance + norm.epsilon).sqrt();
    normalised * weight.reshape(shape) + bias.reshape(shape)
}

/// Normalises each group of channels of an image.
pub(super) fn group_norm(
    norm: &GroupNorm,
    x: Tensor<4>,
    [weight, bias]: [Tensor<1>; 2],
) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let grouped = x.reshape([batch, norm.groups, channels / norm.groups * height * width]);
    let centred = grouped.clone() - grouped.mean_dim(2);
    let variance = (centred.clone() * centred.clone()).mean_dim(2);
    let normalised = centred / (variance + norm.epsilon).sqrt();
    let [weight, bias] = [weight, bias].map(|v| v.reshape([1, channels, 1, 1]));
    normalised.reshape([batch, channels, height, width]) * weight + bias
}

/// Computes `x + bias + weight * x * n`.
pub(super) fn respond(norm: &LayerNorm, x: Tensor<4>, [weight, bias]: [Tensor<1>; 2]) -> Tensor<4> {
    let [batch, channels, _, _] = x.dims();
    let squares = (x.clone() * x.clone()).flatten::<3>(2, 3).sum_dim(2);
    // The derivative of the root has a pole at zero, where a channel that is zero everywhere lies.
    let is_zero = squares.clone().equal_elem(0.0);
    let norms = squares.mask_fill(is_zero.clone(), 1.0).sqrt();
    let norms = norms.mask_fill(is_zero, 0.0);
    let share = norms.clone() / (norms.mean_dim(1) + norm.epsilon);
    let share = share.reshape([batch, channels, 1, 1]);
    let [weight, bias] = [weight, bias].map(|v| v.reshape([1, channels, 1, 1]));
    x.clone() + bias + x * share * weight
}

/// Puts the class token and the registers that there are in front of the patches, and adds the positions. `tables` are as [`Tokens`] says.
pub(super) fn tokenise(tokens: &Tokens, patches: Tensor<4>, tables: Vec<Tensor<3>>) -> Tensor<4> {
    let [batch, channels, rows, columns] = patches.dims();
    let mut tables = tables.into_iter().map(|table| table.swap_dims(1, 2));
    let mut next = |count: usize| match tables.next() {
        Some(table) => table,
        None => Tensor::zeros([1, channels, count], &patches.device()),
    };
    let mut class = (!tokens.lacks_class_token).then(|| next(1));
    let registers = (tokens.registers > 0).then(|| next(tokens.registers));
    let mut positions = next(tokens.positions());
    if tokens.has_class_position {
        class = class.map(|class| class + positions.clone().narrow(2, 0, 1));
        positions = positions.narrow(2, 1, tokens.grid[0] * tokens.grid[1]);
    }
    let positions = resample(positions, tokens.grid, [rows, columns]);
    let patches = patches.flatten::<3>(2, 3) + positions;
    let prefix = class.into_iter().chain(registers);
    let prefix = prefix.map(|x| x.repeat_dim(0, batch));
    let all = prefix.chain([patches]).collect();
    Tensor::cat(all, 2).unsqueeze_dim(2)
}

/// Computes `softmax(q kᵀ / sqrt(d)) v` for each head of `[batch, 3 * channels, height, width]`.
pub(super) fn attend(attention: &Attention, x: Tensor<4>) -> Tensor<4> {
    let Attention {
        channels,
        heads,
        is_causal,
    } = *attention;
    let [batch, _, height, width] = x.dims();
    let (dim, tokens) = (channels / heads, height * width);
    // `[batch, heads, dim, tokens]` each.
    let part = |first: usize| {
        let part = x.clone().narrow(1, first * channels, channels);
        part.reshape([batch, heads, dim, tokens])
    };
    let [query, key, value] = [0, 1, 2].map(part);
    let scores = query.swap_dims(2, 3).matmul(key) / (dim as f64).sqrt();
    let scores = match is_causal {
        true => {
            let ahead = Tensor::<2, Bool>::tril_mask([tokens; 2], 0, &scores.device());
            scores.mask_fill(ahead.unsqueeze_dims(&[0, 0]), f64::NEG_INFINITY)
        }
        false => scores,
    };
    let seen = value.matmul(softmax(scores, 3).swap_dims(2, 3));
    seen.reshape([batch, channels, height, width])
}
