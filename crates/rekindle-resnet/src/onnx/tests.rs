//! The file read back and computed node by node, against the network; and by onnxruntime where Python has it.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};

use sha2::{Digest, Sha256};
use test_support::{OnnxRuntime, write_floats};

use super::*;
use crate::{Architecture, Preprocess, Pretrained, ResNetConfig, state_dict};
use rekindle_nn::onnx::proto::{AttributeProto, ModelProto, NodeProto};

/// A network whose weights, statistics included, are a formula.
fn network(config: &ResNetConfig) -> ResNet {
    let model = config.init(&Device::flex());
    let mut weights = test_support::StateDict::new(state_dict::shapes(&model));
    state_dict::assign(model, |name| Some(weights.next(name)))
}

fn images(count: usize, side: usize) -> Tensor<4> {
    let values = test_support::images(count, side, side);
    Tensor::from_data(
        TensorData::new(values, [count, 3, side, side]),
        &Device::flex(),
    )
}

fn narrow(architecture: Architecture) -> ResNetConfig {
    let config = architecture.config();
    // ResNeXt's groups need as many channels.
    let width = if config.groups > 1 { 32 } else { 8 };
    config.with_stem_width(width).with_num_classes(5)
}

fn info() -> ModelInfo {
    ModelInfo {
        architecture: Some("resnet18".into()),
        classes: Some(vec!["ants".into(), "bees \"<&>\"".into(), "蜂".into()]),
        preprocess: Some(Preprocess::IMAGENET),
        provenance: Some(r#"{"source":"x.pth"}"#.into()),
        temperature: Some(1.25),
        test_views: Some("flip".into()),
    }
}

#[test]
fn node_by_node_it_computes_what_the_network_does() {
    for architecture in Architecture::ALL {
        let config = ResNetConfig {
            // Every kind of block and stride, without the repetitions.
            layers: [2, 1, 2, 1],
            ..narrow(architecture)
        };
        let model = network(&config);
        let x = images(2, 64);
        let expected = model.forward(x.clone());
        let bytes = super::model(&model, &info()).encode_to_vec();
        let read = ModelProto::decode(bytes.as_slice()).unwrap();
        let found = evaluate(&read, x);
        let difference = (found - expected.clone()).abs().max().into_scalar::<f32>();
        let scale = expected.abs().max().into_scalar::<f32>();
        assert!(
            scale > 1e-3,
            "{architecture}: logits of {scale} test nothing"
        );
        assert!(
            difference <= 1e-5 * scale.max(1.0),
            "{architecture}: {difference} of {scale}"
        );
    }
}

#[test]
fn without_a_classifier_it_gives_features() {
    let config = narrow(Architecture::ResNet18).with_num_classes(0);
    let model = network(&config);
    let read = super::model(&model, &ModelInfo::default());
    let graph = read.graph.as_ref().unwrap();
    assert_eq!(graph.output[0].name.as_deref(), Some("features"));
    let x = images(1, 40);
    let expected = model.forward(x.clone());
    let difference = evaluate(&read, x) - expected.clone();
    let scale = expected.abs().max().into_scalar::<f32>();
    assert!(difference.abs().max().into_scalar::<f32>() < 1e-5 * scale);
}

#[test]
fn names_are_the_state_dicts_and_the_metadata_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let model = network(&narrow(Architecture::ResNet50));
    model.save_onnx(&path, &info()).unwrap();
    let first = std::fs::read(&path).unwrap();
    model.save_onnx(&path, &info()).unwrap();
    assert!(
        first == std::fs::read(&path).unwrap(),
        "equal input, other bytes"
    );

    let read = ModelProto::decode(first.as_slice()).unwrap();
    assert_eq!(read.opset_import[0].version, Some(17));
    let graph = read.graph.unwrap();
    let expected: BTreeMap<String, Vec<usize>> = state_dict::shapes(&model).into_iter().collect();
    let found: BTreeMap<String, Vec<usize>> = graph
        .initializer
        .iter()
        .map(|tensor| {
            let shape = tensor.dims.iter().map(|extent| *extent as usize);
            (tensor.name.clone().unwrap(), shape.collect())
        })
        .collect();
    assert_eq!(found, expected);
    let metadata: BTreeMap<String, String> = read
        .metadata_props
        .into_iter()
        .map(|entry| (entry.key.unwrap(), entry.value.unwrap()))
        .collect();
    let mut wanted = info().to_metadata();
    wanted.remove("format");
    assert_eq!(metadata, wanted);
}

#[test]
fn a_place_that_cannot_be_written_to_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let model = network(&narrow(Architecture::ResNet18));
    let path = folder.path().join("no such folder").join("model.onnx");
    let error = model.save_onnx(&path, &info()).unwrap_err();
    assert!(
        matches!(error, Error::Weights(rekindle_weights::Error::Write { .. })),
        "{error}"
    );
}

/// SHA-256 of the graph, weights included and metadata not.
fn graph_digest(model: &ModelProto) -> String {
    let graph = model.graph.as_ref().unwrap().encode_to_vec();
    Sha256::digest(graph)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[derive(serde::Deserialize)]
struct Kept {
    graph: String,
    logits: Vec<f32>,
}

/// The graph is, bit for bit, the one that onnxruntime was asked about, and the network gives its answer.
#[test]
fn the_logits_that_onnxruntime_gave_are_the_networks() {
    let kept = std::fs::read(test_support::reference_path("onnx.json")).unwrap();
    let kept: BTreeMap<String, Kept> = serde_json::from_slice(&kept).unwrap();
    for architecture in Architecture::ALL {
        let config = narrow(architecture);
        let network = network(&config);
        let kept = &kept[architecture.name()];
        assert_eq!(
            graph_digest(&model(&network, &info())),
            kept.graph,
            "{architecture}: the graph has changed; ask onnxruntime again as tests/reference/onnxruntime_logits.py says"
        );
        let expected: Vec<f32> = network.forward(images(2, 64)).into_data().iter().collect();
        assert_logits_agree(&architecture.to_string(), &kept.logits, &expected);
    }
}

/// Writes what `tests/reference/onnxruntime_logits.py` reads.
#[test]
#[ignore = "writes files for tests/reference/onnxruntime_logits.py"]
fn the_files_that_onnxruntime_is_asked_about() {
    let folder = std::env::var("REKINDLE_ONNX_OUT").expect("REKINDLE_ONNX_OUT names a folder");
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder).unwrap();
    for architecture in Architecture::ALL {
        let file = |extension: &str| folder.join(format!("{architecture}.{extension}"));
        let network = network(&narrow(architecture));
        network.save_onnx(file("onnx"), &info()).unwrap();
        let digest = graph_digest(&model(&network, &info()));
        std::fs::write(file("sha256"), digest).unwrap();
        write_floats(&file("images"), &values(&images(2, 64)));
    }
}

/// Within 1e-4 of the larger of 1 and the largest logit.
fn assert_logits_agree(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0f32, |most, v| most.max(v.abs()));
    let difference = found
        .iter()
        .zip(expected)
        .fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    println!("{name}: logits differ by {difference:.2e} of {scale:.2}");
    assert!(
        difference <= 1e-4 * scale.max(1.0),
        "{name}: {difference} of {scale}"
    );
}

#[test]
fn onnxruntime_gives_the_same_logits() {
    compare_with_onnxruntime(&Architecture::ALL.map(narrow), 64);
}

#[test]
#[ignore = "writes and runs networks of up to 340 MB, about three minutes"]
fn onnxruntime_gives_the_same_logits_in_full_width() {
    compare_with_onnxruntime(&Architecture::ALL.map(Architecture::config), 224);
}

fn compare_with_onnxruntime(configs: &[ResNetConfig], side: usize) {
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for config in configs {
        let model = network(config);
        model.save_onnx(file("model.onnx"), &info()).unwrap();
        let x = images(2, side);
        let (values, shape) = (values(&x), x.dims());
        let condition = r#"metadata["classes"]"#;
        let found = runtime.run(&file("model.onnx"), condition, &values, shape);
        let expected: Vec<f32> = model.forward(x).into_data().iter::<f32>().collect();
        let name = format!(
            "{:?} {:?} groups {} width {}",
            config.block, config.layers, config.groups, config.width_per_group
        );
        assert_logits_agree(&name, &found, &expected);
    }
}

/// What a person with nothing but the file needs is in each of the formats.
#[test]
fn every_format_that_is_read_back_carries_names_preprocessing_and_origin() {
    let folder = tempfile::tempdir().unwrap();
    let model = network(&narrow(Architecture::ResNet18).with_num_classes(3));
    let info = ModelInfo {
        preprocess: Some(Preprocess {
            crop: 96,
            resize: 110,
            interpolation: crate::Interpolation::Bicubic,
            ..Preprocess::IMAGENET
        }),
        ..info()
    };
    let path = |name: &str| folder.path().join(name);
    model.save(path("a"), &info).unwrap();
    model.save_f16(path("b"), &info).unwrap();
    model.save_burnpack(path("c"), &info).unwrap();
    for name in ["a", "b", "c"] {
        let device = Device::flex();
        let read = if name == "a" {
            let bytes = std::fs::read(path(name)).unwrap();
            let from_memory = Pretrained::from_safetensors(name, bytes, &device).unwrap();
            let from_file = Pretrained::open(path(name), &device).unwrap();
            assert_eq!(from_memory.sha256, from_file.sha256);
            let collect = |read: &Pretrained| state_dict::collect(&read.model);
            assert!(collect(&from_memory) == collect(&from_file));
            from_memory
        } else {
            Pretrained::open(path(name), &device).unwrap()
        };
        assert_eq!(read.classes, info.classes, "{name}");
        assert_eq!(Some(read.preprocess), info.preprocess, "{name}");
        assert_eq!(read.provenance, info.provenance, "{name}");
        assert_eq!(read.temperature, info.temperature, "{name}");
        assert_eq!(read.test_views, info.test_views, "{name}");
        assert_eq!(read.model.num_classes(), 3, "{name}");
    }
}

fn values(tensor: &Tensor<4>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

/// Computes the graph with Burn's operations, batch normalisation written out.
fn evaluate(model: &ModelProto, images: Tensor<4>) -> Tensor<2> {
    let device = images.device();
    let graph = model.graph.as_ref().unwrap();
    let weights: HashMap<&str, (Vec<usize>, Vec<f32>)> = graph
        .initializer
        .iter()
        .map(|tensor| {
            let shape = tensor.dims.iter().map(|extent| *extent as usize).collect();
            let bytes = tensor.raw_data.as_ref().unwrap();
            let (numbers, _) = bytes.as_chunks::<4>();
            let values = numbers.iter().map(|b| f32::from_le_bytes(*b)).collect();
            (tensor.name.as_deref().unwrap(), (shape, values))
        })
        .collect();
    let weight = |name: &String| {
        let (shape, values) = weights[name.as_str()].clone();
        TensorData::new(values, shape)
    };
    let channels = |name: &String| {
        let values = Tensor::<1>::from_data(weight(name), &device);
        let count = values.dims()[0];
        values.reshape([1, count, 1, 1])
    };
    let input = graph.input[0].name.clone().unwrap();
    let mut maps = HashMap::from([(input, images)]);
    let mut rows = HashMap::new();
    for node in &graph.node {
        let first = &node.input[0];
        let map = maps.get(first).cloned();
        let map = || map.clone().unwrap();
        let output = node.output[0].clone();
        let result = match node.op_type.as_deref().unwrap() {
            "Conv" => {
                let [kh, kw] = pair(node, "kernel_shape");
                let kernel = Tensor::<4>::from_data(weight(&node.input[1]), &device);
                assert_eq!([kh, kw], [kernel.dims()[2], kernel.dims()[3]]);
                let [ph, pw] = symmetric_pads(node);
                let options = ConvOptions::new(
                    pair(node, "strides"),
                    [ph, pw],
                    pair(node, "dilations"),
                    attribute(node, "group").i.unwrap() as usize,
                );
                conv2d(map(), kernel, None, options)
            }
            "BatchNormalization" => {
                let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|i| channels(&node.input[i]));
                let epsilon = f64::from(attribute(node, "epsilon").f.unwrap());
                (map() - mean) / variance.add_scalar(epsilon).sqrt() * scale + shift
            }
            "Relu" => relu(map()),
            "Add" => map() + maps[&node.input[1]].clone(),
            "MaxPool" => {
                let [ph, pw] = symmetric_pads(node);
                let options = MaxPoolOptions::new(pair(node, "kernel_shape"))
                    .with_stride(pair(node, "strides"))
                    .with_padding([ph, pw]);
                max_pool2d(map(), options)
            }
            "GlobalAveragePool" => map().mean_dim(3).mean_dim(2),
            "Flatten" => {
                assert_eq!(attribute(node, "axis").i, Some(1));
                rows.insert(output, map().flatten::<2>(1, 3));
                continue;
            }
            "Gemm" => {
                assert_eq!(attribute(node, "transB").i, Some(1));
                let matrix = Tensor::<2>::from_data(weight(&node.input[1]), &device);
                let bias = Tensor::<1>::from_data(weight(&node.input[2]), &device);
                let product = rows[first].clone().matmul(matrix.transpose());
                rows.insert(output, product + bias.unsqueeze());
                continue;
            }
            other => panic!("operation {other}"),
        };
        maps.insert(output, result);
    }
    rows[graph.output[0].name.as_ref().unwrap()].clone()
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> &'a AttributeProto {
    let found = node
        .attribute
        .iter()
        .find(|a| a.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("{:?} has no {name}", node.name))
}

fn pair(node: &NodeProto, name: &str) -> [usize; 2] {
    let ints = &attribute(node, name).ints;
    [ints[0] as usize, ints[1] as usize]
}

fn symmetric_pads(node: &NodeProto) -> [usize; 2] {
    let pads = &attribute(node, "pads").ints;
    assert_eq!(pads[..2], pads[2..]);
    [pads[0] as usize, pads[1] as usize]
}
