//! Weights out: safetensors that PyTorch loads as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use burn_pack::AtomicFile;
use half::f16;
use safetensors::tensor::{Dtype, TensorInfo};

use crate::Error;
use crate::checkpoint::ElementType;
use crate::state_dict::HostTensor;

/// A tensor on its way into a file.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorOut {
    name: String,
    shape: Vec<usize>,
    element_type: ElementType,
    bytes: Vec<u8>,
}

impl TensorOut {
    /// Makes a tensor of 32-bit floats in row-major order.
    ///
    /// # Panics
    /// If `values` are not as many as `shape` needs.
    pub fn f32(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: &[f32]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::new(
            name.into(),
            shape.into(),
            ElementType::F32,
            bytes,
            values.len(),
        )
    }

    /// Makes the same, stored in half the space: 11 significant bits, magnitudes up to 65504.
    ///
    /// # Panics
    /// If `values` are not as many as `shape` needs.
    pub fn f16(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: &[f32]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|&value| f16::from_f32(value).to_le_bytes())
            .collect();
        Self::new(
            name.into(),
            shape.into(),
            ElementType::F16,
            bytes,
            values.len(),
        )
    }

    /// Makes a tensor of 64-bit integers; `num_batches_tracked` is one of shape `[]`.
    ///
    /// # Panics
    /// If `values` are not as many as `shape` needs.
    pub fn i64(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: &[i64]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::new(
            name.into(),
            shape.into(),
            ElementType::I64,
            bytes,
            values.len(),
        )
    }

    fn new(
        name: String,
        shape: Vec<usize>,
        element_type: ElementType,
        bytes: Vec<u8>,
        given: usize,
    ) -> Self {
        let needed: usize = shape.iter().product();
        assert_eq!(
            given, needed,
            "tensor `{name}` of shape {shape:?} needs {needed} values, got {given}"
        );
        Self {
            name,
            shape,
            element_type,
            bytes,
        }
    }

    /// Returns its name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the element type in the file.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    pub(crate) fn into_parts(self) -> (String, Vec<u8>) {
        (self.name, self.bytes)
    }

    fn dtype(&self) -> Dtype {
        match self.element_type {
            ElementType::I64 => Dtype::I64,
            ElementType::F16 => Dtype::F16,
            _ => Dtype::F32,
        }
    }
}

/// Turns a state dict into tensors to write, with the counter of batches that PyTorch keeps beside every running
/// variance.
pub fn named_tensors(
    tensors: BTreeMap<String, HostTensor>,
    encode: fn(String, Vec<usize>, &[f32]) -> TensorOut,
) -> Vec<TensorOut> {
    let mut out = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        if let Some(layer) = name.strip_suffix("running_var") {
            let counter = format!("{layer}num_batches_tracked");
            out.push(TensorOut::i64(counter, Vec::new(), &[0]));
        }
        out.push(encode(name, tensor.shape, &tensor.values));
    }
    out
}

/// Writes tensors as safetensors. With the names of the published state dict, PyTorch's
/// `load_state_dict(strict=True)` takes the result.
///
/// Equal input gives equal bytes. The file is written beside `path` under a temporary name,
/// flushed to the disk and then renamed, so that `path` never holds half a file.
///
/// # Errors
/// [`Error::Write`]; a file that was at `path` is then still there, unchanged.
/// [`Error::DuplicateTensor`] for two tensors of one name.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    mut tensors: Vec<TensorOut>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let path = path.as_ref();
    refuse_duplicates(path, &tensors)?;
    // The wider types first, so that every tensor is aligned to its own type.
    tensors.sort_by(|a, b| b.dtype().cmp(&a.dtype()).then_with(|| a.name.cmp(&b.name)));
    let header = header(&tensors, metadata).map_err(|error| Error::write(path)(error.into()))?;

    write_atomically(path, |file| {
        let mut out = BufWriter::new(file);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for tensor in &tensors {
            out.write_all(&tensor.bytes)?;
        }
        out.flush()
    })
}

fn refuse_duplicates(path: &Path, tensors: &[TensorOut]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    match tensors
        .iter()
        .find(|tensor| !seen.insert(tensor.name.as_str()))
    {
        None => Ok(()),
        Some(tensor) => Err(Error::DuplicateTensor {
            path: path.to_path_buf(),
            name: tensor.name.clone(),
            detail: "it was to be written twice".to_string(),
        }),
    }
}

/// Returns the JSON header, padded to eight bytes. Written here rather than by the `safetensors` crate, which keeps
/// metadata in a hash map and so orders it anew in every run.
fn header(
    tensors: &[TensorOut],
    metadata: &BTreeMap<String, String>,
) -> serde_json::Result<Vec<u8>> {
    let mut entries = Vec::with_capacity(tensors.len() + 1);
    if !metadata.is_empty() {
        entries.push(format!(
            r#""__metadata__":{}"#,
            serde_json::to_string(metadata)?
        ));
    }
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.bytes.len();
        let info = TensorInfo {
            dtype: tensor.dtype(),
            shape: tensor.shape.clone(),
            data_offsets: (offset, end),
        };
        entries.push(format!(
            "{}:{}",
            serde_json::to_string(&tensor.name)?,
            serde_json::to_string(&info)?
        ));
        offset = end;
    }
    let mut header = format!("{{{}}}", entries.join(",")).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// Runs `write` on a temporary file beside `path`, and gives it that name once it is on the disk, so that `path` never
/// holds half a file.
///
/// # Errors
/// [`Error::Write`]; a file that was at `path` is then still there, unchanged.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), Error> {
    let pack_error =
        |error: burn_pack::Error| Error::write(path)(io::Error::other(error.to_string()));
    let (scratch, file) = AtomicFile::create(path).map_err(pack_error)?;
    write(&file)
        .and_then(|()| file.sync_all())
        .map_err(Error::write(path))?;
    drop(file);
    scratch.commit().map_err(pack_error)
}
