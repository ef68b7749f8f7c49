//! Networks as ONNX files, for onnxruntime and all that reads them.

mod nodes;
mod proto;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use prost::Message;

use self::nodes::{Output, Writer};
use self::proto::{
    DimensionProto, FLOAT, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
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
    /// where there is no classifier. Batch, height and width are free.
    ///
    /// Weights keep the names and shapes that they have in PyTorch's state dict, batch normalisation included (a
    /// runtime folds it itself). Equal input gives equal bytes.
    pub fn to_onnx(&self, metadata: &BTreeMap<String, String>) -> Vec<u8> {
        let entries = metadata.iter().map(|(key, value)| StringStringEntryProto {
            key: Some(key.clone()),
            value: Some(value.clone()),
        });
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("rekindle".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            graph: Some(build(self)),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            metadata_props: entries.collect(),
        };
        model.encode_to_vec()
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
    ) -> std::io::Result<()> {
        let path = path.as_ref();
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let write = || {
            let mut file = std::fs::File::create(&partial)?;
            file.write_all(&self.to_onnx(metadata))?;
            file.sync_all()?;
            std::fs::rename(&partial, path)
        };
        write().inspect_err(|_| drop(std::fs::remove_file(&partial)))
    }
}

fn build(network: &Network) -> GraphProto {
    let graph = network.graph();
    let (output, width) = match graph.head().classes {
        0 => ("features", graph.head().features),
        classes => ("logits", classes),
    };
    let names = graph.tensors().iter().map(|tensor| tensor.name.as_str());
    let mut writer = Writer::new(names.collect());
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
        let value = writer.write(node, &inputs, name);
        debug_assert_eq!(Value::of_node(index).index(), values.len());
        values.push(value);
    }
    let dimensions = vec![
        named("batch"),
        fixed(graph.in_channels()),
        named("height"),
        named("width"),
    ];
    let mut initializer = initializers(network);
    initializer.extend(writer.constants);
    GraphProto {
        node: writer.nodes,
        name: Some(graph.name().to_string()),
        initializer,
        input: vec![described(INPUT, dimensions)],
        output: vec![described(output, vec![named("batch"), fixed(width)])],
    }
}

/// Writes every tensor under its name and in its layout in a state dict.
fn initializers(network: &Network) -> Vec<TensorProto> {
    let tensors = network.graph().tensors().iter().zip(&network.slots);
    tensors
        .map(|(spec, slot)| TensorProto {
            dims: spec.shape.iter().map(|extent| *extent as i64).collect(),
            data_type: Some(FLOAT),
            name: Some(spec.name.clone()),
            raw_data: Some(slot.values().iter().flat_map(|v| v.to_le_bytes()).collect()),
        })
        .collect()
}

fn described(name: &str, dim: Vec<DimensionProto>) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(FLOAT),
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}

fn named(name: &str) -> DimensionProto {
    DimensionProto {
        dim_value: None,
        dim_param: Some(name.into()),
    }
}

fn fixed(extent: usize) -> DimensionProto {
    DimensionProto {
        dim_value: Some(extent as i64),
        dim_param: None,
    }
}
