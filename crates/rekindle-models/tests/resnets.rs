//! The description of ResNets against rekindle-resnet's own network, and counts against the published ones.
#![allow(clippy::unwrap_used)]

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::{Model, Options, models};
use rekindle_nn::Network;
use rekindle_resnet::Architecture;
use rekindle_weights::state_dict;
use test_support::{StateDict, images, relative_error};

fn described(name: &str, options: &Options, device: &Device) -> Network {
    let model = Model::named(name).unwrap();
    Network::new((model.describe)(options).unwrap(), 0, device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

#[test]
fn all_ten_give_the_logits_of_the_other_implementation() {
    let device = Device::flex();
    let images = TensorData::new(images(2, 64, 64), [2, 3, 64, 64]);
    let images = Tensor::<4>::from_data(images, &device);
    for architecture in Architecture::ALL {
        let theirs = architecture.config().init(&device);
        let ours = described(architecture.name(), &Options::default(), &device);
        let shapes = state_dict::shapes(&theirs);
        assert_eq!(state_dict::shapes(&ours), shapes, "{architecture}");

        let mut formula = StateDict::new(shapes);
        let theirs = state_dict::assign(theirs, |name| Some(formula.next(name)));
        let mut values = state_dict::collect(&theirs);
        let ours = state_dict::assign(ours, |name| Some(values.remove(name).unwrap().values));
        assert!(values.is_empty());
        let expected = floats(theirs.forward(images.clone()));
        let found = floats(ours.forward(images.clone()));
        // Both run the same kernels in the same order.
        assert_eq!(found, expected, "{architecture}");
        let plain = floats(ours.clone().with_kernels(false).forward(images.clone()));
        let error = relative_error(&plain, &expected);
        println!("{architecture}: Burn's operations are off by {error:.1e}");
        assert!(error <= 2e-6, "{architecture}: {error}");
        for stage in 0..5 {
            let x = theirs.forward_stages(0..stage + 1, images.clone()).unwrap();
            let y = ours.forward_stages(0..stage + 1, images.clone()).unwrap();
            assert_eq!(x.dims(), y.dims(), "{architecture}");
            assert_eq!(floats(x), floats(y), "{architecture}");
        }
    }
}

/// Gradients, running statistics and a frozen stage as in the other implementation, which runs the same kernels.
#[test]
fn a_step_of_training_is_that_of_the_other_implementation() {
    let device = Device::flex().autodiff();
    for (architecture, side) in [(Architecture::ResNet18, 64), (Architecture::ResNet50, 32)] {
        let images = TensorData::new(images(3, side, side), [3, 3, side, side]);
        let images = Tensor::<4>::from_data(images, &device);
        let frozen = || burn::module::ParamGroup::from_predicate("layer1");
        let theirs = architecture.config().init(&device);
        let mut formula = StateDict::new(state_dict::shapes(&theirs));
        let theirs = state_dict::assign(theirs, |name| Some(formula.next(name)));
        let mut values = state_dict::collect(&theirs);
        let ours = described(architecture.name(), &Options::default(), &device);
        let ours = state_dict::assign(ours, |name| Some(values.remove(name).unwrap().values));
        let (theirs, ours) = (theirs.freeze_group(frozen()), ours.freeze_group(frozen()));

        let loss = |logits: Tensor<2>| (logits.clone() * logits).mean();
        let (x, y) = (theirs.forward(images.clone()), ours.forward(images));
        assert_eq!(floats(y.clone().inner()), floats(x.clone().inner()));
        let (a, b) = (loss(x).backward(), loss(y).backward());
        let (a, b) = (gradients(&theirs, &a), gradients(&ours, &b));
        assert_eq!(a.len(), b.len());
        assert!(!a.iter().any(|(name, _)| name.starts_with("layer1")));
        for ((name, a), (other, b)) in a.iter().zip(&b) {
            assert_eq!(name, other);
            assert_eq!(a, b, "{architecture}: {name}");
        }
        let (a, b) = (state_dict::collect(&theirs), state_dict::collect(&ours));
        for (name, tensor) in &a {
            assert_eq!(b[name].values, tensor.values, "{architecture}: {name}");
        }
    }
}

fn gradients<M: Module>(
    module: &M,
    gradients: &burn::tensor::Gradients,
) -> Vec<(String, Vec<f32>)> {
    struct Visitor<'a> {
        path: Vec<String>,
        gradients: &'a burn::tensor::Gradients,
        found: Vec<(String, Vec<f32>)>,
    }
    impl burn::module::ModuleVisitor for Visitor<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            // Enum variants leave no trace in a name.
            let name = if container.starts_with("Enum:") {
                ""
            } else {
                name
            };
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
                let path: Vec<&str> = path.into_iter().filter(|part| !part.is_empty()).collect();
                self.found.push((path.join("."), floats(gradient)));
            }
        }
    }
    let mut visitor = Visitor {
        path: Vec::new(),
        gradients,
        found: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.found
}

/// Billions of multiply-adds as torchvision publishes them, at the side of the crop.
const MULTIPLY_ADDS: [(&str, usize, f64); 16] = [
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
        error
            .to_string()
            .contains("near it are torchvision/mobilenet_v2"),
        "{error}"
    );
    let error = Model::named("").unwrap_err();
    assert!(
        error.near.is_empty() && error.to_string().contains("models()"),
        "{error}"
    );
    let resnet50 = Model::named("resnet50").unwrap();
    assert_eq!(resnet50.weights("DEFAULT").unwrap().name, "IMAGENET1K_V2");
    assert!(resnet50.weights("IMAGENET1K_V3").is_none());
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
