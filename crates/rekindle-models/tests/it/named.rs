//! Networks by name, from a server that speaks as the Hugging Face hub does.

use std::fs;
use std::path::Path;

use burn::prelude::*;
use rekindle_models::files::save;
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::{Error, Interpolation, Model, Options, Preprocess, Pretrained, fetch};
use rekindle_nn::Network;
use rekindle_weights::hub::Hub;
use rekindle_weights::{Error as WeightsError, LoadOptions, ModelInfo};

use crate::hugging_face::{COMMIT, FakeHub};

/// Of `timm/tf_efficientnet_lite0.in1k`, as far as it matters.
const LITE0: &str = r#"{"architecture": "tf_efficientnet_lite0", "num_classes": 1000, "pretrained_cfg": {
    "tag": "in1k", "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.875,
    "crop_mode": "center", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}"#;

fn file_of(network: &Network, info: &ModelInfo) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    save(network, &path, info).unwrap();
    fs::read(path).unwrap()
}

fn published(name: &str) -> Vec<u8> {
    let graph = (Model::named(name).unwrap().describe)(&Options::default()).unwrap();
    file_of(
        &Network::new(graph, 1, &Device::flex()),
        &ModelInfo::default(),
    )
}

/// A network of two classes, small and unpublished.
fn small(info: &ModelInfo) -> Vec<u8> {
    let config = ResNetConfig::RESNET18
        .with_num_classes(2)
        .with_stem_width(8);
    file_of(&config.network(1, &Device::flex()).unwrap(), info)
}

fn named(fake: &FakeHub, folder: &Path, text: &str) -> Result<Pretrained, Error> {
    let hub = Hub::at(folder).endpoint(fake.endpoint());
    let options = LoadOptions::default();
    Pretrained::named_with(text, &options, &hub, &mut |_| (), &Device::flex())
}

#[test]
fn a_name_of_the_registry_is_verified_by_the_hub() {
    let weights = published("tf_efficientnet_lite0");
    let fake = FakeHub::start(
        "tf_efficientnet_lite0.in1k",
        &[
            ("config.json", LITE0.as_bytes()),
            ("model.safetensors", &weights),
        ],
    );
    let folder = tempfile::tempdir().unwrap();
    let source = format!("hf:timm/tf_efficientnet_lite0.in1k@{COMMIT}");
    for name in [
        "tf_efficientnet_lite0",
        "timm/tf_efficientnet_lite0.in1k",
        "hf:timm/tf_efficientnet_lite0.in1k",
        "https://huggingface.co/timm/tf_efficientnet_lite0.in1k",
        &source,
    ] {
        let opened = named(&fake, folder.path(), name).unwrap();
        assert_eq!(opened.architecture, "tf_efficientnet_lite0", "{name}");
        let by_hand = Preprocess {
            resize: 256,
            crop: 224,
            mean: [0.5; 3],
            std: [0.5; 3],
            interpolation: Interpolation::Bicubic,
            mode: Default::default(),
            channels: None,
        };
        assert_eq!(opened.preprocess, by_hand);
        assert_eq!(opened.classes, None);
        assert_eq!(opened.sha256, rekindle_weights::sha256_of(&weights));
        assert_eq!(opened.repository.as_ref().unwrap().to_string(), source);
        assert!(opened.info().provenance.unwrap().contains(&source));
    }
    assert_eq!(fake.requests_elsewhere().len(), 1);
    // A file with another content is none of the hub's.
    fake.state().instead = Some(published("tf_efficientnet_lite1"));
    let folder = tempfile::tempdir().unwrap();
    let error = named(&fake, folder.path(), "tf_efficientnet_lite0").unwrap_err();
    assert!(
        matches!(error, Error::Weights(WeightsError::WrongSize { .. })),
        "{error:?}"
    );
}

#[test]
fn without_a_description_the_registry_knows_the_repository() {
    let name = "mobilenetv4_conv_small.e3600_r256_in1k";
    let weights = published("mobilenetv4_conv_small");
    let fake = FakeHub::start(name, &[("model.safetensors", &weights)]);
    let folder = tempfile::tempdir().unwrap();
    let opened = named(&fake, folder.path(), &format!("hf:timm/{name}")).unwrap();
    let preprocess = opened.preprocess;
    // Of the first weights that were published for it they are 256 and 224.
    assert_eq!((preprocess.resize, preprocess.crop), (269, 256));
    assert_eq!(preprocess.mean, [0.5; 3]);
}

#[test]
fn the_file_goes_before_the_description_beside_it() {
    let described = r#"{"architecture": "mine", "label_names": ["ants", "bees"],
        "pretrained_cfg": {"input_size": [3, 64, 64], "crop_pct": 1.0, "mean": [0.1, 0.2, 0.3]}}"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let open = |info: &ModelInfo, config: &str| {
        fs::write(&path, small(info)).unwrap();
        fs::write(folder.path().join("config.json"), config).unwrap();
        Pretrained::open(&path, &Device::flex())
    };
    let opened = open(&ModelInfo::default(), described).unwrap();
    assert_eq!(opened.classes.unwrap(), ["ants", "bees"]);
    let preprocess = opened.preprocess;
    assert_eq!((preprocess.resize, preprocess.crop), (64, 64));
    assert_eq!(preprocess.mean, [0.1, 0.2, 0.3]);
    assert_eq!(opened.repository, None);

    let own = ModelInfo {
        classes: Some(vec!["cats".into(), "dogs".into()]),
        preprocess: Some(Preprocess::IMAGENET_V2),
        ..ModelInfo::default()
    };
    let opened = open(&own, described).unwrap();
    assert_eq!(opened.classes.unwrap(), ["cats", "dogs"]);
    assert_eq!(opened.preprocess, Preprocess::IMAGENET_V2);
    // Names of other classes are of another head.
    let three = described.replace("\"bees\"", "\"bees\", \"wasps\"");
    assert_eq!(open(&ModelInfo::default(), &three).unwrap().classes, None);
    let error = open(&own, "{").unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
}

#[test]
fn names_that_there_are_not_say_so() {
    let fake = FakeHub::start("other", &[("model.safetensors", b"no weights")]);
    let folder = tempfile::tempdir().unwrap();
    for (name, said) in [
        ("resnet17", "resnet18"),
        ("timm/vit_base", "hf:OWNER/NAME"),
        ("hf:vit_base", "expected hf:OWNER/NAME"),
        ("hf:timm/other:model.bin", "it has model.safetensors"),
    ] {
        let error = named(&fake, folder.path(), name).unwrap_err();
        assert!(error.is_invalid_option(), "{error:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let error = named(&fake, folder.path(), "hf:timm/absent").unwrap_err();
    assert!(!error.is_invalid_option(), "{error:?}");
    let error = named(&fake, folder.path(), "hf:timm/other").unwrap_err();
    assert!(
        matches!(error, Error::Weights(WeightsError::UnknownFormat { .. })),
        "{error:?}"
    );
    // torchvision's are where they were.
    let offline = Hub::at(folder.path()).offline(true);
    let error = fetch("resnet18", &offline, &mut |_| ()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("https://download.pytorch.org/models/resnet18-f37072fd.pth"),
        "{error}"
    );
}
