//! Models by name, and their published weights against torchvision's own table.

use burn::prelude::*;
use rekindle_models::registry::published;
use rekindle_models::{Error, Interpolation, Model, Options, Source, Weights, models};
use rekindle_nn::Network;
use rekindle_weights::{RemoteFile, state_dict};
use serde_json::Value;

/// Billions of multiply-adds as torchvision publishes them, at the side of the crop.
const MULTIPLY_ADDS: [(&str, usize, f64); 19] = [
    ("torchvision/convnext_tiny", 224, 4.456),
    ("vit_b_16", 224, 17.564),
    ("vit_b_32", 224, 4.409),
    ("resnet18", 224, 1.814),
    ("resnet50", 224, 4.089),
    ("resnext101_32x8d", 224, 16.414),
    ("wide_resnet101_2", 224, 22.753),
    ("mobilenet_v2", 224, 0.301),
    ("mobilenet_v3_small", 224, 0.057),
    ("mobilenet_v3_large", 224, 0.217),
    ("efficientnet_b0", 224, 0.386),
    ("efficientnet_b4", 380, 4.394),
    ("efficientnet_v2_s", 384, 8.366),
    ("regnet_y_400mf", 224, 0.402),
    ("regnet_y_8gf", 224, 8.473),
    ("densenet121", 224, 2.834),
    ("shufflenet_v2_x0_5", 224, 0.04),
    ("shufflenet_v2_x1_0", 224, 0.145),
    ("resnet152", 224, 11.514),
];

#[test]
fn multiply_adds_are_the_published_ones() {
    for (name, side, expected) in MULTIPLY_ADDS {
        let graph = (Model::named(name).unwrap().describe)(&Options::default()).unwrap();
        let found = graph.multiply_adds(side, side).unwrap() as f64 / 1e9;
        assert!((found - expected).abs() < 0.00051, "{name}: {found}");
    }
}

#[test]
fn every_model_is_described_without_a_mistake() {
    for model in models() {
        for options in [
            Options::default(),
            Options::with_classes(0),
            Options {
                classes: 2,
                in_channels: 1,
                drop_rate: Some(0.5),
                drop_path_rate: Some(0.3),
                position_grid: Some([3, 2]),
            },
        ] {
            let graph =
                (model.describe)(&options).unwrap_or_else(|e| panic!("{}: {e}", model.name));
            assert_eq!(graph.head().classes, options.classes);
            assert_eq!(graph.in_channels(), options.in_channels);
            let pooled = graph.shapes(96, 64).unwrap();
            assert_eq!(
                pooled.last().unwrap().channels(),
                match options.classes {
                    0 => graph.head().features,
                    classes => classes,
                }
            );
            for tensor in graph.tensors() {
                let stage = graph.stage_of(&tensor.name);
                let is_head = tensor.name.starts_with(&format!("{}.", graph.head().name));
                assert_eq!(stage.is_none(), is_head, "{}: {}", model.name, tensor.name);
            }
        }
        assert!(!model.weights.is_empty(), "{}", model.name);
    }
}

#[test]
fn names_that_no_model_has_are_errors_with_the_nearest() {
    assert_eq!(
        Model::named("torchvision/resnet18").unwrap().name,
        "torchvision/resnet18"
    );
    assert_eq!(
        Model::named("tf_efficientnet_lite0").unwrap().name,
        "timm/tf_efficientnet_lite0"
    );
    let error = Model::named("torchvision/mobilnet_v2").unwrap_err();
    assert_eq!(error.near[0], "torchvision/mobilenet_v2");
    assert!(
        error.to_string().contains(", did you mean mobilenet_v2?"),
        "{error}"
    );
    let error = Model::named("").unwrap_err();
    assert!(
        error.near.is_empty() && error.to_string().contains("`rekindle models` lists them"),
        "{error}"
    );
    let resnet50 = Model::named("resnet50").unwrap();
    assert_eq!(resnet50.weights("DEFAULT").unwrap().name, "IMAGENET1K_V2");
    assert!(resnet50.weights("IMAGENET1K_V3").is_err());
}

/// An optimiser's state finds its parameters whichever of the two gave them their identities.
#[test]
fn stable_identities_are_those_of_the_state_dict() {
    #[derive(Default)]
    struct Ids(Vec<burn::module::ParamId>);
    impl burn::module::ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            self.0.push(param.id);
        }
    }
    let ids = |network: Network| {
        let mut ids = Ids::default();
        network.visit(&mut ids);
        ids.0
    };
    let graph = (Model::named("densenet121").unwrap().describe)(&Options::default()).unwrap();
    let statistics: Vec<bool> = graph
        .tensors()
        .iter()
        .map(|t| t.kind.is_statistic())
        .collect();
    let network = Network::new(graph, 0, &Device::flex());
    let ours = ids(network.clone().with_stable_ids());
    let theirs = ids(state_dict::with_stable_ids(network));
    for ((ours, theirs), is_statistic) in ours.iter().zip(&theirs).zip(statistics) {
        assert!(is_statistic || ours == theirs);
    }
}

#[test]
fn every_resnet_agrees_with_torchvision() {
    let path = test_support::reference_path("architectures.json");
    let reference: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for (architecture, facts) in reference.as_object().unwrap() {
        let table = facts["weights"].as_object().unwrap();
        let model = Model::named(architecture).unwrap();
        assert_eq!(model.weights.len(), table.len(), "{architecture}");
        for (name, expected) in table {
            let (_, weights) = published(&format!("{architecture}.{name}")).unwrap();
            let context = format!("{architecture}.{name}");
            let Source::Torchvision { file } = weights.source else {
                panic!("{context} is not torchvision's");
            };
            assert_eq!(file, expected["file"], "{context}");
            let numbers = [
                (weights.top1, "top1"),
                (weights.top5, "top5"),
                (weights.size_mib, "file_size_mb"),
            ];
            for (found, key) in numbers {
                assert_eq!(found, expected[key].as_f64(), "{context} {key}");
            }
            let preprocess = &weights.preprocess;
            assert_eq!(preprocess.resize as u64, expected["resize"], "{context}");
            assert_eq!(preprocess.crop as u64, expected["crop"], "{context}");
            assert_eq!(
                preprocess.interpolation,
                Interpolation::Bilinear,
                "{context}"
            );
            let pairs = [(preprocess.mean, "mean"), (preprocess.std, "std")];
            for (found, key) in pairs {
                let theirs: [f32; 3] = serde_json::from_value(expected[key].clone()).unwrap();
                assert_eq!(found, theirs, "{context} {key}");
            }
            let remote = RemoteFile::from(weights);
            let digits = remote.sha256.unwrap();
            assert!(file.ends_with(&format!("-{digits}.pth")), "{context}");
            let mib = remote.size.unwrap() as f64 / f64::from(1 << 20);
            assert!((mib - weights.size_mib.unwrap()).abs() < 1e-3, "{context}");
            let rows = facts["state_dict"]["fc.weight"][0].as_u64().unwrap();
            assert_eq!(weights.classes as u64, rows, "{context}");
        }
    }
}

#[test]
fn the_default_is_the_best_of_its_model() {
    for model in models() {
        let default = model.weights("default").unwrap();
        // Weights for research alone are never chosen for somebody who didn't ask for them.
        let is_free = |weights: &&Weights| weights.licence.is_none_or(|of| !of.contains("NC"));
        for weights in model.weights.iter().filter(is_free) {
            assert!(default.top1 >= weights.top1, "{}: {weights:?}", model.name);
        }
    }
}

#[test]
fn a_text_names_model_and_weights() {
    let names = |text: &str| {
        let (model, weights) = published(text).unwrap();
        (model.name, weights.name)
    };
    assert_eq!(names("resnet50"), ("torchvision/resnet50", "IMAGENET1K_V2"));
    assert_eq!(
        names("ResNet50.imagenet1k_v1"),
        ("torchvision/resnet50", "IMAGENET1K_V1")
    );
    assert_eq!(
        names("timm/tf_efficientnet_lite0.in1k"),
        ("timm/tf_efficientnet_lite0", "in1k")
    );
    let error = published("resnet18.IMAGENET1K_V2").unwrap_err();
    assert!(matches!(error, Error::UnknownWeights { .. }), "{error:?}");
    assert!(
        error.to_string().ends_with("there are: IMAGENET1K_V1"),
        "{error}"
    );
    for (slip, meant) in [
        ("resnet17", "resnet18"),
        ("ResNet5", "resnet50"),
        ("wideresnet50_2", "wide_resnet50_2"),
        ("efficientnet-b0", "efficientnet_b0"),
    ] {
        let error = published(slip).unwrap_err();
        assert!(matches!(error, Error::UnknownModel(_)), "{error:?}");
        let hint = format!("did you mean {meant}?");
        assert!(error.to_string().contains(&hint), "{error}");
        assert!(error.is_invalid_option());
    }
}
