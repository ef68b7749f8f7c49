//! Whether a checkpoint fits a model, said once and in full.

use std::collections::BTreeMap;

use super::Checkpoint;
use crate::{Architecture, Error, Mismatch, Misshapen, ResNetConfig};

/// What [`check`] lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckOptions {
    /// Leave the head (`fc.weight`, `fc.bias`) out of the comparison: it is about to be replaced,
    /// so another number of classes, or no head at all, is fine.
    pub ignore_head: bool,
}

/// Compares a checkpoint's names, shapes and element types with those that a model expects.
///
/// `num_batches_tracked` counters are optional: files older than PyTorch 0.4.1 have none. NaN and
/// infinities are found when a tensor is read, by [`NamedTensor::read_f32`](super::NamedTensor::read_f32).
///
/// # Errors
/// [`Error::Mismatch`] with every missing, extra and misshapen tensor.
pub fn check(
    checkpoint: &Checkpoint,
    expected: &[(String, Vec<usize>)],
    options: CheckOptions,
) -> Result<(), Error> {
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
        match checkpoint.tensors.get(name) {
            None => mismatch.missing.push(name.to_string()),
            Some(tensor) if tensor.shape() != shape => mismatch.misshapen.push(Misshapen {
                name: name.to_string(),
                expected: shape.to_vec(),
                found: tensor.shape().to_vec(),
            }),
            Some(tensor) if !tensor.element_type().is_float() => mismatch
                .wrong_type
                .push((name.to_string(), tensor.element_type().name())),
            Some(_) => {}
        }
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
    mismatch.advice = advice(checkpoint, &mismatch, expected.len());
    Err(Error::Mismatch(Box::new(mismatch)))
}

fn is_head(name: &str) -> bool {
    name.starts_with("fc.")
}

/// The likeliest reason, as a sentence.
fn advice(checkpoint: &Checkpoint, mismatch: &Mismatch, expected: usize) -> String {
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
        let classes = checkpoint.classes().map_or_else(
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
    checkpoint.architecture().map_or_else(String::new, |name| {
        format!(
            "Names and shapes in the file are those of {name}: is that the architecture you chose?"
        )
    })
}

impl Checkpoint {
    /// The torchvision architecture whose dimensions these names and shapes have, where they are one's.
    pub fn architecture(&self) -> Option<&'static str> {
        self.shape("conv1.weight")?;
        let config = ResNetConfig::infer(self);
        let same = |architecture: &Architecture| architecture.config().is_same_trunk(&config);
        Architecture::ALL
            .into_iter()
            .find(same)
            .map(Architecture::name)
    }
}
