//! The catalogue against torchvision's own table.

use std::fs;

use rekindle_resnet::{Error, Interpolation, catalogue};
use serde_json::Value;

#[test]
fn every_entry_agrees_with_torchvision() {
    let path = test_support::reference_path("architectures.json");
    let reference: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut count = 0;
    for (architecture, facts) in reference.as_object().unwrap() {
        for (name, weights) in facts["weights"].as_object().unwrap() {
            let entry = catalogue::find(architecture, name).unwrap();
            let context = entry.to_string();
            assert_eq!(entry.file, weights["file"], "{context}");
            assert_eq!(entry.top1, weights["top1"].as_f64().unwrap(), "{context}");
            assert_eq!(entry.top5, weights["top5"].as_f64().unwrap(), "{context}");
            assert_eq!(
                entry.size_mib,
                weights["file_size_mb"].as_f64().unwrap(),
                "{context}"
            );
            assert_eq!(
                entry.preprocess.resize as u64, weights["resize"],
                "{context}"
            );
            assert_eq!(entry.preprocess.crop as u64, weights["crop"], "{context}");
            assert_eq!(
                entry.preprocess.interpolation,
                Interpolation::Bilinear,
                "{context}"
            );
            for (ours, theirs) in [
                (entry.preprocess.mean, &weights["mean"]),
                (entry.preprocess.std, &weights["std"]),
            ] {
                let theirs: [f32; 3] = serde_json::from_value(theirs.clone()).unwrap();
                assert_eq!(ours, theirs, "{context}");
            }
            assert!(
                entry
                    .file
                    .ends_with(&format!("-{}.pth", entry.sha256_prefix)),
                "{context}"
            );
            let rows = facts["state_dict"]["fc.weight"][0].as_u64().unwrap();
            assert_eq!(entry.classes as u64, rows, "{context}");
            count += 1;
        }
    }
    assert_eq!(count, catalogue::entries().len());
}

#[test]
fn the_default_is_the_best_of_its_architecture() {
    for entry in catalogue::entries() {
        let default = catalogue::find(entry.architecture, "default").unwrap();
        assert!(default.top1 >= entry.top1, "{default} and {entry}");
        assert!(entry.url().starts_with("https://"));
    }
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let error = catalogue::find("resnet18", "IMAGENET1K_V2").unwrap_err();
    assert!(matches!(error, Error::UnknownWeights { .. }));
    assert!(
        error.to_string().ends_with("it has: IMAGENET1K_V1"),
        "{error}"
    );
    let error = catalogue::find("vgg16", "DEFAULT").unwrap_err();
    assert!(error.to_string().contains("wide_resnet101_2"), "{error}");
    for (slip, meant) in [
        ("resnet17", "resnet18"),
        ("ResNet5", "resnet50"),
        ("wideresnet50_2", "wide_resnet50_2"),
    ] {
        let error = catalogue::find(slip, "DEFAULT").unwrap_err();
        assert!(
            matches!(error, Error::UnknownArchitecture { .. }),
            "{error:?}"
        );
        let hint = format!("did you mean {meant}?");
        assert!(error.to_string().contains(&hint), "{error}");
    }
}
