//! Compares a checkpoint with a model, once and in full.

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Mismatch};

/// Deviations that [`check`] accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckOptions {
    /// Leaves the head out of the comparison: it is about to be replaced, so another number of classes, or no head at
    /// all, is fine.
    pub ignore_head: bool,
}

/// Compares a checkpoint's names, shapes and element types with those that a model expects, whose classifier is the
/// linear layer `head`.
///
/// `num_batches_tracked` counters are optional: files older than PyTorch 0.4.1 have none. NaN and
/// infinities are found when a tensor is read, by [`NamedTensor::read_f32`](crate::NamedTensor::read_f32).
///
/// # Errors
/// [`Error::Mismatch`] with every missing, extra and misshapen tensor.
pub fn check(
    checkpoint: &Checkpoint,
    expected: &[(String, Vec<usize>)],
    head: &str,
    options: CheckOptions,
) -> Result<(), Error> {
    let is_head = |name: &str| {
        let part = name.strip_prefix(head);
        part.is_some_and(|part| part.starts_with('.'))
    };
    let skipped = |name: &str| {
        name.ends_with("num_batches_tracked") || (options.ignore_head && is_head(name))
    };
    let expected: BTreeMap<&str, &[usize]> = expected
        .iter()
        .filter(|(name, _)| !skipped(name))
        .map(|(name, shape)| (name.as_str(), shape.as_slice()))
        .collect();

    let mut mismatch = Mismatch::of(&checkpoint.path);
    for (&name, &shape) in &expected {
        checkpoint.compare(name, shape, &mut mismatch);
    }
    mismatch.extra = checkpoint
        .tensors
        .keys()
        .filter(|name| !skipped(name) && !expected.contains_key(name.as_str()))
        .cloned()
        .collect();

    if mismatch.is_empty() {
        return Ok(());
    }
    mismatch.advice = advice(checkpoint, &mismatch, expected.len(), head, is_head);
    Err(Error::Mismatch(Box::new(mismatch)))
}

/// Returns the likeliest reason, as a sentence; nothing where names and shapes suggest none.
fn advice(
    checkpoint: &Checkpoint,
    mismatch: &Mismatch,
    expected: usize,
    head: &str,
    is_head: impl Fn(&str) -> bool,
) -> String {
    let only_head = mismatch
        .extra
        .iter()
        .chain(&mismatch.missing)
        .all(|name| is_head(name))
        && mismatch
            .misshapen
            .iter()
            .all(|tensor| is_head(&tensor.name))
        && mismatch.wrong_type.is_empty();
    if only_head {
        let classes = checkpoint.classes(head).map_or_else(
            || "no head".to_string(),
            |n| format!("a head of {n} classes"),
        );
        return format!(
            "Only the head differs: the file has {classes}. To give the model a head of its own, load the rest and ignore the file's head."
        );
    }
    if mismatch.missing.len() == expected {
        let names: Vec<&str> = checkpoint
            .tensors
            .keys()
            .take(3)
            .map(String::as_str)
            .collect();
        return format!(
            "The file has none of the model's names (its first are {}): it belongs to another kind of network.",
            names.join(", ")
        );
    }
    String::new()
}
