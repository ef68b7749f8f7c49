//! `.safetensors`: the header at once, each tensor when it is asked for.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::Error;
use crate::checkpoint::{ElementType, Format, NamedTensor};
use crate::contents::Contents;

pub(crate) fn read(path: &Path) -> Result<Contents, Error> {
    let file = File::open(path).map_err(Error::read(path))?;
    let size = file.metadata().map_err(Error::read(path))?.len();
    read_from(path, Box::new(file), size)
}

/// Source that safetensors are read from: a file, or bytes in memory.
pub(crate) trait Source: Read + Seek + Send {}

impl<S: Read + Seek + Send> Source for S {}

/// `path` serves the error messages.
pub(crate) fn read_from(
    path: &Path,
    mut file: Box<dyn Source>,
    size: u64,
) -> Result<Contents, Error> {
    let header_len = header_length(path, &mut *file, size)?;
    let header = parse_header(path, &mut *file, header_len)?;
    if let Some(name) = header.duplicate {
        return Err(Error::DuplicateTensor {
            path: path.to_path_buf(),
            name,
            detail: String::new(),
        });
    }
    let data_start = 8 + header_len;
    check_layout(path, &header.tensors, size - data_start)?;

    let shared: Arc<Path> = path.into();
    let file = Arc::new(Mutex::new(file));
    let tensors = header
        .tensors
        .into_iter()
        .map(|(name, info)| {
            let region = Region {
                file: Arc::clone(&file),
                path: Arc::clone(&shared),
                start: data_start + info.data_offsets.0 as u64,
                len: info.data_offsets.1 - info.data_offsets.0,
            };
            let tensor = NamedTensor::new(
                name.clone(),
                info.shape,
                element_type(info.dtype),
                Arc::clone(&shared),
                Format::Safetensors,
                move || region.read(),
            );
            (name, tensor)
        })
        .collect();
    Ok(Contents {
        tensors,
        metadata: header.metadata,
        ..Contents::default()
    })
}

/// Limit of the header in bytes, the same as in the reference implementation of safetensors.
pub(crate) const LONGEST_HEADER: u64 = 100_000_000;

fn header_length(path: &Path, file: &mut dyn Source, size: u64) -> Result<u64, Error> {
    let mut length = [0; 8];
    file.read_exact(&mut length)
        .map_err(|_| Error::truncated(path, format_args!("it has {size} bytes")))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        return Err(Error::corrupt(
            path,
            Format::Safetensors.name(),
            format_args!(
                "its header claims {length} bytes, more than the format allows ({LONGEST_HEADER})"
            ),
        ));
    }
    if length > size - 8 {
        return Err(Error::truncated(
            path,
            format_args!("its header needs {length} bytes and {} are there", size - 8),
        ));
    }
    Ok(length)
}

fn parse_header(path: &Path, file: &mut dyn Source, length: u64) -> Result<Header, Error> {
    let mut json = vec![0; length as usize];
    file.read_exact(&mut json).map_err(Error::read(path))?;
    serde_json::from_slice(&json).map_err(|error| {
        Error::corrupt(
            path,
            Format::Safetensors.name(),
            format_args!("its header is not valid: {error}"),
        )
    })
}

/// Shapes, element types and offsets must agree with each other and fill the file exactly.
fn check_layout(
    path: &Path,
    tensors: &[(String, TensorInfo)],
    available: u64,
) -> Result<(), Error> {
    let needed = tensors
        .iter()
        .map(|(_, info)| info.data_offsets.1 as u64)
        .max()
        .unwrap_or(0);
    if needed > available {
        return Err(Error::truncated(
            path,
            format_args!("its tensors need {needed} bytes and {available} are there"),
        ));
    }
    let mut ordered = tensors.to_vec();
    ordered.sort_by_key(|(_, info)| info.data_offsets);
    let end = ordered
        .last()
        .map_or(0, |(_, info)| info.data_offsets.1 as u64);
    Metadata::new(None, ordered)
        .map_err(|error| Error::corrupt(path, Format::Safetensors.name(), error))?;
    if end != available {
        return Err(Error::corrupt(
            path,
            Format::Safetensors.name(),
            format_args!(
                "its tensors end {} bytes before the file does",
                available - end
            ),
        ));
    }
    Ok(())
}

/// A part of an open file. The file stays the one that was opened, also if another takes its name.
struct Region {
    file: Arc<Mutex<Box<dyn Source>>>,
    path: Arc<Path>,
    start: u64,
    len: usize,
}

impl Region {
    fn read(&self) -> Result<Vec<u8>, Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; self.len];
        file.seek(SeekFrom::Start(self.start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(Error::read(&self.path))?;
        Ok(bytes)
    }
}

/// The header's JSON object. Parsed here rather than by the `safetensors` crate, whose map keeps
/// the last of two equal names without a word, and which wants the whole file in memory.
struct Header {
    tensors: Vec<(String, TensorInfo)>,
    metadata: BTreeMap<String, String>,
    duplicate: Option<String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header {
            tensors: Vec::new(),
            metadata: BTreeMap::new(),
            duplicate: None,
        };
        let mut seen = HashMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                header.metadata = map.next_value()?;
                continue;
            }
            let info: TensorInfo = map.next_value()?;
            if info.data_offsets.0 > info.data_offsets.1 {
                return Err(A::Error::custom(format!(
                    "tensor `{name}` ends before it begins"
                )));
            }
            if seen.insert(name.clone(), ()).is_some() {
                header.duplicate.get_or_insert(name.clone());
            }
            header.tensors.push((name, info));
        }
        Ok(header)
    }
}

fn element_type(dtype: Dtype) -> ElementType {
    match dtype {
        Dtype::F64 => ElementType::F64,
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::BF16,
        Dtype::I64 => ElementType::I64,
        Dtype::I32 => ElementType::I32,
        Dtype::I16 => ElementType::I16,
        Dtype::I8 => ElementType::I8,
        Dtype::U64 => ElementType::U64,
        Dtype::U32 => ElementType::U32,
        Dtype::U16 => ElementType::U16,
        Dtype::U8 => ElementType::U8,
        Dtype::BOOL => ElementType::Bool,
        Dtype::C64 => ElementType::Other("complex64"),
        _ => ElementType::Other("a float of 8 bits or fewer"),
    }
}
