//! A backbone with a linear head for the classes of the task at hand.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use rekindle_nn::{GraphError, Network};
use rekindle_weights::state_dict;

use crate::initialise::uniform;
use crate::{Backbone, Entry, TransferError};

/// A pretrained backbone and a linear head.
#[derive(Module, Debug)]
pub struct Classifier<B> {
    /// The pretrained part.
    pub backbone: B,
    /// `[num_features]` to one logit per class.
    pub head: Linear,
}

impl<B: Backbone> Classifier<B> {
    /// Creates a fresh head for `num_classes` on `backbone`.
    ///
    /// The head's weights are uniform within `1 / sqrt(num_features)`, as PyTorch starts a linear layer,
    /// and a function of `seed` alone. Parameters get stable identities, so that a saved optimiser state
    /// fits in another process.
    pub fn new(backbone: B, num_classes: usize, seed: u64, device: &Device) -> Self {
        let num_features = backbone.num_features();
        let head = LinearConfig::new(num_features, num_classes).init(device);
        let classifier = state_dict::with_stable_ids(Self { backbone, head });
        let bound = 1.0 / (num_features as f32).sqrt();
        let weight = uniform(num_features * num_classes, bound, seed);
        let bias = uniform(num_classes, bound, seed ^ 0x5bd1_e995);
        classifier.assign_head(weight, bias)
    }

    /// Replaces the head's values: `weight` row-major `[num_classes, num_features]`, `bias` `[num_classes]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for other lengths.
    pub fn with_head(self, weight: Vec<f32>, bias: Vec<f32>) -> Result<Self, TransferError> {
        let [features, classes] = self.head.weight.dims();
        check_length("head weight", weight.len(), features * classes)?;
        check_length("head bias", bias.len(), classes)?;
        Ok(self.assign_head(weight, bias))
    }

    fn assign_head(self, weight: Vec<f32>, bias: Vec<f32>) -> Self {
        let (mut weight, mut bias) = (Some(weight), Some(bias));
        let head = state_dict::assign(self.head, |name| match name {
            "weight" => weight.take(),
            "bias" => bias.take(),
            _ => None,
        });
        Self { head, ..self }
    }

    /// Returns the same network with fresh weights, backbone and head, all of them a function of `seed`.
    ///
    /// # Errors
    ///
    /// [`TransferError::NotReinitialisable`] where the backbone can't.
    pub fn reinitialise(self, seed: u64) -> Result<Self, TransferError> {
        let device = self.head.weight.lazy_device();
        let classes = self.num_classes();
        Ok(Self::new(
            self.backbone.reinitialise(seed)?,
            classes,
            seed,
            &device,
        ))
    }

    /// Images `[batch, channels, height, width]` to logits `[batch, num_classes]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head.forward(self.backbone.pool_stages(0, images))
    }

    /// Maps what enters at `entry` to logits `[batch, num_classes]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::StageOutOfRange`] for a stage that the backbone doesn't have, and
    /// [`TransferError::WrongLength`] for pooled features of another length.
    pub fn forward_from(&self, entry: Entry, x: Tensor<4>) -> Result<Tensor<2>, TransferError> {
        Ok(self.head.forward(self.features_from(entry, x)?))
    }

    /// Maps what enters at `entry` to features `[batch, num_features]`.
    ///
    /// # Errors
    ///
    /// As [`forward_from`](Self::forward_from).
    pub fn features_from(&self, entry: Entry, x: Tensor<4>) -> Result<Tensor<2>, TransferError> {
        match entry {
            Entry::Stage(start) => {
                self.backbone.check_cut(start)?;
                Ok(self.backbone.pool_stages(start, x))
            }
            Entry::Head => {
                let [batch, features, height, width] = x.dims();
                let (found, expected) = (features * height * width, self.backbone.num_features());
                if found != expected {
                    return Err(TransferError::WrongLength {
                        what: "pooled features of an image",
                        found,
                        expected,
                    });
                }
                Ok(x.reshape([batch, features]))
            }
        }
    }

    /// Returns the number of classes.
    pub fn num_classes(&self) -> usize {
        self.head.weight.dims()[1]
    }
}

fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), TransferError> {
    match found == expected {
        true => Ok(()),
        false => Err(TransferError::WrongLength {
            what,
            found,
            expected,
        }),
    }
}

impl Classifier<Network> {
    /// Returns the network with the head in place of its classifier, under the published names.
    ///
    /// # Errors
    ///
    /// [`GraphError::Classifier`] for a head of another length than the network's features.
    pub fn into_network(self) -> Result<Network, GraphError> {
        self.backbone.with_classifier(self.head)
    }

    /// Splits a network that has a classifier; `None` where it has none.
    pub fn from_network(network: Network) -> Option<Self> {
        let (backbone, head) = network.split_classifier();
        Some(state_dict::with_stable_ids(Self {
            backbone,
            head: head?,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rekindle_nn::{Builder, Conv};

    use super::*;

    #[test]
    fn a_head_of_another_length_is_an_error() {
        let device = Device::flex();
        let classifier = || {
            let mut b = Builder::new("tiny", 1);
            let x = b.images();
            let x = b.stage("block", |b| b.conv2d("conv", x, Conv::new(4, 3)));
            let x = b.global_pool(x);
            let backbone = Network::new(b.finish("fc", x, 0).unwrap(), 0, &device);
            Classifier::new(backbone, 3, 0, &device)
        };
        let fits = classifier()
            .with_head(vec![0.5; 12], vec![0.25; 3])
            .unwrap();
        let weight = fits
            .head
            .weight
            .val()
            .into_data()
            .iter::<f32>()
            .collect::<Vec<_>>();
        assert_eq!(weight, [0.5; 12]);
        for (weight, bias) in [(11, 3), (13, 3), (12, 2), (0, 3), (12, 0)] {
            let error = classifier()
                .with_head(vec![0.5; weight], vec![0.25; bias])
                .unwrap_err();
            assert!(
                matches!(
                    error,
                    TransferError::WrongLength {
                        expected: 12 | 3,
                        ..
                    }
                ),
                "{weight} and {bias}: {error:?}"
            );
        }
    }
}
