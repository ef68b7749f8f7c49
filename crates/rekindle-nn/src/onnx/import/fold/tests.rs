//! ONNX's own tests of its operators, where they are at hand.

use std::path::Path;

use prost::Message;

use super::super::attributes::Operator;
use super::super::constant::{Constant, Data, External};
use super::{FOLDED, fold};
use crate::onnx::proto::{AttributeProto, INT8, INT32, ModelProto, NodeProto, TensorProto, UINT8};

fn tensor(path: &Path) -> Option<Constant> {
    let tensor = TensorProto::decode(std::fs::read(path).ok()?.as_slice()).ok()?;
    let mut none = |_: &str, _: u64, _: Option<u64>| Err("there is none".into());
    Constant::read(&tensor, &mut External { read: &mut none }).ok()
}

fn is_equal(found: &Constant, expected: &Constant) -> bool {
    let is_near = |(a, b): (&f32, &f32)| {
        (a - b).abs() <= 1e-6 * b.abs().max(1.0) || a == b || (a.is_nan() && b.is_nan())
    };
    found.shape == expected.shape
        && match (&found.data, &expected.data) {
            (Data::Floats(a), Data::Floats(b)) => a.iter().zip(b.iter()).all(is_near),
            (Data::Ints(a), Data::Ints(b)) => a == b,
            _ => false,
        }
}

/// `onnx/backend/test/data/node` of the Python package `onnx`, as REKINDLE_ONNX_NODES.
#[test]
#[ignore = "needs the tests of the Python package onnx in REKINDLE_ONNX_NODES"]
fn known_numbers_are_computed_as_onnx_says() {
    let folder =
        std::env::var_os("REKINDLE_ONNX_NODES").expect("REKINDLE_ONNX_NODES names a folder");
    let (mut agreed, mut others, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let mut folders: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    folders.sort_by_key(|entry| entry.file_name());
    for entry in folders {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(bytes) = std::fs::read(path.join("model.onnx")) else {
            continue;
        };
        let model = ModelProto::decode(bytes.as_slice()).unwrap();
        let graph = model.graph.unwrap();
        let [node] = graph.node.as_slice() else {
            continue;
        };
        let opset = model
            .opset_import
            .iter()
            .filter_map(|set| set.version)
            .max()
            .unwrap_or(1);
        let operator = Operator { node, opset };
        // A network is read as it predicts.
        if name.contains("training") || !FOLDED.contains(&operator.kind().as_str()) {
            continue;
        }
        let data = path.join("test_data_set_0");
        let inputs: Vec<&str> = graph
            .input
            .iter()
            .filter_map(|input| input.name.as_deref())
            .collect();
        let given = node.input.iter().map(|name| {
            let index = inputs.iter().position(|input| input == name)?;
            tensor(&data.join(format!("input_{index}.pb")))
        });
        let given: Vec<Option<Constant>> = given.collect();
        let expected: Option<Vec<Constant>> = (0..graph.output.len())
            .map(|index| tensor(&data.join(format!("output_{index}.pb"))))
            .collect();
        let is_read = node
            .input
            .iter()
            .zip(&given)
            .all(|(name, c)| name.is_empty() || c.is_some());
        let (Some(expected), true) = (expected, is_read) else {
            others.push(format!("{name}: elements of another type"));
            continue;
        };
        let given: Vec<Option<&Constant>> = given.iter().map(Option::as_ref).collect();
        match fold(operator, &given) {
            Ok(Some(found)) => {
                // Numbers of 16 bits are computed with as if they had 32.
                let is_half = name.contains("FLOAT16");
                let mut pairs = found.iter().zip(&expected);
                if !is_half && !pairs.all(|(found, expected)| is_equal(found, expected)) {
                    wrong.push(format!("{name}: {found:?}, {expected:?}"));
                    continue;
                }
                agreed.push(name);
            }
            Ok(None) => others.push(format!("{name}: not computed")),
            Err(fault) => others.push(format!("{name}: {fault:?}")),
        }
    }
    println!("{} agree; refused: {others:#?}", agreed.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(agreed.len() > 100);
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        i: Some(value),
        ..AttributeProto::default()
    }
}

fn of_kind(kind: i32, shape: &[usize], values: &[i64]) -> Constant {
    Constant {
        kind,
        ..Constant::ints(shape.to_vec(), values.to_vec())
    }
}

/// Expected numbers are those of `onnx.reference.ReferenceEvaluator` (onnx 1.23), operator set 21, for one node each.
#[test]
fn quantize_and_dequantize_are_computed_as_onnx_says() {
    let node = |kind: &str, attribute: Vec<AttributeProto>| NodeProto {
        op_type: Some(kind.into()),
        attribute,
        ..NodeProto::default()
    };
    let computed = |node: &NodeProto, inputs: &[&Constant]| {
        let operator = Operator { node, opset: 21 };
        let inputs: Vec<Option<&Constant>> = inputs.iter().map(|input| Some(*input)).collect();
        fold(operator, &inputs).unwrap().unwrap().remove(0)
    };
    let floats =
        |shape: &[usize], values: &[f32]| Constant::floats(shape.to_vec(), values.to_vec());
    let x = floats(&[2, 3], &[-3.0, 0.26, 1.25, 99.0, -0.75, 2.5]);
    let columns = floats(&[3], &[0.5, 0.25, 1.0]);
    let zeros = of_kind(INT8, &[3], &[0, -5, 7]);
    for (node, scale, zero, expected) in [
        (
            node("QuantizeLinear", Vec::new()),
            floats(&[], &[0.5]),
            of_kind(UINT8, &[], &[3]),
            [0, 4, 5, 201, 1, 8],
        ),
        (
            node("QuantizeLinear", vec![int("axis", 1)]),
            columns,
            zeros.clone(),
            [-6, -4, 8, 127, -8, 9],
        ),
        (
            node("QuantizeLinear", vec![int("axis", -2)]),
            floats(&[2], &[0.5, 0.1]),
            of_kind(INT8, &[2], &[0, 0]),
            [-6, 1, 2, 127, -8, 25],
        ),
    ] {
        let found = computed(&node, &[&x, &scale, &zero]);
        assert!(
            is_equal(&found, &Constant::ints(vec![2, 3], expected.to_vec())),
            "{found:?}"
        );
    }
    let bytes = of_kind(INT8, &[2, 3], &[-128, -1, 0, 1, 100, 127]);
    let node_of_columns = node("DequantizeLinear", Vec::new());
    let scales = floats(&[3], &[0.5, 0.25, 2.0]);
    let found = computed(&node_of_columns, &[&bytes, &scales, &zeros]);
    let expected = floats(&[2, 3], &[-64.0, 1.0, -14.0, 0.5, 26.25, 240.0]);
    assert!(is_equal(&found, &expected), "{found:?}");
    let biases = of_kind(INT32, &[2], &[-70_000, 12]);
    let found = computed(&node_of_columns, &[&biases, &floats(&[], &[0.125])]);
    assert!(
        is_equal(&found, &floats(&[2], &[-8750.0, 1.5])),
        "{found:?}"
    );
    // Scales that fit no dimension, and those of blocks.
    for (attribute, scale) in [
        (int("axis", 0), floats(&[3], &[1.0; 3])),
        (int("axis", 5), floats(&[3], &[1.0; 3])),
        (int("block_size", 2), floats(&[3], &[1.0; 3])),
    ] {
        let node = node("DequantizeLinear", vec![attribute]);
        let operator = Operator {
            node: &node,
            opset: 21,
        };
        assert!(fold(operator, &[Some(&bytes), Some(&scale)]).is_err());
    }
}
