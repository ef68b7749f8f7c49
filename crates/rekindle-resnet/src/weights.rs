//! Weights in and out, as named tensors: [`rekindle_weights`], with what it needs to know of ResNets.
//!
//! [`read`] opens a file of any known format and lists its tensors; [`network`] finds the ResNet among
//! them and gives it torchvision's names; [`check`] compares them with what a model expects; [`write_safetensors`] and
//! [`write_burnpack`] write them. [`ResNet::save_onnx`](crate::ResNet::save_onnx) writes a network
//! with its weights as ONNX.
//!
//! ```
//! use rekindle_resnet::weights::{self, CheckOptions, TensorOut};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("head.safetensors");
//! let head = TensorOut::f32("fc.weight", [2, 3], &[0.0; 6]);
//! weights::write_safetensors(&path, vec![head], &Default::default())?;
//!
//! let checkpoint = weights::read(&path)?;
//! weights::check(&checkpoint, &[("fc.weight".into(), vec![2, 3])], CheckOptions::default())?;
//! assert_eq!(checkpoint.read_f32("fc.weight")?, [0.0; 6]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use rekindle_weights::*;

use crate::Architecture;

pub use crate::family::{Network, network};
pub use crate::onnx::ONNX_OPSET;

/// Compares a checkpoint's names, shapes and element types with those that a ResNet expects; see
/// [`rekindle_weights::check`].
///
/// # Errors
///
/// [`Error::Mismatch`] with every missing, extra and misshapen tensor, and the architecture that the file has where that
/// explains them.
pub fn check(
    checkpoint: &Checkpoint,
    expected: &[(String, Vec<usize>)],
    options: CheckOptions,
) -> Result<(), Error> {
    rekindle_weights::check(checkpoint, expected, "fc", options).map_err(|error| match error {
        Error::Mismatch(mut mismatch) => {
            let found = Architecture::of(checkpoint).filter(|_| mismatch.advice.is_empty());
            if let Some(found) = found {
                mismatch.advice = format!(
                    "Names and shapes in the file are those of {found}: is that the architecture you chose?"
                );
            }
            Error::Mismatch(mismatch)
        }
        error => error,
    })
}
