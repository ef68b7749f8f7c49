//! Finds the classifier that belongs to a trunk.

use super::layout::Layout;
use super::{Checkpoint, NamedTensor};

/// A plain linear layer.
pub(super) struct Head<'a> {
    /// Its name in the file.
    pub layer: String,
    pub weight: &'a NamedTensor,
    pub bias: Option<&'a NamedTensor>,
}

/// Names that libraries give the one linear layer behind a ResNet's pooling: torchvision and timm; Cadene's
/// `pretrainedmodels`; and what people write.
const NAMES: [&str; 4] = ["fc", "last_linear", "head", "classifier"];

/// Finds the linear layer from `features` to classes behind the trunk under `prefix`.
///
/// # Errors
/// A sentence about what is there instead; `None` where there is nothing.
pub(super) fn find<'a>(
    checkpoint: &'a Checkpoint,
    prefix: &str,
    layout: Layout,
    features: usize,
) -> Result<Head<'a>, Option<String>> {
    if layout == Layout::Transformers {
        // `classifier` stands beside `resnet`, and is a flattening and a linear layer.
        let above = prefix.strip_suffix("resnet.").unwrap_or(prefix);
        return plain(checkpoint, &format!("{above}classifier.1"), features)
            .map_or(Err(None), |found| found.map_err(Some));
    }
    let mut refusals = Vec::new();
    let mut heads = Vec::new();
    for name in NAMES {
        match plain(checkpoint, &format!("{prefix}{name}"), features) {
            None => {}
            Some(Ok(head)) if name == "fc" => return Ok(head),
            Some(Ok(head)) => heads.push(head),
            Some(Err(refusal)) => refusals.push(refusal),
        }
    }
    match (heads.pop(), heads.pop(), refusals.into_iter().next()) {
        (Some(head), None, None) => Ok(head),
        (Some(a), Some(b), _) => Err(Some(format!(
            "it has two layers that may be the classifier, `{}` and `{}`",
            b.layer, a.layer
        ))),
        (_, _, refusal) => Err(refusal),
    }
}

/// The layer of this name, if it is a linear layer that takes so many features and nothing else; `None` where there
/// is nothing of the name.
fn plain<'a>(
    checkpoint: &'a Checkpoint,
    layer: &str,
    features: usize,
) -> Option<Result<Head<'a>, String>> {
    let from = format!("{layer}.");
    let tensors = checkpoint.tensors.range(from.clone()..);
    let parts: Vec<(&str, &NamedTensor)> = tensors
        .map_while(|(name, tensor)| Some((name.strip_prefix(&from)?, tensor)))
        .take(64)
        .collect();
    let part = |wanted: &str| {
        parts
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, tensor)| *tensor)
    };
    let (weight, bias) = (part("weight"), part("bias"));
    if parts.is_empty() {
        return None;
    }
    let is_plain = parts.len() == usize::from(weight.is_some()) + usize::from(bias.is_some());
    let Some(weight) = weight.filter(|_| is_plain) else {
        let mut names: Vec<String> = parts
            .iter()
            .map(|(name, _)| format!("`{layer}.{name}`"))
            .collect();
        if names.len() > 4 {
            names.truncate(4);
            names.push("..".to_string());
        }
        return Some(Err(format!(
            "its head is no plain linear layer but {}, and nothing says what stands between them",
            names.join(", ")
        )));
    };
    let shape_fits =
        matches!(*weight.shape(), [classes, columns] if classes > 0 && columns == features);
    let bias_fits = bias.is_none_or(|bias| bias.shape() == &weight.shape()[..1]);
    let are_floats = [Some(weight), bias]
        .into_iter()
        .flatten()
        .all(|tensor| tensor.element_type().is_float());
    if !(shape_fits && bias_fits && are_floats) {
        return Some(Err(format!(
            "its head `{layer}` has a weight {:?} of {} where the trunk gives {features} features",
            weight.shape(),
            weight.element_type()
        )));
    }
    Some(Ok(Head {
        layer: layer.to_string(),
        weight,
        bias,
    }))
}
