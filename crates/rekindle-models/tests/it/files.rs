//! The network in a file is found whatever a training program saved beside it, and nothing else is taken for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::{Pretrained, find};
use rekindle_weights::{
    self as weights, Candidate, Checkpoint, ElementType, Error, LoadOptions, NamedTensor,
    TensorOut, write_burnpack, write_safetensors,
};

/// Written by PyTorch; see `make.py` there.
fn made_by_pytorch(file: &str) -> PathBuf {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/reference/checkpoints"
    ))
    .join(file)
}

/// Returns PyTorch's answer in 64 bits.
fn expected(network: &str, layer: &str) -> Vec<f64> {
    let text = std::fs::read(made_by_pytorch("expected.json")).unwrap();
    let all: serde_json::Value = serde_json::from_slice(&text).unwrap();
    serde_json::from_value(all[network][layer].clone()).unwrap()
}

/// Features and logits of the image that `make.py` uses.
fn answers(pretrained: &Pretrained) -> (Vec<f32>, Vec<f32>) {
    let values: Vec<f32> = (0..3 * 64 * 64)
        .map(|i| (0.37 * f64::from(i)).sin() as f32)
        .collect();
    let image = Tensor::<4>::from_data(TensorData::new(values, [1, 3, 64, 64]), &Device::flex());
    let maps = pretrained.model.forward_features(image);
    let list = |x: Tensor<2>| x.into_data().iter::<f32>().collect();
    (
        list(pretrained.model.pool(maps.clone())),
        list(pretrained.model.forward_head(maps)),
    )
}

fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!(
            (f64::from(*a) - b).abs() < 1e-5 * largest,
            "{what}: {a} for {b}"
        );
    }
}

fn open(path: &Path, options: &LoadOptions) -> Result<Pretrained, Error> {
    let opened = Pretrained::open_with(path, options, &Device::flex());
    opened.map_err(|error| match error {
        rekindle_models::Error::Weights(error) => error,
        other => panic!("{other:?} is no error of a file"),
    })
}

#[test]
fn the_network_inside_answers_as_in_pytorch() {
    let default = LoadOptions::default();
    let momentum = LoadOptions::default().prefix("encoder_k");
    let student = LoadOptions::default().key("student");
    // File, choice, network, whether it has a head, a word of the note.
    for (file, options, network, has_head, said) in [
        (
            "lightning.ckpt",
            &default,
            "first",
            true,
            "criterion.weight",
        ),
        ("optimizer-object.pth", &default, "first", true, "SGD"),
        (
            "moco.pth.tar",
            &default,
            "first",
            false,
            "MoCo's query encoder",
        ),
        ("moco.pth.tar", &momentum, "second", false, "encoder_k"),
        (
            "dino.pth",
            &default,
            "first",
            false,
            "--weights-key student",
        ),
        ("dino.pth", &student, "second", false, "student"),
        ("children.pth", &default, "first", false, "backbone"),
        ("twice.pth", &default, "first", true, "left out: model ("),
    ] {
        let found = open(&made_by_pytorch(file), options).unwrap();
        let note = found.found.note().unwrap();
        assert!(note.contains(said), "{file}: {note}");
        assert!(!note.contains('\n'), "{file}: {note}");
        let (features, logits) = answers(&found);
        assert_close(&features, &expected(network, "features"), file);
        assert_eq!(found.model.num_classes() > 0, has_head, "{file}");
        assert_eq!(found.found.headless.is_none(), has_head, "{file}");
        if has_head {
            assert_close(&logits, &expected(network, "logits"), file);
        }
    }
}

#[test]
fn what_lies_beside_is_counted_and_named() {
    let found = open(&made_by_pytorch("lightning.ckpt"), &LoadOptions::default())
        .unwrap()
        .found;
    assert_eq!(found.prefix, "state_dict.model.");
    let left: BTreeMap<&str, usize> = found
        .left_out
        .iter()
        .map(|group| (group.name.as_str(), group.tensors))
        .collect();
    assert_eq!(left["state_dict.criterion.weight"], 1);
    assert_eq!(left["state_dict.val_acc.tp"], 1);
    assert!(left["optimizer_states"] > 1, "{left:?}");
    assert!(
        found
            .foreign
            .iter()
            .any(|class| class == "omegaconf.dictconfig.DictConfig"),
        "{:?}",
        found.foreign
    );
}

/// A whole module of a class that nobody here knows stays refused, by name.
#[test]
fn a_network_inside_of_a_foreign_object_is_refused_by_name() {
    let error = open(&made_by_pytorch("module.pth"), &LoadOptions::default()).unwrap_err();
    assert!(
        matches!(&error, Error::ForeignCode { global, .. } if global == "__main__.Net"),
        "{error:?}"
    );
}

fn copy(tensor: &NamedTensor, name: &str) -> TensorOut {
    match tensor.element_type() {
        ElementType::I64 => TensorOut::i64(name, tensor.shape(), &tensor.read_i64().unwrap()),
        _ => TensorOut::f32(name, tensor.shape(), &tensor.read_f32().unwrap()),
    }
}

/// Every tensor of a file under the names that `rename` gives, in safetensors.
fn renamed(checkpoint: &Checkpoint, path: &Path, rename: impl Fn(&str) -> Vec<String>) {
    let tensors = checkpoint.tensors.iter().flat_map(|(name, tensor)| {
        rename(name)
            .into_iter()
            .map(|name| copy(tensor, &name))
            .collect::<Vec<_>>()
    });
    write_safetensors(path, tensors.collect(), &BTreeMap::new()).unwrap();
}

/// The first network under torchvision's names.
fn plain() -> Checkpoint {
    let file = weights::read(made_by_pytorch("lightning.ckpt")).unwrap();
    find(&file, &LoadOptions::default()).unwrap().checkpoint
}

#[test]
fn the_formats_behave_alike() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["lightning.ckpt", "moco.pth.tar", "dino.pth", "children.pth"] {
        let checkpoint = weights::read(made_by_pytorch(file)).unwrap();
        let original = find(&checkpoint, &LoadOptions::default()).unwrap();
        let out = || {
            checkpoint
                .tensors
                .iter()
                .map(|(name, tensor)| copy(tensor, name))
                .collect()
        };
        let safetensors = folder.path().join("a.safetensors");
        write_safetensors(&safetensors, out(), &BTreeMap::new()).unwrap();
        let burnpack = folder.path().join("a.bpk");
        write_burnpack(&burnpack, out(), &BTreeMap::new()).unwrap();
        for path in [safetensors, burnpack] {
            let file = weights::read(&path).unwrap();
            let network = find(&file, &LoadOptions::default()).unwrap();
            assert_eq!(network.config, original.config);
            assert_eq!(network.source.prefix, original.source.prefix);
            assert_eq!(network.source.left_out, original.source.left_out);
            assert_eq!(network.source.headless, original.source.headless);
            for (name, tensor) in &original.checkpoint.tensors {
                let same = network.checkpoint.get(name).unwrap();
                assert_eq!(
                    same.read_bytes().unwrap(),
                    tensor.read_bytes().unwrap(),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn any_prefix_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let (features, logits) =
        answers(&open(&made_by_pytorch("lightning.ckpt"), &LoadOptions::default()).unwrap());
    for prefix in [
        "",
        "module.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "encoder.",
        "base_model.",
        "self.resnet.",
        "model_state.a.b.c.d.",
        "7.",
        "layer1.",
    ] {
        renamed(&plain(), &path, |name| vec![format!("{prefix}{name}")]);
        let found = open(&path, &LoadOptions::default()).unwrap();
        assert_eq!(found.found.prefix, prefix);
        assert_eq!(
            answers(&found),
            (features.clone(), logits.clone()),
            "{prefix}"
        );
    }
}

#[test]
fn several_networks_are_listed_and_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.safetensors");
    let twice = |first: &'static str, second: &'static str| {
        move |name: &str| vec![format!("{first}.{name}"), format!("{second}.{name}")]
    };
    renamed(&plain(), &path, twice("generator", "critic"));
    let error = open(&path, &LoadOptions::default()).unwrap_err();
    let Error::AmbiguousNetwork { candidates, .. } = &error else {
        panic!("{error:?}");
    };
    let prefixes: Vec<&str> = candidates
        .iter()
        .map(|candidate| candidate.prefix.as_str())
        .collect();
    assert_eq!(prefixes, ["critic.", "generator."]);
    let text = error.to_string();
    let Candidate { tensors, .. } = &candidates[0];
    assert!(
        text.contains(&format!("{tensors} tensors")) && text.contains("--weights-key generator"),
        "{text}"
    );
    for options in [
        LoadOptions::default().key("critic"),
        LoadOptions::default().prefix("critic."),
    ] {
        assert_eq!(open(&path, &options).unwrap().found.prefix, "critic.");
    }
    let absent = LoadOptions::default().key("judge");
    let error = open(&path, &absent).unwrap_err();
    assert!(matches!(error, Error::NoSuchNetwork { .. }), "{error:?}");
    assert!(
        error.to_string().contains("--weights-key judge") && error.to_string().contains("critic"),
        "{error}"
    );

    // A student and a teacher inside of one state dict may as well be distillation, where the student is meant.
    renamed(
        &plain(),
        &path,
        twice("state_dict.student", "state_dict.teacher"),
    );
    assert!(matches!(
        open(&path, &LoadOptions::default()),
        Err(Error::AmbiguousNetwork { .. })
    ));
    let student = LoadOptions::default().key("state_dict").prefix("student");
    assert_eq!(
        open(&path, &student).unwrap().found.prefix,
        "state_dict.student."
    );
    // What hyper-parameters and callbacks hold is not the model.
    renamed(
        &plain(),
        &path,
        twice("state_dict.net", "hyper_parameters.net"),
    );
    assert_eq!(
        open(&path, &LoadOptions::default()).unwrap().found.prefix,
        "state_dict.net."
    );
    // The moving average that timm and torchvision keep is what they load.
    for (plain_key, average) in [
        ("state_dict", "state_dict_ema"),
        ("model.module", "model_ema.module.module"),
    ] {
        renamed(&plain(), &path, twice(plain_key, average));
        let found = open(&path, &LoadOptions::default()).unwrap().found;
        assert_eq!(found.prefix, format!("{average}."));
        assert!(
            found.note().unwrap().contains("moving average"),
            "{found:?}"
        );
    }
}

#[test]
fn heads_of_other_makes_are_used_or_left_out_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let logits = expected("first", "logits");
    let rename = |to: &'static str| {
        move |name: &str| match (name.strip_prefix("fc."), to) {
            (Some("bias"), "no bias") => Vec::new(),
            (Some(_), "none") => Vec::new(),
            (Some(field), "no bias") => vec![format!("fc.{field}")],
            (Some(field), to) => vec![format!("{to}.{field}")],
            (None, _) => vec![name.to_string()],
        }
    };
    for layer in ["fc", "last_linear", "head", "classifier"] {
        renamed(&plain(), &path, rename(layer));
        let found = open(&path, &LoadOptions::default()).unwrap();
        assert_close(&answers(&found).1, &logits, layer);
    }
    renamed(&plain(), &path, rename("no bias"));
    let bias = plain().read_f32("fc.bias").unwrap();
    let without: Vec<f64> = logits
        .iter()
        .zip(bias)
        .map(|(logit, bias)| logit - f64::from(bias))
        .collect();
    assert_close(
        &answers(&open(&path, &LoadOptions::default()).unwrap()).1,
        &without,
        "no bias",
    );

    for (layer, said) in [
        ("fc.1", "`fc.1.weight`"),
        ("fc.2", "`fc.2.bias`"),
        ("projector.0", "no classifier"),
        ("none", "no classifier"),
    ] {
        renamed(&plain(), &path, rename(layer));
        let found = open(&path, &LoadOptions::default()).unwrap();
        assert_eq!(found.model.num_classes(), 0, "{layer}");
        let has_one = found.found.has_unusable_head;
        assert_eq!(has_one, layer.starts_with("fc"), "{layer}");
        assert!(
            found.found.headless.as_ref().unwrap().contains(said),
            "{layer}: {:?}",
            found.found.headless
        );
        assert_close(&answers(&found).0, &expected("first", "features"), layer);
    }
}

#[test]
fn what_is_nearly_a_resnet_is_refused_with_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    // Squeeze-and-excitation inside of a block, a stage too many, a convolution that is missing.
    for (change, said) in [
        ("layer1.0.se.weight", "unknown to the model"),
        ("layer5.0.conv1.weight", "unknown to the model"),
        ("conv1.bias", "unknown to the model"),
        ("-layer3.0.conv2.weight", "missing"),
    ] {
        let mut network = plain();
        match change.strip_prefix('-') {
            Some(name) => drop(network.tensors.remove(name)),
            None => drop(
                network
                    .tensors
                    .insert(change.into(), network.tensors["fc.bias"].clone()),
            ),
        }
        renamed(&network, &path, |name| vec![format!("net.{name}")]);
        let error = open(&path, &LoadOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(said)
                && text.contains(change.trim_start_matches('-'))
                && text.contains("`net`"),
            "{text}"
        );
    }
    let out = vec![TensorOut::f32("encoder.block.0.weight", [2], &[0.0; 2])];
    write_safetensors(&path, out, &BTreeMap::new()).unwrap();
    let error = open(&path, &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::UnknownNetwork { .. }), "{error:?}");
    assert!(
        error.to_string().contains("encoder.block.0.weight"),
        "{error}"
    );
}

/// A thousand prefixes, nested or side by side, each with a stem and a block: refused or chosen in a moment.
#[test]
fn many_prefixes_take_no_more_time_than_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    for nested in [true, false] {
        let tensors = (0..1000).flat_map(|index| {
            let prefix = if nested {
                "layer1.".repeat(index)
            } else {
                format!("{index}.")
            };
            ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight"]
                .map(|name| TensorOut::f32(format!("{prefix}{name}"), [1, 1, 1, 1], &[0.0]))
        });
        write_safetensors(&path, tensors.collect(), &BTreeMap::new()).unwrap();
        let error = open(&path, &LoadOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)), "{error:?}");
    }
}
