//! Files of ResNets against PyTorch's own list of their tensors.

use std::collections::BTreeMap;
use std::fs;

use burn::prelude::Device;
use rekindle_resnet::weights::{self, CheckOptions, Format, TensorOut, write_safetensors};
use rekindle_resnet::{Architecture, state_dict};

/// torchvision's names and shapes by architecture.
fn torchvisions() -> serde_json::Value {
    let path = test_support::reference_path("architectures.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Files that `torch.save` wrote, today's format and the one before, value by value.
#[test]
fn files_of_torch_save_have_every_tensor() {
    let config = Architecture::ResNet18
        .config()
        .with_stem_width(2)
        .with_num_classes(3);
    let shapes = state_dict::shapes(&config.init(&Device::flex()));
    for (file, format) in [
        ("resnet18-zip.pth", Format::PytorchZip),
        ("resnet18-legacy.pth", Format::PytorchLegacy),
    ] {
        let path = test_support::reference_path(file);
        let checkpoint = weights::read(&path).unwrap();
        assert_eq!(checkpoint.format, format);
        assert_eq!(checkpoint.classes("fc"), Some(3));
        weights::check(&checkpoint, &shapes, CheckOptions::default()).unwrap();
        let mut formula = test_support::StateDict::new(shapes.clone());
        for (name, _) in &shapes {
            let found = checkpoint.read_f32(name).unwrap();
            assert_eq!(found, formula.next(name), "{file} {name}");
        }
    }
}

/// Names and shapes of real files against PyTorch's own list of them.
#[test]
fn real_checkpoints_have_every_tensor_of_their_architecture() {
    let list = torchvisions();
    for (file, architecture, format) in [
        (
            "data/weights/resnet18-standin.pth",
            "resnet18",
            Format::PytorchZip,
        ),
        (
            "data/weights/resnet50-standin.safetensors",
            "resnet50",
            Format::Safetensors,
        ),
    ] {
        let Some(path) = test_support::shared(file) else {
            return;
        };
        let checkpoint = weights::read(&path).unwrap();
        assert_eq!(checkpoint.format, format);
        assert_eq!(Architecture::of(&checkpoint), architecture.parse().ok());
        assert_eq!(checkpoint.classes("fc"), Some(1000));
        let expected = expected(&list, architecture);
        weights::check(&checkpoint, &expected, CheckOptions::default()).unwrap();

        let other = if architecture == "resnet18" {
            "resnet34"
        } else {
            "resnet101"
        };
        let error = weights::check(
            &checkpoint,
            &self::expected(&list, other),
            CheckOptions::default(),
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("those of {architecture}")),
            "{error}"
        );
    }
}

fn expected(list: &serde_json::Value, architecture: &str) -> Vec<(String, Vec<usize>)> {
    let shapes = list[architecture]["state_dict"].as_object().unwrap();
    shapes
        .iter()
        .map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
        .collect()
}

/// The ten architectures tell themselves apart by their shapes alone.
#[test]
fn every_architecture_is_recognised() {
    let list = torchvisions();
    let folder = tempfile::tempdir().unwrap();
    for architecture in list.as_object().unwrap().keys() {
        // The first stage and one name of each later block hold all that the guess looks at.
        let out = expected(&list, architecture)
            .into_iter()
            .filter(|(name, _)| {
                name == "conv1.weight"
                    || name.ends_with("conv1.weight")
                    || name.starts_with("layer1.0.conv")
            })
            .map(|(name, shape)| {
                let small = if name.starts_with("layer1.0") || name == "conv1.weight" {
                    shape
                } else {
                    vec![1]
                };
                let zeros = vec![0.0; small.iter().product()];
                TensorOut::f16(name, small, &zeros)
            })
            .collect();
        let path = folder.path().join("a.safetensors");
        write_safetensors(&path, out, &BTreeMap::new()).unwrap();
        let found = Architecture::of(&weights::read(&path).unwrap());
        assert_eq!(found, architecture.parse().ok());
    }
}
