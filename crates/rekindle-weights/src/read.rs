//! Opens a file of any known format.

use std::io::Cursor;
use std::path::Path;

use crate::checkpoint::{Checkpoint, Format};
use crate::contents::Contents;
use crate::{Error, burnpack, format, pytorch, safetensors};

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
        Format::Onnx => {
            return Err(Error::NotWeights {
                path: path.to_path_buf(),
                found: "an ONNX graph".into(),
                advice: "read it as a network, graph and weights together".into(),
            });
        }
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
