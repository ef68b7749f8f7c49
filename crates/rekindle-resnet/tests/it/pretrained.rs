//! ResNet-18 with real weights against PyTorch's activations, and weights that go out and come back.

use burn::prelude::*;
use rekindle_resnet::weights::{self, CheckOptions, ModelInfo};
use rekindle_resnet::{Architecture, Error, Preprocess, Pretrained, ResNet, STAGES, state_dict};
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

fn agrees_with_pytorch(model: &ResNet, reference: &Reference, device: &Device) {
    let input = crate::common::tensor::<4>(reference, "input", device);
    let intermediates = model.forward_intermediates(input.clone());
    let last = intermediates[4].clone();
    for (stage, activations) in STAGES.iter().zip(intermediates) {
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
    let config = Architecture::ResNet18
        .config()
        .with_stem_width(8)
        .with_num_classes(5);
    let model = config.init(&device);
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
    model.save(&safetensors, &info).unwrap();
    model.save_burnpack(&burnpack, &info).unwrap();
    for path in [safetensors, burnpack] {
        let back = Pretrained::open(&path, &device).unwrap();
        assert_eq!(back.config, config, "{}", path.display());
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
    let narrow = Architecture::ResNet18.config().with_stem_width(8);
    narrow
        .init(&device)
        .save(&path, &ModelInfo::default())
        .unwrap();
    let checkpoint = weights::read(&path).unwrap();
    let wider = Architecture::ResNet34.config().with_stem_width(8);
    let error = wider
        .init(&device)
        .load(&checkpoint, CheckOptions::default())
        .unwrap_err();
    assert!(
        matches!(error, Error::Weights(weights::Error::Mismatch(_))),
        "{error}"
    );
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
    let config = Architecture::ResNet18.config().with_stem_width(8);
    let rgb = config.init(&device);
    rgb.save(&path, &ModelInfo::default()).unwrap();
    let checkpoint = weights::read(&path).unwrap();

    let image = Tensor::<4>::random([1, 1, 32, 32], burn::tensor::Distribution::Default, &device);
    let expected = rgb.forward(image.clone().repeat_dim(1, 3));
    for channels in [1, 2, 6] {
        let other = config
            .clone()
            .with_in_channels(channels)
            .init(&device)
            .load(&checkpoint, CheckOptions::default())
            .unwrap();
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
    let model = Architecture::ResNet50
        .config()
        .with_stem_width(8)
        .init(&device);
    assert_eq!((model.num_features(), model.num_classes()), (256, 1000));
    let model = model.reset_classifier(3);
    let images = Tensor::<4>::zeros([2, 3, 32, 32], &device);
    assert_eq!(model.forward(images.clone()).dims(), [2, 3]);
    let bare = model.reset_classifier(0);
    assert_eq!(bare.forward(images).dims(), [2, 256]);
    assert_eq!(bare.num_classes(), 0);
}

#[test]
fn a_stage_that_does_not_exist_is_an_error() {
    let device = Device::flex();
    let config = Architecture::ResNet18.config().with_stem_width(8);
    let model = config.init(&device);
    let x = || Tensor::<4>::zeros([1, 3, 32, 32], &device);
    for stages in [0..6, 0..99, 5..6, usize::MAX - 1..usize::MAX] {
        let error = model.forward_stages(stages.clone(), x()).unwrap_err();
        assert!(
            matches!(error, Error::UnknownStage { stages: 5, .. }),
            "{stages:?}: {error:?}"
        );
    }
    assert!(model.forward_stage(99, x()).is_err());
    assert!(model.forward_stage(usize::MAX, x()).is_err());
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
    assert!(model.quantize_stages(6, &[x()]).is_err());

    let net = rekindle_resnet::ConvNetConfig::new()
        .with_in_channels(3)
        .with_width(8)
        .init(&device);
    for (start, end) in [(0, 5), (4, 99), (3, 1), (7, 7)] {
        assert!(
            net.forward_blocks(start, end, x()).is_err(),
            "{start} to {end}"
        );
    }
}
