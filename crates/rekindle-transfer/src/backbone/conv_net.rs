//! The small network for characters and digits as a backbone: a stage a block.

use burn::prelude::*;
use rekindle_resnet::{ConvNet, ConvNetConfig};

use super::{Backbone, assert_stages, existing};
use crate::TransferError;
use crate::initialise::seeded;

/// Stages beyond the fourth have no name of their own and belong to it.
const STAGES: [&str; 4] = ["block1", "block2", "block3", "block4"];

impl Backbone for ConvNet {
    fn stage_names(&self) -> &'static [&'static str] {
        &STAGES[..self.blocks.len().min(STAGES.len())]
    }

    fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Tensor<4> {
        self.forward_stages(stage, stage + 1, x)
    }

    fn forward_stages(&self, start: usize, end: usize, x: Tensor<4>) -> Tensor<4> {
        let stages = self.stage_names().len();
        assert_stages(start, end, stages);
        if start == end {
            return x;
        }
        let is_whole = end == stages;
        let end = if is_whole { self.blocks.len() } else { end };
        existing(self.forward_blocks(start, end, x))
    }

    fn pool_stages(&self, start: usize, x: Tensor<4>) -> Tensor<2> {
        if start == 0 {
            return self.features(x);
        }
        let stages = self.stage_names().len();
        assert_stages(start, stages, stages);
        self.pool(self.forward_stages(start, stages, x))
    }

    fn reinitialise(self, seed: u64) -> Result<Self, TransferError> {
        let Some(first) = self.blocks.first() else {
            return Ok(self);
        };
        let device = first.conv.weight.lazy_device();
        let config = ConvNetConfig::new()
            .with_in_channels(self.in_channels())
            .with_width(ConvNet::num_features(&self))
            .with_blocks(self.blocks.len());
        Ok(seeded(seed, &device, || config.init(&device)))
    }

    fn pool(&self, x: Tensor<4>) -> Tensor<2> {
        x.mean_dim(3).mean_dim(2).flatten(1, 3)
    }

    fn num_features(&self) -> usize {
        ConvNet::num_features(self)
    }

    fn in_channels(&self) -> usize {
        self.blocks
            .first()
            .map_or(0, |block| block.conv.weight.dims()[1])
    }

    /// Paths are such as `"blocks.2.conv.weight"`.
    fn stage_of(&self, path: &str) -> usize {
        let number = path.split('.').find_map(|part| part.parse::<usize>().ok());
        number
            .unwrap_or(0)
            .min(self.stage_names().len().saturating_sub(1))
    }
}
