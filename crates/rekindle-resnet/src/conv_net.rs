//! A small convolutional network for characters and digits.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;

use crate::block::conv2d;
use crate::state_dict::with_stable_ids;
use crate::{BatchNorm, Error};

/// What a [`ConvNet`] is built of.
#[derive(Config, Debug, PartialEq)]
pub struct ConvNetConfig {
    /// Channels of the input: 1 for grey.
    #[config(default = 1)]
    pub in_channels: usize,
    /// Channels of every block.
    #[config(default = 64)]
    pub width: usize,
    /// Number of blocks; each halves the maps.
    #[config(default = 4)]
    pub blocks: usize,
}

impl ConvNetConfig {
    /// A network with fresh weights on `device`.
    pub fn init(&self, device: &Device) -> ConvNet {
        let block = |index: usize| {
            let inputs = if index == 0 {
                self.in_channels
            } else {
                self.width
            };
            ConvBlock {
                conv: conv2d([inputs, self.width], 3, 1, 1, device),
                norm: BatchNorm::new(self.width, device),
            }
        };
        with_stable_ids(ConvNet {
            blocks: (0..self.blocks).map(block).collect(),
        })
    }
}

/// ConvNet-4 of the few-shot literature (Vinyals et al. 2016; Snell et al. 2017, <https://arxiv.org/abs/1703.05175>):
/// blocks of a 3 x 3 convolution, batch normalisation, ReLU and 2 x 2 max pooling.
#[derive(Module, Debug)]
pub struct ConvNet {
    /// The blocks, in order.
    pub blocks: Vec<ConvBlock>,
}

/// A convolution with its batch normalisation; ReLU and pooling have no parameters.
#[derive(Module, Debug)]
pub struct ConvBlock {
    /// 3 x 3, stride 1, no bias.
    pub conv: Conv2d,
    /// Behind it.
    pub norm: BatchNorm,
}

impl ConvNet {
    /// Runs images `[batch, channels, height, width]` through the blocks `start..end`; each halves height and width,
    /// rounding down.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStage`] for a range that reaches beyond the last block, or ends before it begins.
    pub fn forward_blocks(
        &self,
        start: usize,
        end: usize,
        x: Tensor<4>,
    ) -> Result<Tensor<4>, Error> {
        let blocks = self.blocks.get(start..end).ok_or(Error::UnknownStage {
            found: start.max(end.saturating_sub(1)),
            stages: self.blocks.len(),
        })?;
        #[cfg(feature = "kernels")]
        if let Some(maps) = crate::kernels::pooled_layers(&layers(blocks), &x) {
            return Ok(maps.into_tensor());
        }
        Ok(blocks.iter().fold(x, |x, block| block.forward(x)))
    }

    /// Images `[batch, channels, height, width]` to features `[batch, width]`: the means of the last maps, which for
    /// 28 x 28 pixels and four blocks are single numbers already.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        #[cfg(feature = "kernels")]
        if let Some(maps) = crate::kernels::pooled_layers(&layers(&self.blocks), &images) {
            return maps.pool();
        }
        let x = self.blocks.iter().fold(images, |x, block| block.forward(x));
        x.mean_dim(3).mean_dim(2).flatten(1, 3)
    }

    /// Length of the feature vector.
    pub fn num_features(&self) -> usize {
        self.blocks
            .last()
            .map_or(0, |block| block.conv.weight.dims()[0])
    }
}

impl ConvBlock {
    /// By Burn's operations.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.norm.forward(self.conv.forward(x)));
        let options = MaxPoolOptions::new([2, 2]).with_stride([2, 2]);
        max_pool2d(x, options)
    }
}

#[cfg(feature = "kernels")]
fn layers(blocks: &[ConvBlock]) -> Vec<(&Conv2d, &BatchNorm)> {
    blocks
        .iter()
        .map(|block| (&block.conv, &block.norm))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::TensorData;

    use super::*;
    use crate::state_dict::{assign, collect};

    fn made(device: &Device, width: usize) -> (ConvNet, Tensor<4>) {
        let net = ConvNetConfig::new().with_width(width).init(device);
        let counts = collect(&net);
        let net = assign(net, |name| {
            let tensor = &counts[name];
            let wave = |i: usize| ((i * 37 + name.len() * 11) as f32 * 0.731).sin();
            (tensor.shape.len() == 4)
                .then(|| (0..tensor.values.len()).map(|i| 0.2 * wave(i)).collect())
        });
        let values: Vec<f32> = (0..3 * 28 * 28).map(|i| (i as f32 * 0.37).sin()).collect();
        let images = Tensor::from_data(TensorData::new(values, [3, 1, 28, 28]), device);
        (net, images)
    }

    fn close<const D: usize>(a: Tensor<D>, b: Tensor<D>, within: f32) {
        let largest = b.clone().abs().max().into_scalar::<f32>();
        let worst = (a - b).abs().max().into_scalar::<f32>();
        assert!(worst <= within * largest, "{worst} of {largest}");
    }

    #[test]
    fn kernels_agree_with_burn_s_operations_in_values_and_gradients() {
        let device = Device::flex().autodiff();
        for width in [16, 24] {
            let (net, images) = made(&device, width);
            let (plain, _) = made(&device, width);
            let images = images.require_grad();
            let found = net.features(images.clone());
            let other = images.clone().detach().require_grad();
            let maps = plain.blocks.iter().fold(other.clone(), |x, b| b.forward(x));
            assert_eq!(maps.dims(), [3, width, 1, 1]);
            let expected: Tensor<2> = maps.flatten(1, 3);
            close(found.clone().inner(), expected.clone().inner(), 1e-4);
            let weigh = |x: Tensor<2>| (x.clone() * x.sin()).sum();
            let grads = weigh(found).backward();
            let reference = weigh(expected).backward();
            close(
                images.grad(&grads).unwrap(),
                other.grad(&reference).unwrap(),
                1e-2,
            );
            for (a, b) in net.blocks.iter().zip(&plain.blocks) {
                let of = |block: &ConvBlock, grads| block.conv.weight.val().grad(grads).unwrap();
                close(of(a, &grads), of(b, &reference), 1e-2);
                let of = |block: &ConvBlock, grads| block.norm.weight.val().grad(grads).unwrap();
                close(of(a, &grads), of(b, &reference), 1e-2);
            }
            let (a, b) = (net.valid(), plain.valid());
            let images = images.inner();
            let expected = b.blocks.iter().fold(images.clone(), |x, b| b.forward(x));
            close(a.features(images), expected.flatten(1, 3), 1e-4);
        }
    }
}
