//! Advice on folders of small pictures, with a narrow network that knows nothing.

use std::path::Path;

use burn::tensor::Device;
use image::{Rgb, RgbImage};
use rekindle_models::Preprocess;
use rekindle_models::files::save;
use rekindle_models::resnet::{BlockKind, ResNetConfig};
use rekindle_trainer::{Advise, TrainerError, advise};
use rekindle_transfer::advise::Warning;
use rekindle_weights::ModelInfo;

/// Pictures of two classes; `level` gives the brightness of one.
fn write_pictures(folder: &Path, count: usize, level: impl Fn(usize, usize) -> u8) {
    for (class, name) in ["dark", "light"].into_iter().enumerate() {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        for index in 0..count {
            let base = level(class, index);
            let picture = RgbImage::from_fn(40, 40, |x, y| {
                let noise = ((x * 31 + y * 17 + index as u32 * 101 + class as u32 * 7) % 50) as u8;
                Rgb([base + noise, base, base + noise / 2])
            });
            let path = folder.join(name).join(format!("{index}.png"));
            picture.save(path).unwrap();
        }
    }
}

fn write_weights(path: &Path, seed: u64) {
    let device = Device::flex();
    device.seed(seed);
    let config = ResNetConfig::new(BlockKind::Basic, [1, 1, 1, 1])
        .with_stem_width(8)
        .with_num_classes(5);
    let preprocess = Preprocess {
        resize: 32,
        crop: 32,
        ..Preprocess::IMAGENET
    };
    let info = ModelInfo {
        preprocess: Some(preprocess),
        ..ModelInfo::default()
    };
    save(&config.network(0, &device).unwrap(), path, &info).unwrap();
}

#[test]
fn colours_that_tell_everything_are_noticed_and_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_pictures(&data.join("train"), 12, |class, _| 20 + 120 * class as u8);
    let weights = [
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    ];
    weights
        .iter()
        .zip(0..)
        .for_each(|(path, seed)| write_weights(path, seed));
    let advice = advise(&data, &weights, &Device::flex()).unwrap();
    assert_eq!((advice.images, advice.classes), (24, 2));
    assert_eq!(advice.backbones.len(), 2);
    assert!(advice.backbones.iter().any(|score| score.name == "b"));
    assert_eq!(advice.baseline.unwrap().accuracy, 1.0);
    let is_negative = |warning: &Warning| matches!(warning, Warning::NegativeTransfer { .. });
    assert!(advice.warnings.iter().any(is_negative), "{advice}");
}

#[test]
fn one_class_and_no_weights_are_errors_that_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    write_pictures(folder.path(), 2, |_, _| 20);
    let none: [&Path; 0] = [];
    let error = advise(folder.path(), &none, &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("at least one"), "{error}");
    std::fs::remove_dir_all(folder.path().join("light")).unwrap();
    let error = Advise::new(&Device::flex()).run(folder.path(), &["none.pth"]);
    assert!(matches!(error, Err(TrainerError::UnusableData { .. })));
}
