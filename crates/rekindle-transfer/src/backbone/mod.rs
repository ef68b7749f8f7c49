//! Defines what a network must offer so that its knowledge can be transferred.

pub mod conformance;
mod entry;
mod identity;
mod network;
mod prefix;

pub use entry::Entry;
pub use identity::weights_digest;
pub(crate) use identity::{hexadecimal, text};
pub use prefix::{FrozenPrefix, QuantizedPrefix, check_channels};

use burn::module::{Module, ModuleDisplay};
use burn::prelude::*;

use crate::TransferError;

/// A pretrained feature extractor that runs in stages.
///
/// A strategy freezes a *prefix* of the stages, so that nothing in front of the first trained stage needs a
/// backward pass, and activations at the cut can be computed once and kept.
///
/// # Contract
///
/// Training, kept activations, records and exports rest on these promises; [`conformance::check`] tests them, and an
/// implementation calls it in a test of its own.
///
/// 1. [`stage_names`](Self::stage_names) has at least one name; none is empty, none comes twice, and they stay the same.
/// 2. The stages compose: [`forward_stages`](Self::forward_stages) from `a` to `c` is that from `a` to `b` and then from
///    `b` to `c`, and [`forward_stage`](Self::forward_stage) is one step of it. An empty range gives its input back.
/// 3. [`pool_stages`](Self::pool_stages) from `a` on is `forward_stages` to the end and then [`pool`](Self::pool), for every
///    `a` up to the number of stages. Pooling is run once on what the last stage gives; it need not be idempotent.
/// 4. Features are `[batch, num_features]` with [`num_features`](Self::num_features) above 0.
/// 5. In evaluation (on a device without autodiff) an image's features depend on that image alone, are the same in every
///    call, and leave every tensor of the network as it was.
/// 6. Every parameter has a name of its own in the state dict, none of them under [`head_name`](Self::head_name), and
///    [`stage_of`](Self::stage_of) names the one stage that uses it.
/// 7. The images have [`in_channels`](Self::in_channels) channels.
/// 8. A stage that doesn't exist is never passed over silently: `forward_stage`, `forward_stages` and `pool_stages` panic on
///    an index beyond the stages, as slices do. Everything in this crate that takes such an index from a caller checks it
///    first ([`check_cut`](Self::check_cut)) and returns an error.
/// 9. Where [`quantize`](Self::quantize) answers, its [`QuantizedPrefix::pool`] is `pool` of its
///    [`forward`](QuantizedPrefix::forward).
/// 10. Backbones of one [`identity`](Self::identity) with the same tensors compute the same.
/// 11. Where [`reinitialise`](Self::reinitialise) answers, it gives the same network with other weights, equal ones for
///     equal seeds.
pub trait Backbone: Module + ModuleDisplay + 'static {
    /// Returns the names of the stages in the order that a forward pass goes through them. A stage's parameters are
    /// found by [`stage_of`](Self::stage_of).
    fn stage_names(&self) -> Vec<&str>;

    /// Runs one stage by its index in [`stage_names`](Self::stage_names).
    ///
    /// Stage 0 takes images `[batch, channels, height, width]`; the others what the stage before gives.
    ///
    /// # Panics
    ///
    /// If there is no such stage.
    fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Tensor<4>;

    /// Pools the last stage's activations `[batch, channels, height, width]` to features
    /// `[batch, num_features]`.
    fn pool(&self, x: Tensor<4>) -> Tensor<2>;

    /// Returns the length of the feature vector.
    fn num_features(&self) -> usize;

    /// Returns the stage that holds the parameter with this path (such as `"layer1.0.conv1.weight"`).
    fn stage_of(&self, path: &str) -> usize;

    /// Runs the stages from `start` (inclusive) to `end` (exclusive).
    ///
    /// # Panics
    ///
    /// If there is no such stage.
    fn forward_stages(&self, start: usize, end: usize, x: Tensor<4>) -> Tensor<4> {
        (start..end).fold(x, |x, stage| self.forward_stage(stage, x))
    }

    /// Runs the stages from `start` on, and pools: what stage `start` takes to features
    /// `[batch, num_features]`. With the number of stages as `start` it pools alone.
    ///
    /// # Panics
    ///
    /// If `start` is larger than the number of stages.
    fn pool_stages(&self, start: usize, x: Tensor<4>) -> Tensor<2> {
        let stages = self.stage_names().len();
        assert_stages(start, stages, stages);
        self.pool(self.forward_stages(start, stages, x))
    }

    /// Checks a cut in front of the stage `stages`, or behind all of them.
    ///
    /// # Errors
    ///
    /// [`TransferError::StageOutOfRange`] for more stages than there are.
    fn check_cut(&self, stages: usize) -> Result<(), TransferError> {
        let known = self.stage_names();
        if stages <= known.len() {
            return Ok(());
        }
        Err(TransferError::StageOutOfRange {
            found: stages,
            known: known.iter().map(ToString::to_string).collect(),
        })
    }

    /// Returns the same network with fresh weights, a function of `seed` alone.
    ///
    /// # Errors
    ///
    /// [`TransferError::NotReinitialisable`], the only answer of backbones that don't say otherwise.
    fn reinitialise(self, seed: u64) -> Result<Self, TransferError> {
        let _ = seed;
        Err(TransferError::NotReinitialisable {
            backbone: std::any::type_name::<Self>(),
        })
    }

    /// Returns the first `stages` stages in eight bits, as they stand, for inference. Ranges of activations are
    /// measured on `calibration`: batches of images as the network is to see them.
    ///
    /// # Errors
    ///
    /// [`TransferError::NotQuantizable`] where there is no such way to run them: the only answer of backbones that don't
    /// say otherwise, and a [`Network`](rekindle_nn::Network)'s without the feature `kernels`, on other devices than flex, or in
    /// training.
    fn quantize(
        &self,
        stages: usize,
        calibration: &[Tensor<4>],
    ) -> Result<Box<dyn QuantizedPrefix>, TransferError> {
        let _ = calibration;
        Err(TransferError::NotQuantizable {
            stages,
            reason: "this backbone has no kernels for that, or was built without them (feature `kernels`)".into(),
        })
    }

    /// Channels of the images that it takes: 3 for RGB.
    fn in_channels(&self) -> usize;

    /// Returns the name of the head in a published state dict.
    fn head_name(&self) -> &str {
        "fc"
    }

    /// Tells how the tokens of images of height and width `size` lie in the picture, for a network whose stages behind the
    /// first give tokens, `[batch, channels, 1, tokens]`. None by default: they give feature maps.
    fn token_grid(&self, size: [usize; 2]) -> Option<TokenGrid> {
        let _ = size;
        None
    }

    /// Makes what the network draws in training (dropout, drop path) a function of `seed`, until the next call. The trainer
    /// calls it before every batch, so that a run that goes on draws what it would have drawn. Does nothing by default.
    fn seed_draws(&self, seed: u64) {
        let _ = seed;
    }

    /// Returns the text that a file of the network has to carry so that it can be read again, for images of `image_size`
    /// (height and width); none, the default, where code describes it.
    fn description(&self, image_size: [usize; 2]) -> Option<String> {
        let _ = image_size;
        None
    }

    /// Tells networks apart that have the same tensors and compute something else with them. By default, the name of the
    /// type.
    fn identity(&self) -> String {
        std::any::type_name::<Self>().into()
    }
}

/// Positions of tokens in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenGrid {
    /// Tokens in front that stand for no place.
    pub prefix: usize,
    /// Rows of patches.
    pub rows: usize,
    /// Columns of patches; a row's tokens lie one behind the other.
    pub columns: usize,
}

/// Refuses a range that reaches beyond `stages`, as slicing does.
#[track_caller]
pub(crate) fn assert_stages(start: usize, end: usize, stages: usize) {
    assert!(
        start <= end && end <= stages,
        "stages {start} to {end} of a backbone with {stages}"
    );
}
