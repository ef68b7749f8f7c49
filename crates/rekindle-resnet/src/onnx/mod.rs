//! A network with its weights as an ONNX file, for onnxruntime and all that reads it.

mod graph;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::Path;

use prost::Message;
use rekindle_nn::onnx::parts;
use rekindle_nn::onnx::proto::ModelProto;
use rekindle_weights::{ModelInfo, write_atomically};

use crate::{Error, ResNet};

/// Version of the default operator set that [`ResNet::save_onnx`] writes.
pub const ONNX_OPSET: i64 = rekindle_nn::onnx::OPSET;

impl ResNet {
    /// Writes the network as it predicts, as ONNX of operator set [`ONNX_OPSET`]: input `images`
    /// `[batch, channels, height, width]`, output `logits` `[batch, classes]`, or `features`
    /// `[batch, num_features]` where there is no classifier. Batch, height and width are free.
    ///
    /// Weights keep the names and shapes that they have in PyTorch's state dict, batch normalisation included (a
    /// runtime folds it itself). `architecture`, `classes`, `preprocess` and `provenance` of `info` are the file's
    /// metadata, under these names and as in the other formats. Equal input gives equal bytes.
    ///
    /// # Errors
    ///
    /// [`rekindle_weights::Error::Write`]; a file that was at `path` is then still there, unchanged.
    pub fn save_onnx(&self, path: impl AsRef<Path>, info: &ModelInfo) -> Result<(), Error> {
        let bytes = model(self, info).encode_to_vec();
        write_atomically(path.as_ref(), |mut file| file.write_all(&bytes))?;
        Ok(())
    }
}

fn model(resnet: &ResNet, info: &ModelInfo) -> ModelProto {
    let metadata = info.to_metadata().into_iter();
    // What Python's readers of safetensors look for.
    let metadata = metadata.filter(|(key, _)| key != "format").collect();
    parts::model(graph::build(resnet), &metadata)
}
