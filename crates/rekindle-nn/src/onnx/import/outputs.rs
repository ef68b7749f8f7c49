//! Finds the output that is a network's, in front of what others make of it.

use super::ImportOptions;
use super::attributes::Operator;
use super::error::ImportError;
use crate::onnx::proto::{GraphProto, NodeProto, ValueInfoProto};

/// Operators behind a network that change nothing.
const PLAIN: [&str; 3] = ["Identity", "Cast", "Dropout"];

/// Operators behind logits.
const OF_LOGITS: [&str; 5] = ["Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "TopK"];

/// Operators that give numbers another shape.
const SHAPES: [&str; 4] = ["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

/// What keeps a length from being zero, and gives it the shape of what is divided by it.
const OF_LENGTHS: [&str; 5] = ["Clip", "Max", "Add", "Expand", "Cast"];

/// Chooses the output: the features that are asked for, or the logits, in front of a softmax.
pub(super) fn output(
    graph: &GraphProto,
    options: &ImportOptions,
    notes: &mut Vec<String>,
) -> Result<String, ImportError> {
    if let Some(wanted) = &options.features_from {
        let by_node = graph
            .node
            .iter()
            .find(|node| node.name.as_ref() == Some(wanted));
        let by_value = graph
            .node
            .iter()
            .flat_map(|node| &node.output)
            .find(|name| *name == wanted);
        let found = by_node.and_then(|node| node.output.first()).or(by_value);
        return found.cloned().ok_or_else(|| {
            ImportError::Ends(format!(
                "there is no node called {wanted:?}, and none that gives it"
            ))
        });
    }
    let names: Vec<String> = graph.output.iter().filter_map(|o| o.name.clone()).collect();
    let Some(first) = names.first() else {
        return Err(ImportError::Ends("it has no output".into()));
    };
    let rank = |output: &ValueInfoProto| {
        let kind = output.r#type.as_ref()?.tensor_type.as_ref()?;
        Some(kind.shape.as_ref()?.dim.len())
    };
    // Encoders give tokens, and what was made of them.
    let rows = graph.output.iter().find(|output| rank(output) == Some(2));
    let mut chosen = rows
        .and_then(|output| output.name.clone())
        .unwrap_or_else(|| first.clone());
    if names.len() > 1 {
        notes.push(format!(
            "of its outputs {}, {chosen} is taken",
            names.join(", ")
        ));
    }
    // As many steps as there are nodes, since those of a damaged file may go round in a circle.
    for _ in &graph.node {
        let Some((before, note)) = behind(graph, &chosen) else {
            break;
        };
        chosen = before.to_string();
        notes.extend(note);
    }
    Ok(chosen)
}

fn operator<'a>(graph: &'a GraphProto, output: &str) -> Option<Operator<'a>> {
    let gives = |node: &&NodeProto| node.output.iter().any(|name| name == output);
    let node = graph.node.iter().find(gives)?;
    let operator = Operator { node, opset: 0 };
    (!operator.input(0).is_empty()).then_some(operator)
}

/// Returns what an output is made of, where it is the answer or the direction of that, with a note.
fn behind<'a>(graph: &'a GraphProto, output: &str) -> Option<(&'a str, Option<String>)> {
    let last = operator(graph, output)?;
    let kind = last.kind();
    let kind = kind.as_str();
    let left_out = |what: &str| Some(format!("{kind} at its end is left out: {what}"));
    if PLAIN.contains(&kind) {
        return Some((last.input(0), None));
    }
    if OF_LOGITS.contains(&kind) {
        return Some((last.input(0), left_out("it gives logits")));
    }
    if SHAPES.contains(&kind) || kind == "ReduceMax" {
        let gives_shares = gives_shares(graph, last.input(0));
        return gives_shares.then(|| (last.input(0), None));
    }
    let is_length = kind == "LpNormalization"
        || (kind == "Div" && is_length_of(graph, last.input(1), last.input(0)));
    is_length.then(|| {
        let note = left_out("features keep their length");
        (last.input(0), note)
    })
}

/// Returns true if a value are probabilities, in whatever shape.
fn gives_shares(graph: &GraphProto, name: &str) -> bool {
    let mut name = name;
    for _ in 0..SHAPES.len() {
        let Some(inner) = operator(graph, name) else {
            return false;
        };
        match inner.kind().as_str() {
            "Softmax" | "LogSoftmax" | "Sigmoid" => return true,
            kind if SHAPES.contains(&kind) => name = inner.input(0),
            _ => return false,
        }
    }
    false
}

/// Returns true if `name` is the length of each row of `rows`.
fn is_length_of(graph: &GraphProto, name: &str, rows: &str) -> bool {
    let mut name = name;
    for _ in 0..OF_LENGTHS.len() {
        let Some(inner) = operator(graph, name) else {
            return false;
        };
        let kind = inner.kind();
        if kind == "ReduceL2" {
            return inner.input(0) == rows;
        }
        if !OF_LENGTHS.contains(&kind.as_str()) {
            return false;
        }
        name = inner.input(0);
    }
    false
}
