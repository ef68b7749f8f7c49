//! ONNX files that others exported: the answers that onnxruntime and PyTorch gave.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::optim::{GradientsParams, SgdConfig};
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::loss::cross_entropy_with_logits;
use half::{bf16, f16};
use prost::Message;
use rekindle_models::files::{save, save_burnpack, save_onnx};
use rekindle_models::{Error, Model, Options, Preprocess, Pretrained};
use rekindle_nn::onnx::proto::{BFLOAT16, FLOAT, FLOAT16, INT8, ModelProto, UINT8};
use rekindle_nn::onnx::{ImportError, ImportOptions, Imported, import};
use rekindle_nn::{Graph, Network};
use rekindle_weights::{LoadOptions, ModelInfo};
use serde::Deserialize;
use test_support::{images, reference_path, uniform};

use crate::onnx::{FAMILIES, filled};

#[derive(Deserialize)]
struct Answer {
    side: [usize; 2],
    channels_last: bool,
    images: usize,
    logits: Vec<f32>,
}

/// The files of the archive, weights filled in.
pub struct Exports(zip::ZipArchive<File>);

impl Exports {
    pub fn open() -> Self {
        let file = File::open(reference_path("exports.zip")).unwrap();
        Self(zip::ZipArchive::new(file).unwrap())
    }

    pub fn bytes(&mut self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = self.0.by_name(name).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    pub fn model(&mut self, name: &str) -> Vec<u8> {
        let mut model = ModelProto::decode(self.bytes(&format!("{name}.onnx")).as_slice()).unwrap();
        let graph = model.graph.as_mut().unwrap();
        for (tensor, number) in graph.initializer.iter_mut().zip(0..) {
            let dims: Vec<usize> = tensor.dims.iter().map(|dim| *dim as usize).collect();
            let count: usize = dims.iter().product();
            let name = tensor.name.as_deref().unwrap_or_default();
            // Of a quantizer.
            let ends = ["_scale", "_scales", "_zero_point", "_zero_points"];
            let is_step = ends.iter().any(|end| name.ends_with(end));
            let is_step = is_step && !name.ends_with("layer_scale");
            let bytes: fn(f64, f64) -> Vec<u8> = match tensor.data_type {
                Some(FLOAT) => |_, value| (value as f32).to_le_bytes().to_vec(),
                Some(FLOAT16) => |_, value| f16::from_f32(value as f32).to_le_bytes().to_vec(),
                Some(BFLOAT16) => |_, value| bf16::from_f32(value as f32).to_le_bytes().to_vec(),
                Some(INT8) => |u, _| vec![(u * 128.0).floor() as i8 as u8],
                Some(UINT8) => |u, _| vec![((u * 128.0).floor() + 128.0) as u8],
                _ => continue,
            };
            if count <= 8 || is_step {
                continue;
            }
            let fan_in = match dims.len() {
                2 => dims[0].max(dims[1]) as f64,
                _ => count as f64 / dims[0] as f64,
            };
            let element = |index| {
                let u = f64::from(uniform(number, index));
                let value = match dims.len() {
                    1 => 0.6 + 0.4 * u,
                    _ => u * (3.0 / fan_in).sqrt(),
                };
                bytes(u, value)
            };
            tensor.raw_data = Some((0..count).flat_map(element).collect());
        }
        model.encode_to_vec()
    }

    fn answers(&mut self) -> BTreeMap<String, Answer> {
        serde_json::from_slice(&self.bytes("answers.json")).unwrap()
    }
}

pub fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    import(
        bytes,
        &mut |_, _, _| Err("there is none".into()),
        &ImportOptions::default(),
    )
}

pub fn logits(network: &Network, count: usize, [height, width]: [usize; 2]) -> Vec<f32> {
    let images = TensorData::new(images(count, height, width), [count, 3, height, width]);
    let images = Tensor::<4>::from_data(images, &Device::flex());
    network.forward(images).into_data().iter::<f32>().collect()
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let sum: f32 = logits.iter().map(|x| x.exp()).sum();
    logits.iter().map(|x| x.exp() / sum).collect()
}

pub fn off(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn exports_of_others_give_onnxruntime_s_answers() {
    let mut exports = Exports::open();
    let answers = exports.answers();
    assert!(answers.len() > 70);
    for (name, answer) in answers {
        let imported =
            read(&exports.model(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (graph, notes) = (imported.graph.clone(), imported.notes.clone());
        let network = imported.network(&Device::flex()).unwrap();
        let mut found = logits(&network, answer.images, answer.side);
        if answer.channels_last {
            // This file ends in a softmax.
            assert!(notes[0].starts_with("Softmax at its end"), "{notes:?}");
            found = found
                .chunks(network.num_classes())
                .flat_map(softmax)
                .collect();
        }
        let off = off(&found, &answer.logits);
        println!("{name}: {off:.1e}, stages {:?}", graph.stage_names());
        assert!(off <= 1e-5, "{name}: {off}");
        // The same from a file of our own.
        let back = read(&network.to_onnx(&BTreeMap::new())).unwrap();
        let back = logits(
            &back.network(&Device::flex()).unwrap(),
            answer.images,
            answer.side,
        );
        let own = logits(&network, answer.images, answer.side);
        assert!(self::off(&back, &own) <= 1e-5, "{name} out and in again");
        // The same from its own description, and stages that can be frozen.
        let again = Graph::from_json(&graph.to_json(answer.side)).unwrap();
        assert!(again == graph, "{name}");
        assert!(graph.stages().len() >= 2 || answer.channels_last, "{name}");
    }
}

#[derive(Deserialize)]
struct Steps {
    side: usize,
    labels: Vec<i64>,
    rate: f64,
    losses: Vec<f64>,
}

#[test]
fn an_imported_network_trains_as_the_one_that_was_exported() {
    let mut exports = Exports::open();
    let all: BTreeMap<String, Steps> =
        serde_json::from_slice(&exports.bytes("steps.json")).unwrap();
    let device = Device::flex().autodiff();
    for (name, steps) in all {
        let imported = read(&exports.bytes(&format!("steps/{name}.onnx"))).unwrap();
        let mut network = imported.network(&device).unwrap();
        let count = steps.labels.len();
        let (side, labels) = (steps.side, steps.labels.as_slice());
        let values = TensorData::new(images(count, side, side), [count, 3, side, side]);
        let images = Tensor::<4>::from_data(values, &device);
        let labels = Tensor::<1, Int>::from_data(labels, &device);
        let classes = network.num_classes();
        let mut optimizer = SgdConfig::new().init();
        for expected in steps.losses {
            let targets = labels.clone().one_hot::<2>(classes).float();
            let loss = cross_entropy_with_logits(network.forward(images.clone()), targets);
            let found = loss.clone().into_data().iter::<f64>().next().unwrap();
            let off = (found / expected - 1.0).abs();
            println!("{name}: {found} {expected}");
            assert!(off < 1e-4, "{name}: {found}, {expected} in PyTorch");
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(steps.rate, network, gradients);
        }
    }
}

#[test]
fn every_family_comes_back_out_of_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in FAMILIES {
        let options = Options {
            position_grid: Some([4, 4]),
            ..Options::with_classes(5)
        };
        let graph = (Model::named(name).unwrap().describe)(&options).unwrap();
        let network = filled(graph);
        let expected = logits(&network, 2, [64, 64]);
        // As anybody's file, by its nodes.
        let imported = read(&network.to_onnx(&BTreeMap::new())).unwrap();
        assert!(imported.notes.is_empty(), "{name}: {:?}", imported.notes);
        let again = imported.network(&Device::flex()).unwrap();
        let off = off(&logits(&again, 2, [64, 64]), &expected);
        assert!(off <= 1e-5, "{name}: {off}");
        // As ours, by its name.
        let path = folder.path().join("model.onnx");
        let info = ModelInfo {
            architecture: Some(name.into()),
            classes: Some(["a", "b", "c", "d", "e"].map(String::from).to_vec()),
            preprocess: Some(small()),
            temperature: Some(1.5),
            ..ModelInfo::default()
        };
        save_onnx(&network, &path, &info).unwrap();
        let opened = Pretrained::open(&path, &Device::flex()).unwrap();
        assert_eq!(
            (
                opened.architecture.as_str(),
                opened.classes.as_ref().unwrap().len()
            ),
            (name, 5)
        );
        assert_eq!(
            (opened.temperature, opened.preprocess.crop),
            (Some(1.5), 64)
        );
        assert!(!opened.model.graph().is_imported(), "{name}");
        assert!(
            opened.assumptions.is_empty(),
            "{name}: {:?}",
            opened.assumptions
        );
        assert_eq!(
            opened.model.graph().stage_names(),
            network.graph().stage_names()
        );
        assert_eq!(logits(&opened.model, 2, [64, 64]), expected, "{name}");
    }
}

fn small() -> Preprocess {
    Preprocess {
        resize: 73,
        crop: 64,
        ..Preprocess::IMAGENET
    }
}

#[test]
fn what_is_saved_of_an_imported_network_is_read_again() {
    let mut exports = Exports::open();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("colleague.onnx");
    std::fs::write(&path, exports.model("convnextv2.dynamo")).unwrap();
    let opened = Pretrained::open(&path, &Device::flex()).unwrap();
    assert_eq!(
        (opened.architecture.as_str(), opened.preprocess.crop),
        ("colleague", 64)
    );
    assert!(
        opened
            .assumptions
            .iter()
            .any(|a| a.contains("preprocessing"))
    );
    let model = opened.model.clone().reset_classifier(3, 7);
    let expected = logits(&model, 2, [64, 64]);
    let saved = folder.path().join("best.safetensors");
    for save in [save, save_burnpack] {
        save(&model, &saved, &opened.info()).unwrap();
        let again = Pretrained::open(&saved, &Device::flex()).unwrap();
        assert_eq!(logits(&again.model, 2, [64, 64]), expected);
        assert_eq!(
            (again.architecture.as_str(), again.model.num_classes()),
            ("colleague", 3)
        );
        assert!(again.found.note().is_none(), "{:?}", again.found.note());
        std::fs::remove_file(&saved).unwrap();
    }
    // Out again, and in.
    save_onnx(&model, &path, &opened.info()).unwrap();
    let again = Pretrained::open(&path, &Device::flex()).unwrap();
    assert!(off(&logits(&again.model, 2, [64, 64]), &expected) <= 1e-5);
}

#[test]
fn features_can_be_taken_from_any_node() {
    let mut exports = Exports::open();
    let bytes = exports.model("vit_timm.script");
    let model = ModelProto::decode(bytes.as_slice()).unwrap();
    let nodes = model.graph.unwrap().node;
    let head = nodes
        .iter()
        .rev()
        .find(|node| node.op_type.as_deref() == Some("Gemm"))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("encoder.onnx");
    std::fs::write(&path, &bytes).unwrap();
    let open = |options: &LoadOptions| Pretrained::open_with(&path, options, &Device::flex());
    let options = LoadOptions::default().features_from(&head.input[0]);
    let encoder = open(&options).unwrap();
    assert_eq!(
        (encoder.model.num_classes(), encoder.model.num_features()),
        (0, 32)
    );
    assert!(encoder.found.note().unwrap().contains("no classifier"));
    // Its features and the classifier of the whole give the whole's logits.
    let (trunk, _) = open(&LoadOptions::default())
        .unwrap()
        .model
        .split_classifier();
    let expected = logits(&trunk, 2, [64, 64]);
    assert_eq!(logits(&encoder.model, 2, [64, 64]), expected);

    let absent = open(&LoadOptions::default().features_from("nowhere")).unwrap_err();
    assert!(absent.to_string().contains("\"nowhere\""), "{absent}");
    let prefix = open(&LoadOptions::default().prefix("module")).unwrap_err();
    assert!(matches!(prefix, Error::NoSuchChoice { .. }), "{prefix}");
    let saved = folder.path().join("model.safetensors");
    save(&trunk, &saved, &ModelInfo::default()).unwrap();
    let other = Pretrained::open_with(&saved, &options, &Device::flex()).unwrap_err();
    assert!(matches!(other, Error::NoSuchChoice { .. }), "{other}");
}

/// The published sizes, where `tests/reference/exports.py FOLDER` wrote them.
#[test]
#[ignore = "needs files of exports.py in REKINDLE_EXPORTS"]
fn published_sizes_give_onnxruntime_s_answers() {
    let folder = std::env::var_os("REKINDLE_EXPORTS").expect("REKINDLE_EXPORTS names a folder");
    let floats = |path: &Path| -> Vec<f32> {
        let bytes = std::fs::read(path).unwrap();
        bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    };
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let imported = read(&std::fs::read(&path).unwrap());
        let imported = imported.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let [height, width] = imported.image_size.unwrap();
        let network = imported.network(&Device::flex()).unwrap();
        let values = TensorData::new(floats(&path.with_extension("x")), [1, 3, height, width]);
        let found = network.forward(Tensor::<4>::from_data(values, &Device::flex()));
        let found: Vec<f32> = found.into_data().iter::<f32>().collect();
        let off = off(&found, &floats(&path.with_extension("y")));
        println!("{}: {off:.1e}", path.display());
        assert!(off <= 1e-5, "{}: {off}", path.display());
        count += 1;
    }
    assert!(count > 0);
}
