//! ONNX files that take pixels, run by onnxruntime: what the network sees, and what is answered.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::TensorData;
use prost::Message;
use rekindle_imagefolder::Pipeline;
use rekindle_imagefolder::rng::SampleRng;
use rekindle_models::burn::tensor::activation::softmax;
use rekindle_models::clip::ImageTower;
use rekindle_models::files::save_onnx_with_preprocessing;
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::{Error, Interpolation, Model, Options, Preprocess, Pretrained, ResizeMode};
use rekindle_nn::onnx::proto::{DimensionProto, ModelProto, TensorShapeProto, ValueInfoProto};
use rekindle_nn::onnx::{ExportError, NUMBERS, PIXELS, PROBABILITIES};
use rekindle_nn::{Activation, Network};
use rekindle_weights::ModelInfo;
use test_support::{OnnxRuntime, uniform};

use crate::onnx::filled;

/// Sizes `(height, width)`: shrunk, enlarged, hardly changed, extreme, and small ones that are resized down first.
const SIZES: [(u32, u32); 15] = [
    (375, 500),
    (500, 333),
    (301, 97),
    (64, 64),
    (72, 73),
    (31, 47),
    (60, 96),
    (9, 7),
    (1, 5),
    (40, 900),
    (900, 40),
    (144, 144),
    (611, 611),
    (250, 120),
    (80, 79),
];

/// A picture with smooth parts, hard edges and noise.
fn picture(height: u32, width: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let noise = uniform(3, (y * width + x) as usize);
        let wave = (x as f32 / 9.0).sin() * 60.0 + (y as f32 / 23.0).cos() * 60.0;
        let edge = if (x / 11 + y / 13) % 2 == 0 {
            90.0
        } else {
            0.0
        };
        let level =
            |share: f32| (wave * share + edge + 60.0 + 50.0 * noise).clamp(0.0, 255.0) as u8;
        image::Rgb([level(1.0), level(-0.7), level(0.2)])
    })
}

fn narrow(classes: usize) -> Network {
    let config = ResNetConfig::RESNET18.with_stem_width(8);
    filled(config.with_num_classes(classes).graph().unwrap())
}

fn info(interpolation: Interpolation) -> ModelInfo {
    ModelInfo {
        architecture: Some("narrow".into()),
        preprocess: Some(Preprocess {
            resize: 72,
            crop: 64,
            interpolation,
            ..Preprocess::IMAGENET
        }),
        temperature: Some(1.75),
        ..ModelInfo::default()
    }
}

#[test]
fn the_graph_sees_what_the_pipeline_sees() {
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    let pictures = SIZES.map(|(height, width)| picture(height, width));
    let given: Vec<_> = pictures
        .iter()
        .map(|p| (p.height(), p.width(), p.as_raw().as_slice()))
        .collect();
    let filters = [
        Interpolation::Nearest,
        Interpolation::Bilinear,
        Interpolation::Bicubic,
        Interpolation::Lanczos,
    ];
    let modes = [ResizeMode::Crop, ResizeMode::Squash, ResizeMode::Letterbox];
    let ways = filters
        .iter()
        .flat_map(|filter| modes.map(|mode| (*filter, mode)));
    for (interpolation, mode) in ways {
        let preprocess = info(interpolation).preprocess.unwrap().with_mode(mode);
        let bytes = narrow(3).to_onnx_with_preprocessing(&preprocess, None, &BTreeMap::new());
        // The network's input in place of its outputs.
        let mut model = ModelProto::decode(bytes.unwrap().as_slice()).unwrap();
        let graph = model.graph.as_mut().unwrap();
        graph.output = vec![ValueInfoProto {
            name: Some("preprocess:images".into()),
            ..graph.output[0].clone()
        }];
        let shape = ["batch", "channels", "height", "width"].map(|name| DimensionProto {
            dim_param: Some(name.into()),
            dim_value: None,
        });
        let kind = graph.output[0].r#type.as_mut().unwrap();
        kind.tensor_type.as_mut().unwrap().shape = Some(TensorShapeProto { dim: shape.into() });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seen.onnx");
        std::fs::write(&file, model.encode_to_vec()).unwrap();
        let found = runtime.run_on_pixels(&file, &given);
        let pipeline = Pipeline::imagenet_eval(&preprocess);
        let level = 1.0
            / (255.0
                * preprocess
                    .std
                    .iter()
                    .fold(1f32, |least, std| least.min(*std)));
        let mut others = 0;
        for (seen, picture) in found.chunks_exact(3 * 64 * 64).zip(&pictures) {
            let expected = pipeline
                .apply(picture, &mut SampleRng::for_sample(0, 0, 0, 0))
                .unwrap()
                .values;
            for (a, b) in seen.iter().zip(expected) {
                let off = (a - b).abs();
                others += usize::from(off > 1e-5);
                assert!(
                    off <= 1.01 * level,
                    "{interpolation:?}, {mode:?}, {:?}: {a} for {b}",
                    picture.dimensions()
                );
            }
        }
        println!(
            "{interpolation:?}, {mode:?}: {others} of {} levels are other ones",
            found.len()
        );
        assert_eq!(found.len(), SIZES.len() * 3 * 64 * 64);
        assert!(
            others as f64 <= 1e-4 * found.len() as f64,
            "{interpolation:?}, {mode:?}: {others}"
        );
    }
}

#[test]
fn probabilities_and_logits_are_the_networks_own() {
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    let of_tokens =
        (Model::named("deit_tiny_patch16_224").unwrap().describe)(&Options::with_classes(5));
    let info = info(Interpolation::Bicubic);
    let pipeline = Pipeline::imagenet_eval(info.preprocess.as_ref().unwrap());
    let clip = ImageTower {
        patch: 16,
        width: 64,
        blocks: 2,
        embedding: Some(24),
        activation: Activation::QuickGelu,
    };
    let clip = clip.graph(&Options::with_classes(0)).unwrap();
    let tower = clip.name().to_string();
    for network in [
        narrow(5),
        narrow(0),
        filled(of_tokens.unwrap()),
        filled(clip),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        let is_tower = network.graph().name() == tower;
        let classes = network.num_classes();
        save_onnx_with_preprocessing(&network, &file, &info, classes > 0).unwrap();
        let picture = picture(151, 203);
        let found = runtime.run_on_pixels(&file, &[(151, 203, picture.as_raw())]);
        let seen = pipeline
            .apply(&picture, &mut SampleRng::for_sample(0, 0, 0, 0))
            .unwrap()
            .values;
        let images = Tensor::<4>::from_data(TensorData::new(seen, [1, 3, 64, 64]), &Device::flex());
        let output = network.with_image_size([64, 64]).forward(images);
        let mut expected: Vec<f32> = output.clone().into_data().iter().collect();
        if classes > 0 {
            let probabilities = softmax(output / 1.75, 1);
            let mut both: Vec<f32> = probabilities.into_data().iter().collect();
            both.append(&mut expected);
            expected = both;
        }
        assert_eq!(found.len(), expected.len());
        let scale = expected
            .iter()
            .fold(1f32, |most, value| most.max(value.abs()));
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-4 * scale, "{a} for {b}");
        }
        // The network between is one to go on with.
        let again = Pretrained::open(&file, &Device::flex()).unwrap();
        // What a CLIP's tower ends in would be a classifier by itself.
        assert!(again.model.num_classes() == classes || is_tower);
        assert_eq!(again.preprocess, *info.preprocess.as_ref().unwrap());
    }
}

/// Of several labels each probability is the logistic function of its own logit.
#[test]
fn labels_are_answered_each_by_itself() {
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    let pictures = [picture(80, 79), picture(40, 90)];
    let given: Vec<_> = pictures
        .iter()
        .map(|p| (p.height(), p.width(), p.as_raw().as_slice()))
        .collect();
    let info = ModelInfo {
        task: Some("multi-label".into()),
        ..info(Interpolation::Bilinear)
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels.onnx");
    save_onnx_with_preprocessing(&narrow(3), &file, &info, false).unwrap();
    let found = runtime.run_on_pixels(&file, &given);
    // Probabilities of a picture, then its logits.
    for row in found.chunks_exact(6) {
        for (probability, logit) in row[..3].iter().zip(&row[3..]) {
            let expected = 1.0 / (1.0 + (-logit).exp());
            assert!((probability - expected).abs() < 1e-6, "{row:?}");
        }
    }
    assert_eq!(found.len(), 12);
}

/// A number is the network's own output, under a name that says so, and what is read back is the network.
#[test]
fn numbers_are_answered_as_they_are() {
    let info = ModelInfo {
        task: Some("regression".into()),
        temperature: None,
        ..info(Interpolation::Bilinear)
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numbers.onnx");
    save_onnx_with_preprocessing(&narrow(1), &file, &info, false).unwrap();
    let model = ModelProto::decode(std::fs::read(&file).unwrap().as_slice()).unwrap();
    let outputs = model.graph.unwrap().output;
    let names = outputs.iter().map(|output| output.name.as_deref());
    assert_eq!(names.collect::<Vec<_>>(), [Some(NUMBERS), Some("logits")]);
    let again = Pretrained::open(&file, &Device::flex()).unwrap();
    assert_eq!(
        (again.model.num_classes(), again.task),
        (1, info.task.clone())
    );
    let wrong = narrow(1).to_onnx_with_preprocessing(
        info.preprocess.as_ref().unwrap(),
        Some(2.0),
        &BTreeMap::from([("task".to_string(), "regression".to_string())]),
    );
    assert_eq!(wrong.unwrap_err(), ExportError::Temperature { found: 2.0 });
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    let pictures = [picture(80, 79), picture(40, 90)];
    let given: Vec<_> = pictures
        .iter()
        .map(|p| (p.height(), p.width(), p.as_raw().as_slice()))
        .collect();
    let found = runtime.run_on_pixels(&file, &given);
    assert_eq!(found.len(), 4);
    for row in found.chunks_exact(2) {
        assert_eq!(row[0], row[1], "{row:?}");
    }
}

#[test]
fn a_file_says_what_it_takes_and_gives() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.onnx");
    save_onnx_with_preprocessing(&narrow(5), &file, &info(Interpolation::Bilinear), false).unwrap();
    let model = ModelProto::decode(std::fs::read(&file).unwrap().as_slice()).unwrap();
    let graph = model.graph.unwrap();
    let names = |values: &[ValueInfoProto]| -> Vec<String> {
        values
            .iter()
            .map(|value| value.name.clone().unwrap())
            .collect()
    };
    assert_eq!(names(&graph.input), [PIXELS]);
    assert_eq!(names(&graph.output), [PROBABILITIES, "logits"]);
    let entry = |key: &str| {
        let mut entries = model.metadata_props.iter();
        entries
            .find(|entry| entry.key.as_deref() == Some(key))
            .and_then(|entry| entry.value.clone())
    };
    assert!(
        entry("input")
            .unwrap()
            .contains("[batch, height, width, 3]")
    );
    assert!(entry("preprocess").unwrap().contains("bilinear"));
}

#[test]
fn what_cannot_be_written_is_refused_by_name() {
    let network = narrow(5);
    let usual = info(Interpolation::Bilinear).preprocess.unwrap();
    let asked = |network: &Network, preprocess: &Preprocess, temperature| {
        network
            .to_onnx_with_preprocessing(preprocess, temperature, &BTreeMap::new())
            .unwrap_err()
    };
    let wide = Preprocess {
        crop: 73,
        ..usual.clone()
    };
    assert_eq!(
        asked(&network, &wide, None),
        ExportError::Crop {
            crop: 73,
            resize: 72
        }
    );
    let flat = Preprocess {
        std: [0.2, 0.0, 0.2],
        ..usual.clone()
    };
    assert!(matches!(
        asked(&network, &flat, None),
        ExportError::Normalisation { .. }
    ));
    for (network, temperature) in [(&network, 0.0), (&network, f64::NAN), (&narrow(0), 1.0)] {
        let refused = asked(network, &usual, Some(temperature));
        assert!(matches!(refused, ExportError::Temperature { .. }));
    }
    let options = Options {
        in_channels: 1,
        ..Options::with_classes(2)
    };
    let grey = (Model::named("mobilenet_v2").unwrap().describe)(&options).unwrap();
    let grey = Network::new(grey, 0, &Device::flex());
    assert_eq!(
        asked(&grey, &usual, None),
        ExportError::Channels { found: 1 }
    );
    let unknown = ModelInfo {
        temperature: None,
        ..info(Interpolation::Bilinear)
    };
    let refused = save_onnx_with_preprocessing(&network, "never.onnx", &unknown, true);
    assert!(matches!(refused, Err(Error::NoTemperature)));
}
