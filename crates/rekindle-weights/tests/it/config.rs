//! Descriptions beside weights, as timm and transformers write them.

use std::fs;
use std::path::Path;

use rekindle_preprocess::{Interpolation, Preprocess, ResizeMode};
use rekindle_weights::{Error, ModelInfo};

/// Returns the metadata read from files beside `model.safetensors`.
fn beside(files: &[(&str, &str)]) -> Result<ModelInfo, Error> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    ModelInfo::beside(folder.path().join("model.safetensors"))
}

fn config(text: &str) -> ModelInfo {
    beside(&[("config.json", text)]).unwrap()
}

/// Of `timm/tf_efficientnet_lite0.in1k`, shortened.
const LITE0: &str = r#"{
  "architecture": "tf_efficientnet_lite0",
  "num_classes": 1000,
  "num_features": 1280,
  "global_pool": "avg",
  "pretrained_cfg": {
    "tag": "in1k",
    "custom_load": false,
    "input_size": [3, 224, 224],
    "fixed_input_size": false,
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "num_classes": 1000,
    "pool_size": [7, 7],
    "first_conv": "conv_stem",
    "classifier": "classifier"
  }
}"#;

#[test]
fn timms_description_is_a_preprocessing() {
    let info = config(LITE0);
    let expected = Preprocess {
        resize: 256, // 224 / 0.875
        crop: 224,
        mean: [0.5; 3],
        std: [0.5; 3],
        interpolation: Interpolation::Bicubic,
        mode: Default::default(),
        channels: None,
    };
    assert_eq!(info.preprocess, Some(expected));
    assert_eq!(info.architecture.as_deref(), Some("tf_efficientnet_lite0"));
    assert_eq!(info.classes, None);
    // 260 / 0.89 = 292.1, 384 / 0.95 = 404.2, both rounded down.
    for (side, share, resize) in [(260, "0.89", 292), (384, "0.95", 404), (256, "1.0", 256)] {
        let text = LITE0.replace("224, 224", &format!("{side}, {side}"));
        let preprocess = config(&text.replace("0.875", share)).preprocess.unwrap();
        assert_eq!((preprocess.resize, preprocess.crop), (resize, side));
    }
}

#[test]
fn class_names_are_a_list_or_numbered() {
    let named = |entry: &str| config(&LITE0.replacen('{', &format!("{{ {entry},"), 1)).classes;
    let names = Some(vec!["ants".to_string(), "bees".to_string()]);
    assert_eq!(named(r#""label_names": ["ants", "bees"]"#), names);
    assert_eq!(named(r#""label_names": {"1": "bees", "0": "ants"}"#), names);
    assert_eq!(named(r#""id2label": {"1": "bees", "0": "ants"}"#), names);
    for odd in [
        r#""label_names": []"#,
        r#""label_names": ["ants", 2]"#,
        r#""label_names": {"0": "ants", "2": "bees"}"#,
        r#""label_names": {"0": "ants", "x": "bees"}"#,
        r#""label_names": {"0": "ants", "18446744073709551615": "bees"}"#,
        r#""label_names": "ants""#,
        r#""id2label": {"0": "LABEL_0", "1": "LABEL_1"}"#,
    ] {
        assert_eq!(named(odd), None, "{odd}");
    }
    let inside = LITE0.replace(
        "\"tag\": \"in1k\"",
        "\"tag\": \"in1k\", \"label_names\": [\"ants\", \"bees\"]",
    );
    assert_eq!(config(&inside).classes, names);
    // As timm wrote it at first.
    let old = r#"{"architecture": "resnet18.a1", "labels": ["ants", "bees"], "crop_pct": 0.95}"#;
    let info = config(old);
    assert_eq!(
        (info.architecture.as_deref(), info.classes),
        (Some("resnet18"), names)
    );
    let preprocess = info.preprocess.unwrap();
    assert_eq!((preprocess.resize, preprocess.crop), (235, 224));
    assert_eq!(preprocess.mean, Preprocess::IMAGENET.mean);
    assert_eq!(preprocess.interpolation, Interpolation::Bicubic);
}

#[test]
fn more_than_three_channels_are_three_in_turn_or_an_error() {
    for (numbers, expected) in [
        ("[0.25, 0.25, 0.25, 0.25]", [0.25; 3]),
        ("[0.5, 0.25, 0.75, 0.5, 0.25]", [0.5, 0.25, 0.75]),
    ] {
        let text = LITE0.replace("[0.5, 0.5, 0.5]", numbers);
        let preprocess = config(&text).preprocess.unwrap();
        assert_eq!((preprocess.mean, preprocess.std), (expected, expected));
    }
    let text = LITE0.replace(
        "\"mean\": [0.5, 0.5, 0.5]",
        "\"mean\": [0.5, 0.5, 0.5, 0.25]",
    );
    let error = beside(&[("config.json", &text)]).unwrap_err().to_string();
    assert!(
        error.contains("\"mean\" has a number of its own"),
        "{error}"
    );
    let text = r#"{"image_std": [0.1, 0.2, 0.3, 0.4]}"#;
    let error = beside(&[("preprocessor_config.json", text)]).unwrap_err();
    assert!(error.to_string().contains("image_std"), "{error}");
}

#[test]
fn odd_values_take_the_default() {
    for (entry, odd) in [
        ("[3, 224, 224]", "[3, 224, 200]"),
        ("[3, 224, 224]", "[3, 0, 0]"),
        ("[3, 224, 224]", "[3, 1e18, 1e18]"),
        ("[3, 224, 224]", "\"large\""),
        ("0.875", "0"),
        ("0.875", "-1"),
        ("0.875", "1e-30"),
        ("0.875", "1.5"),
        ("0.875", "null"),
    ] {
        let preprocess = config(&LITE0.replacen(entry, odd, 1)).preprocess.unwrap();
        assert_eq!((preprocess.resize, preprocess.crop), (256, 224), "{odd}");
    }
    for odd in ["[0.5, 0.5]", "[0.5, 0.5, \"x\"]", "null", "{}"] {
        let text = LITE0.replace("[0.5, 0.5, 0.5]", odd);
        let preprocess = config(&text).preprocess.unwrap();
        assert_eq!(preprocess.mean, Preprocess::IMAGENET.mean, "{odd}");
        assert_eq!(preprocess.std, Preprocess::IMAGENET.std, "{odd}");
    }
    let zero = LITE0.replace("\"std\": [0.5, 0.5, 0.5]", "\"std\": [0.5, 0.0, 0.5]");
    assert_eq!(
        config(&zero).preprocess.unwrap().std,
        Preprocess::IMAGENET.std
    );
    let one = config(&LITE0.replace("[0.5, 0.5, 0.5]", "[0.25]"));
    assert_eq!(one.preprocess.unwrap().std, [0.25; 3]);
    for unknown in ["{}", "[]", "null", "7", "{\"learning_rate\": 0.1}"] {
        assert_eq!(config(unknown), ModelInfo::default(), "{unknown}");
    }
}

#[test]
fn transformers_describe_it_in_two_files() {
    let labels = r#"{"architectures": ["ResNetForImageClassification"], "id2label": {"0": "cat"}}"#;
    let described = |preprocessor: &str| {
        let files = [
            ("config.json", labels),
            ("preprocessor_config.json", preprocessor),
        ];
        let info = beside(&files).unwrap();
        assert_eq!(info.classes, Some(vec!["cat".to_string()]));
        info.preprocess
    };
    // microsoft/resnet-50: the size that is cut out is 224 / 0.875 = 256 of the shorter side.
    let resnet = r#"{"crop_pct": 0.875, "do_normalize": true, "do_resize": true, "resample": 3,
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "size": 224}"#;
    let bicubic = Preprocess {
        interpolation: Interpolation::Bicubic,
        ..Preprocess::IMAGENET
    };
    assert_eq!(described(resnet), Some(bicubic.clone()));
    let nested = resnet.replace("\"size\": 224", "\"size\": {\"shortest_edge\": 224}");
    assert_eq!(described(&nested), Some(bicubic));
    let sides = |preprocessor: &str| {
        let preprocess = described(preprocessor).unwrap();
        [preprocess.resize, preprocess.crop]
    };
    let cut = r#"{"size": {"shortest_edge": 256}, "do_center_crop": true,
        "crop_size": {"height": 224, "width": 224}}"#;
    assert_eq!(sides(cut), [256, 224]);
    assert_eq!(sides(&cut.replace("true", "false")), [256, 256]);
    assert_eq!(sides(&resnet.replace("224", "384")), [384, 384]);
    assert_eq!(
        sides(r#"{"size": {"height": 192, "width": 192}}"#),
        [192; 2]
    );
    let mode = |preprocessor: &str| described(preprocessor).unwrap().mode;
    // ViTImageProcessor makes every picture a square of these sides; CLIPFeatureExtractor scales the shorter one.
    let (both, old) = (
        r#"{"size": {"height": 192, "width": 192}}"#,
        r#"{"size": 224, "feature_extractor_type": "T"}"#,
    );
    for (preprocessor, expected) in [
        (resnet.to_string(), ResizeMode::Crop),
        (nested.clone(), ResizeMode::Crop),
        (cut.to_string(), ResizeMode::Crop),
        (resnet.replace("224", "384"), ResizeMode::Squash),
        (both.to_string(), ResizeMode::Squash),
        (
            old.replace("\"T\"", "\"ViTFeatureExtractor\""),
            ResizeMode::Squash,
        ),
        (
            old.replace("\"T\"", "\"CLIPFeatureExtractor\""),
            ResizeMode::Crop,
        ),
    ] {
        assert_eq!(mode(&preprocessor), expected, "{preprocessor}");
    }
    let plain = described(r#"{"size": 64, "do_normalize": false, "image_mean": [0.5]}"#).unwrap();
    assert_eq!((plain.mean, plain.std), ([0.0; 3], [1.0; 3]));
    for odd in [
        "{}",
        r#"{"size": {"longest_edge": 1}}"#,
        r#"{"size": {"height": 1, "width": 2}}"#,
    ] {
        assert_eq!(described(odd), None, "{odd}");
    }
    // timm's own description says more.
    let both = beside(&[("config.json", LITE0), ("preprocessor_config.json", resnet)]);
    assert_eq!(both.unwrap().preprocess.unwrap().mean, [0.5; 3]);
}

#[test]
fn what_is_no_json_is_an_error_that_names_the_file() {
    for name in ["config.json", "preprocessor_config.json"] {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "{\"a\": NaN}", "version https://git-lfs", &deep] {
            let error = beside(&[(name, text)]).unwrap_err();
            assert!(
                matches!(error, Error::InvalidConfig { .. }),
                "{text:.20}: {error:?}"
            );
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn a_folder_of_many_networks_has_no_description() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &str| {
        ModelInfo::beside(folder.path().join(path))
            .unwrap()
            .preprocess
    };
    fs::write(folder.path().join("config.json"), LITE0).unwrap();
    fs::write(folder.path().join("a.pth"), "").unwrap();
    assert!(read("a.pth").is_some());
    fs::write(folder.path().join("b.safetensors"), "").unwrap();
    assert_eq!(read("a.pth"), None);
    assert!(read("model.safetensors").is_some());
    let commit = folder
        .path()
        .join("0123456789abcdef0123456789abcdef01234567");
    fs::create_dir(&commit).unwrap();
    for name in ["config.json", "a.pth", "b.pth"] {
        fs::write(commit.join(name), LITE0).unwrap();
    }
    let info = ModelInfo::beside(commit.join("a.pth")).unwrap();
    assert!(info.preprocess.is_some());
    assert_eq!(
        ModelInfo::beside(Path::new("no/such/a.pth")).unwrap(),
        ModelInfo::default()
    );
}

/// Numbers without meaning, always the same ones.
fn scatter(state: &mut u64) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn no_content_is_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "-1",
        "1e308",
        "0",
        "99999999999",
        "{}",
        "[]",
        "\"\\ud800\"",
        "\u{0}",
        "size",
        "id2label",
        "label_names",
    ];
    let whole = LITE0.replacen(
        '{',
        "{\"id2label\": {\"0\": \"a\", \"1\": \"b\"}, \"size\": 224,",
        1,
    );
    let mut state = 1;
    let mut read = 0;
    for _ in 0..3000 {
        let mut text = whole.clone().into_bytes();
        for _ in 0..1 + scatter(&mut state) % 3 {
            let at = scatter(&mut state) % text.len();
            let until = (at + scatter(&mut state) % 12).min(text.len());
            let word = words[scatter(&mut state) % words.len()];
            text.splice(at..until, word.bytes());
        }
        for name in ["config.json", "preprocessor_config.json"] {
            fs::write(folder.path().join(name), &text).unwrap();
        }
        match ModelInfo::beside(&path) {
            Ok(info) => {
                read += 1;
                let preprocess = info.preprocess.unwrap_or_default();
                assert!(preprocess.crop > 0 && preprocess.resize >= preprocess.crop);
                assert!(preprocess.resize <= 40_960);
                assert!(preprocess.std.iter().all(|std| *std > 0.0));
            }
            Err(error) => assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}"),
        }
    }
    // Neither all of it is broken, nor nothing.
    assert!((100..2900).contains(&read), "{read}");
}
