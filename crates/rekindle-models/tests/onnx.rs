//! Every family as ONNX, by onnxruntime where Python has it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::{Model, Options};
use rekindle_nn::{Activation, Builder, Conv, Graph, Network};
use rekindle_resnet::state_dict;
use test_support::{Needs, images, skip, uniform};

/// One model of every family, and so every operation.
const FAMILIES: [&str; 10] = [
    "resnet18",
    "resnext50_32x4d",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "regnet_y_400mf",
    "densenet121",
    "shufflenet_v2_x0_5",
];

/// Its `onnx` checks the file where it is there.
const SCRIPT: &str = r#"
import sys, numpy, onnxruntime
try:
    import onnx
    onnx.checker.check_model(sys.argv[1], full_check=True)
except ImportError:
    pass
images = numpy.fromfile(sys.argv[2], numpy.float32).reshape([int(x) for x in sys.argv[4].split(",")])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
assert session.get_modelmeta().custom_metadata_map == {"classes": "ant,bee"}
output = session.run(None, {"images": images})[0]
one = session.run(None, {"images": images[:1]})[0]
assert numpy.abs(one - output[:1]).max() <= 1e-4 * numpy.abs(output).max(), "the batch matters"
output.astype(numpy.float32).tofile(sys.argv[3])
"#;

#[test]
fn onnxruntime_gives_the_same_logits() {
    let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python)
        .args(["-c", "import onnxruntime, numpy"])
        .output();
    if !has.is_ok_and(|output| output.status.success()) {
        let reason =
            format!("{python} has no onnxruntime (set REKINDLE_PYTHON to a Python that has)");
        return skip(Needs::Program, reason);
    }
    for name in FAMILIES {
        for classes in [7, 0] {
            let model = Model::named(name).unwrap();
            let graph = (model.describe)(&Options::with_classes(classes)).unwrap();
            compare(&python, graph);
        }
    }
    compare(&python, activations());
}

/// Every activation on feature maps, and on rows.
fn activations() -> Graph {
    let all = [
        Activation::Relu,
        Activation::Relu6,
        Activation::Silu,
        Activation::HardSwish,
        Activation::HardSigmoid,
        Activation::Sigmoid,
        Activation::Gelu,
    ];
    let mut b = Builder::new("activations", 3);
    let x = b.images();
    let x = b.stage("all", |b| {
        let x = b.conv2d("conv", x, Conv::new(4, 3).dilation(2).bias());
        let parts = all.map(|activation| b.activation(x, activation));
        b.concat(&parts)
    });
    let x = b.global_pool(x);
    let x = all.iter().fold(x, |x, activation| {
        let y = b.activation(x, *activation);
        b.add(x, y)
    });
    b.finish("fc", x, 3).unwrap()
}

fn compare(python: &str, graph: Graph) {
    let device = Device::flex();
    let (name, classes) = (graph.name().to_string(), graph.head().classes);
    let network = filled(graph);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let metadata = BTreeMap::from([("classes".to_string(), "ant,bee".to_string())]);
    network.save_onnx(file("onnx"), &metadata).unwrap();
    let bytes = std::fs::read(file("onnx")).unwrap();
    assert!(
        bytes == network.to_onnx(&metadata),
        "equal input, other bytes"
    );
    // Odd sizes, so that "same" padding has a side to choose.
    let (height, width) = (75, 98);
    let values = images(2, height, width);
    write_floats(&file("images"), &values);
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .args([file("onnx"), file("images"), file("output")])
        .arg(format!("2,3,{height},{width}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    let images = TensorData::new(values, [2, 3, height, width]);
    let expected = network.forward(Tensor::from_data(images, &device));
    let expected: Vec<f32> = expected.into_data().iter().collect();
    let found = read_floats(&file("output"));
    assert_eq!(found.len(), expected.len(), "{name}");
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0f32, |a, b| a.max(b.abs()));
    let scale = largest(&mut expected.iter().copied());
    let off = largest(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
    println!("{name}, {classes} classes: {off:.1e} of {scale:.1e}");
    assert!(
        scale > 0.0 && off <= 1e-4 * scale,
        "{name}: {off} of {scale}"
    );
}

/// A network whose numbers are of one size from the images to the logits, as those of a trained one.
fn filled(graph: Graph) -> Network {
    let tensors = graph.tensors().iter().zip(0..);
    let tensors: BTreeMap<String, (u32, Vec<usize>)> = tensors
        .map(|(tensor, number)| (tensor.name.clone(), (number, tensor.shape.clone())))
        .collect();
    let network = Network::new(graph, 0, &Device::flex());
    state_dict::assign(network, |name| {
        let (number, shape) = &tensors[name];
        let count: usize = shape.iter().product();
        let scale = (6.0 / (count / shape[0]) as f32).sqrt();
        let value = |index| {
            let u = uniform(*number, index);
            match name {
                name if name.ends_with("running_var") => 1.0 + 0.5 * u * u,
                name if name.ends_with("running_mean") => 0.1 * u,
                name if shape.len() == 1 && name.ends_with("bias") => 0.1 * u,
                _ if shape.len() == 1 => 1.0 + 0.1 * u,
                _ => u * scale,
            }
        };
        Some((0..count).map(value).collect())
    })
}

fn write_floats(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}

fn read_floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn a_place_that_cannot_be_written_to_is_an_error_and_leaves_nothing() {
    let graph = (Model::named("shufflenet_v2_x0_5").unwrap().describe)(&Options::default());
    let network = Network::new(graph.unwrap(), 0, &Device::flex());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no such folder").join("model.onnx");
    assert!(network.save_onnx(&path, &BTreeMap::new()).is_err());
    assert!(network.save_onnx(folder.path(), &BTreeMap::new()).is_err());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}
