//! ONNX's own tests of its operators, where they are at hand.

use std::path::Path;

use prost::Message;

use super::super::attributes::Operator;
use super::super::constant::{Constant, Data, External};
use super::{FOLDED, fold};
use crate::onnx::proto::{ModelProto, TensorProto};

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
