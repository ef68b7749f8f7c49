//! Maps the towers' tensor names in different libraries, and finds the activation they are computed with.

use rekindle_nn::Activation;
use rekindle_weights::{Checkpoint, Expected, Repository, description_beside};
use serde_json::{Map, Value};

/// Activation of the towers in a file: GELU, or the QuickGELU of OpenAI's own weights. No tensor tells which.
///
/// It is, as in open_clip, what the file's metadata say (`architecture`, with or without `quickgelu` at its end), what the
/// repository's `open_clip_config.json` (`quick_gelu`) or `config.json` (`hidden_act`) says, QuickGELU where the file has the
/// sizes that only OpenAI's archives have, or where its name or its repository's has `quickgelu` or `openai` in it, and else
/// GELU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activations {
    /// The activation.
    pub activation: Activation,
    /// A sentence on what had to be assumed; none where the file or its description says it.
    pub assumption: Option<String>,
}

impl Activations {
    /// Decides for a file.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let said = Self::said(checkpoint);
        let (activation, why) = match said {
            Some(activation) => {
                return Self {
                    activation,
                    assumption: None,
                };
            }
            None => Self::guessed(checkpoint),
        };
        let name = match activation {
            Activation::QuickGelu => "QuickGELU, as OpenAI's weights need",
            _ => "GELU, as in open_clip",
        };
        Self {
            activation,
            assumption: Some(format!("its activation is taken to be {name}, since {why}")),
        }
    }

    fn said(checkpoint: &Checkpoint) -> Option<Activation> {
        if let Some(name) = checkpoint.metadata.get("architecture") {
            let name = name.to_ascii_lowercase();
            if name.contains("quickgelu") {
                return Some(Activation::QuickGelu);
            }
            if name.contains("vit-") {
                return Some(Activation::Gelu);
            }
        }
        let beside = |name: &str| description_beside(&checkpoint.path, name).ok().flatten();
        let of_open_clip = beside("open_clip_config.json");
        let of_open_clip = of_open_clip.as_ref().and_then(of_open_clip_config);
        of_open_clip.or_else(|| of_transformers_config(&beside("config.json")?))
    }

    fn guessed(checkpoint: &Checkpoint) -> (Activation, &'static str) {
        let has = |name: &str| {
            let mut names = checkpoint.tensors.keys();
            names.any(|found| found == name || found.ends_with(&format!(".{name}")))
        };
        if has("input_resolution") && has("context_length") && has("vocab_size") {
            return (Activation::QuickGelu, "the file has their sizes in it");
        }
        let mut names = vec![
            checkpoint
                .path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned()),
        ];
        names.push(Repository::of_cached(&checkpoint.path).map(|of| of.to_string()));
        let is_openai = |name: &String| {
            let name = name.to_ascii_lowercase();
            name.contains("quickgelu") || name.contains("openai")
        };
        if names.iter().flatten().any(is_openai) {
            return (Activation::QuickGelu, "the file's name says so");
        }
        (
            Activation::Gelu,
            "the file says nothing; OpenAI's weights have QuickGELU, and a name with `quickgelu` asks for that",
        )
    }
}

fn of_open_clip_config(config: &Map<String, Value>) -> Option<Activation> {
    let model = config.get("model_cfg")?.as_object()?;
    let is_quick = model.get("quick_gelu").and_then(Value::as_bool);
    Some(match is_quick {
        Some(true) => Activation::QuickGelu,
        _ => Activation::Gelu,
    })
}

fn of_transformers_config(config: &Map<String, Value>) -> Option<Activation> {
    let kind = config.get("model_type").and_then(Value::as_str);
    if !kind.is_some_and(|kind| kind.starts_with("clip")) {
        return None;
    }
    let towers = ["vision_config", "text_config"];
    let mut all = towers
        .iter()
        .filter_map(|tower| config.get(*tower)?.get("hidden_act"));
    let name = all.next().or_else(|| config.get("hidden_act"));
    // The library's default is QuickGELU.
    match name.map_or(Some("quick_gelu"), Value::as_str) {
        Some("quick_gelu") => Some(Activation::QuickGelu),
        Some("gelu") => Some(Activation::Gelu),
        _ => None,
    }
}

/// A way of naming the tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// OpenAI's, which open_clip has too.
    OpenClip,
    /// Naming of Hugging Face's `transformers`, which splits queries, keys and values.
    Transformers,
}

impl Layout {
    pub const ALL: [Self; 2] = [Self::OpenClip, Self::Transformers];

    /// Returns how a file holds a tensor of one of the towers, which `transformers` calls `tower`.
    pub fn expected(self, tower: &str, name: &str, shape: &[usize]) -> Expected {
        let expected = Expected::new(name, shape);
        if self == Self::OpenClip {
            return expected;
        }
        if let Some(part) = name.strip_prefix("transformer.resblocks.") {
            let (index, part) = part.split_once('.').unwrap_or((part, ""));
            let block = format!("{tower}.encoder.layers.{index}");
            if let Some(kind) = part.strip_prefix("attn.in_proj_") {
                let parts = ["q", "k", "v"];
                return expected
                    .joined(parts.map(|p| format!("{block}.self_attn.{p}_proj.{kind}")));
            }
            return expected.in_file(format!("{block}.{}", renamed(part, &IN_BLOCK)));
        }
        let projection = match name {
            "proj" => Some("visual_projection.weight"),
            "text_projection" => Some("text_projection.weight"),
            _ => None,
        };
        match projection {
            Some(projection) => expected.in_file(projection).transposed(),
            None => expected.in_file(format!("{tower}.{}", renamed(name, &AROUND))),
        }
    }
}

/// Beginnings of names inside a block, OpenAI's and those of `transformers`.
const IN_BLOCK: [(&str, &str); 5] = [
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("attn.", "self_attn."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
];

/// The same outside; `pre_layrnorm` is spelt so there.
const AROUND: [(&str, &str); 7] = [
    ("class_embedding", "embeddings.class_embedding"),
    (
        "positional_embedding",
        "embeddings.position_embedding.weight",
    ),
    ("token_embedding.", "embeddings.token_embedding."),
    ("conv1.", "embeddings.patch_embedding."),
    ("ln_pre.", "pre_layrnorm."),
    ("ln_post.", "post_layernorm."),
    ("ln_final.", "final_layer_norm."),
];

fn renamed(name: &str, table: &[(&str, &str)]) -> String {
    let found = table
        .iter()
        .find_map(|(from, to)| Some((name.strip_prefix(from)?, to)));
    found.map_or_else(|| name.to_string(), |(rest, to)| format!("{to}{rest}"))
}
