//! ResNet-18 with real weights against PyTorch's activations, and weights that go out and come back.

use burn::prelude::*;
use rekindle_models::files::{load, save, save_burnpack, save_f16};
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::{Interpolation, Preprocess, Pretrained};
use rekindle_nn::{GraphError, Network};
use rekindle_weights::{CheckOptions, Error, ModelInfo, read, state_dict};
use test_support::{Reference, relative_error, shared};

/// Relative error on every instruction set that the README announces.
const WITHIN: f64 = 5e-6;

#[test]
fn activations_are_pytorchs() {
    let (Some(weights), Some(reference)) = (
        shared("data/weights/resnet18-standin.pth"),
        shared("reference/resnet18_eval.safetensors"),
    ) else {
        return;
    };
    let device = Device::flex();
    let pretrained = Pretrained::open(weights, &device).unwrap();
    assert_eq!(pretrained.architecture, "resnet18");
    let reference = Reference::open(&reference);
    agrees_with_pytorch(&pretrained.model, &reference, &device);
    #[cfg(feature = "kernels")]
    agrees_with_pytorch(&pretrained.model.with_kernels(false), &reference, &device);
}

fn agrees_with_pytorch(model: &Network, reference: &Reference, device: &Device) {
    let input = crate::common::tensor::<4>(reference, "input", device);
    let intermediates = model.forward_intermediates(input.clone());
    let last = intermediates[4].clone();
    for (stage, activations) in model.graph().stage_names().iter().zip(intermediates) {
        let error = crate::common::relative_error(reference, stage, activations);
        println!("{stage}: relative error {error:.1e}");
        assert!(error < WITHIN, "{stage}: {error:e}");
    }
    let features = crate::common::relative_error(reference, "features", model.pool(last.clone()));
    let logits = crate::common::relative_error(reference, "logits", model.forward_head(last));
    let at_once = crate::common::relative_error(reference, "logits", model.forward(input));
    println!("features {features:.1e}, logits {logits:.1e}, at once {at_once:.1e}");
    assert!(features < WITHIN && logits < WITHIN && at_once < WITHIN);
}

#[cfg(feature = "kernels")]
#[test]
fn activations_are_pytorchs_on_every_instruction_set() {
    if shared("data/weights/resnet18-standin.pth").is_some() {
        for isa in rekindle_kernels::Isa::available() {
            test_support::rerun(
                "pretrained::activations_are_pytorchs",
                "REKINDLE_ISA",
                &isa.to_string(),
            );
        }
    }
}

#[test]
fn weights_go_out_and_come_back_bit_for_bit() {
    let device = Device::flex();
    let config = ResNetConfig::RESNET18
        .with_stem_width(8)
        .with_num_classes(5);
    let model = config.network(0, &device).unwrap();
    let info = ModelInfo {
        classes: Some((0..5).map(|class| format!("class {class}")).collect()),
        preprocess: Some(Preprocess {
            crop: 64,
            ..Preprocess::IMAGENET
        }),
        ..ModelInfo::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let safetensors = folder.path().join("model.safetensors");
    let burnpack = folder.path().join("model.bpk");
    save(&model, &safetensors, &info).unwrap();
    save_burnpack(&model, &burnpack, &info).unwrap();
    for path in [safetensors, burnpack] {
        let back = Pretrained::open(&path, &device).unwrap();
        assert_eq!(back.model.graph(), model.graph(), "{}", path.display());
        assert_eq!(back.classes, info.classes);
        assert_eq!(back.preprocess.crop, 64);
        assert_eq!(
            state_dict::collect(&back.model),
            state_dict::collect(&model)
        );
    }
}

#[test]
fn another_architecture_is_one_error_that_lists_what_differs() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let narrow = ResNetConfig::RESNET18.with_stem_width(8);
    let narrow = narrow.network(0, &device).unwrap();
    save(&narrow, &path, &ModelInfo::default()).unwrap();
    let checkpoint = read(&path).unwrap();
    let wider = ResNetConfig::RESNET34.with_stem_width(8);
    let wider = wider.network(0, &device).unwrap();
    let error = load(wider, &checkpoint, CheckOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Mismatch(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("80 missing: `layer1.2.bn1.bias`"),
        "{error}"
    );
}

#[test]
fn a_grey_stem_sums_the_weights_over_the_channels() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let config = ResNetConfig::RESNET18.with_stem_width(8);
    let rgb = config.network(0, &device).unwrap();
    save(&rgb, &path, &ModelInfo::default()).unwrap();
    let checkpoint = read(&path).unwrap();

    let image = Tensor::<4>::random([1, 1, 32, 32], burn::tensor::Distribution::Default, &device);
    let expected = rgb.forward(image.clone().repeat_dim(1, 3));
    for channels in [1, 2, 6] {
        let other = config.with_in_channels(channels);
        let other = other.network(0, &device).unwrap();
        let other = load(other, &checkpoint, CheckOptions::default()).unwrap();
        let found = other.forward(image.clone().repeat_dim(1, channels));
        let [found, expected] = [found, expected.clone()]
            .map(|logits| logits.into_data().iter::<f32>().collect::<Vec<_>>());
        let error = relative_error(&found, &expected);
        // Two channels keep red and green: scaled, but not the same filter.
        if channels != 2 {
            assert!(error < 1e-5, "{channels} channels: {error:e}");
        }
    }
}

#[test]
fn a_new_classifier_has_the_classes_asked_for() {
    let device = Device::flex();
    let model = ResNetConfig::RESNET50
        .with_stem_width(8)
        .network(0, &device)
        .unwrap();
    assert_eq!((model.num_features(), model.num_classes()), (256, 1000));
    let model = model.reset_classifier(3, 0);
    let images = Tensor::<4>::zeros([2, 3, 32, 32], &device);
    assert_eq!(model.forward(images.clone()).dims(), [2, 3]);
    let bare = model.reset_classifier(0, 0);
    assert_eq!(bare.forward(images).dims(), [2, 256]);
    assert_eq!(bare.num_classes(), 0);
}

#[test]
fn a_classifier_is_taken_off_and_put_back() {
    let device = Device::flex();
    let config = ResNetConfig::RESNET18
        .with_stem_width(8)
        .with_num_classes(3);
    let model = config.network(1, &device).unwrap();
    let before = state_dict::collect(&model);
    let (bare, head) = model.split_classifier();
    let head = head.unwrap();
    assert_eq!((bare.num_classes(), head.weight.dims()), (0, [64, 3]));
    assert_eq!(bare.graph(), &config.with_num_classes(0).graph().unwrap());
    assert!(bare.clone().split_classifier().1.is_none());
    let images = Tensor::<4>::zeros([2, 3, 32, 32], &device);
    let logits = head.forward(bare.forward(images.clone()));
    let whole = bare.with_classifier(head.clone()).unwrap();
    assert_eq!(state_dict::collect(&whole), before);
    assert_eq!(whole.forward(images).into_data(), logits.into_data());
    let wider = config.with_stem_width(16).network(0, &device).unwrap();
    let error = wider.with_classifier(head).unwrap_err();
    let expected = GraphError::Classifier {
        expected: 128,
        found: [64, 3],
    };
    assert_eq!(error, expected);
}

#[test]
fn a_stage_that_does_not_exist_is_an_error() {
    let device = Device::flex();
    let config = ResNetConfig::RESNET18.with_stem_width(8);
    let model = config.network(0, &device).unwrap();
    let x = || Tensor::<4>::zeros([1, 3, 32, 32], &device);
    for stages in [0..6, 0..99, 5..6, usize::MAX - 1..usize::MAX] {
        let error = model.forward_stages(stages.clone(), x()).unwrap_err();
        assert!(
            matches!(error, GraphError::UnknownStage { stages: 5, .. }),
            "{stages:?}: {error:?}"
        );
    }
    assert!(model.pool_stages(6, x()).is_err());
    #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
    let reversed = model.forward_stages(3..1, x());
    assert!(reversed.is_err());
    // An empty range gives its input back; behind the last stage there is pooling alone.
    assert_eq!(
        model.forward_stages(2..2, x()).unwrap().dims(),
        [1, 3, 32, 32]
    );
    assert_eq!(model.pool_stages(5, x()).unwrap().dims(), [1, 3]);
}

/// Checks that each format carries everything that a user with nothing but the file needs.
#[test]
fn every_format_that_is_read_back_carries_names_preprocessing_and_origin() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let config = ResNetConfig::RESNET18
        .with_stem_width(8)
        .with_num_classes(3);
    let model = config.network(0, &device).unwrap();
    let info = ModelInfo {
        architecture: Some("resnet18".into()),
        classes: Some(vec!["ants".into(), "bees \"<&>\"".into(), "蜂".into()]),
        preprocess: Some(Preprocess {
            crop: 96,
            resize: 110,
            interpolation: Interpolation::Bicubic,
            ..Preprocess::IMAGENET
        }),
        provenance: Some(r#"{"source":"x.pth"}"#.into()),
        temperature: Some(1.25),
        test_views: Some("flip".into()),
        task: Some("multi-label".into()),
        thresholds: Some(vec![0.25, 0.5]),
        conformal_scores: Some(vec![3, 9_000]),
        residuals: Some(vec![0.25, 1.0e-3]),
        unknown_detector: Some(r#"{"score":"energy"}"#.into()),
    };
    let path = |name: &str| folder.path().join(name);
    save(&model, path("a"), &info).unwrap();
    save_f16(&model, path("b"), &info).unwrap();
    save_burnpack(&model, path("c"), &info).unwrap();
    let bytes = std::fs::read(path("a")).unwrap();
    let from_memory = Pretrained::from_safetensors("a", bytes, &device).unwrap();
    let from_file = Pretrained::open(path("a"), &device).unwrap();
    assert_eq!(from_memory.sha256, from_file.sha256);
    let collect = |read: &Pretrained| state_dict::collect(&read.model);
    assert!(collect(&from_memory) == collect(&from_file));
    let others = ["b", "c"].map(|name| Pretrained::open(path(name), &device).unwrap());
    for read in [from_memory, from_file].into_iter().chain(others) {
        assert_eq!(read.info().provenance, info.provenance);
        assert_eq!(read.classes, info.classes);
        assert_eq!(Some(read.preprocess), info.preprocess);
        assert_eq!(read.temperature, info.temperature);
        assert_eq!(read.test_views, info.test_views);
        assert_eq!(read.task, info.task);
        assert_eq!(read.thresholds, info.thresholds);
        assert_eq!(read.conformal_scores, info.conformal_scores);
        assert_eq!(read.residuals, info.residuals);
        assert_eq!(read.unknown_detector, info.unknown_detector);
        assert_eq!(read.model.num_classes(), 3);
    }
}
