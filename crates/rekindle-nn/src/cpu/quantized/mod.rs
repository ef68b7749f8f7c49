//! The first stages of a network in eight bits.

mod calibration;
mod checks;
mod modes;
mod runner;
mod source;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Flex;
use burn::prelude::*;
use rekindle_kernels::Quantization;
use sha2::{Digest, Sha256};
use thiserror::Error;

use self::checks::{check, check_images};
use self::modes::Modes;
use self::runner::Runner;
use self::source::{PerSize, Source};
use super::error::NoKernel;
use super::layout::Blocked;
use super::memory::Images;
use super::weights::Weights;
use crate::network::Network;

/// Stages that can't run in eight bits, or images that they can't take.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("cannot run the first {stages} stages in eight bits: {reason}")]
pub struct NotQuantizable {
    /// Number of stages.
    pub stages: usize,
    /// The fault, and the remedy.
    pub reason: String,
}

/// The first stages of a [`Network`] in eight bits, for inference: a frozen prefix in training, or everything for
/// features.
///
/// Weights are rounded to signed bytes by one scale per output channel, feature maps to unsigned bytes by one scale and
/// zero point per layer (Jacob et al. 2018, <https://arxiv.org/abs/1712.05877>); sums are exact, and the last layer gives
/// `f32`. Batch normalisation is folded in by its running statistics. Convolutions run in bytes, dense ones and those of
/// groups, with bias, residual sum, ReLU and ReLU6, and max pooling; depthwise convolutions, gates of channels, averages
/// and other functions run in `f32` between them. Made by [`Network::quantize_stages`].
///
/// ```no_run
/// use burn::tensor::{Device, Tensor};
/// use rekindle_nn::{Builder, Conv, Network, NotQuantizable};
///
/// let mut b = Builder::new("tiny", 3);
/// let x = b.images();
/// let x = b.stage("stem", |b| {
///     let x = b.conv2d("conv1", x, Conv::new(16, 3).stride(2));
///     b.relu(x)
/// });
/// let x = b.global_pool(x);
/// let graph = b.finish("fc", x, 2).unwrap(); // ants and bees
///
/// let device = Device::flex();
/// let network = Network::new(graph, 42, &device);
/// let images = Tensor::<4>::ones([8, 3, 64, 64], &device);
/// let quantized = network.quantize_stages(1, &[images.clone()])?;
/// assert_eq!(quantized.pool(images)?.dims(), [8, 16]);
/// # Ok::<(), NotQuantizable>(())
/// ```
pub struct QuantizedStages {
    source: Source,
    /// Range of each value of the program.
    ranges: Vec<Option<Quantization>>,
    runner: Mutex<PerSize<Runner>>,
    stages: usize,
    digest: String,
    /// The network, where these are all stages and its pooling is more than the means.
    pooling: Option<Network>,
}

impl Network {
    /// Returns the first `stages` stages in eight bits, for inference on a CPU: two to four times as fast as `f32`, and a
    /// little off. Where depthwise convolutions and functions other than ReLU take most of the time, less is gained.
    ///
    /// Weights are taken as they stand; ranges of activations are measured on `calibration`, batches of images
    /// `[batch, channels, height, width]` as the network is to see them. A few dozen images are enough, and the same ones
    /// give the same result.
    ///
    /// # Errors
    ///
    /// [`NotQuantizable`] for a network in training (on an autodiff device, see
    /// [`valid`](burn::module::Module::valid)), on another device than flex, with its kernels switched off, with an
    /// operation that no kernel computes, or with weights that are no finite numbers; for no images, or such as don't
    /// fit; and on a machine that multiplies bytes no faster than `f32`.
    pub fn quantize_stages(
        &self,
        stages: usize,
        calibration: &[Tensor<4>],
    ) -> Result<QuantizedStages, NotQuantizable> {
        check(self, stages, calibration)
            .and_then(|size| {
                QuantizedStages::new(self, stages, size, calibration)
                    .map_err(|error| error.to_string())
            })
            .map_err(|reason| NotQuantizable { stages, reason })
    }
}

impl QuantizedStages {
    fn new(
        network: &Network,
        stages: usize,
        size: [usize; 2],
        calibration: &[Tensor<4>],
    ) -> Result<Self, NoKernel> {
        let mut source = Source::new(network, stages, size)?;
        let program = source.program(size)?;
        let modes = Modes::new(&program);
        let ranges = calibration::ranges(&source, &modes, calibration)?;
        let mut runner = PerSize::EMPTY;
        runner.of(&source, size, |program| {
            Runner::new(&source, program, &ranges)
        })?;
        if !program.depends_on_size {
            // Nothing is packed again.
            source.weights = Weights::default();
        }
        let in_order = modes.order.iter().filter_map(|value| ranges[*value]);
        Ok(Self {
            digest: digest(in_order),
            source,
            ranges,
            runner: Mutex::new(runner),
            stages,
            pooling: (stages == network.graph.stages().len() && !network.graph.pools_by_means())
                .then(|| network.clone()),
        })
    }

    /// Returns the number of stages.
    pub fn stages(&self) -> usize {
        self.stages
    }

    /// Returns a digest of all scales and zero points: with that of the weights it decides every number that comes out.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Computes the last stage's feature maps `[batch, channels, height, width]` of images, as
    /// [`Network::forward_stages`].
    ///
    /// # Errors
    ///
    /// [`NotQuantizable`] for images that are not `f32` on the flex device, or don't fit the network.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<4>, NotQuantizable> {
        Ok(self.run(images)?.into_tensor())
    }

    /// Computes features `[batch, num_features]` where these are all stages, as [`Network::pool`] of
    /// [`forward`](Self::forward) does, and otherwise the means over height and width.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn pool(&self, images: Tensor<4>) -> Result<Tensor<2>, NotQuantizable> {
        let maps = self.run(images)?;
        match &self.pooling {
            Some(network) => Ok(network.pool(maps.into_tensor())),
            None => Ok(maps.pool()),
        }
    }

    fn run(&self, images: Tensor<4>) -> Result<Blocked, NotQuantizable> {
        let run = || {
            check_images(&images)?;
            let images = images.try_into_primitive::<Flex>();
            let images = Images::new(images.map_err(|_| NoKernel::Device.to_string())?);
            let [_, channels, height, width] = images.shape;
            let expected = self.source.in_channels();
            if channels != expected {
                let found = format!("{channels} channels, the network takes {expected}");
                return Err(format!("the images have {found}"));
            }
            let runner = self.runner([height, width]).map_err(|e| e.to_string())?;
            runner.forward(images).map_err(|e| e.to_string())
        };
        run()
            .map(Blocked::from_activation)
            .map_err(|reason| NotQuantizable {
                stages: self.stages,
                reason,
            })
    }

    fn runner(&self, size: [usize; 2]) -> Result<Arc<Runner>, NoKernel> {
        let mut runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner);
        runner.of(&self.source, size, |program| {
            Runner::new(&self.source, program, &self.ranges)
        })
    }
}

impl fmt::Debug for QuantizedStages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuantizedStages")
            .field("stages", &self.stages)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

fn digest(quantizations: impl Iterator<Item = Quantization>) -> String {
    let mut hasher = Sha256::new();
    for quantization in quantizations {
        hasher.update(quantization.scale().to_bits().to_le_bytes());
        hasher.update([quantization.zero_point()]);
    }
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
