//! PyTorch's `.pth`, through the reader that Burn uses.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use pytorch_reader::{DType, MAX_PICKLE_SIZE, PytorchError, PytorchReader};

use super::{ElementType, Format, NamedTensor, guarded, pickle_scan};
use crate::Error;

pub(super) fn read(path: &Path, format: Format) -> Result<BTreeMap<String, NamedTensor>, Error> {
    refuse_foreign_code(path, format)?;
    let reader = guarded(path, format, || {
        PytorchReader::new(path).map_err(|error| translate(path, format, error))
    })?;
    let shared: Arc<Path> = path.into();
    Ok(reader
        .into_tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let path = Arc::clone(&shared);
            let (shape, element_type) = (tensor.shape().to_vec(), element_type(tensor.dtype()));
            let read = move || {
                guarded(&path, format, || {
                    tensor
                        .read()
                        .map_err(|error| translate_io(&path, format, error))
                })
            };
            let tensor = NamedTensor::new(
                name.clone(),
                shape,
                element_type,
                Arc::clone(&shared),
                format,
                read,
            );
            (name, tensor)
        })
        .collect())
}

/// The tensor reader passes over calls that it does not know; here they are an error.
fn refuse_foreign_code(path: &Path, format: Format) -> Result<(), Error> {
    let found = match format {
        Format::PytorchZip => {
            let pickle = read_data_pickle(path)?;
            pickle_scan::foreign_global(&mut Cursor::new(pickle))
        }
        _ => {
            let mut reader = BufReader::new(File::open(path).map_err(Error::read(path))?);
            // Magic number, protocol, system information, the object, the storages' keys.
            let pickles = if format == Format::PytorchLegacy {
                5
            } else {
                1
            };
            (0..pickles)
                .map(|_| pickle_scan::foreign_global(&mut reader))
                .find_map(Result::transpose)
                .transpose()
        }
    };
    match found {
        Ok(None) => Ok(()),
        Ok(Some(global)) => Err(Error::ForeignCode {
            path: path.to_path_buf(),
            global,
        }),
        Err(error) => Err(translate_io(path, format, error)),
    }
}

fn read_data_pickle(path: &Path) -> Result<Vec<u8>, Error> {
    guarded(path, Format::PytorchZip, || {
        let file = File::open(path).map_err(Error::read(path))?;
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| {
            Error::truncated(
                path,
                format_args!(
                    "the directory at the end of the zip archive is missing or damaged ({error})"
                ),
            )
        })?;
        let index = archive
            .file_names()
            .enumerate()
            .filter_map(|(index, name)| Some((index, name.ok()?)))
            .filter(|(_, name)| name == "data.pkl" || name.ends_with("/data.pkl"))
            .min_by_key(|(_, name)| name.len())
            .map(|(index, _)| index)
            .ok_or_else(|| {
                Error::corrupt(
                    path,
                    Format::PytorchZip.name(),
                    "a zip archive without `data.pkl` is no PyTorch checkpoint",
                )
            })?;
        let mut pickle = Vec::new();
        archive
            .by_index(index)
            .map_err(io::Error::from)
            .and_then(|entry| entry.take(MAX_PICKLE_SIZE + 1).read_to_end(&mut pickle))
            .map_err(|error| translate_io(path, Format::PytorchZip, error))?;
        if pickle.len() as u64 > MAX_PICKLE_SIZE {
            return Err(Error::corrupt(
                path,
                Format::PytorchZip.name(),
                format_args!(
                    "its `data.pkl` unpacks to more than {} MiB",
                    MAX_PICKLE_SIZE >> 20
                ),
            ));
        }
        Ok(pickle)
    })
}

fn translate(path: &Path, format: Format, error: PytorchError) -> Error {
    match error {
        PytorchError::Io(error) => translate_io(path, format, error),
        PytorchError::Pickle(pytorch_reader::PickleError::Io(error)) => {
            translate_io(path, format, error)
        }
        // The legacy layout has no other sign of a cut than storages beyond the end.
        PytorchError::InvalidFormat(detail)
            if detail.contains("beyond") || detail.contains("truncated") =>
        {
            Error::truncated(path, detail)
        }
        error => Error::corrupt(path, format.name(), error),
    }
}

fn translate_io(path: &Path, format: Format, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::truncated(path, format_args!("it ends inside its {format} data"))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            Error::corrupt(path, format.name(), error)
        }
        _ => Error::read(path)(error),
    }
}

fn element_type(dtype: DType) -> ElementType {
    match dtype {
        DType::F64 => ElementType::F64,
        DType::F32 => ElementType::F32,
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
        DType::Bool => ElementType::Bool,
    }
}
