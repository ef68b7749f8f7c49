//! ONNX files and descriptions that are refused: what isn't known, what is damaged, what reaches outside.

use std::path::Path;

use burn::prelude::*;
use prost::Message;
use rekindle_models::Pretrained;
use rekindle_nn::Graph;
use rekindle_nn::onnx::ImportError;
use rekindle_nn::onnx::proto::{EXTERNAL, ModelProto, StringStringEntryProto, TensorProto};
use test_support::uniform;

use crate::onnx_in::{Exports, logits, read};

#[test]
fn what_is_not_known_is_said_all_at_once() {
    let mut exports = Exports::open();
    let mut model = ModelProto::decode(exports.model("resnet.script").as_slice()).unwrap();
    for node in &mut model.graph.as_mut().unwrap().node {
        match node.op_type.as_deref() {
            Some("MaxPool") => node.op_type = Some("Resize".into()),
            Some("Relu") => node.domain = Some("com.example".into()),
            _ => {}
        }
    }
    let error = read(&model.encode_to_vec()).unwrap_err().to_string();
    assert!(error.contains("Resize (/maxpool/MaxPool)"), "{error}");
    assert!(
        error.contains("com.example::Relu (") && error.contains(" more)"),
        "{error}"
    );

    let mut model = ModelProto::decode(exports.model("resnet.script").as_slice()).unwrap();
    let nodes = &mut model.graph.as_mut().unwrap().node;
    let relu = nodes
        .iter_mut()
        .find(|node| node.op_type.as_deref() == Some("Relu"))
        .unwrap();
    relu.op_type = Some("Softplus".into());
    let error = read(&model.encode_to_vec()).unwrap_err();
    assert!(
        matches!(&error, ImportError::Node { reason, .. } if reason.contains("ReLU6")),
        "{error}"
    );
}

#[test]
fn weights_beside_the_file_are_read_and_none_elsewhere() {
    let mut exports = Exports::open();
    let whole = exports.model("resnet.script");
    let expected = logits(
        &read(&whole).unwrap().network(&Device::flex()).unwrap(),
        1,
        [64, 64],
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let moved = |location: &str, is_cut: bool| {
        let mut model = ModelProto::decode(whole.as_slice()).unwrap();
        let mut data = Vec::new();
        for tensor in &mut model.graph.as_mut().unwrap().initializer {
            let bytes = tensor.raw_data.take().unwrap_or_default();
            let entry = |key: &str, value: String| StringStringEntryProto {
                key: Some(key.into()),
                value: Some(value),
            };
            tensor.external_data = vec![
                entry("location", location.into()),
                entry("offset", data.len().to_string()),
                entry("length", bytes.len().to_string()),
            ];
            tensor.data_location = Some(EXTERNAL);
            data.extend(bytes);
        }
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        data.truncate(if is_cut { data.len() - 1 } else { data.len() });
        std::fs::write(folder.path().join("model.onnx.data"), data).unwrap();
        Pretrained::open(&path, &Device::flex())
    };
    let opened = moved("model.onnx.data", false).unwrap();
    assert_eq!(logits(&opened.model, 1, [64, 64]), expected);
    for location in ["../model.onnx.data", "/etc/hostname", "", "absent.data"] {
        let error = moved(location, false).unwrap_err().to_string();
        assert!(error.contains(&format!("{location:?}")), "{error}");
    }
    let error = moved("model.onnx.data", true).unwrap_err().to_string();
    assert!(error.contains("are needed from"), "{error}");
}

#[test]
fn what_no_description_may_say_is_refused_on_reading() {
    let whole = Exports::open().model("zeros_around.tf2onnx");
    let mut model = ModelProto::decode(whole.as_slice()).unwrap();
    let weights = &mut model.graph.as_mut().unwrap().initializer;
    let is_pads = |tensor: &&mut TensorProto| tensor.dims == [8] && tensor.data_type == Some(7);
    let pads = weights.iter_mut().find(is_pads).unwrap();
    let mut values = [0i64; 8];
    values[6] = 1 << 40;
    pads.raw_data = Some(
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
    );
    pads.int64_data.clear();
    let error = read(&model.encode_to_vec()).err().unwrap().to_string();
    assert!(
        error.contains("1099511627776 is beyond all bounds"),
        "{error}"
    );
}

#[test]
fn damaged_files_are_errors() {
    let mut exports = Exports::open();
    for name in [
        "vit_timm.dynamo",
        "resnet.unfolded",
        "channels_last.tf2onnx",
        "zeros_around.tf2onnx",
        "attention.nodes",
        "mobilenet_v3.rounded",
        "vit_timm.bits_asymmetric",
        "vit_timm.dynamic",
    ] {
        // Without the weights, so that cuts and changes are in the graph.
        let bytes = exports.bytes(&format!("{name}.onnx"));
        for end in (0..bytes.len()).step_by(41) {
            let _ = read(&bytes[..end]);
        }
        let whole = exports.model(name);
        let structure = whole.len().min(60_000);
        for change in 0..400 {
            let mut changed = whole.clone();
            let place = (uniform(change, 1).abs() * structure as f32) as usize;
            changed[place] = changed[place].wrapping_add(1 + (change % 255) as u8);
            // Whatever comes of it, it is no panic.
            let _ = read(&changed).map(|imported| imported.network(&Device::flex()));
        }
    }
    assert!(matches!(
        read(b"\x08\x07"),
        Err(ImportError::Damaged { .. })
    ));
    assert!(
        !Path::new("none.onnx").exists() && Pretrained::open("none.onnx", &Device::flex()).is_err()
    );
}

#[test]
fn a_description_with_a_mistake_is_refused() {
    let mut exports = Exports::open();
    let graph = read(&exports.model("resnet.unfolded")).unwrap().graph;
    let text = graph.to_json([64, 64]);
    assert!(Graph::from_json(&text).unwrap() == graph);
    let changed = [
        ("\"version\":1", "\"version\":2"),
        ("\"in_channels\":3", "\"in_channels\":4"),
        ("\"groups\":1", "\"groups\":0"),
        ("\"stride\":[2,2]", "\"stride\":[0,2]"),
        ("\"out_channels\":64", "\"out_channels\":64000000000"),
        ("\"classes\":5", "\"klasses\":5"),
        ("\"inputs\":[0]", "\"inputs\":[9]"),
        ("\"tensors\":[0]", "\"tensors\":[1]"),
    ];
    for (from, to) in changed {
        assert!(text.contains(from), "{from}");
        let error = Graph::from_json(&text.replacen(from, to, 1));
        assert!(error.is_err(), "{to}");
    }
    for end in (0..text.len()).step_by(997) {
        assert!(Graph::from_json(&text[..end]).is_err());
    }
}
