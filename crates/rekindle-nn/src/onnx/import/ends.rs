//! Finds the ends of a network: its images, its features and its classifier.

use std::collections::{BTreeMap, HashSet};

use super::ImportOptions;
use super::draft::{Draft, Product, State, Weight, layer_names};
use super::error::{Fault, ImportError, Outcome};
use super::reader::{Item, Reader};
use super::stages::mark;
use super::view::{Axis, View, whole};
use crate::cuts::{check_names, cut_stages};
use crate::graph::{Graph, Head, Node, Value, cut};
use crate::init::LinearInit;
use crate::onnx::proto::{GraphProto, UINT8, ValueInfoProto};
use crate::op::Op;
use crate::shape::Shape;

/// The images of a file.
pub(super) struct Images {
    pub name: String,
    batch: usize,
    channels: usize,
    /// Height and width, where the file says them.
    pub size: Option<[usize; 2]>,
    assumed: usize,
    /// Channels come last.
    is_channels_last: bool,
    /// Pixels are whole numbers of eight bits.
    pub are_bytes: bool,
}

impl Images {
    pub fn extents(&self) -> [usize; 4] {
        let [height, width] = self.size.unwrap_or([self.assumed; 2]);
        [self.batch, self.channels, height, width]
    }

    pub fn view(&self) -> View {
        let last = [Axis::Batch, Axis::Row, Axis::Column, Axis::Channel];
        let order = if self.is_channels_last {
            last
        } else {
            Axis::ALL
        };
        View::new(0, self.extents(), &order)
    }
}

/// Most pixels along a side of the images.
const MOST_SIDE: usize = 4096;

/// Finds the one input of images that is used.
pub(super) fn images(
    graph: &GraphProto,
    used: &HashSet<&str>,
    options: &ImportOptions,
) -> Result<Images, ImportError> {
    let weights: HashSet<&str> = graph
        .initializer
        .iter()
        .filter_map(|t| t.name.as_deref())
        .collect();
    let name = |input: &ValueInfoProto| input.name.clone().unwrap_or_default();
    let inputs: Vec<&ValueInfoProto> = graph
        .input
        .iter()
        .filter(|input| {
            let name = input.name.as_deref().unwrap_or_default();
            used.contains(name) && !weights.contains(name)
        })
        .collect();
    let [input] = inputs.as_slice() else {
        let names: Vec<String> = inputs.iter().map(|input| name(input)).collect();
        return Err(ImportError::Ends(format!(
            "a network on images has one input, and this has {}: {}",
            names.len(),
            names.join(", ")
        )));
    };
    let kind = input
        .r#type
        .as_ref()
        .and_then(|kind| kind.tensor_type.as_ref());
    let shape = kind.and_then(|kind| kind.shape.as_ref());
    let dims: Vec<Option<i64>> = shape
        .map(|shape| shape.dim.iter().map(|dim| dim.dim_value).collect())
        .unwrap_or_default();
    let wrong = |what: &str| {
        let shown: Vec<String> = dims
            .iter()
            .map(|dim| dim.map_or("?".into(), |dim| dim.to_string()))
            .collect();
        ImportError::Ends(format!(
            "input {} of shape [{}] {what}",
            name(input),
            shown.join(", ")
        ))
    };
    let &[batch, first, second, third] = dims.as_slice() else {
        return Err(wrong("is no batch of images, which has four dimensions"));
    };
    let is_color = |extent: Option<i64>| matches!(extent, Some(1 | 3 | 4));
    let is_channels_last = !is_color(first) && is_color(third);
    let (channels, sides) = match is_channels_last {
        true => (third, [first, second]),
        false => (first, [second, third]),
    };
    let channels = channels
        .and_then(|c| usize::try_from(c).ok())
        .filter(|c| (1..=64).contains(c));
    let channels = channels.ok_or_else(|| wrong("doesn't say how many channels images have"))?;
    let side = |side: i64| {
        usize::try_from(side)
            .ok()
            .filter(|side| (1..=MOST_SIDE).contains(side))
    };
    let size = match sides {
        [Some(height), Some(width)] if height > 0 && width > 0 => match (side(height), side(width))
        {
            (Some(height), Some(width)) => Some([height, width]),
            _ => return Err(wrong("has larger images than are taken")),
        },
        _ => None,
    };
    let batch = batch.and_then(|batch| usize::try_from(batch).ok());
    Ok(Images {
        name: name(input),
        // One image where the batch is free.
        batch: batch
            .filter(|batch| (1..=4096).contains(batch))
            .unwrap_or(1),
        channels,
        size,
        assumed: options.image_size,
        is_channels_last,
        are_bytes: kind.and_then(|kind| kind.elem_type) == Some(UINT8),
    })
}

type Tensors = BTreeMap<String, Vec<f32>>;

/// Makes the graph, with the classifier where the output is one.
pub(super) fn finish(
    mut reader: Reader<'_>,
    output: &str,
    options: &ImportOptions,
    notes: &mut Vec<String>,
) -> Result<(Graph, Tensors), ImportError> {
    let Some(Item::View(view)) = reader.items.get(output).cloned() else {
        return Err(ImportError::Ends(format!(
            "output {output:?} depends on no image"
        )));
    };
    reader.draft.scope.clear();
    let draft = &mut reader.draft;
    let in_words = |fault: Fault| match fault {
        Fault::Whole(error) => error,
        Fault::Reason(reason) => ImportError::Ends(format!("output {output:?}: {reason}")),
    };
    let classifier = match options.features_from {
        Some(_) => None,
        None => classifier(draft, &view),
    };
    let rows = match &classifier {
        Some(classifier) => rows(
            draft,
            &View::new(
                classifier.of,
                draft.extents(classifier.of),
                &[Axis::Batch, Axis::Channel],
            ),
            notes,
        ),
        None => rows(draft, &view, notes),
    };
    let rows = rows.map_err(in_words)?;
    if rows.index() != draft.nodes.len() {
        // Something that nobody needs was computed behind it.
        draft.nodes.truncate(rows.index());
        let tensors = draft.nodes.iter().map(|node| node.tensors.len()).sum();
        draft.tensors.truncate(tensors);
        draft.values.truncate(tensors);
        draft.shapes.truncate(rows.index() + 1);
    }
    if classifier.is_none() {
        notes.push("it has no classifier: what it gives are features".into());
    }
    graph(reader.draft, rows, classifier)
}

/// A linear layer at the end.
struct Classifier {
    of: usize,
    name: String,
    weight: Weight,
    bias: Option<Weight>,
    classes: usize,
}

fn classifier(draft: &Draft, view: &View) -> Option<Classifier> {
    let [_, classes, 1, 1] = draft.extents(view.base) else {
        return None;
    };
    let others = view
        .dims
        .iter()
        .filter(|dim| dim.iter().any(|atom| atom.axis == Axis::Channel));
    if !view.is_whole(draft.extents(view.base)) || others.count() != usize::from(classes > 1) {
        return None;
    }
    // A temperature is a part of the classifier.
    let (base, factor) = draft.unscaled(view.base);
    let State::Layer {
        of,
        product,
        weight,
        bias,
        node,
    } = draft.state(base)
    else {
        return None;
    };
    let scaled = |weight: &Weight| match factor == 1.0 {
        true => weight.clone(),
        false => Weight {
            values: weight
                .values
                .iter()
                .map(|value| (f64::from(*value) * factor) as f32)
                .collect(),
            name: weight.name.clone(),
        },
    };
    let is_linear = match product {
        Product::Linear { .. } => true,
        Product::Conv(conv) => {
            conv.kernel == [1, 1] && conv.groups == 1 && draft.extents(*of)[2..] == [1, 1]
        }
    };
    let [name, ..] = layer_names(weight, bias.as_ref(), node);
    is_linear.then(|| Classifier {
        of: *of,
        name,
        weight: scaled(weight),
        bias: bias.as_ref().map(scaled),
        classes,
    })
}

/// Returns a view as rows of features.
fn rows(draft: &mut Draft, view: &View, notes: &mut Vec<String>) -> Outcome<Value> {
    let view = draft.settle(view)?;
    let extents = draft.extents(view.base);
    let mut x = draft.value(view.base)?;
    let Shape::Maps { size, .. } = draft.shapes[x.index()] else {
        return Ok(x);
    };
    if size != [1, 1] {
        let tokens = [
            whole(Axis::Column, extents[3]),
            whole(Axis::Channel, extents[1]),
        ];
        let is_tokens = extents[2] == 1 && view.dims.ends_with(&tokens);
        if is_tokens {
            let has_class =
                |node: &Node| !matches!(node.op, Op::Tokens(tokens) if tokens.lacks_class_token);
            if !draft.nodes.iter().all(has_class) {
                notes.push("it gives all tokens, whose mean is taken".into());
                return draft.emit("mean", Op::TokenMean { start: 0 }, vec![x], Vec::new());
            }
            notes.push("it gives all tokens, of which the first is taken".into());
            return draft.emit("token", Op::Token { index: 0 }, vec![x], Vec::new());
        }
        notes.push("it gives feature maps, whose means are taken".into());
        x = draft.emit("avgpool", Op::GlobalAvgPool, vec![x], Vec::new())?;
    }
    draft.emit("flatten", Op::Flatten, vec![x], Vec::new())
}

fn graph(
    draft: Draft,
    rows: Value,
    classifier: Option<Classifier>,
) -> Result<(Graph, Tensors), ImportError> {
    let Draft {
        nodes,
        tensors,
        values,
        shapes,
        ..
    } = draft;
    check_names(&tensors)?;
    let marked = mark(&nodes, &tensors, &shapes);
    let stages = cut_stages(&nodes, &tensors, marked)?;
    let last = stages.last().map_or(0, |stage| stage.segment.nodes.end);
    cut(&nodes, last..nodes.len(), "pooling")?;
    let features = shapes[rows.index()].channels();
    let end = nodes.len();
    let mut all: Tensors = BTreeMap::new();
    for (tensor, values) in tensors.iter().zip(values) {
        all.insert(tensor.name.clone(), values);
    }
    let mut name = classifier
        .as_ref()
        .map_or("head", |c| c.name.as_str())
        .to_string();
    while all.contains_key(&format!("{name}.weight")) || all.contains_key(&format!("{name}.bias")) {
        name.push_str("_head");
    }
    let graph = Graph {
        name: "onnx".into(),
        in_channels: shapes[0].channels(),
        nodes,
        tensors,
        stages,
        head: Head {
            name: name.clone(),
            features,
            classes: 0,
            nodes: end..end,
        },
        head_dropout: 0.0,
        linear_init: LinearInit::PyTorch,
        is_imported: true,
    };
    let Some(Classifier {
        weight,
        bias,
        classes,
        ..
    }) = classifier
    else {
        return Ok((graph, all));
    };
    let bias = bias.map_or_else(|| vec![0.0; classes], |bias| bias.values);
    all.insert(format!("{name}.weight"), weight.values);
    all.insert(format!("{name}.bias"), bias);
    Ok((graph.with_classes(classes), all))
}
