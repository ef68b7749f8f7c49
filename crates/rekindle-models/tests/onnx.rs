//! Every family as ONNX, by onnxruntime where Python has it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::{Model, Options};
use rekindle_nn::{Activation, Builder, Conv, Graph, Network};
use rekindle_weights::state_dict;
use test_support::{OnnxRuntime, images, uniform};

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

#[test]
fn onnxruntime_gives_the_same_logits() {
    let Some(runtime) = OnnxRuntime::find() else {
        return;
    };
    for name in FAMILIES {
        for classes in [7, 0] {
            let model = Model::named(name).unwrap();
            let graph = (model.describe)(&Options::with_classes(classes)).unwrap();
            compare(&runtime, graph);
        }
    }
    compare(&runtime, activations());
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

fn compare(runtime: &OnnxRuntime, graph: Graph) {
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
    let shape = [2, 3, height, width];
    let condition = r#"metadata == {"classes": "ant,bee"}"#;
    let found = runtime.run(&file("onnx"), condition, &values, shape);
    let images = TensorData::new(values, shape);
    let expected = network.forward(Tensor::from_data(images, &device));
    let expected: Vec<f32> = expected.into_data().iter().collect();
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
