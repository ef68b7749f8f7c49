//! Weights in and out, as named tensors.
//!
//! [`read`] opens a file of any known format and lists its tensors; [`Checkpoint::network`] finds the ResNet among
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

mod burnpack;
mod check;
mod checkpoint;
mod format;
mod head;
mod info;
mod layout;
mod network;
mod onnx;
mod other_content;
mod pickle;
mod python_names;
mod pytorch;
mod safetensors;
mod storages;
mod strided;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::Error;

pub use burnpack::write_burnpack;
pub use check::{CheckOptions, check};
pub use checkpoint::{Checkpoint, ElementType, Format, NamedTensor};
pub use info::ModelInfo;
pub use network::{Candidate, LeftOut, LoadOptions, Network, NetworkSource};
pub use onnx::ONNX_OPSET;
pub use write::{TensorOut, write_safetensors};

/// Opens a file of weights: PyTorch `.pth` (zip or legacy), safetensors or burnpack, told apart by
/// its contents. Names and shapes are read now, data when it is asked for.
///
/// Names are the file's, with the keys of nested dictionaries in front: `state_dict.module.conv1.weight`. Nothing in a
/// pickle is run; objects of unknown Python classes are passed over.
///
/// # Errors
/// [`Error::Read`], [`Error::EmptyFile`], [`Error::HtmlInsteadOfWeights`], [`Error::GitPointer`],
/// [`Error::NotWeights`], [`Error::UnknownFormat`], [`Error::Truncated`], [`Error::Corrupt`], [`Error::ForeignCode`],
/// [`Error::NoTensors`], [`Error::DuplicateTensor`].
pub fn read(path: impl AsRef<Path>) -> Result<Checkpoint, Error> {
    let path = path.as_ref();
    let format = format::detect(path)?;
    let contents = match format {
        Format::PytorchZip | Format::PytorchLegacy | Format::PytorchPickle => {
            pytorch::read(path, format)?
        }
        Format::Safetensors => safetensors::read(path)?,
        Format::Burnpack => burnpack::read(path)?,
    };
    finish(path, format, contents)
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
    let contents = safetensors::read_from(path, Box::new(Cursor::new(bytes)), size)?;
    finish(path, Format::Safetensors, contents)
}

/// All that a reader finds in a file.
#[derive(Default)]
struct Contents {
    tensors: BTreeMap<String, NamedTensor>,
    metadata: BTreeMap<String, String>,
    /// Python classes that nobody here knows.
    foreign: BTreeSet<String>,
    /// Buffers that a pickled module doesn't save in its state dict.
    transient: HashSet<String>,
}

fn finish(path: &Path, format: Format, contents: Contents) -> Result<Checkpoint, Error> {
    if contents.tensors.is_empty() {
        return Err(Error::NoTensors {
            path: path.to_path_buf(),
        });
    }
    Ok(Checkpoint {
        tensors: contents.tensors,
        metadata: contents.metadata,
        format,
        path: path.to_path_buf(),
        foreign: contents.foreign.into_iter().collect(),
    })
}

/// Runs a parser on a file that may be hostile: a panic becomes an error.
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
