//! Every described network as a backbone.

use burn::prelude::*;
use rekindle_nn::{GraphError, Network};
#[cfg(feature = "kernels")]
use rekindle_nn::{NotQuantizable, QuantizedStages};

#[cfg(feature = "kernels")]
use super::QuantizedPrefix;
use super::{Backbone, TokenGrid, assert_stages};
use crate::TransferError;

impl Backbone for Network {
    fn stage_names(&self) -> Vec<&str> {
        self.graph().stage_names()
    }

    fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Tensor<4> {
        Backbone::forward_stages(self, stage, stage + 1, x)
    }

    fn forward_stages(&self, start: usize, end: usize, x: Tensor<4>) -> Tensor<4> {
        assert_stages(start, end, self.graph().stages().len());
        existing(Network::forward_stages(self, start..end, x))
    }

    fn pool_stages(&self, start: usize, x: Tensor<4>) -> Tensor<2> {
        let stages = self.graph().stages().len();
        assert_stages(start, stages, stages);
        existing(Network::pool_stages(self, start, x))
    }

    fn pool(&self, x: Tensor<4>) -> Tensor<2> {
        Network::pool(self, x)
    }

    fn num_features(&self) -> usize {
        Network::num_features(self)
    }

    /// Returns the stage of a parameter. Those of the pooling belong to the last stage.
    fn stage_of(&self, path: &str) -> usize {
        self.graph().stage_of(path).unwrap_or(0)
    }

    fn reinitialise(self, seed: u64) -> Result<Self, TransferError> {
        Ok(Network::reinitialise(self, seed))
    }

    #[cfg(feature = "kernels")]
    fn quantize(
        &self,
        stages: usize,
        calibration: &[Tensor<4>],
    ) -> Result<Box<dyn QuantizedPrefix>, TransferError> {
        Ok(Box::new(self.quantize_stages(stages, calibration)?))
    }

    fn in_channels(&self) -> usize {
        self.graph().in_channels()
    }

    fn head_name(&self) -> &str {
        &self.graph().head().name
    }

    fn token_grid(&self, [height, width]: [usize; 2]) -> Option<TokenGrid> {
        let prefix = self.graph().tokens()?.prefix();
        let [rows, columns] = self.graph().patch_grid(height, width)?;
        Some(TokenGrid {
            prefix,
            rows,
            columns,
        })
    }

    fn seed_draws(&self, seed: u64) {
        Network::seed_draws(self, seed);
    }

    fn description(&self, image_size: [usize; 2]) -> Option<String> {
        self.graph().description(image_size)
    }

    fn identity(&self) -> String {
        format!("{:?}", self.graph().nodes())
    }
}

/// Returns the result for stages that exist; a wrong index is a fault of the caller, as beyond the end of a slice.
fn existing<T>(result: Result<T, GraphError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(feature = "kernels")]
impl QuantizedPrefix for QuantizedStages {
    fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, TransferError> {
        Ok(QuantizedStages::forward(self, images)?)
    }

    fn pool(&self, images: Tensor<4>) -> Result<Tensor<2>, TransferError> {
        Ok(QuantizedStages::pool(self, images)?)
    }

    fn digest(&self) -> &str {
        QuantizedStages::digest(self)
    }
}

#[cfg(feature = "kernels")]
impl From<NotQuantizable> for TransferError {
    fn from(NotQuantizable { stages, reason }: NotQuantizable) -> Self {
        Self::NotQuantizable { stages, reason }
    }
}
