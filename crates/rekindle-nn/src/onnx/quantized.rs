//! Networks in eight bits: pairs of `QuantizeLinear` and `DequantizeLinear` around what runtimes compute in integers.

use std::collections::BTreeMap;

use prost::Message;
use rekindle_preprocess::Preprocess;

use super::nodes::{Output, Writer};
use super::parts::{int, model};
use super::pixels::ExportError;
use super::proto::{FLOAT, INT8, INT32, UINT8};
use super::{around, build};
use crate::graph::{Node, TensorSpec, Value};
use crate::op::{Conv2d, Op};
use crate::quantization::{QuantizedNetwork, QuantizedWeights};

impl QuantizedNetwork {
    /// Writes the network as the bytes of an ONNX file, as [`Network::to_onnx`](crate::Network::to_onnx) does, in eight bits:
    /// weights are signed bytes under the names of the state dict, batch normalisation is folded into them, and pairs of
    /// `QuantizeLinear` and `DequantizeLinear` stand where onnxruntime's own static quantization (`QuantFormat.QDQ`) puts
    /// them, so that it runs its integer kernels.
    pub fn to_onnx(&self, metadata: &BTreeMap<String, String>) -> Vec<u8> {
        let graph = build(self.simulated(), None, Some(self));
        model(graph, metadata).encode_to_vec()
    }

    /// Writes the network in eight bits with what pictures go through in front, which stays `f32`; see
    /// [`Network::to_onnx_with_preprocessing`](crate::Network::to_onnx_with_preprocessing).
    ///
    /// # Errors
    ///
    /// [`ExportError`], as there, and [`ExportError::Size`] for a network with tokens and a crop of another size than that of
    /// the calibration images.
    pub fn to_onnx_with_preprocessing(
        &self,
        preprocess: &Preprocess,
        temperature: Option<f64>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, ExportError> {
        let network = self.simulated();
        let around = around(network.graph(), preprocess, temperature, metadata)?;
        let crop = preprocess.crop;
        if network.graph().tokens().is_some() && self.size() != [crop; 2] {
            let [height, width] = self.size();
            return Err(ExportError::Size {
                crop,
                height,
                width,
            });
        }
        let graph = build(network, Some(&around), Some(self));
        Ok(model(graph, metadata).encode_to_vec())
    }

    /// Returns the tensors under the names that nodes read them by: those in bytes are read dequantized.
    pub(super) fn dequantized_names(&self) -> Vec<TensorSpec> {
        let tensors = self.simulated().graph().tensors().iter().enumerate();
        tensors
            .map(|(index, spec)| TensorSpec {
                name: match self.is_bytes(index) {
                    true => dequantized(&spec.name),
                    false => spec.name.clone(),
                },
                ..spec.clone()
            })
            .collect()
    }

    /// Tells whether a tensor is written as whole numbers.
    pub(super) fn is_bytes(&self, tensor: usize) -> bool {
        let mut nodes = self.simulated().graph().nodes().iter().enumerate();
        nodes.any(|(index, node)| {
            let Some(weights) = self.weights(index) else {
                return false;
            };
            node.tensors[0] == tensor
                || (weights.bias.is_some() && node.tensors.get(1) == Some(&tensor))
        })
    }

    /// Writes a node and the rounding of what it gives; returns the name that others read it by.
    pub(super) fn write(
        &self,
        writer: &mut Writer<'_>,
        index: usize,
        inputs: &[&str],
        is_rows: bool,
        output: Output,
    ) -> String {
        let node = &self.simulated().graph().nodes()[index];
        let written = match self.weights(index) {
            None => writer.write(node, inputs, is_rows, output),
            Some(weights) => {
                self.write_weights(writer, node, weights, is_rows);
                writer.write(&of_pixels(node, is_rows), inputs, is_rows, output)
            }
        };
        self.write_rounding(writer, Value::of_node(index), &node.name, written)
    }

    /// Writes a layer's weights in bytes and their way back to `f32`.
    fn write_weights(
        &self,
        writer: &mut Writer<'_>,
        node: &Node,
        weights: &QuantizedWeights,
        is_rows: bool,
    ) {
        let tensors = self.simulated().graph().tensors();
        let spec = &tensors[node.tensors[0]];
        let name = spec.name.as_str();
        let dims: Vec<i64> = spec.shape.iter().map(|extent| *extent as i64).collect();
        let bytes = weights.weight.iter().flat_map(|byte| byte.to_le_bytes());
        let mut bytes = writer.constant(name.into(), INT8, dims, bytes.collect());
        if matches!(node.op, Op::Linear(_)) && !is_rows {
            let axes = writer.integers(format!("{name}:pixel"), &[2, 3]);
            bytes = writer.step("Unsqueeze", name, "kernel", &[&bytes, &axes]);
        }
        let channels = weights.scales.len();
        let zeros = writer.constant(
            format!("{name}:zero_point"),
            INT8,
            vec![channels as i64],
            vec![0; channels],
        );
        dequantize(writer, name, &bytes, &weights.scales, &zeros, weights.axis);
        if let (Some(bias), Some(tensor)) = (&weights.bias, node.tensors.get(1)) {
            let name = tensors[*tensor].name.as_str();
            let dims = vec![channels as i64];
            let values = bias.iter().flat_map(|value| value.to_le_bytes());
            let values = writer.constant(name.into(), INT32, dims.clone(), values.collect());
            let zeros = vec![0; channels * size_of::<i32>()];
            let zeros = writer.constant(format!("{name}:zero_point"), INT32, dims, zeros);
            dequantize(writer, name, &values, &weights.bias_scales, &zeros, 0);
        }
    }

    /// Writes the rounding of a value, where it is rounded; returns the name that others read it by.
    pub(super) fn write_rounding(
        &self,
        writer: &mut Writer<'_>,
        value: Value,
        name: &str,
        written: String,
    ) -> String {
        let Some(rounding) = self.simulated().rounding(value) else {
            return written;
        };
        let scale = writer.number(format!("{name}:scale"), rounding.scale);
        let zero = format!("{name}:zero_point");
        let zero = writer.constant(zero, UINT8, Vec::new(), vec![rounding.zero_point]);
        let bytes = writer.step(
            "QuantizeLinear",
            name,
            "quantized",
            &[&written, &scale, &zero],
        );
        writer.step(
            "DequantizeLinear",
            name,
            "dequantized",
            &[&bytes, &scale, &zero],
        )
    }
}

fn dequantized(name: &str) -> String {
    format!("{name}:dequantized")
}

/// Writes whole numbers times a scale for each index of a dimension.
fn dequantize(
    writer: &mut Writer<'_>,
    name: &str,
    numbers: &str,
    scales: &[f32],
    zeros: &str,
    axis: usize,
) {
    let values = scales.iter().flat_map(|scale| scale.to_le_bytes());
    let dims = vec![scales.len() as i64];
    let scales = writer.constant(format!("{name}:scale"), FLOAT, dims, values.collect());
    let output = dequantized(name);
    let inputs = [numbers, &scales, zeros];
    writer.add(
        "DequantizeLinear",
        &output,
        &inputs,
        &output,
        vec![int("axis", axis)],
    );
}

/// Returns a linear layer on the channels of each pixel as a convolution of one pixel, which is what its weights are written
/// for; other nodes as they are.
fn of_pixels(node: &Node, is_rows: bool) -> Node {
    let op = match &node.op {
        Op::Linear(linear) if !is_rows => {
            let channels = [linear.in_features, linear.out_features];
            Op::Conv2d(Conv2d::of_pixels(channels, 1, linear.has_bias))
        }
        op => op.clone(),
    };
    Node { op, ..node.clone() }
}
