//! Networks as ONNX files, for onnxruntime and all that reads them, and out of those that others wrote.

mod import;
mod nodes;
mod parts;
mod pixels;
#[doc(hidden)]
pub mod proto;
mod quantized;
mod resize;
mod tokens;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use burn_pack::AtomicFile;
use prost::Message;
use rekindle_preprocess::Preprocess;

pub use self::import::{
    ImportError, ImportOptions, Imported, ReadExternal, UnknownOperator, import,
};
use self::nodes::{Output, Writer};
use self::parts::{fixed, model, named, value, weight};
use self::pixels::{Answers, Around};
pub use self::pixels::{ExportError, NUMBERS, PIXELS, PROBABILITIES};
use self::proto::{GraphProto, TensorProto};
use crate::graph::{Graph, Value};
use crate::network::Network;
use crate::quantization::QuantizedNetwork;

/// Version of the default operator set that files are written in.
pub const OPSET: i64 = 17;

/// Version of the file format that came with that operator set.
const IR_VERSION: i64 = 8;

/// Name of the graph's input.
pub const INPUT: &str = "images";

/// The task in a file's metadata whose outputs are labels, each by itself.
const MULTI_LABEL: &str = "multi-label";

/// The task in a file's metadata whose outputs are numbers.
const REGRESSION: &str = "regression";

impl Network {
    /// Writes the network as it predicts, as the bytes of an ONNX file of operator set [`OPSET`]: input `images`
    /// `[batch, channels, height, width]`, output `logits` `[batch, classes]`, or `features` `[batch, num_features]`
    /// where there is no classifier. Batch, height and width are free, but for networks with tokens, whose images have the
    /// size that their positions are of ([`with_image_size`](Self::with_image_size) changes it).
    ///
    /// Weights keep the names and shapes that they have in PyTorch's state dict, batch normalisation included (a
    /// runtime folds it itself). Equal input gives equal bytes.
    pub fn to_onnx(&self, metadata: &BTreeMap<String, String>) -> Vec<u8> {
        model(build(self, None, None), metadata).encode_to_vec()
    }

    /// Writes the network with what pictures go through in front, for programs that should answer as this one does without
    /// a line of their own about it.
    ///
    /// The input is `pixels`, bytes `[batch, height, width, 3]` in the order red, green, blue: decoded pictures of any size, turned
    /// upright where their Exif data say so. They are resized, cropped and normalised as `preprocess` says, to the same grey
    /// levels as elsewhere in rekindle (one in a hundred thousand differs by one level). Outputs are
    /// `probabilities` `[batch, classes]`, the softmax of the logits divided by `temperature`, and `logits`, undivided; or `features`
    /// `[batch, num_features]` where there is no classifier. Networks with tokens are written for images of the crop's size.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use rekindle_nn::{Builder, Conv, Network};
    /// use rekindle_preprocess::Preprocess;
    ///
    /// # #[cfg(feature = "flex")] {
    /// let mut b = Builder::new("tiny", 3);
    /// let x = b.images();
    /// let x = b.stage("stem", |b| b.conv2d("conv1", x, Conv::new(16, 3).stride(2)));
    /// let x = b.global_pool(x);
    /// let network = Network::new(b.finish("fc", x, 2).unwrap(), 42, &burn::tensor::Device::flex());
    /// let bytes = network.to_onnx_with_preprocessing(&Preprocess::IMAGENET, None, &BTreeMap::new()).unwrap();
    /// assert!(bytes.len() > 1000);
    /// # }
    /// ```
    ///
    /// With `task` = `multi-label` in the metadata each label's probability is its own; with `regression` the output is called
    /// `numbers` in place of `probabilities`, and holds the logits as they are.
    ///
    /// # Errors
    ///
    /// [`ExportError`]: for images of other channels than three, a crop that isn't inside of the resized picture or too small for the
    /// network, and numbers that can't be divided by.
    pub fn to_onnx_with_preprocessing(
        &self,
        preprocess: &Preprocess,
        temperature: Option<f64>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, ExportError> {
        let around = around(self.graph(), preprocess, temperature, metadata)?;
        if self.graph().tokens().is_none() {
            return Ok(model(build(self, Some(&around), None), metadata).encode_to_vec());
        }
        let network = self.clone().with_image_size([preprocess.crop; 2]);
        Ok(model(build(&network, Some(&around), None), metadata).encode_to_vec())
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
        write(path.as_ref(), &self.to_onnx(metadata))
    }
}

/// Writes a file under another name until all of it is there; for the crates of this workspace.
///
/// # Errors
///
/// Those of the file system; a file that was at `path` is then still there, unchanged.
#[doc(hidden)]
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (scratch, mut file) = AtomicFile::create(path).map_err(io::Error::other)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    scratch.commit().map_err(io::Error::other)
}

/// Checks that preprocessing and answers of the metadata's task can be written around a network.
fn around<'a>(
    graph: &Graph,
    preprocess: &'a Preprocess,
    temperature: Option<f64>,
    metadata: &BTreeMap<String, String>,
) -> Result<Around<'a>, ExportError> {
    let answers = match metadata.get("task").map(String::as_str) {
        Some(MULTI_LABEL) => Answers::Labels,
        Some(REGRESSION) => Answers::Numbers,
        _ => Answers::Classes,
    };
    Around::new(graph, preprocess, temperature)?.answering(answers)
}

/// Writes a network, with its layers' weights in bytes where it is `quantized`.
fn build(
    network: &Network,
    around: Option<&Around<'_>>,
    quantized: Option<&QuantizedNetwork>,
) -> GraphProto {
    let graph = network.graph();
    let (output, width) = match graph.head().classes {
        0 => ("features", graph.head().features),
        classes => ("logits", classes),
    };
    let tensors = match quantized {
        Some(quantized) => quantized.dequantized_names(),
        None => graph.tensors().to_vec(),
    };
    let mut writer = Writer::new(&tensors);
    let images = match around {
        Some(around) => around.before(&mut writer),
        None => INPUT.to_string(),
    };
    let mut values = vec![match quantized {
        Some(quantized) => quantized.write_rounding(&mut writer, Value::IMAGES, INPUT, images),
        None => images,
    }];
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
        let written = match quantized {
            Some(quantized) => quantized.write(&mut writer, index, &inputs, is_rows, name),
            None => writer.write(node, &inputs, is_rows, name),
        };
        debug_assert_eq!(Value::of_node(index).index(), values.len());
        values.push(written);
    }
    let rows_of = |name: &str| value(name, vec![named("batch"), fixed(width)]);
    let mut outputs = vec![rows_of(output)];
    if let Some(around) = around
        && graph.head().classes > 0
    {
        around.after(&mut writer, output);
        outputs.insert(0, rows_of(around.output()));
    }
    let [rows, columns] = match graph.native_size() {
        Some(size) => size.map(fixed),
        None => [named("height"), named("width")],
    };
    let channels = fixed(graph.in_channels());
    let dimensions = vec![named("batch"), channels, rows, columns];
    let input = match around {
        Some(around) => around.input(),
        None => value(INPUT, dimensions),
    };
    let mut initializer = initializers(network, quantized);
    initializer.extend(writer.constants);
    GraphProto {
        node: writer.nodes,
        name: Some(graph.name().to_string()),
        initializer,
        input: vec![input],
        output: outputs,
    }
}

/// Writes every tensor that has not become bytes under its name and in its layout in a state dict.
fn initializers(network: &Network, quantized: Option<&QuantizedNetwork>) -> Vec<TensorProto> {
    let is_bytes = |tensor: usize| quantized.is_some_and(|q| q.is_bytes(tensor));
    let tensors = network.graph().tensors().iter().zip(&network.slots);
    tensors
        .enumerate()
        .filter(|(tensor, _)| !is_bytes(*tensor))
        .map(|(_, (spec, slot))| weight(spec.name.clone(), &spec.shape, &slot.values()))
        .collect()
}
