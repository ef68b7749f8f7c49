//! Networks out of ONNX files, whoever exported them.
//!
//! A file's nodes are walked through once. Numbers that are known before the network runs are computed on the way, with all
//! the arithmetic on shapes that exporters leave; what moves no numbers becomes a way of looking at a value; and what is
//! left becomes operations of a [`Graph`], in which linear layers, normalisations, activations and attention are themselves
//! again.

mod arithmetic;
mod attention;
mod attributes;
mod bits;
mod channels;
mod constant;
mod contributed;
mod draft;
mod ends;
mod error;
mod fold;
mod function;
mod functions;
mod layers;
mod layout;
mod norms;
mod open;
mod outputs;
mod pooling;
mod precision;
mod reader;
mod rewrite;
mod rounding;
mod settled;
mod stages;
mod tokens;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::tensor::Device;
use prost::Message;

pub use constant::ReadExternal;
pub use error::{ImportError, UnknownOperator};

use self::attributes::Operator;
use self::constant::{Constant, External};
use self::draft::Draft;
use self::ends::{Images, finish, images};
use self::outputs::output;
use self::precision::Precision;
use self::reader::{Item, Reader, is_known};
use self::rewrite::rewritten;
use super::pixels::strip;
use super::proto::{GraphProto, ModelProto, NodeProto};
use crate::GraphError;
use crate::graph::Graph;
use crate::network::Network;

/// A network out of an ONNX file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The network; its tensors have the file's names where it has any, else those of their nodes.
    pub graph: Graph,
    /// Values of the tensors by name, in the layout of a PyTorch state dict.
    pub tensors: BTreeMap<String, Vec<f32>>,
    /// Metadata of the file.
    pub metadata: BTreeMap<String, String>,
    /// The program that wrote it.
    pub producer: String,
    /// Height and width of the images, where the file says them.
    pub image_size: Option<[usize; 2]>,
    /// The file takes pixels as whole numbers from 0 to 255.
    pub takes_bytes: bool,
    /// Remarks on what was left out or chosen: one sentence each, for people.
    pub notes: Vec<String>,
}

impl Imported {
    /// Builds the network with the file's weights.
    ///
    /// # Errors
    ///
    /// [`GraphError::Values`](crate::GraphError::Values), where the tensors were changed.
    pub fn network(mut self, device: &Device) -> Result<Network, GraphError> {
        let take = |name: &str| self.tensors.remove(name).unwrap_or_default();
        Network::with_values(self.graph, take, device)
    }
}

/// Options for reading an ONNX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOptions {
    /// The node, or what it gives, whose output are the features; the classifier behind it is left out.
    pub features_from: Option<String>,
    /// Side of the images in pixels where the file leaves it open.
    pub image_size: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            features_from: None,
            image_size: 224,
        }
    }
}

/// Makes a network of the bytes of an ONNX file: a classifier's or an encoder's graph on images.
///
/// # Errors
///
/// [`ImportError`], which names nodes and operators.
pub fn import(
    bytes: &[u8],
    read_external: &mut ReadExternal<'_>,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    let mut model = ModelProto::decode(bytes).map_err(|error| ImportError::Damaged {
        reason: error.to_string(),
    })?;
    strip(&mut model);
    let is_own = |domain: &Option<String>| matches!(domain.as_deref(), None | Some("" | "ai.onnx"));
    let opsets = model.opset_import.iter().filter(|set| is_own(&set.domain));
    let opset = opsets.filter_map(|set| set.version).max().unwrap_or(1);
    let graph = model.graph.as_mut().ok_or_else(|| ImportError::Damaged {
        reason: "it holds no graph".into(),
    })?;
    let has_integers = rewritten(graph, opset)?;
    let graph = &*graph;
    let mut notes = Vec::new();
    let output = output(graph, options, &mut notes)?;
    let nodes = needed(graph, &output)?;
    let operators: Vec<Operator<'_>> = nodes.iter().map(|node| Operator { node, opset }).collect();
    all_known(&operators)?;
    let has = |kind: &str| operators.iter().any(|operator| operator.kind() == kind);
    if has_integers || has("QuantizeLinear") {
        notes.push(
            "weights have the values of their eight bits, and activations are not rounded".into(),
        );
    }
    if has("com.microsoft::MatMulNBits") {
        notes.push("weights have the values of their few bits".into());
    }
    let precision = Precision::of(graph);
    if let Some(name) = precision.name() {
        notes.push(format!("weights of {name} are computed with as f32"));
    }
    let used: HashSet<&str> = nodes
        .iter()
        .flat_map(|node| node.input.iter().map(String::as_str))
        .chain([output.as_str()])
        .collect();
    let images = images(graph, &used, options)?;
    let external = External {
        read: read_external,
    };
    let mut reader = Reader {
        items: HashMap::new(),
        draft: Draft::new(images.extents(), precision),
        external,
    };
    weights(graph, &nodes, &used, &mut reader)?;
    let view = images.view();
    reader.items.insert(images.name.clone(), Item::View(view));
    operators
        .into_iter()
        .try_for_each(|operator| reader.node(operator))?;
    let metadata = model
        .metadata_props
        .iter()
        .filter_map(|entry| Some((entry.key.clone()?, entry.value.clone().unwrap_or_default())));
    let metadata: BTreeMap<String, String> = metadata.collect();
    let (graph, tensors) = finish(reader, &output, options, &mut notes)?;
    let Images {
        size, are_bytes, ..
    } = images;
    let version = model.producer_version.as_deref().unwrap_or_default();
    let producer = model.producer_name.as_deref().unwrap_or_default();
    Ok(Imported {
        graph,
        tensors,
        metadata,
        producer: format!("{producer} {version}").trim().to_string(),
        image_size: size,
        takes_bytes: are_bytes,
        notes,
    })
}

/// Lists the nodes that a value is computed by, in the file's order.
fn needed<'a>(graph: &'a GraphProto, output: &str) -> Result<Vec<&'a NodeProto>, ImportError> {
    let mut wanted: HashSet<&str> = HashSet::from([output]);
    let mut nodes: Vec<&NodeProto> = Vec::new();
    for node in graph.node.iter().rev() {
        if node
            .output
            .iter()
            .any(|name| wanted.contains(name.as_str()))
        {
            wanted.extend(node.input.iter().map(String::as_str));
            nodes.push(node);
        }
    }
    nodes.reverse();
    match nodes.is_empty() {
        true => Err(ImportError::Ends(format!("no node gives {output:?}"))),
        false => Ok(nodes),
    }
}

/// What operators in a layout for one processor are called.
const ONE_PROCESSOR: &str = "com.microsoft.nchwc::";

/// Refuses all unknown operators at once.
fn all_known(operators: &[Operator<'_>]) -> Result<(), ImportError> {
    let is_laid_out = |operator: &&Operator<'_>| operator.kind().starts_with(ONE_PROCESSOR);
    let laid_out = operators.iter().filter(is_laid_out).count();
    if laid_out > 0 {
        return Err(ImportError::OneProcessor {
            operators: laid_out,
        });
    }
    let mut unknown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for operator in operators {
        let kind = operator.kind();
        if !is_known(&kind) {
            unknown
                .entry(kind)
                .or_default()
                .push(operator.name().to_string());
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let each = unknown.into_iter();
    let unknown = each.map(|(operator, nodes)| UnknownOperator { operator, nodes });
    Err(ImportError::Operators {
        unknown: unknown.collect(),
    })
}

/// Reads all weights that are used. One that several nodes use has no name that would fit them all.
fn weights(
    graph: &GraphProto,
    nodes: &[&NodeProto],
    used: &HashSet<&str>,
    reader: &mut Reader<'_>,
) -> Result<(), ImportError> {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in nodes.iter().flat_map(|node| &node.input) {
        *uses.entry(name.as_str()).or_default() += 1;
    }
    for tensor in &graph.initializer {
        let name = tensor.name.as_deref().unwrap_or_default();
        if !used.contains(name) {
            continue;
        }
        let mut constant = Constant::read(tensor, &mut reader.external)?;
        if uses.get(name).copied().unwrap_or_default() > 1 {
            constant.name = None;
        }
        reader
            .items
            .insert(name.to_string(), Item::Constant(constant));
    }
    Ok(())
}
