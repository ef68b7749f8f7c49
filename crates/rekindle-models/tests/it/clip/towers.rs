//! Towers with the zoo's weights, and files of them under both names.

use std::collections::BTreeMap;
use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_models::clip::{TextEncoder, TextTower};
use rekindle_models::weights::{TensorOut, state_dict, write_safetensors};
use rekindle_nn::{Graph, Network};

use crate::zoo::formula::values;

/// Names and shapes of open_clip's state dict, in its order.
pub fn state_dict_of(image: &Graph, text: &TextTower) -> Vec<(String, Vec<usize>)> {
    let mut behind = text.graph().unwrap().state_dict();
    let projection = behind.remove(0);
    let norm = behind.split_off(behind.len() - 2);
    let tables = text
        .tables()
        .map(|(name, shape)| (name.to_string(), shape.to_vec()));
    let [tokens, positions] = tables;
    let image = image.state_dict().into_iter();
    let image = image.map(|(name, shape)| (format!("visual.{name}"), shape));
    let mut all = vec![
        positions,
        projection,
        ("logit_scale".to_string(), Vec::new()),
    ];
    all.extend(image);
    all.extend(behind);
    all.push(tokens);
    all.extend(norm);
    all
}

/// The formula's tensors by open_clip's names.
pub struct Tensors(pub BTreeMap<String, (u64, Vec<usize>)>);

impl Tensors {
    pub fn new(image: &Graph, text: &TextTower) -> Self {
        let all = state_dict_of(image, text).into_iter().zip(0..);
        Self(
            all.map(|((name, shape), number)| (name, (number, shape)))
                .collect(),
        )
    }

    pub fn values(&self, name: &str) -> Vec<f32> {
        let (number, shape) = &self.0[name];
        if name == "logit_scale" {
            return vec![(1f32 / 0.07).ln()];
        }
        let values = values(name, *number, shape, 6.0).into_iter();
        values.map(|value| value as f32).collect()
    }

    pub fn image(&self, graph: &Graph, device: &Device) -> Network {
        let network = Network::new(graph.clone(), 0, device);
        state_dict::assign(network, |name| Some(self.values(&format!("visual.{name}"))))
    }

    pub fn text(&self, tower: TextTower, device: &Device) -> TextEncoder {
        let network = Network::new(tower.graph().unwrap(), 0, device);
        let network = state_dict::assign(network, |name| Some(self.values(name)));
        let tables = tower.tables().map(|(name, shape)| {
            Tensor::from_data(TensorData::new(self.values(name), shape), device)
        });
        let [tokens, positions] = tables;
        TextEncoder::new(tower, network, tokens, positions)
    }

    /// Writes them as open_clip does.
    pub fn write(&self, path: &Path, metadata: &[(&str, &str)]) {
        let tensors = self.0.iter().map(|(name, (_, shape))| {
            TensorOut::f32(name.clone(), shape.clone(), &self.values(name))
        });
        write(path, tensors.collect(), metadata);
    }

    /// Writes them as `transformers` does.
    pub fn write_as_transformers(&self, path: &Path, metadata: &[(&str, &str)]) {
        let tensors = self.0.iter();
        let tensors =
            tensors.flat_map(|(name, (_, shape))| as_transformers(name, shape, self.values(name)));
        write(path, tensors.collect(), metadata);
    }
}

pub fn write(path: &Path, tensors: Vec<TensorOut>, metadata: &[(&str, &str)]) {
    let metadata = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    write_safetensors(path, tensors, &metadata.collect()).unwrap();
}

/// Converts one of OpenAI's tensors as the converter of `transformers` does, under its names.
pub fn as_transformers(name: &str, shape: &[usize], values: Vec<f32>) -> Vec<TensorOut> {
    let of = |name: String, shape: &[usize], values: &[f32]| {
        TensorOut::f32(name, shape.to_vec(), values)
    };
    if name == "logit_scale" {
        return vec![of(name.into(), shape, &values)];
    }
    let (tower, name) = match name.strip_prefix("visual.") {
        Some(name) => ("vision_model", name),
        None => ("text_model", name),
    };
    if name.ends_with("proj") || name == "text_projection" {
        let turned = (0..shape[1]).flat_map(|column| values[column..].iter().step_by(shape[1]));
        let turned: Vec<f32> = turned.copied().collect();
        let name = if tower == "vision_model" {
            "visual"
        } else {
            "text"
        };
        let name = format!("{name}_projection.weight");
        return vec![of(name, &[shape[1], shape[0]], &turned)];
    }
    let name = name
        .replace("transformer.resblocks", "encoder.layers")
        .replace("ln_1", "layer_norm1")
        .replace("ln_2", "layer_norm2")
        .replace("c_fc", "fc1")
        .replace("c_proj", "fc2")
        .replace("attn.", "self_attn.")
        .replace("class_embedding", "embeddings.class_embedding")
        .replace(
            "positional_embedding",
            "embeddings.position_embedding.weight",
        )
        .replace("token_embedding", "embeddings.token_embedding")
        .replace("conv1", "embeddings.patch_embedding")
        .replace("ln_pre", "pre_layrnorm")
        .replace("ln_post", "post_layernorm")
        .replace("ln_final", "final_layer_norm");
    let name = format!("{tower}.{name}");
    let Some((before, kind)) = name.split_once("in_proj_") else {
        return vec![of(name, shape, &values)];
    };
    let mut shape = shape.to_vec();
    shape[0] /= 3;
    let parts = values.chunks_exact(values.len() / 3).zip(["q", "k", "v"]);
    let parts =
        parts.map(|(values, part)| of(format!("{before}{part}_proj.{kind}"), &shape, values));
    parts.collect()
}
