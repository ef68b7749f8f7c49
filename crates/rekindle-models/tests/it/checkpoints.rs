//! Files of ResNets against PyTorch's own list of their tensors.

use std::collections::BTreeMap;
use std::fs;

use burn::prelude::Device;
use rekindle_models::files::load;
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::{Model, Options, find};
use rekindle_nn::Network;
use rekindle_weights::{CheckOptions, Error, Format, LoadOptions, check, read};

/// torchvision's names and shapes by architecture.
fn torchvisions() -> BTreeMap<String, serde_json::Value> {
    let path = test_support::reference_path("architectures.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Files that `torch.save` wrote, today's format and the one before, value by value.
#[test]
fn files_of_torch_save_have_every_tensor() {
    let config = ResNetConfig::RESNET18
        .with_stem_width(2)
        .with_num_classes(3);
    let graph = config.graph().unwrap();
    for (file, format) in [
        ("resnet18-zip.pth", Format::PytorchZip),
        ("resnet18-legacy.pth", Format::PytorchLegacy),
    ] {
        let path = test_support::reference_path(file);
        let checkpoint = read(&path).unwrap();
        assert_eq!(checkpoint.format, format);
        assert_eq!(checkpoint.classes("fc"), Some(3));
        check(
            &checkpoint,
            &graph.state_dict(),
            "fc",
            CheckOptions::default(),
        )
        .unwrap();
        let tensors = graph.tensors().iter();
        let shapes = tensors.map(|t| (t.name.clone(), t.shape.clone()));
        let mut formula = test_support::StateDict::new(shapes.collect());
        for tensor in graph.tensors() {
            let found = checkpoint.read_f32(&tensor.name).unwrap();
            assert_eq!(found, formula.next(&tensor.name), "{file} {}", tensor.name);
        }
    }
}

/// Names and shapes of real files against PyTorch's own list of them.
#[test]
fn real_checkpoints_have_every_tensor_of_their_architecture() {
    let list = torchvisions();
    for (file, architecture, other, format) in [
        (
            "data/weights/resnet18-standin.pth",
            "resnet18",
            "resnet34",
            Format::PytorchZip,
        ),
        (
            "data/weights/resnet50-standin.safetensors",
            "resnet50",
            "resnet101",
            Format::Safetensors,
        ),
    ] {
        let Some(path) = test_support::shared(file) else {
            return;
        };
        let checkpoint = read(&path).unwrap();
        assert_eq!(checkpoint.format, format);
        let found = find(&checkpoint, &LoadOptions::default()).unwrap();
        assert_eq!(
            (found.name.as_str(), found.config.name()),
            (architecture, architecture)
        );
        assert_eq!(checkpoint.classes("fc"), Some(1000));
        let expected = expected(&list[architecture]);
        check(&checkpoint, &expected, "fc", CheckOptions::default()).unwrap();

        let model = Model::named(other).unwrap();
        let graph = (model.describe)(&Options::default()).unwrap();
        let network = Network::new(graph, 0, &Device::flex());
        let error = load(network, &checkpoint, CheckOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("those of {architecture}")), "{text}");
    }
}

fn expected(facts: &serde_json::Value) -> Vec<(String, Vec<usize>)> {
    let shapes = facts["state_dict"].as_object().unwrap();
    shapes
        .iter()
        .map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
        .collect()
}
