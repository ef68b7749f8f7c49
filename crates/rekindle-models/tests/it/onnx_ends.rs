//! ONNX files whose networks begin by normalising pixels, or end in what others make of their logits.

use burn::prelude::*;
use prost::Message;
use rekindle_models::{Preprocess, Pretrained};
use rekindle_nn::onnx::proto::{
    ATTRIBUTE_INT, AttributeProto, FLOAT, GraphProto, INT64, ModelProto, NodeProto, TensorProto,
    UINT8, ValueInfoProto,
};
use rekindle_nn::onnx::{ImportError, Imported};
use test_support::images;

use crate::onnx_in::{Exports, logits, off, read};

const SIDE: usize = 64;

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn whole() -> ModelProto {
    let bytes = Exports::open().model("resnet.script");
    ModelProto::decode(bytes.as_slice()).unwrap()
}

fn node(operation: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(ToString::to_string).collect(),
        output: outputs.iter().map(ToString::to_string).collect(),
        op_type: Some(operation.into()),
        ..NodeProto::default()
    }
}

fn axis(node: NodeProto, name: &str, value: i64) -> NodeProto {
    let attribute = AttributeProto {
        name: Some(name.into()),
        i: Some(value),
        r#type: Some(ATTRIBUTE_INT),
        ..AttributeProto::default()
    };
    NodeProto {
        attribute: vec![attribute],
        ..node
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: Some(FLOAT),
        float_data: values.to_vec(),
        name: Some(name.into()),
        ..TensorProto::default()
    }
}

fn whole_numbers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        dims: vec![values.len() as i64],
        data_type: Some(INT64),
        int64_data: values.to_vec(),
        name: Some(name.into()),
        ..TensorProto::default()
    }
}

/// Puts nodes behind the logits, and makes what they give the outputs.
fn ended(tail: Vec<NodeProto>, weights: Vec<TensorProto>, outputs: &[&str]) -> Imported {
    let mut model = whole();
    let graph = graph(&mut model);
    graph.node.extend(tail);
    graph.initializer.extend(weights);
    graph.output = outputs
        .iter()
        .map(|name| ValueInfoProto {
            name: Some(name.to_string()),
            r#type: None,
        })
        .collect();
    read(&model.encode_to_vec()).unwrap()
}

/// Puts nodes in front of the network; the last of them gives `inside`.
fn begun(head: Vec<NodeProto>, weights: Vec<TensorProto>, kind: i32) -> Vec<u8> {
    let mut model = whole();
    let graph = graph(&mut model);
    for node in &mut graph.node {
        for name in node.input.iter_mut().filter(|name| *name == "images") {
            *name = "inside".into();
        }
    }
    graph.node.splice(0..0, head);
    graph.initializer.extend(weights);
    let tensor = graph.input[0].r#type.as_mut().unwrap();
    tensor.tensor_type.as_mut().unwrap().elem_type = Some(kind);
    model.encode_to_vec()
}

fn forward(imported: Imported, pixels: &[f32]) -> Vec<f32> {
    let count = pixels.len() / (3 * SIDE * SIDE);
    let data = TensorData::new(pixels.to_vec(), [count, 3, SIDE, SIDE]);
    let network = imported.network(&Device::flex()).unwrap();
    let images = Tensor::<4>::from_data(data, &Device::flex());
    network.forward(images).into_data().iter::<f32>().collect()
}

#[test]
fn what_stands_behind_the_logits_is_left_out_and_said() {
    let plain = read(&whole().encode_to_vec()).unwrap();
    let expected = logits(&plain.network(&Device::flex()).unwrap(), 1, [SIDE; 2]);
    let softmax = || axis(node("Softmax", &["logits"], &["shares"]), "axis", 1);
    let one = || vec![whole_numbers("one", &[1])];
    let tails = [
        (vec![softmax()], vec![], vec!["shares"], "Softmax"),
        (vec![softmax()], vec![], vec!["shares", "logits"], "Softmax"),
        (
            vec![axis(node("ArgMax", &["logits"], &["class"]), "axis", 1)],
            vec![],
            vec!["class"],
            "ArgMax",
        ),
        (
            vec![
                softmax(),
                node("TopK", &["shares", "one"], &["most", "class"]),
            ],
            one(),
            vec!["most", "class"],
            "TopK",
        ),
        (
            vec![
                softmax(),
                node("Unsqueeze", &["shares", "one"], &["turned"]),
                node("Squeeze", &["turned", "one"], &["again"]),
            ],
            one(),
            vec!["again"],
            "Softmax",
        ),
        (
            vec![
                node("ReduceL2", &["logits", "one"], &["length"]),
                node("Div", &["logits", "length"], &["direction"]),
            ],
            one(),
            vec!["direction"],
            "Div",
        ),
    ];
    for (tail, weights, outputs, kind) in tails {
        let imported = ended(tail, weights, &outputs);
        let note = imported.notes.join("; ");
        assert!(note.contains(&format!("{kind} at its end")), "{note}");
        let network = imported.network(&Device::flex()).unwrap();
        assert_eq!(network.num_classes(), 5, "{kind}");
        assert_eq!(logits(&network, 1, [SIDE; 2]), expected, "{kind}");
    }
    // A temperature becomes a part of the classifier.
    let divided = ended(
        vec![
            node("Div", &["logits", "two"], &["cooler"]),
            softmax_of("cooler"),
        ],
        vec![floats("two", &[], &[2.0])],
        &["shares"],
    );
    let network = divided.network(&Device::flex()).unwrap();
    let halves: Vec<f32> = expected.iter().map(|logit| logit / 2.0).collect();
    assert_eq!(network.num_classes(), 5);
    assert!(off(&logits(&network, 1, [SIDE; 2]), &halves) <= 1e-6);
}

fn softmax_of(name: &str) -> NodeProto {
    axis(node("Softmax", &[name], &["shares"]), "axis", 1)
}

#[test]
fn a_network_that_normalises_pixels_itself_is_given_them_as_they_are() {
    let mean = floats("mean", &[1, 3, 1, 1], &Preprocess::IMAGENET.mean);
    let std = floats("std", &[1, 3, 1, 1], &Preprocess::IMAGENET.std);
    let normalise = |from: &str| {
        vec![
            node("Sub", &[from, "mean"], &["centred"]),
            node("Div", &["centred", "std"], &["inside"]),
        ]
    };
    let scale = floats("scale", &[], &[255.0]);
    let scaled = |from: &str| {
        let mut nodes = vec![node("Div", &[from, "scale"], &["units"])];
        nodes.extend(normalise("units"));
        nodes
    };
    let mut bytes = vec![axis(node("Cast", &["images"], &["real"]), "to", 1)];
    bytes.extend(scaled("real"));
    let both = vec![mean.clone(), std.clone()];
    let all = vec![mean.clone(), std.clone(), scale];
    let caffe = floats("mean", &[1, 3, 1, 1], &[123.68, 116.779, 103.939]);
    let cases = [
        (normalise("images"), both, FLOAT, 1.0, "from 0 to 1"),
        (scaled("images"), all.clone(), FLOAT, 255.0, "from 0 to 255"),
        (bytes, all, UINT8, 255.0, "from 0 to 255"),
        (
            vec![node("Sub", &["images", "mean"], &["inside"])],
            vec![caffe],
            FLOAT,
            255.0,
            "from 0 to 255",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.onnx");
    for (head, weights, kind, most, said) in cases {
        std::fs::write(&path, begun(head, weights, kind)).unwrap();
        let opened = Pretrained::open(&path, &Device::flex()).unwrap();
        assert_eq!(opened.preprocess.mean, [0.0; 3], "{said}");
        assert_eq!(opened.preprocess.std, [1.0 / most; 3], "{said}");
        let assumed = opened.assumptions.join("; ");
        assert!(assumed.contains(said), "{assumed}");
        assert!(!assumed.contains("ImageNet"), "{assumed}");
    }
    // It computes what the network computes of normalised pixels.
    let values = images(1, SIDE, SIDE);
    let head = begun(normalise("images"), vec![mean, std], FLOAT);
    let found = forward(read(&head).unwrap(), &values);
    let normal: Vec<f32> = values
        .iter()
        .enumerate()
        .map(|(place, value)| {
            let channel = place / (SIDE * SIDE);
            let Preprocess { mean, std, .. } = Preprocess::IMAGENET;
            (value - mean[channel]) / std[channel]
        })
        .collect();
    let expected = forward(read(&whole().encode_to_vec()).unwrap(), &normal);
    assert!(off(&found, &expected) <= 1e-5);
}

#[test]
fn channels_may_be_taken_in_another_order() {
    let swapped = axis(node("Gather", &["images", "order"], &["inside"]), "axis", 1);
    let file = begun(
        vec![swapped],
        vec![whole_numbers("order", &[2, 1, 0])],
        FLOAT,
    );
    let values = images(1, SIDE, SIDE);
    let found = forward(read(&file).unwrap(), &values);
    let backwards: Vec<f32> = values
        .chunks(SIDE * SIDE)
        .rev()
        .flatten()
        .copied()
        .collect();
    let expected = forward(read(&whole().encode_to_vec()).unwrap(), &backwards);
    assert!(off(&found, &expected) <= 1e-6);
}

#[test]
fn sums_of_several_and_old_broadcasts_are_read() {
    let plain = read(&whole().encode_to_vec()).unwrap();
    let expected = logits(&plain.network(&Device::flex()).unwrap(), 1, [SIDE; 2]);
    let tripled = ended(
        vec![node("Sum", &["logits", "logits", "logits"], &["sum"])],
        vec![],
        &["sum"],
    );
    let three: Vec<f32> = expected.iter().map(|logit| 3.0 * logit).collect();
    let network = tripled.network(&Device::flex()).unwrap();
    assert!(off(&logits(&network, 1, [SIDE; 2]), &three) <= 1e-6);
    // Before operator set 7 a tensor's place among the dimensions is said by an axis: 3 channels of 3 x 3 pixels.
    let add = axis(node("Add", &["images", "shift"], &["inside"]), "axis", 1);
    let mut model = ModelProto::decode(
        begun(
            vec![add],
            vec![floats("shift", &[3], &[0.1, -0.2, 0.3])],
            FLOAT,
        )
        .as_slice(),
    )
    .unwrap();
    model.opset_import[0].version = Some(6);
    let values = images(1, SIDE, SIDE);
    let found = forward(read(&model.encode_to_vec()).unwrap(), &values);
    let moved: Vec<f32> = values
        .iter()
        .enumerate()
        .map(|(place, value)| value + [0.1, -0.2, 0.3][place / (SIDE * SIDE)])
        .collect();
    let expected = forward(read(&whole().encode_to_vec()).unwrap(), &moved);
    assert!(off(&found, &expected) <= 1e-5);
}

#[test]
fn what_computes_with_fewer_bits_says_so() {
    let mut exports = Exports::open();
    let said = [
        ("vit_timm.half", "half precision (float16)"),
        ("resnet.bfloat16", "half precision (bfloat16)"),
        ("vit_timm.dynamic", "activations are not rounded"),
        ("mobilenet_v3.rounded", "activations are not rounded"),
        ("vit_timm.bits", "few bits"),
    ];
    for (name, expected) in said {
        let notes = read(&exports.model(name)).unwrap().notes.join("; ");
        assert!(notes.contains(expected), "{name}: {notes}");
    }
}

#[test]
fn what_is_laid_out_for_one_processor_or_masked_is_refused() {
    let mut model = whole();
    for node in &mut graph(&mut model).node {
        if node.op_type.as_deref() == Some("Conv") {
            node.domain = Some("com.microsoft.nchwc".into());
        }
    }
    let error = read(&model.encode_to_vec()).unwrap_err();
    assert!(matches!(error, ImportError::OneProcessor { operators } if operators > 5));
    assert!(error.to_string().contains("ORT_ENABLE_EXTENDED"), "{error}");

    let bytes = Exports::open().model("attention.nodes");
    for (name, value) in [("unidirectional", 1), ("num_heads", 5), ("num_heads", 0)] {
        let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
        let is_attention = |node: &&mut NodeProto| node.op_type.as_deref() == Some("Attention");
        let node = graph(&mut model)
            .node
            .iter_mut()
            .find(is_attention)
            .unwrap();
        node.attribute
            .retain(|given| given.name.as_deref() != Some(name));
        let changed = axis(node.clone(), name, value);
        node.attribute.extend(changed.attribute);
        let error = read(&model.encode_to_vec()).unwrap_err();
        assert!(matches!(error, ImportError::Node { .. }), "{name}: {error}");
    }
}
