//! ConvNet-4 of the few-shot literature (Vinyals et al. 2016; Snell et al. 2017, <https://arxiv.org/abs/1703.05175>).
//!
//! A small network for characters and digits, where there are no pretrained weights: blocks of a 3x3 convolution, batch
//! normalisation, ReLU and 2x2 max pooling, one stage each.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::conv_net::ConvNetConfig;
//!
//! # #[cfg(feature = "flex")] {
//! let device = Device::flex();
//! let net = ConvNetConfig::default().network(42, &device)?;
//! let characters = Tensor::<4>::zeros([5, 1, 28, 28], &device);
//! assert_eq!(net.forward(characters).dims(), [5, 64]); // features
//! # }
//! # Ok::<(), rekindle_nn::GraphError>(())
//! ```

use burn::prelude::*;
use rekindle_nn::{
    Activation::Relu, Builder, Conv, ConvInit, Graph, GraphError, LinearInit, Network, Pool2d,
};

use crate::common::conv_norm;

/// Sizes of a ConvNet; it has no classifier, and gives features `[batch, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvNetConfig {
    /// Channels of the images: 1, for grey, by default.
    pub in_channels: usize,
    /// Channels of every block: 64 by default.
    pub width: usize,
    /// Number of blocks: 4 by default. Each halves height and width, rounding down.
    pub blocks: usize,
}

impl Default for ConvNetConfig {
    fn default() -> Self {
        Self {
            in_channels: 1,
            width: 64,
            blocks: 4,
        }
    }
}

impl ConvNetConfig {
    /// Describes the network.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::finish`], for a size of zero.
    pub fn graph(&self) -> Result<Graph, GraphError> {
        let mut b = Builder::new("conv_net", self.in_channels)
            .init(ConvInit::KaimingFanOut, LinearInit::PyTorch);
        let mut x = b.images();
        for index in 0..self.blocks {
            x = b.stage(format!("block{}", index + 1), |b| {
                b.scope(format!("blocks.{index}"), |b| {
                    b.block(|b| {
                        let conv = Conv::new(self.width, 3);
                        let x = conv_norm(b, ["conv", "norm"], x, conv, Some(Relu));
                        b.max_pool(x, Pool2d::new(2, 2, 0))
                    })
                })
            });
        }
        x = b.global_pool(x);
        b.finish("fc", x, 0)
    }

    /// Builds the network with fresh weights, a function of `seed` alone.
    ///
    /// # Errors
    ///
    /// As [`graph`](Self::graph).
    pub fn network(&self, seed: u64, device: &Device) -> Result<Network, GraphError> {
        Ok(Network::new(self.graph()?, seed, device))
    }
}
