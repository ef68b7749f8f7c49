//! A file of weights, opened but not yet loaded.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};

use crate::error::{Error, Mismatch, Misshapen};

/// The named tensors of one file. Opening reads names and shapes only; data is read tensor by
/// tensor, so that a model is in memory once and not twice.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The tensors by their names. In what [`read`](crate::read) returns these are the file's, with the keys
    /// that lead to each joined by dots (`state_dict.model.conv1.weight`); in what [`network`](Self::network)
    /// returns they are those that the network has where it is published (`conv1.weight`).
    pub tensors: BTreeMap<String, NamedTensor>,
    /// Text that the file carries beside the tensors; see [`ModelInfo`](crate::ModelInfo).
    pub metadata: BTreeMap<String, String>,
    /// The format that its first bytes announced.
    pub format: Format,
    /// Path it was read from.
    pub path: PathBuf,
    /// Python classes in the file that nobody here knows, whose objects were passed over.
    pub(crate) foreign: Vec<String>,
}

impl Checkpoint {
    /// Returns a checkpoint of tensors that are in memory: shapes and values, row-major. `path` and `format` say what they
    /// were read from.
    pub fn from_values(
        path: impl AsRef<Path>,
        format: Format,
        tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
        metadata: BTreeMap<String, String>,
    ) -> Self {
        let path: Arc<Path> = path.as_ref().into();
        let tensors = tensors.into_iter().map(|(name, shape, values)| {
            let bytes = move || Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect());
            let of = Arc::clone(&path);
            let tensor = NamedTensor::new(name.clone(), shape, ElementType::F32, of, format, bytes);
            (name, tensor)
        });
        Self {
            tensors: tensors.collect(),
            metadata,
            format,
            path: path.to_path_buf(),
            foreign: Vec::new(),
        }
    }

    /// Returns the tensor of this name.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn get(&self, name: &str) -> Result<&NamedTensor, Error> {
        self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            path: self.path.clone(),
            name: name.to_string(),
        })
    }

    /// Returns the shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(NamedTensor::shape)
    }

    /// Adds to `mismatch` in what a tensor differs from one of real numbers and this shape.
    pub(crate) fn compare(&self, name: &str, shape: &[usize], mismatch: &mut Mismatch) {
        match self.tensors.get(name) {
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

    /// Reads and converts one tensor; see [`NamedTensor::read_f32`].
    ///
    /// # Errors
    /// [`Error::MissingTensor`], and what [`NamedTensor::read_f32`] returns.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.get(name)?.read_f32()
    }

    /// Returns the number of classes of the linear layer `head`: the rows of its weight, where there is one.
    pub fn classes(&self, head: &str) -> Option<usize> {
        self.shape(&format!("{head}.weight"))
            .and_then(|shape| shape.first().copied())
    }
}

/// Format that a checkpoint was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// PyTorch 1.6 and later: a zip archive.
    PytorchZip,
    /// A bare pickle; holds no tensors, since those need one of the two containers.
    PytorchPickle,
    /// PyTorch 0.1.10 to 1.5: a stream of pickles followed by raw storages.
    PytorchLegacy,
    /// safetensors.
    Safetensors,
    /// Burn's own container.
    Burnpack,
    /// ONNX: a graph with its weights.
    Onnx,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PytorchZip => "PyTorch zip",
            Self::PytorchLegacy => "PyTorch legacy pickle",
            Self::PytorchPickle => "pickle",
            Self::Safetensors => "safetensors",
            Self::Burnpack => "burnpack",
            Self::Onnx => "ONNX",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Element type of a tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the types")]
pub enum ElementType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    /// A type with no use here (8-bit floats, complex numbers, quantised blocks), by its name.
    Other(&'static str),
}

impl ElementType {
    /// Tells whether [`NamedTensor::read_f32`] can convert it.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Returns its short name: `f32`, `i64`, `bool`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::U8 => "u8",
            Self::Bool => "bool",
            Self::Other(name) => name,
        }
    }

    /// Returns the bytes that an element takes; `None` for types that are not read here.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::F64 | Self::I64 | Self::U64 => Some(8),
            Self::F32 | Self::I32 | Self::U32 => Some(4),
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => Some(2),
            Self::I8 | Self::U8 | Self::Bool => Some(1),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

type ReadBytes = Arc<dyn Fn() -> Result<Vec<u8>, Error> + Send + Sync>;

/// One tensor of a [`Checkpoint`]: name, shape and element type, and a way to its data.
#[derive(Clone)]
pub struct NamedTensor {
    name: String,
    shape: Vec<usize>,
    element_type: ElementType,
    path: Arc<Path>,
    format: Format,
    read: ReadBytes,
    /// Storage and offset, where several names may share one.
    pub(crate) identity: Option<(Arc<str>, usize)>,
    /// The Python class around it that nobody here knows.
    pub(crate) inside: Option<Arc<str>>,
}

impl NamedTensor {
    pub(crate) fn new(
        name: String,
        shape: Vec<usize>,
        element_type: ElementType,
        path: Arc<Path>,
        format: Format,
        read: impl Fn() -> Result<Vec<u8>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            shape,
            element_type,
            path,
            format,
            read: Arc::new(read),
            identity: None,
            inside: None,
        }
    }

    /// Zeros, for what a file leaves out and a network needs.
    pub(crate) fn zeros(name: String, shape: Vec<usize>, like: &Self) -> Self {
        let bytes = 4 * shape.iter().product::<usize>();
        let (path, format) = (Arc::clone(&like.path), like.format);
        Self::new(name, shape, ElementType::F32, path, format, move || {
            Ok(vec![0; bytes])
        })
    }

    /// Returns the matrix with rows and columns exchanged.
    pub(crate) fn transposed(&self) -> Self {
        let from = self.clone();
        let mut shape = self.shape.clone();
        shape.reverse();
        self.derived(shape, move || {
            let columns = from.shape.last().copied().unwrap_or(1).max(1);
            let values = from.read_f32()?;
            let column = |first: usize| values[first..].iter().step_by(columns);
            Ok((0..columns.min(values.len()))
                .flat_map(column)
                .copied()
                .collect())
        })
    }

    /// Puts tensors of one shape, of which there is at least one, one behind the other along the first extent.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        let first = parts[0].clone();
        let mut shape = first.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows *= parts.len();
        }
        first.derived(shape, move || {
            let parts = parts.iter().map(Self::read_f32);
            Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
        })
    }

    /// Returns a tensor whose numbers are computed from this one's, under its name.
    fn derived(
        &self,
        shape: Vec<usize>,
        values: impl Fn() -> Result<Vec<f32>, Error> + Send + Sync + 'static,
    ) -> Self {
        let read = move || -> Result<Vec<u8>, Error> {
            Ok(values()?
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect())
        };
        let (name, path) = (self.name.clone(), Arc::clone(&self.path));
        Self {
            inside: self.inside.clone(),
            ..Self::new(name, shape, ElementType::F32, path, self.format, read)
        }
    }

    /// Returns the name under which the file holds it: the keys that lead to it, joined by dots.
    pub fn name_in_file(&self) -> &str {
        &self.name
    }

    /// Returns the extents, outermost first; empty for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Computes the number of elements.
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the element type in the file.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// Reads the data as f32 in row-major order; f16, bf16 and f64 are converted. Nothing is kept, each call reads the
    /// file.
    ///
    /// # Errors
    /// [`Error::WrongElementType`] for whole numbers, [`Error::NotFinite`] for NaN, infinities and
    /// f64 values too large for f32, and reading errors.
    pub fn read_f32(&self) -> Result<Vec<f32>, Error> {
        if !self.element_type.is_float() {
            return Err(self.wrong_type("f32, f16, bf16 or f64"));
        }
        let bytes = self.read_bytes()?;
        let values: Vec<f32> = match self.element_type {
            ElementType::F32 => convert(&bytes, f32::from_le_bytes),
            ElementType::F16 => convert(&bytes, |b| f16::from_le_bytes(b).to_f32()),
            ElementType::BF16 => convert(&bytes, |b| bf16::from_le_bytes(b).to_f32()),
            _ => convert(&bytes, |b| f64::from_le_bytes(b) as f32),
        };
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(Error::NotFinite {
                path: self.path.to_path_buf(),
                name: self.name.clone(),
                index,
                value: self.value_at(&bytes, index, values[index]),
            }),
        }
    }

    /// Reads the data as i64, for counters such as `num_batches_tracked`.
    ///
    /// # Errors
    /// [`Error::WrongElementType`] for real numbers, and reading errors.
    pub fn read_i64(&self) -> Result<Vec<i64>, Error> {
        match self.element_type {
            ElementType::I64 => Ok(convert(&self.read_bytes()?, i64::from_le_bytes)),
            ElementType::I32 => Ok(convert(&self.read_bytes()?, |b| {
                i64::from(i32::from_le_bytes(b))
            })),
            _ => Err(self.wrong_type("i64 or i32")),
        }
    }

    /// Reads the raw bytes: little-endian, row-major.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Truncated`] or [`Error::Corrupt`].
    pub fn read_bytes(&self) -> Result<Vec<u8>, Error> {
        let bytes = (self.read)()?;
        match self
            .element_type
            .size()
            .map(|size| size * self.num_elements())
        {
            Some(expected) if expected != bytes.len() => Err(Error::corrupt(
                &self.path,
                self.format.name(),
                format!(
                    "tensor `{}` of shape {:?} needs {expected} bytes and has {}",
                    self.name,
                    self.shape,
                    bytes.len()
                ),
            )),
            _ => Ok(bytes),
        }
    }

    /// An f64 beyond f32's range is reported as it stands in the file.
    fn value_at(&self, bytes: &[u8], index: usize, value: f32) -> f64 {
        match self.element_type {
            ElementType::F64 => convert(&bytes[index * 8..index * 8 + 8], f64::from_le_bytes)[0],
            _ => f64::from(value),
        }
    }

    fn wrong_type(&self, expected: &'static str) -> Error {
        Error::WrongElementType {
            path: self.path.to_path_buf(),
            name: self.name.clone(),
            expected,
            found: self.element_type.name(),
        }
    }
}

impl fmt::Debug for NamedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedTensor")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .field("element_type", &self.element_type)
            .finish_non_exhaustive()
    }
}

fn convert<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|&chunk| from(chunk))
        .collect()
}
