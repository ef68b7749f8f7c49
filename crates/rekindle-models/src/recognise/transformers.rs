//! The names that Hugging Face's `transformers` gives the tensors of vision transformers.

use rekindle_nn::Graph;
use rekindle_weights::Expected;

/// Says how `transformers` holds a tensor of a ViT, a DeiT or a DINOv2 without registers, from timm's name; nothing for other
/// networks.
pub(super) fn expected(graph: &Graph, name: &str, shape: &[usize]) -> Option<Expected> {
    let expected = Expected::new(name, shape);
    let Some(part) = name.strip_prefix("blocks.") else {
        return Some(expected.in_file(renamed(name, &AROUND)?));
    };
    let (index, part) = part.split_once('.')?;
    let block = format!("encoder.layer.{index}");
    if let Some(kind) = part.strip_prefix("attn.qkv.") {
        let parts = ["query", "key", "value"];
        let parts = parts.map(|part| format!("{block}.attention.attention.{part}.{kind}"));
        return Some(expected.joined(parts));
    }
    let has_scales = graph
        .tensors()
        .iter()
        .any(|t| t.name.ends_with("ls1.gamma"));
    let table = match has_scales {
        true => IN_DINOV2.as_slice(),
        false => &IN_VIT,
    };
    Some(expected.in_file(format!("{block}.{}", renamed(part, table)?)))
}

/// Prefixes of all names but the tables': other tables may stand beside these, such as a token for masks.
pub(super) const BEGINNINGS: [&str; 2] = ["encoder.", "layernorm."];

const AROUND: [(&str, &str); 5] = [
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    (
        "patch_embed.proj.",
        "embeddings.patch_embeddings.projection.",
    ),
    ("norm.", "layernorm."),
    ("head.", "classifier."),
];

const IN_VIT: [(&str, &str); 5] = [
    ("norm1.", "layernorm_before."),
    ("norm2.", "layernorm_after."),
    ("attn.proj.", "attention.output.dense."),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
];

const IN_DINOV2: [(&str, &str); 7] = [
    ("norm1.", "norm1."),
    ("norm2.", "norm2."),
    ("attn.proj.", "attention.output.dense."),
    ("mlp.fc1.", "mlp.fc1."),
    ("mlp.fc2.", "mlp.fc2."),
    ("ls1.gamma", "layer_scale1.lambda1"),
    ("ls2.gamma", "layer_scale2.lambda1"),
];

fn renamed(name: &str, table: &[(&str, &str)]) -> Option<String> {
    table.iter().find_map(|(from, to)| {
        let rest = name.strip_prefix(from)?;
        Some(format!("{to}{rest}"))
    })
}
