//! Whether a checkpoint fits a model, said once and in full.

use std::collections::BTreeMap;

use super::Checkpoint;
use crate::{Error, Mismatch, Misshapen};

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

    let mut mismatch = Mismatch {
        path: checkpoint.path.clone(),
        missing: Vec::new(),
        extra: Vec::new(),
        misshapen: Vec::new(),
        wrong_type: Vec::new(),
        advice: String::new(),
    };
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
    /// The torchvision architecture whose names and shapes these are, where they are one's.
    pub fn architecture(&self) -> Option<&'static str> {
        let depths: Vec<usize> = (1..=4).map(|stage| self.depth(stage)).collect();
        if self.shape("conv1.weight")?.first() != Some(&64) {
            return None;
        }
        if self.shape("layer1.0.conv3.weight").is_none() {
            return match depths[..] {
                [2, 2, 2, 2] => Some("resnet18"),
                [3, 4, 6, 3] => Some("resnet34"),
                _ => None,
            };
        }
        let [width, per_group, ..] = *self.shape("layer1.0.conv2.weight")? else {
            return None;
        };
        match (&depths[..], width, per_group) {
            ([3, 4, 6, 3], 64, 64) => Some("resnet50"),
            ([3, 4, 23, 3], 64, 64) => Some("resnet101"),
            ([3, 8, 36, 3], 64, 64) => Some("resnet152"),
            ([3, 4, 6, 3], 128, 4) => Some("resnext50_32x4d"),
            ([3, 4, 23, 3], 256, 8) => Some("resnext101_32x8d"),
            ([3, 4, 23, 3], 256, 4) => Some("resnext101_64x4d"),
            ([3, 4, 6, 3], 128, 128) => Some("wide_resnet50_2"),
            ([3, 4, 23, 3], 128, 128) => Some("wide_resnet101_2"),
            _ => None,
        }
    }

    fn depth(&self, stage: usize) -> usize {
        (0..)
            .take_while(|block| {
                self.tensors
                    .contains_key(&format!("layer{stage}.{block}.conv1.weight"))
            })
            .count()
    }
}
