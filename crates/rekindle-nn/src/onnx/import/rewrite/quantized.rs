//! Operators that take and give rounded numbers (`QLinearConv` and its kin).

use super::super::attributes::Operator;
use super::{Instead, Rewritten, without};
use crate::onnx::parts::int;
use crate::onnx::proto::NodeProto;

/// Returns the nodes on real numbers that an operator on rounded ones stands for; none for all others.
pub(super) fn real(operator: Operator<'_>) -> Rewritten {
    let kind = operator.kind();
    let own = kind.strip_prefix("com.microsoft::").unwrap_or(&kind);
    let Some(plain) = own.strip_prefix("QLinear").or(own.strip_prefix('Q')) else {
        return Ok(None);
    };
    if operator.int("channels_last").unwrap_or(0) != 0 {
        return Err(
            "its channels come last, as onnxruntime lays them out for one processor".into(),
        );
    }
    let mut instead = Instead::new(operator.node);
    let input = |index: usize| operator.input(index);
    let rounding = |first: usize| [first, first + 1].map(input);
    let nodes = match plain {
        "Conv" => {
            let x = dequantized(&mut instead, [0, 1, 2].map(input), None);
            let weight = dequantized(&mut instead, [3, 4, 5].map(input), Some(0));
            let bias = bias(&mut instead, input(8), [1, 4].map(input));
            let given = without(operator.node, &["channels_last"]);
            let y = instead.add("Conv", &[&x, &weight, &bias], given);
            quantized(instead, &y, rounding(6))
        }
        "MatMul" => {
            let x = dequantized(&mut instead, [0, 1, 2].map(input), None);
            let matrix = dequantized(&mut instead, [3, 4, 5].map(input), Some(1));
            let y = instead.add("MatMul", &[&x, &matrix], Vec::new());
            quantized(instead, &y, rounding(6))
        }
        "Gemm" => {
            let is_turned = operator.int("transB").unwrap_or(0) != 0;
            let x = dequantized(&mut instead, [0, 1, 2].map(input), None);
            let axis = usize::from(!is_turned);
            let matrix = dequantized(&mut instead, [3, 4, 5].map(input), Some(axis));
            let bias = bias(&mut instead, input(6), [1, 4].map(input));
            if operator.float("alpha").unwrap_or(1.0) != 1.0 {
                return Err("it scales its product".into());
            }
            let y = instead.add("Gemm", &[&x, &matrix, &bias], without(operator.node, &[]));
            quantized(instead, &y, rounding(7))
        }
        "Add" | "Mul" => {
            let a = dequantized(&mut instead, [0, 1, 2].map(input), None);
            let b = dequantized(&mut instead, [3, 4, 5].map(input), None);
            let y = instead.add(plain, &[&a, &b], Vec::new());
            quantized(instead, &y, rounding(6))
        }
        "Concat" => {
            let count = operator.node.input.len().saturating_sub(2) / 3;
            let parts = (0..count).map(|at| [2, 3, 4].map(|side| input(side + 3 * at)));
            let parts: Vec<String> = parts
                .map(|part| dequantized(&mut instead, part, None))
                .collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let y = instead.add("Concat", &parts, without(operator.node, &[]));
            quantized(instead, &y, rounding(0))
        }
        "Sigmoid" | "LeakyRelu" | "Softmax" | "GlobalAveragePool" | "AveragePool" => {
            let x = dequantized(&mut instead, [0, 1, 2].map(input), None);
            let given = without(operator.node, &["channels_last", "opset"]);
            let y = instead.add(plain, &[&x], given);
            quantized(instead, &y, rounding(3))
        }
        _ => return Ok(None),
    };
    Ok(Some(nodes))
}

/// Makes real numbers of rounded ones, with a scale for each index along an axis.
fn dequantized(instead: &mut Instead<'_>, of: [&str; 3], axis: Option<usize>) -> String {
    let given = axis.map(|axis| int("axis", axis)).into_iter().collect();
    instead.add("DequantizeLinear", &of, given)
}

/// Makes real numbers of a bias, whose scale is the product of its input's and its weight's.
fn bias(instead: &mut Instead<'_>, bias: &str, scales: [&str; 2]) -> String {
    if bias.is_empty() {
        return String::new();
    }
    let scale = instead.add("Mul", &scales, Vec::new());
    dequantized(instead, [bias, &scale, ""], Some(0))
}

/// Rounds the last thing computed, where the operator does.
fn quantized(instead: Instead<'_>, y: &str, [scale, zero]: [&str; 2]) -> Vec<NodeProto> {
    match scale {
        "" => instead.end("Identity", &[y], Vec::new()),
        scale => instead.end("QuantizeLinear", &[y, scale, zero], Vec::new()),
    }
}
