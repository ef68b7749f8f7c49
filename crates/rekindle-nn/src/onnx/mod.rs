//! Networks as ONNX files, for onnxruntime and all that reads them, and out of those that others wrote.

mod import;
mod nodes;
mod parts;
#[doc(hidden)]
pub mod proto;
mod tokens;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use burn_pack::AtomicFile;
use prost::Message;

pub use self::import::{
    ImportError, ImportOptions, Imported, ReadExternal, UnknownOperator, import,
};
use self::nodes::{Output, Writer};
use self::parts::{fixed, model, named, value, weight};
use self::proto::{GraphProto, TensorProto};
use crate::graph::Value;
use crate::network::Network;

/// Version of the default operator set that files are written in.
pub const OPSET: i64 = 17;

/// Version of the file format that came with that operator set.
const IR_VERSION: i64 = 8;

/// Name of the graph's input.
pub const INPUT: &str = "images";

impl Network {
    /// Writes the network as it predicts, as the bytes of an ONNX file of operator set [`OPSET`]: input `images`
    /// `[batch, channels, height, width]`, output `logits` `[batch, classes]`, or `features` `[batch, num_features]`
    /// where there is no classifier. Batch, height and width are free, but for networks with tokens, whose images have the
    /// size that their positions are of ([`with_image_size`](Self::with_image_size) changes it).
    ///
    /// Weights keep the names and shapes that they have in PyTorch's state dict, batch normalisation included (a
    /// runtime folds it itself). Equal input gives equal bytes.
    pub fn to_onnx(&self, metadata: &BTreeMap<String, String>) -> Vec<u8> {
        model(build(self), metadata).encode_to_vec()
    }

    /// Writes the bytes of [`to_onnx`](Self::to_onnx) to a file, under another name until they are all there.
    ///
    /// # Errors
    ///
    /// Those of the file system; a file that was at `path` is then still there, unchanged.
    pub fn save_onnx(
        &self,
        path: impl AsRef<Path>,
        metadata: &BTreeMap<String, String>,
    ) -> io::Result<()> {
        let (scratch, mut file) = AtomicFile::create(path.as_ref()).map_err(io::Error::other)?;
        file.write_all(&self.to_onnx(metadata))?;
        file.sync_all()?;
        drop(file);
        scratch.commit().map_err(io::Error::other)
    }
}

fn build(network: &Network) -> GraphProto {
    let graph = network.graph();
    let (output, width) = match graph.head().classes {
        0 => ("features", graph.head().features),
        classes => ("logits", classes),
    };
    let mut writer = Writer::new(graph.tensors());
    let mut values = vec![INPUT.to_string()];
    for (index, node) in graph.nodes().iter().enumerate() {
        let inputs: Vec<&str> = node
            .inputs
            .iter()
            .map(|v| values[v.index()].as_str())
            .collect();
        let name = match index + 1 == graph.nodes().len() {
            true => Output::Called(output.to_string()),
            false => Output::Of(node.name.clone()),
        };
        let is_rows = node.inputs.first().is_some_and(|x| graph.is_rows(*x));
        let written = writer.write(node, &inputs, is_rows, name);
        debug_assert_eq!(Value::of_node(index).index(), values.len());
        values.push(written);
    }
    let [rows, columns] = match graph.native_size() {
        Some(size) => size.map(fixed),
        None => [named("height"), named("width")],
    };
    let channels = fixed(graph.in_channels());
    let dimensions = vec![named("batch"), channels, rows, columns];
    let mut initializer = initializers(network);
    initializer.extend(writer.constants);
    GraphProto {
        node: writer.nodes,
        name: Some(graph.name().to_string()),
        initializer,
        input: vec![value(INPUT, dimensions)],
        output: vec![value(output, vec![named("batch"), fixed(width)])],
    }
}

/// Writes every tensor under its name and in its layout in a state dict.
fn initializers(network: &Network) -> Vec<TensorProto> {
    let tensors = network.graph().tensors().iter().zip(&network.slots);
    tensors
        .map(|(spec, slot)| weight(spec.name.clone(), &spec.shape, &slot.values()))
        .collect()
}
