//! Weights in and out, as named tensors.
//!
//! [`read`] opens a file of any known format and gives its tensors torchvision's names;
//! [`check`] compares them with what a model expects; [`write_safetensors`] and
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

mod burnpack;
mod check;
mod checkpoint;
mod format;
mod info;
mod names;
mod onnx;
mod pickle_scan;
mod pytorch;
mod safetensors;
mod write;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::Error;

pub use burnpack::write_burnpack;
pub use check::{CheckOptions, check};
pub use checkpoint::{Checkpoint, ElementType, Format, NamedTensor};
pub use info::ModelInfo;
pub use onnx::ONNX_OPSET;
pub use write::{TensorOut, write_safetensors};

/// Opens a file of weights: PyTorch `.pth` (zip or legacy), safetensors or burnpack, told apart by
/// its contents. Names and shapes are read now, data when it is asked for.
///
/// State dicts under `state_dict`, `model_state_dict` or `model`, and names with prefixes such as
/// `module.` or `backbone.`, come out under torchvision's names. Nothing in a pickle is run.
///
/// # Errors
/// [`Error::Read`], [`Error::EmptyFile`], [`Error::HtmlInsteadOfWeights`],
/// [`Error::UnknownFormat`], [`Error::Truncated`], [`Error::Corrupt`], [`Error::ForeignCode`],
/// [`Error::NoTensors`], [`Error::DuplicateTensor`].
pub fn read(path: impl AsRef<Path>) -> Result<Checkpoint, Error> {
    let path = path.as_ref();
    let format = format::detect(path)?;
    let (tensors, metadata) = match format {
        Format::PytorchZip | Format::PytorchLegacy | Format::PytorchPickle => {
            (pytorch::read(path, format)?, BTreeMap::new())
        }
        Format::Safetensors => safetensors::read(path)?,
        Format::Burnpack => burnpack::read(path)?,
    };
    finish(path, format, tensors, metadata)
}

/// Reads safetensors that are in memory already, where there are no files, such as in a browser. `name` stands for
/// the path in error messages.
///
/// # Errors
/// As [`read`], for this one format.
pub fn read_safetensors_bytes(name: &str, bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    let path = Path::new(name);
    let size = bytes.len() as u64;
    if bytes.is_empty() {
        return Err(Error::EmptyFile {
            path: path.to_path_buf(),
        });
    }
    let (tensors, metadata) = safetensors::read_from(path, Box::new(Cursor::new(bytes)), size)?;
    finish(path, Format::Safetensors, tensors, metadata)
}

fn finish(
    path: &Path,
    format: Format,
    tensors: BTreeMap<String, NamedTensor>,
    metadata: BTreeMap<String, String>,
) -> Result<Checkpoint, Error> {
    let tensors = names::standardise(path, tensors)?;
    if tensors.is_empty() {
        return Err(Error::NoTensors {
            path: path.to_path_buf(),
        });
    }
    Ok(Checkpoint {
        tensors,
        metadata,
        format,
        path: path.to_path_buf(),
    })
}

/// Runs a parser from another crate on a file that may be hostile: its panic becomes an error.
fn guarded<T>(
    path: &Path,
    format: Format,
    parse: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| {
        Err(Error::corrupt(
            path,
            format.name(),
            "its reader gave up on it",
        ))
    })
}
