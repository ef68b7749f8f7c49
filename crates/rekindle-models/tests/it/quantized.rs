//! Networks in eight bits, as ONNX files: by onnxruntime, beside its own quantization, and read back.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::TensorData;
use prost::Message;
use rekindle_models::files::{save_onnx_quantized, save_onnx_quantized_with_preprocessing};
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::{Model, Options, Preprocess, Pretrained};
use rekindle_nn::onnx::proto::{FLOAT, INT8, INT32, ModelProto, TensorProto};
use rekindle_nn::onnx::{ExportError, ImportOptions, Imported, import};
use rekindle_nn::{
    Activation, Builder, Conv, Network, Op, QuantizationError, QuantizedNetwork, RangeRule,
};
use rekindle_weights::{ModelInfo, state_dict};
use test_support::{OnnxRuntime, images, relative_error};

use crate::onnx::{FAMILIES, filled};

/// Side of the images. Patches of 16 pixels make 4 x 4 of them.
const SIDE: usize = 64;

fn described(name: &str) -> Network {
    let model = Model::named(name).unwrap();
    let options = Options {
        position_grid: Some([SIDE / 16; 2]),
        ..Options::with_classes(7)
    };
    filled((model.describe)(&options).unwrap())
}

fn narrow() -> Network {
    let config = ResNetConfig::RESNET18.with_stem_width(8);
    filled(config.with_num_classes(5).graph().unwrap())
}

/// Images to measure ranges on, and others to compare answers on.
fn batches() -> [(Vec<f32>, Tensor<4>); 2] {
    let all = images(24, SIDE, SIDE);
    let (calibration, others) = all.split_at(16 * 3 * SIDE * SIDE);
    [calibration, others].map(|values| {
        let shape = [values.len() / (3 * SIDE * SIDE), 3, SIDE, SIDE];
        let data = TensorData::new(values.to_vec(), shape);
        (values.to_vec(), Tensor::from_data(data, &Device::flex()))
    })
}

fn values(output: Tensor<2>) -> Vec<f32> {
    output.into_data().iter::<f32>().collect()
}

fn quantized(network: &Network) -> QuantizedNetwork {
    let [(_, images), _] = batches();
    network.quantize_static(&[images]).unwrap()
}

fn read(bytes: &[u8]) -> Imported {
    let mut none = |_: &str, _: u64, _: Option<u64>| Err("there is none".into());
    import(bytes, &mut none, &ImportOptions::default()).unwrap()
}

/// Against `f32`, ours is to be off by at most this many times what onnxruntime's own is, and what onnxruntime computes by at
/// most this many times what is simulated, and the other way round.
const TIMES: f64 = 1.25;

#[test]
fn onnxruntime_computes_as_well_as_is_simulated_and_its_own_eight_bits_are_no_nearer() {
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    let [(calibration, _), (others, tensor)] = batches();
    let shape = |values: &[f32]| [values.len() / (3 * SIDE * SIDE), 3, SIDE, SIDE];
    let mut failed = Vec::new();
    for name in FAMILIES {
        let network = described(name);
        let quantized = quantized(&network);
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let [ours, float, theirs] = ["ours.onnx", "f32.onnx", "theirs.onnx"].map(file);
        std::fs::write(&ours, quantized.to_onnx(&BTreeMap::new())).unwrap();
        std::fs::write(&float, network.to_onnx(&BTreeMap::new())).unwrap();
        runtime.quantize_static(&float, &theirs, &calibration, shape(&calibration));
        let [ours, expected, other] =
            [&ours, &float, &theirs].map(|file| runtime.answer(file, &others, shape(&others)));
        let simulated = values(quantized.simulated().forward(tensor.clone()));
        let [own, simulated, its] =
            [&ours, &simulated, &other].map(|found| relative_error(found, &expected));
        // Its file is read, with the weights of its bytes.
        let theirs = read(&std::fs::read(&theirs).unwrap());
        let theirs = values(
            theirs
                .network(&Device::flex())
                .unwrap()
                .forward(tensor.clone()),
        );
        let back = relative_error(&theirs, &expected);
        let line = format!(
            "{name}: {own:.1e} off f32, simulated {simulated:.1e}; onnxruntime's own {its:.1e}, read back {back:.1e}; {:?}",
            quantized.range_rule()
        );
        println!("{line}");
        let is_right = own <= TIMES * simulated
            && simulated <= TIMES * own
            && own <= TIMES * its
            && back <= its;
        if !is_right {
            failed.push(line);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A residual block. In deep networks a sum between two bytes, which another order of additions moves from one to the other,
/// moves ever more behind it, so that only the errors' sizes are the same.
#[test]
fn onnxruntime_computes_a_block_as_it_is_simulated() {
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    let mut b = Builder::new("block", 3);
    let x = b.images();
    let x = b.stage("stem", |b| {
        let x = b.conv2d("conv1", x, Conv::new(16, 3).stride(2));
        let x = b.batch_norm("bn1", x);
        let x = b.relu(x);
        let y = b.conv2d("conv2", x, Conv::new(16, 3));
        let y = b.batch_norm("bn2", y);
        let x = b.add(x, y);
        b.relu(x)
    });
    let x = b.global_pool(x);
    let network = filled(b.finish("fc", x, 7).unwrap());
    let quantized = quantized(&network);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("block.onnx");
    std::fs::write(&file, quantized.to_onnx(&BTreeMap::new())).unwrap();
    let [_, (others, tensor)] = batches();
    let shape = [others.len() / (3 * SIDE * SIDE), 3, SIDE, SIDE];
    let found = runtime.answer(&file, &others, shape);
    let simulated = values(quantized.simulated().forward(tensor.clone()));
    let expected = values(network.forward(tensor));
    let (exact, off) = (
        relative_error(&simulated, &found),
        relative_error(&found, &expected),
    );
    println!("{exact:.1e} off the simulation, {off:.1e} off f32");
    assert!(off > 1e-3 && exact <= 0.1 * off, "{exact} and {off}");
}

fn graph(bytes: &[u8]) -> rekindle_nn::onnx::proto::GraphProto {
    ModelProto::decode(bytes).unwrap().graph.unwrap()
}

/// What whole numbers times the scales of their first dimension are.
fn dequantized(graph: &rekindle_nn::onnx::proto::GraphProto, tensor: &TensorProto) -> Vec<f32> {
    let name = format!("{}:scale", tensor.name.as_deref().unwrap());
    let mut all = graph.initializer.iter();
    let scale = all
        .find(|tensor| tensor.name.as_deref() == Some(&name))
        .unwrap();
    let (scales, _) = scale.raw_data.as_deref().unwrap().as_chunks::<4>();
    let scales: Vec<f32> = scales.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let raw = tensor.raw_data.as_deref().unwrap();
    let numbers: Vec<f32> = match tensor.data_type {
        Some(INT8) => raw.iter().map(|byte| f32::from(*byte as i8)).collect(),
        _ => {
            let (words, _) = raw.as_chunks::<4>();
            words
                .iter()
                .map(|b| i32::from_le_bytes(*b) as f32)
                .collect()
        }
    };
    let row = numbers.len() / scales.len();
    let numbers = numbers.into_iter().enumerate();
    numbers
        .map(|(at, number)| number * scales[at / row])
        .collect()
}

#[test]
fn a_file_in_eight_bits_is_read_as_a_network_with_the_weights_of_its_bytes() {
    let [_, (_, tensor)] = batches();
    for name in FAMILIES {
        let network = described(name);
        let quantized = quantized(&network);
        let bytes = quantized.to_onnx(&BTreeMap::new());
        let graph = graph(&bytes);
        let read = read(&bytes);
        assert!(
            read.notes.iter().any(|note| note.contains("eight bits")),
            "{name}"
        );
        let mut whole = 0;
        for tensor in &graph.initializer {
            let kind = tensor.data_type.unwrap();
            let tensor_name = tensor.name.as_deref().unwrap();
            if tensor_name.contains(':') || ![INT8, INT32].contains(&kind) {
                continue;
            }
            whole += 1;
            assert_eq!(
                read.tensors[tensor_name],
                dequantized(&graph, tensor),
                "{name}: {tensor_name}"
            );
        }
        assert!(whole >= 10, "{name}: {whole}");
        let found = values(
            read.network(&Device::flex())
                .unwrap()
                .forward(tensor.clone()),
        );
        let expected = values(network.forward(tensor.clone()));
        let simulated = values(quantized.simulated().forward(tensor.clone()));
        let [off, rounded] = [&found, &simulated].map(|found| relative_error(found, &expected));
        println!("{name}: {off:.1e} read back, {rounded:.1e} with rounded activations");
        assert!(off > 0.0 && off <= rounded, "{name}: {off} and {rounded}");
    }
}

#[test]
fn weights_are_bytes_and_the_file_a_quarter() {
    let network = described("resnet18");
    let bytes = quantized(&network).to_onnx(&BTreeMap::new());
    let share = bytes.len() as f64 / network.to_onnx(&BTreeMap::new()).len() as f64;
    println!("{share:.3} of the size in f32");
    assert!((0.25..0.26).contains(&share), "{share}");
    let graph = graph(&bytes);
    for tensor in &graph.initializer {
        let name = tensor.name.as_deref().unwrap();
        if name.ends_with(".weight") {
            assert_eq!(tensor.data_type, Some(INT8), "{name}");
            // The largest of each channel is the largest byte.
            let raw = tensor.raw_data.as_deref().unwrap();
            for row in raw.chunks(raw.len() / tensor.dims[0] as usize) {
                let largest = row.iter().map(|byte| (*byte as i8).unsigned_abs()).max();
                assert_eq!(largest, Some(127), "{name}");
            }
        }
        let is_large = tensor
            .raw_data
            .as_deref()
            .is_some_and(|raw| raw.len() > 2048);
        assert!(!is_large || tensor.data_type != Some(FLOAT), "{name}");
    }
    let kinds = graph.node.iter().filter_map(|node| node.op_type.as_deref());
    assert!(kinds.clone().all(|kind| kind != "BatchNormalization"));
    // The images, what 20 convolutions give, the sums of 7 blocks that others follow, the largest of windows, the features.
    let pairs = kinds.filter(|kind| *kind == "QuantizeLinear").count();
    assert_eq!(pairs, 1 + 20 + 7 + 1 + 1);
}

#[test]
fn with_preprocessing_the_network_inside_is_the_same() {
    let network = narrow();
    let info = ModelInfo {
        architecture: Some("narrow".into()),
        preprocess: Some(Preprocess {
            resize: 72,
            crop: SIDE,
            ..Preprocess::IMAGENET
        }),
        ..ModelInfo::default()
    };
    let quantized = quantized(&network);
    let folder = tempfile::tempdir().unwrap();
    let [plain, app] = ["plain.onnx", "app.onnx"].map(|name| folder.path().join(name));
    save_onnx_quantized(&quantized, &plain, &info).unwrap();
    save_onnx_quantized_with_preprocessing(&quantized, &app, &info, false).unwrap();
    let [_, (_, tensor)] = batches();
    let [a, b] = [&plain, &app].map(|path| {
        let opened = Pretrained::open(path, &Device::flex()).unwrap();
        assert_eq!(opened.architecture, "narrow");
        assert_eq!(Some(opened.preprocess), info.preprocess);
        values(opened.model.forward(tensor.clone()))
    });
    assert_eq!(a, b);
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    let picture: Vec<u8> = (0..100 * 90 * 3).map(|at| (at * 7 % 251) as u8).collect();
    let found = runtime.run_on_pixels(&app, &[(100, 90, &picture)]);
    let (probabilities, logits) = found.split_at(5);
    let sum: f32 = probabilities.iter().sum();
    assert!((sum - 1.0).abs() < 1e-5 && logits.len() == 5, "{found:?}");
}

/// Runtimes take a ReLU out whose cut bytes do by themselves, and such files are stored.
#[test]
fn a_relu_that_bytes_stand_for_is_read_as_one() {
    for (function, range) in [(Activation::Relu, None), (Activation::Relu6, Some(6.0f32))] {
        let mut b = Builder::new("two", 3);
        let x = b.images();
        let x = b.stage("stem", |b| {
            let x = b.conv2d("conv1", x, Conv::new(8, 3).bias());
            let x = b.activation(x, function);
            b.conv2d("conv2", x, Conv::new(8, 1).bias())
        });
        let x = b.global_pool(x);
        let network = filled(b.finish("fc", x, 3).unwrap());
        let bytes = quantized(&network).to_onnx(&BTreeMap::new());
        let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
        let graph = model.graph.as_mut().unwrap();
        let is_cut = |kind: Option<&str>| matches!(kind, Some("Relu" | "Clip"));
        let at = graph
            .node
            .iter()
            .position(|node| is_cut(node.op_type.as_deref()))
            .unwrap();
        let cut = graph.node.remove(at);
        for node in &mut graph.node {
            for input in &mut node.input {
                if *input == cut.output[0] {
                    input.clone_from(&cut.input[0]);
                }
            }
        }
        if let Some(range) = range {
            // As far as ReLU6 goes, whatever the images gave.
            let name = format!("{}:scale", cut.name.as_deref().unwrap());
            let mut all = graph.initializer.iter_mut();
            let scale = all
                .find(|tensor| tensor.name.as_deref() == Some(&name))
                .unwrap();
            scale.raw_data = Some((range / 255.0).to_le_bytes().to_vec());
        }
        let [whole, without] = [bytes, model.encode_to_vec()].map(|bytes| read(&bytes));
        let functions = |read: &Imported| -> Vec<Op> {
            let nodes = read.graph.nodes().iter().map(|node| node.op.clone());
            nodes.filter(|op| matches!(op, Op::Activation(_))).collect()
        };
        assert_eq!(functions(&whole), [Op::Activation(function)]);
        assert_eq!(functions(&without), [Op::Activation(function)]);
        let [_, (_, tensor)] = batches();
        let [a, b] = [whole, without].map(|read| {
            values(
                read.network(&Device::flex())
                    .unwrap()
                    .forward(tensor.clone()),
            )
        });
        assert_eq!(a, b, "{function:?}");
    }
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let network = narrow();
    let error = network.quantize_static(&[]).unwrap_err();
    assert_eq!(error, QuantizationError::NoImages);
    let [(_, images), _] = batches();
    let grey = images.clone().narrow(1, 0, 1);
    let error = network.quantize_static(&[grey]).unwrap_err();
    assert!(error.to_string().contains("3 channels"), "{error}");
    let broken = images.clone() * f32::NAN;
    let error = network.quantize_static(&[broken]).unwrap_err();
    assert!(error.to_string().contains("calibration image"), "{error}");
    let mut all = state_dict::collect(&network);
    all.get_mut("layer1.0.conv2.weight").unwrap().values[0] = f32::INFINITY;
    let broken = state_dict::assign(network, |name| Some(all.remove(name).unwrap().values));
    let error = broken
        .quantize_static(std::slice::from_ref(&images))
        .unwrap_err();
    assert!(
        error.to_string().contains("layer1.0.conv2.weight"),
        "{error}"
    );
    // Positions are those of the calibration images.
    let quantized = quantized(&described("deit_tiny_patch16_224"));
    let other = Preprocess {
        resize: 96,
        crop: 96,
        ..Preprocess::IMAGENET
    };
    let error = quantized.to_onnx_with_preprocessing(&other, None, &BTreeMap::new());
    let size = [SIDE; 2];
    let expected = ExportError::Size {
        crop: 96,
        height: size[0],
        width: size[1],
    };
    assert_eq!(error.unwrap_err(), expected);
}

#[test]
fn the_rule_with_the_smaller_error_is_kept() {
    let [(_, mut images), _] = batches();
    let network = narrow();
    for factor in [1.0, 30.0] {
        // A few large numbers, for which finer steps are lost to all others.
        let first = images.clone().slice([0..1, 0..1, 0..2, 0..2]);
        images = images.slice_assign([0..1, 0..1, 0..2, 0..2], first * factor);
        let quantized = network.quantize_static(&[images.clone()]).unwrap();
        let [least, other] = {
            let mut errors = RangeRule::ALL.map(|rule| quantized.calibration_error(rule));
            errors.sort_by(f64::total_cmp);
            errors
        };
        assert!(other.is_finite() && least > 0.0);
        assert_eq!(quantized.calibration_error(quantized.range_rule()), least);
        // By hand, on the outputs.
        let expected = values(network.forward(images.clone()));
        let found = values(quantized.simulated().forward(images.clone()));
        let pairs = found.iter().zip(&expected);
        let error: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let scale: f64 = expected.iter().map(|b| f64::from(*b).powi(2)).sum();
        let by_hand = (error / scale).sqrt();
        assert!(
            (by_hand - least).abs() <= 1e-3 * least,
            "{by_hand} and {least}"
        );
    }
}
