//! Nodes that do what several of ONNX's own do, rewritten as these.
//!
//! onnxruntime replaces parts of a graph by operators of its own (`com.microsoft`), and its quantizers compute on whole
//! numbers what real ones stand behind. What remains to be read are convolutions, products and sums.

mod fused;
mod integers;
mod quantized;

use super::attributes::Operator;
use super::error::{Fault, ImportError, Outcome};
use crate::onnx::parts;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto};

/// Rewrites a graph's nodes. Returns true if some of them compute on whole numbers.
pub(super) fn rewritten(graph: &mut GraphProto, opset: i64) -> Result<bool, ImportError> {
    let nodes = std::mem::take(&mut graph.node);
    let integers = integers::Integers::new(&nodes);
    let mut has_integers = false;
    for node in &nodes {
        let operator = Operator { node, opset };
        let integer = match integers.real(operator) {
            Some(real) => Ok(Some(real)),
            None => quantized::real(operator),
        };
        has_integers |= matches!(integer, Ok(Some(_)));
        let instead = match integer {
            Ok(None) => fused::unfused(operator),
            integer => integer,
        };
        let instead = instead.map_err(|fault| match fault {
            Fault::Whole(error) => error,
            Fault::Reason(reason) => ImportError::Node {
                node: operator.name().to_string(),
                operator: operator.kind(),
                reason,
            },
        })?;
        match instead {
            Some(instead) => graph.node.extend(instead),
            None => graph.node.push(node.clone()),
        }
    }
    Ok(has_integers)
}

/// The nodes in place of one.
struct Instead<'a> {
    of: &'a NodeProto,
    nodes: Vec<NodeProto>,
}

impl<'a> Instead<'a> {
    fn new(of: &'a NodeProto) -> Self {
        Self {
            of,
            nodes: Vec::new(),
        }
    }

    /// Adds a node and returns the name of what it gives.
    fn add(&mut self, kind: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let first = self.of.output.first().map_or("", String::as_str);
        let output = format!("{first}:{}", self.nodes.len());
        self.give(kind, inputs, attributes, &output);
        output
    }

    fn give(&mut self, kind: &str, inputs: &[&str], given: Vec<AttributeProto>, output: &str) {
        let name = self.of.name.as_deref().unwrap_or_default();
        let mut node = parts::node(kind, name, inputs, output, given);
        node.metadata_props = self.of.metadata_props.clone();
        while node.input.last().is_some_and(String::is_empty) {
            node.input.pop();
        }
        self.nodes.push(node);
    }

    /// Adds the last node, which gives what the one in whose place it is gave.
    fn end(mut self, kind: &str, inputs: &[&str], given: Vec<AttributeProto>) -> Vec<NodeProto> {
        let output = self.of.output.first().cloned().unwrap_or_default();
        self.give(kind, inputs, given, &output);
        self.nodes
    }
}

type Rewritten = Outcome<Option<Vec<NodeProto>>>;

/// Returns a node's attributes but for those of these names.
fn without(node: &NodeProto, names: &[&str]) -> Vec<AttributeProto> {
    let name = |attribute: &AttributeProto| attribute.name.clone().unwrap_or_default();
    let kept = node.attribute.iter();
    kept.filter(|attribute| !names.contains(&name(attribute).as_str()))
        .cloned()
        .collect()
}
