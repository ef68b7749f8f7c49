//! Finds the classifier that belongs to a trunk.

use super::family::Proposal;
use crate::checkpoint::{Checkpoint, NamedTensor};

/// A plain linear layer.
pub(super) struct Head<'a> {
    /// Its name in the file.
    pub layer: String,
    pub weight: &'a NamedTensor,
    pub bias: Option<&'a NamedTensor>,
}

/// Finds the linear layer from the trunk's features to classes behind the trunk under `prefix`.
///
/// # Errors
/// A sentence about what is there instead; `None` where there is nothing.
pub(super) fn find<'a, C>(
    checkpoint: &'a Checkpoint,
    prefix: &str,
    proposal: &Proposal<C>,
) -> Result<Head<'a>, Option<String>> {
    let names = &proposal.head;
    let beside = names.beside.as_ref().map(|part| format!("{part}."));
    let above = beside.and_then(|part| prefix.strip_suffix(&part));
    let prefix = above.unwrap_or(prefix);
    let mut refusals = Vec::new();
    let mut heads = Vec::new();
    for (position, name) in names.in_file.iter().enumerate() {
        let is_first = position == 0;
        if !is_first && is_of_trunk(name, proposal) {
            continue;
        }
        match plain(checkpoint, &format!("{prefix}{name}"), names.features) {
            None => {}
            Some(Ok(head)) if is_first => return Ok(head),
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

/// Tells whether the trunk has tensors under a name.
fn is_of_trunk<C>(name: &str, proposal: &Proposal<C>) -> bool {
    let mut tensors = proposal.tensors.iter();
    tensors.any(|tensor| {
        let rest = tensor.in_file.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('.'))
    })
}

/// Returns the layer of this name, if it is a linear layer that takes so many features and nothing else; `None` where
/// there is nothing of the name.
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
