//! The contract of `Backbone`: networks that keep it, and one that breaks each promise in turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::nn::BatchNorm;
use burn::nn::BatchNormConfig;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::conv_net::ConvNetConfig;
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::{Model, Options};
use rekindle_nn::Network;
use rekindle_transfer::backbone::conformance::{ConformanceError, check};
use rekindle_transfer::{Backbone, Classifier, Entry, FrozenPrefix, TransferError};

/// Mistake that a [`Net`] makes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    NameTwice,
    Composition,
    PoolsTwice,
    Width,
    LooksAtItsNeighbours,
    Chance,
    WrongStage,
    StageOutOfRange,
    HeadInside,
    Identity,
    SameWeights,
}

/// Two stages and a pooling that is not idempotent: the mean square plus one.
#[derive(Module, Debug)]
struct Net {
    first: Conv2d,
    norm: BatchNorm,
    second: Conv2d,
    #[module(skip)]
    fault: Fault,
}

impl Net {
    fn new(fault: Fault) -> Self {
        let device = Device::flex();
        let conv = |channels| {
            Conv2dConfig::new(channels, [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(&device)
        };
        Self {
            first: conv([3, 4]),
            norm: BatchNormConfig::new(4).init(&device),
            second: conv([4, 6]),
            fault,
        }
    }

    fn mean_square(x: Tensor<4>) -> Tensor<2> {
        let squares = x.square().add_scalar(1.0);
        squares.mean_dim(3).mean_dim(2).flatten(1, 3)
    }
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

impl Backbone for Net {
    fn stage_names(&self) -> Vec<&str> {
        match self.fault {
            Fault::NameTwice => vec!["first", "first"],
            _ => vec!["first", "second"],
        }
    }

    fn forward_stage(&self, stage: usize, x: Tensor<4>) -> Tensor<4> {
        match stage {
            0 => {
                let x = self.norm.forward(self.first.forward(x));
                match self.fault {
                    Fault::LooksAtItsNeighbours => x.clone() - x.mean_dim(0),
                    Fault::Chance => x * CALLS.fetch_add(1, Ordering::Relaxed) as f32,
                    _ => x,
                }
            }
            1 => self.second.forward(x),
            _ if self.fault == Fault::Identity => x,
            _ => panic!("stage {stage} of 2"),
        }
    }

    fn forward_stages(&self, start: usize, end: usize, x: Tensor<4>) -> Tensor<4> {
        let x = (start..end).fold(x, |x, stage| self.forward_stage(stage, x));
        match self.fault {
            Fault::Composition if end == start + 2 => x.mul_scalar(1.1),
            _ => x,
        }
    }

    fn pool_stages(&self, start: usize, x: Tensor<4>) -> Tensor<2> {
        assert!(start <= 2, "stage {start} of 2");
        let pooled = self.pool((start..2).fold(x, |x, stage| self.forward_stage(stage, x)));
        match self.fault {
            Fault::PoolsTwice => self.pool(pooled.unsqueeze_dims(&[2, 3])),
            _ => pooled,
        }
    }

    fn pool(&self, x: Tensor<4>) -> Tensor<2> {
        Self::mean_square(x)
    }

    fn num_features(&self) -> usize {
        6 + usize::from(self.fault == Fault::Width)
    }

    fn stage_of(&self, path: &str) -> usize {
        match path.starts_with("second") {
            true if self.fault == Fault::WrongStage => 0,
            true if self.fault == Fault::StageOutOfRange => 2,
            true => 1,
            false => 0,
        }
    }

    fn in_channels(&self) -> usize {
        3
    }

    fn head_name(&self) -> &str {
        match self.fault {
            Fault::HeadInside => "second",
            _ => "fc",
        }
    }

    fn reinitialise(self, _seed: u64) -> Result<Self, TransferError> {
        match self.fault {
            Fault::SameWeights => Ok(self),
            _ => Err(TransferError::NotReinitialisable { backbone: "Net" }),
        }
    }
}

fn images(channels: usize, side: usize) -> Tensor<4> {
    let shape = [3, channels, side, side];
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

#[test]
fn our_networks_keep_the_contract() {
    let device = Device::flex();
    for config in [
        ResNetConfig::RESNET18.with_stem_width(8),
        ResNetConfig::RESNET50.with_stem_width(8),
        ResNetConfig::RESNEXT50_32X4D.with_stem_width(32),
    ] {
        let backbone = config.with_num_classes(0).network(0, &device).unwrap();
        check(&backbone, images(3, 32)).unwrap_or_else(|error| panic!("{config:?}: {error}"));
    }
    for name in [
        "mobilenet_v2",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "tf_efficientnet_lite0",
        "mobilenetv4_conv_small",
        "regnet_y_400mf",
        "densenet121",
        "shufflenet_v2_x0_5",
        "convnextv2_atto",
        "vit_tiny_patch16_224",
    ] {
        let model = Model::named(name).unwrap();
        let graph = (model.describe)(&Options::with_classes(0)).unwrap();
        let backbone = Network::new(graph, 0, &device);
        check(&backbone, images(3, 64)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for blocks in [2, 4, 5] {
        let config = ConvNetConfig {
            width: 16,
            blocks,
            ..ConvNetConfig::default()
        };
        let backbone = config.network(0, &device).unwrap();
        check(&backbone, images(1, 32)).unwrap_or_else(|error| panic!("{blocks}: {error}"));
    }
    check(&Net::new(Fault::None), images(3, 8)).unwrap();
}

#[test]
fn each_broken_promise_is_found_and_named() {
    type Is = fn(&ConformanceError) -> bool;
    let faults: [(Fault, Is); 11] = [
        (Fault::NameTwice, |e| {
            matches!(e, ConformanceError::StageNames { .. })
        }),
        (Fault::Composition, |e| {
            let from_to = matches!(
                e,
                ConformanceError::Composition {
                    start: 0,
                    end: 2,
                    ..
                }
            );
            from_to && e.to_string().contains("forward_stages")
        }),
        (Fault::PoolsTwice, |e| {
            matches!(e, ConformanceError::Pooling { start: 0, .. })
        }),
        (Fault::Width, |e| {
            matches!(e, ConformanceError::Features { .. })
        }),
        (Fault::LooksAtItsNeighbours, |e| {
            matches!(e, ConformanceError::Batch { .. })
        }),
        (Fault::Chance, |e| {
            // Two calls differ wherever they are compared first.
            matches!(
                e,
                ConformanceError::Chance { .. } | ConformanceError::Composition { .. }
            )
        }),
        (Fault::WrongStage, |e| {
            matches!(
                e,
                ConformanceError::StageOf {
                    stage: 0,
                    moved: 1,
                    ..
                }
            )
        }),
        (Fault::StageOutOfRange, |e| {
            matches!(e, ConformanceError::ParameterName { .. })
        }),
        (Fault::HeadInside, |e| {
            e.to_string().contains("take the head off")
        }),
        (Fault::Identity, |e| {
            matches!(
                e,
                ConformanceError::BeyondTheLast {
                    method: "forward_stage",
                    ..
                }
            )
        }),
        (Fault::SameWeights, |e| {
            matches!(e, ConformanceError::FreshWeights { .. })
        }),
    ];
    for (fault, is) in faults {
        let error = check(&Net::new(fault), images(3, 8)).unwrap_err();
        assert!(is(&error), "{fault:?}: {error}");
    }
}

#[test]
fn a_head_that_is_still_on_is_found() {
    let config = ResNetConfig::RESNET18.with_stem_width(8);
    let with_head = config
        .with_num_classes(5)
        .network(0, &Device::flex())
        .unwrap();
    let error = check(&with_head, images(3, 32)).unwrap_err();
    assert!(error.to_string().contains("fc"), "{error}");
}

#[test]
fn images_that_nothing_can_be_checked_on_are_refused() {
    let net = Net::new(Fault::None);
    let one = images(3, 8).narrow(0, 0, 1);
    for images in [one, images(1, 8)] {
        let error = check(&net, images).unwrap_err();
        assert!(matches!(error, ConformanceError::Images { .. }), "{error}");
    }
}

/// Pooling is done once, however an image comes to the head.
#[test]
fn pooled_features_are_not_pooled_again() {
    let device = Device::flex();
    let classifier = Classifier::new(Net::new(Fault::None), 3, 1, &device);
    let expected = classifier.forward(images(3, 8)).into_data();
    for stages in 0..=2 {
        let prefix = FrozenPrefix::new(&classifier.backbone, stages).unwrap();
        let x = prefix.forward(images(3, 8)).unwrap();
        let found = classifier.forward_from(prefix.exit(), x).unwrap();
        found
            .into_data()
            .assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::rel_abs(1e-5, 1e-5));
    }
    let maps = classifier.backbone.forward_stages(0, 2, images(3, 8));
    let found = classifier.forward_from(Entry::Stage(2), maps).unwrap();
    found
        .into_data()
        .assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::rel_abs(1e-5, 1e-5));
}

#[test]
fn stages_that_do_not_exist_are_errors() {
    let classifier = Classifier::new(Net::new(Fault::None), 3, 1, &Device::flex());
    assert!(matches!(
        FrozenPrefix::new(&classifier.backbone, 3),
        Err(TransferError::StageOutOfRange { found: 3, .. })
    ));
    let beyond = classifier.forward_from(Entry::Stage(99), images(3, 8));
    let message = beyond.unwrap_err().to_string();
    assert!(
        message.contains("99") && message.contains("second"),
        "{message}"
    );
    let wrong = classifier.forward_from(Entry::Head, images(3, 8));
    assert!(matches!(wrong, Err(TransferError::WrongLength { .. })));
}

#[test]
#[should_panic(expected = "backbone with 5")]
fn a_stage_beyond_the_last_is_no_identity() {
    let config = ResNetConfig::RESNET18.with_stem_width(8);
    let resnet = config
        .with_num_classes(0)
        .network(0, &Device::flex())
        .unwrap();
    let _ = Backbone::forward_stage(&resnet, 99, images(3, 8));
}
