//! Products of whole numbers whose scales are found while a network runs (dynamic quantization).

use std::collections::HashMap;

use super::super::attributes::Operator;
use super::{Instead, without};
use crate::onnx::parts::int;
use crate::onnx::proto::NodeProto;

/// Products and casts that scales are looked for through.
const MOST_STEPS: usize = 4;

/// The nodes of a graph by what they give.
pub(super) struct Integers<'a> {
    giving: HashMap<&'a str, &'a NodeProto>,
}

/// A product of whole numbers and the factors that make it real again.
struct Scaled<'a> {
    product: Option<&'a NodeProto>,
    scales: Vec<&'a str>,
}

impl<'a> Integers<'a> {
    pub fn new(nodes: &'a [NodeProto]) -> Self {
        let outputs = |node: &'a NodeProto| node.output.iter().map(move |name| (&**name, node));
        Self {
            giving: nodes.iter().flat_map(outputs).collect(),
        }
    }

    /// Returns the layer on real numbers that a node is the last step of; none for all other nodes.
    pub fn real(&self, operator: Operator<'a>) -> Option<Vec<NodeProto>> {
        match operator.kind().as_str() {
            "Mul" => self.scaled_back(operator.node),
            "com.microsoft::DynamicQuantizeMatMul" => {
                let [x, matrix, scale, zero, bias] = [0, 1, 2, 3, 4].map(|i| operator.input(i));
                let instead = Instead::new(operator.node);
                Some(product(instead, [x, matrix, scale, zero], bias))
            }
            "com.microsoft::MatMulIntegerToFloat" => {
                let [x, matrix, scale, own, zero, own_zero, bias] =
                    [0, 1, 2, 3, 4, 5, 6].map(|i| operator.input(i));
                let x = self.rounded(x, scale, zero)?;
                let instead = Instead::new(operator.node);
                Some(product(instead, [x, matrix, own, own_zero], bias))
            }
            _ => None,
        }
    }

    /// Returns the real numbers that are rounded to `name` with this scale and zero point.
    fn rounded(&self, name: &str, scale: &str, zero: &str) -> Option<&'a str> {
        let node = *self.giving.get(name)?;
        let is_dynamic = node.op_type.as_deref() == Some("DynamicQuantizeLinear");
        let is_its = node
            .output
            .iter()
            .map(String::as_str)
            .eq([name, scale, zero]);
        (is_dynamic && is_its).then(|| node.input.first().map(String::as_str))?
    }

    fn scaled_back(&self, node: &'a NodeProto) -> Option<Vec<NodeProto>> {
        let output = node.output.first()?;
        let scaled = self.scaled(output, MOST_STEPS)?;
        let (integer, [a, b]) = (scaled.product?, scaled.scales.as_slice()) else {
            return None;
        };
        let operator = Operator {
            node: integer,
            opset: 0,
        };
        let [x, weight, zero, own_zero] = [0, 1, 2, 3].map(|index| operator.input(index));
        let (x, scale) = match self.rounded(x, a, zero) {
            Some(x) => (x, b),
            None => (self.rounded(x, b, zero)?, a),
        };
        let mut instead = Instead::new(integer);
        let (kind, axis) = match integer.op_type.as_deref()? {
            "ConvInteger" => ("Conv", 0),
            _ => ("MatMul", 1),
        };
        let weight = match self.rounded(weight, scale, own_zero) {
            Some(weight) => weight.to_string(),
            None => {
                let given = vec![int("axis", axis)];
                instead.add("DequantizeLinear", &[weight, scale, own_zero], given)
            }
        };
        instead.give(kind, &[x, &weight], without(integer, &[]), output);
        Some(instead.nodes)
    }

    /// Finds the product of whole numbers that a value is, with the factors behind it.
    fn scaled(&self, name: &'a str, steps: usize) -> Option<Scaled<'a>> {
        let node = self.giving.get(name).copied();
        let kind = node.and_then(|node| node.op_type.as_deref());
        match (kind, node, steps.checked_sub(1)) {
            (Some("MatMulInteger" | "ConvInteger"), product, _) => Some(Scaled {
                product,
                scales: Vec::new(),
            }),
            (Some("Cast"), Some(cast), Some(steps)) => self.scaled(cast.input.first()?, steps),
            (Some("Mul"), Some(node), Some(steps)) => {
                let [a, b] = node.input.as_slice() else {
                    return None;
                };
                let (a, mut b) = (self.scaled(a, steps)?, self.scaled(b, steps)?);
                if a.product.is_some() && b.product.is_some() {
                    return None;
                }
                b.scales.extend(a.scales);
                Some(Scaled {
                    product: a.product.or(b.product),
                    scales: b.scales,
                })
            }
            _ => Some(Scaled {
                product: None,
                scales: vec![name],
            }),
        }
    }
}

/// Multiplies by the matrix that whole numbers stand for.
fn product(
    mut instead: Instead<'_>,
    [x, matrix, scale, zero]: [&str; 4],
    bias: &str,
) -> Vec<NodeProto> {
    let given = vec![int("axis", 1)];
    let matrix = instead.add("DequantizeLinear", &[matrix, scale, zero], given);
    if bias.is_empty() {
        return instead.end("MatMul", &[x, &matrix], Vec::new());
    }
    let y = instead.add("MatMul", &[x, &matrix], Vec::new());
    instead.end("Add", &[&y, bias], Vec::new())
}
