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

fn computed(kind: &str, attribute: Vec<AttributeProto>, inputs: &[&Constant]) -> Constant {
    let node = NodeProto {
        op_type: Some(kind.into()),
        attribute,
        ..NodeProto::default()
    };
    let operator = Operator {
        node: &node,
        opset: 21,
    };
    let inputs: Vec<Option<&Constant>> = inputs.iter().map(|input| Some(*input)).collect();
    fold(operator, &inputs).unwrap().unwrap().remove(0)
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
    let floats =
        |shape: &[usize], values: &[f32]| Constant::floats(shape.to_vec(), values.to_vec());
    let x = floats(&[2, 3], &[-3.0, 0.26, 1.25, 99.0, -0.75, 2.5]);
    let columns = floats(&[3], &[0.5, 0.25, 1.0]);
    let zeros = of_kind(INT8, &[3], &[0, -5, 7]);
    for (attribute, scale, zero, expected) in [
        (
            Vec::new(),
            floats(&[], &[0.5]),
            of_kind(UINT8, &[], &[3]),
            [0, 4, 5, 201, 1, 8],
        ),
        (
            vec![int("axis", 1)],
            columns,
            zeros.clone(),
            [-6, -4, 8, 127, -8, 9],
        ),
        (
            vec![int("axis", -2)],
            floats(&[2], &[0.5, 0.1]),
            of_kind(INT8, &[2], &[0, 0]),
            [-6, 1, 2, 127, -8, 25],
        ),
    ] {
        let found = computed("QuantizeLinear", attribute, &[&x, &scale, &zero]);
        assert!(
            is_equal(&found, &Constant::ints(vec![2, 3], expected.to_vec())),
            "{found:?}"
        );
    }
    let bytes = of_kind(INT8, &[2, 3], &[-128, -1, 0, 1, 100, 127]);
    let scales = floats(&[3], &[0.5, 0.25, 2.0]);
    let found = computed("DequantizeLinear", Vec::new(), &[&bytes, &scales, &zeros]);
    let expected = floats(&[2, 3], &[-64.0, 1.0, -14.0, 0.5, 26.25, 240.0]);
    assert!(is_equal(&found, &expected), "{found:?}");
    let biases = of_kind(INT32, &[2], &[-70_000, 12]);
    let found = computed(
        "DequantizeLinear",
        Vec::new(),
        &[&biases, &floats(&[], &[0.125])],
    );
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
        let node = NodeProto {
            op_type: Some("DequantizeLinear".into()),
            attribute: vec![attribute],
            ..NodeProto::default()
        };
        let operator = Operator {
            node: &node,
            opset: 21,
        };
        assert!(fold(operator, &[Some(&bytes), Some(&scale)]).is_err());
    }
}

const NUMBERS: [f32; 12] = [
    -3.0, 0.26, 1.25, 9.0, -0.75, 2.5, 0.5, -6.0, 4.0, 0.125, -1.5, 2.0,
];

/// Expected numbers are those of `onnx.reference.ReferenceEvaluator` (onnx 1.23), operator set 18.
#[test]
fn dimensions_are_reduced_as_onnx_says() {
    let x = Constant::floats(vec![3, 2, 2], NUMBERS.to_vec());
    for (kind, outer, inner) in [
        (
            "ReduceSum",
            [3.135, 5.25],
            [-1.75, 9.26, -0.25, -3.5, 2.5, 2.125],
        ),
        (
            "ReduceMean",
            [0.5225, 0.875],
            [-0.875, 4.63, -0.125, -1.75, 1.25, 1.0625],
        ),
        (
            "ReduceL2",
            [5.64763, 11.18314],
            [3.25, 9.003755, 0.9013878, 6.5, 4.272002, 2.003902],
        ),
        (
            "ReduceSumSquare",
            [31.89573, 125.0625],
            [10.5625, 81.0676, 0.8125, 42.25, 18.25, 4.015625],
        ),
        (
            "ReduceProd",
            [0.73125, 101.25],
            [-3.75, 2.34, -0.375, -15.0, -6.0, 0.25],
        ),
        ("ReduceMax", [4.0, 9.0], [1.25, 9.0, 0.5, 2.5, 4.0, 2.0]),
        (
            "ReduceMin",
            [-3.0, -6.0],
            [-3.0, 0.26, -0.75, -6.0, -1.5, 0.125],
        ),
    ] {
        let [both, middle] = [vec![0, 2], vec![1]].map(Constant::row);
        let found = computed(kind, Vec::new(), &[&x, &both]);
        let expected = Constant::floats(vec![1, 2, 1], outer.to_vec());
        assert!(is_equal(&found, &expected), "{kind}: {found:?}");
        let found = computed(kind, vec![int("keepdims", 0)], &[&x, &middle]);
        let expected = Constant::floats(vec![3, 2], inner.to_vec());
        assert!(is_equal(&found, &expected), "{kind}: {found:?}");
    }
    let whole = Constant::row(vec![3, -4, 2]);
    let found = computed("ReduceProd", vec![int("keepdims", 0)], &[&whole]);
    assert!(is_equal(&found, &Constant::ints(Vec::new(), vec![-24])));
}

/// Expected numbers are those of `torch.nn.functional.batch_norm` (torch 2.15).
#[test]
fn known_numbers_are_normalised_as_in_pytorch() {
    let row = |values: &[f32]| Constant::floats(vec![values.len()], values.to_vec());
    let x = Constant::floats(vec![1, 3, 4], NUMBERS.to_vec());
    let (weight, bias) = (row(&[1.0, 2.0, 0.5]), row(&[0.0, 0.5, -1.0]));
    let (mean, variance) = (row(&[1.0, 0.0, -1.0]), row(&[4.0, 1.0, 0.25]));
    let inputs = [&x, &weight, &bias, &mean, &variance];
    let epsilon = AttributeProto {
        name: Some("epsilon".into()),
        f: Some(1e-3),
        ..AttributeProto::default()
    };
    for (training, expected) in [
        (
            1,
            [
                -1.10785, -0.3673905, -0.1425271, 1.6177677, 0.6192568, 2.686375, 1.4143022,
                -2.719934, -0.3087009, -1.2506908, -1.645719, -0.7948893,
            ],
        ),
        (
            0,
            [
                -1.9997501, -0.3699538, 0.1249844, 3.9995003, -0.9992506, 5.497502, 1.4995004,
                -11.494005, 3.9900303, 0.1227568, -1.499003, 1.9940181,
            ],
        ),
    ] {
        let attributes = vec![int("training_mode", training), epsilon.clone()];
        let found = computed("BatchNormalization", attributes, &inputs);
        let expected = Constant::floats(vec![1, 3, 4], expected.to_vec());
        assert!(is_equal(&found, &expected), "{found:?}");
    }
}
