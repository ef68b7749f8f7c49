//! Burn's own container, burnpack (`.bpk`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use burn_pack::{Bytes, DType, HEADER_SIZE, Header, Reader, Writer};

use crate::Error;
use crate::checkpoint::{ElementType, Format, NamedTensor};
use crate::contents::{Contents, guarded};
use crate::write::TensorOut;

pub(crate) fn read(path: &Path) -> Result<Contents, Error> {
    check_header(path)?;
    let (tensors, metadata) = guarded(path, Format::Burnpack, || {
        let reader = Reader::from_file_exact(path).map_err(|error| translate(path, error))?;
        let metadata = reader.metadata().clone();
        let tensors = reader
            .into_tensors()
            .map_err(|error| translate(path, error))?;
        Ok((tensors, metadata))
    })?;
    let shared: Arc<Path> = path.into();
    let tensors = tensors
        .into_iter()
        .map(|tensor| {
            let (name, shape) = (tensor.name.clone(), tensor.shape.to_vec());
            let element_type = element_type(tensor.dtype);
            let path = Arc::clone(&shared);
            let read = move || {
                guarded(&path, Format::Burnpack, || {
                    tensor
                        .to_bytes()
                        .map(|bytes| bytes.to_vec())
                        .map_err(|error| translate(&path, error))
                })
            };
            let tensor = NamedTensor::new(
                name.clone(),
                shape,
                element_type,
                Arc::clone(&shared),
                Format::Burnpack,
                read,
            );
            (name, tensor)
        })
        .collect();
    Ok(Contents {
        tensors,
        metadata,
        ..Contents::default()
    })
}

/// Writes tensors as burnpack, under the same names and with the same metadata as
/// [`write_safetensors`](crate::write_safetensors) does.
///
/// The file is written beside `path` under a temporary name, flushed to the disk and then renamed.
///
/// # Errors
/// [`Error::Write`]; a file that was at `path` is then still there, unchanged.
pub fn write_burnpack(
    path: impl AsRef<Path>,
    tensors: Vec<TensorOut>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let tensors = tensors
        .into_iter()
        .map(|tensor| {
            let dtype = match tensor.element_type() {
                ElementType::I64 => DType::I64,
                ElementType::F16 => DType::F16,
                _ => DType::F32,
            };
            let shape = tensor.shape().to_vec();
            let (name, bytes) = tensor.into_parts();
            burn_pack::Tensor::new(name, dtype, shape, None, Bytes::from_bytes_vec(bytes))
        })
        .collect();
    metadata
        .iter()
        .fold(Writer::new(tensors), |writer, (key, value)| {
            writer.with_metadata(key, value)
        })
        .auto_extension(false)
        .overwrite(true)
        .write_to_file(path)
        .map_err(|error| Error::write(path)(std::io::Error::other(error.to_string())))
}

/// The reader makes room for the metadata that a header announces before it reads it.
fn check_header(path: &Path) -> Result<(), Error> {
    let mut file = File::open(path).map_err(Error::read(path))?;
    let size = file.metadata().map_err(Error::read(path))?.len();
    let mut header = [0; HEADER_SIZE];
    file.read_exact(&mut header)
        .map_err(|_| Error::truncated(path, format_args!("it has {size} bytes")))?;
    let header = Header::from_bytes(&header).map_err(|error| translate(path, error))?;
    let needed = HEADER_SIZE as u64 + u64::from(header.metadata_size);
    if needed > size {
        return Err(Error::truncated(
            path,
            format_args!("its header needs {needed} bytes and {size} are there"),
        ));
    }
    Ok(())
}

fn translate(path: &Path, error: burn_pack::Error) -> Error {
    let detail = error.to_string();
    let cut = matches!(error, burn_pack::Error::InvalidHeader)
        || ["truncated", "too small", "incomplete", "failed to fill"]
            .iter()
            .any(|word| detail.to_lowercase().contains(word));
    if cut {
        Error::truncated(path, detail)
    } else {
        Error::corrupt(path, Format::Burnpack.name(), detail)
    }
}

fn element_type(dtype: DType) -> ElementType {
    match dtype {
        DType::F64 => ElementType::F64,
        DType::F32 | DType::Flex32 => ElementType::F32,
        DType::F16 => ElementType::F16,
        DType::BF16 => ElementType::BF16,
        DType::I64 => ElementType::I64,
        DType::I32 => ElementType::I32,
        DType::I16 => ElementType::I16,
        DType::I8 => ElementType::I8,
        DType::U64 => ElementType::U64,
        DType::U32 => ElementType::U32,
        DType::U16 => ElementType::U16,
        DType::U8 => ElementType::U8,
        DType::Bool(_) => ElementType::Other("bool"),
        _ => ElementType::Other("quantised"),
    }
}
