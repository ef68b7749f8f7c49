//! Numbers that are known before the network runs.

use std::rc::Rc;

use super::error::ImportError;
use crate::onnx::proto::{
    BFLOAT16, BOOL, DOUBLE, EXTERNAL, FLOAT, FLOAT16, INT8, INT16, INT32, INT64, TensorProto,
    UINT8, UINT16,
};

/// A tensor of known numbers.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub shape: Vec<usize>,
    pub data: Data,
    /// The weight's name in the file, through changes of its layout.
    pub name: Option<Rc<str>>,
    /// The number of dimensions that the weight has in the file.
    pub rank: usize,
    /// Element type in the file.
    pub kind: i32,
}

/// Its numbers, row-major. Truth values are whole numbers.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Floats(Rc<Vec<f32>>),
    Ints(Rc<Vec<i64>>),
}

/// The most elements that a constant may have which is computed on reading.
pub(super) const MOST_ELEMENTS: usize = 1 << 28;

/// Multiplies extents; none for more elements than there may be.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    let product = shape
        .iter()
        .try_fold(1usize, |n, extent| n.checked_mul(*extent))?;
    (product <= MOST_ELEMENTS).then_some(product)
}

impl Constant {
    pub fn new(shape: Vec<usize>, data: Data) -> Self {
        Self {
            rank: shape.len(),
            kind: match data {
                Data::Floats(_) => FLOAT,
                Data::Ints(_) => INT64,
            },
            shape,
            data,
            name: None,
        }
    }

    pub fn floats(shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self::new(shape, Data::Floats(Rc::new(values)))
    }

    pub fn ints(shape: Vec<usize>, values: Vec<i64>) -> Self {
        Self::new(shape, Data::Ints(Rc::new(values)))
    }

    /// Returns whole numbers in a row, such as a shape.
    pub fn row(values: Vec<i64>) -> Self {
        Self::ints(vec![values.len()], values)
    }

    pub fn named(self, name: Option<Rc<str>>) -> Self {
        Self { name, ..self }
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the real numbers; none for whole ones.
    pub fn as_floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Floats(values) => Some(values),
            Data::Ints(_) => None,
        }
    }

    /// Returns whole numbers; none for real ones.
    pub fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Ints(values) => Some(values),
            Data::Floats(_) => None,
        }
    }

    /// Returns the one number that it is, or that all its elements are.
    pub fn scalar(&self) -> Option<f64> {
        let same = |first: f64, others: bool| others.then_some(first);
        match &self.data {
            Data::Floats(values) => {
                let first = *values.first()?;
                same(f64::from(first), values.iter().all(|v| *v == first))
            }
            Data::Ints(values) => {
                let first = *values.first()?;
                same(first as f64, values.iter().all(|v| *v == first))
            }
        }
    }

    /// Reads a tensor of the file. `external` reads bytes of another file: its name, where they begin, and how many.
    pub fn read(tensor: &TensorProto, external: &mut External<'_>) -> Result<Self, ImportError> {
        let name = tensor.name.clone().unwrap_or_default();
        let damaged = |reason: &str| ImportError::Damaged {
            reason: format!("tensor {name:?} {reason}"),
        };
        let shape: Option<Vec<usize>> = tensor
            .dims
            .iter()
            .map(|d| usize::try_from(*d).ok())
            .collect();
        let shape = shape.ok_or_else(|| damaged("has a negative extent"))?;
        let count = elements(&shape).ok_or_else(|| damaged("has too many elements"))?;
        let kind = tensor.data_type.unwrap_or_default();
        let bytes;
        let raw = match (&tensor.raw_data, tensor.data_location) {
            (_, Some(EXTERNAL)) => {
                bytes = external.bytes(tensor)?;
                Some(bytes.as_slice())
            }
            (Some(raw), _) if !raw.is_empty() => Some(raw.as_slice()),
            _ => None,
        };
        let data = match raw {
            Some(raw) => from_bytes(kind, raw),
            None => from_fields(kind, tensor),
        };
        let data = data.ok_or_else(|| {
            damaged(&format!(
                "has elements of type {kind} of ONNX, which are not taken"
            ))
        })?;
        let found = match &data {
            Data::Floats(values) => values.len(),
            Data::Ints(values) => values.len(),
        };
        if found != count {
            let reason = format!("of shape {shape:?} needs {count} elements and has {found}");
            return Err(damaged(&reason));
        }
        let name = (!name.is_empty()).then(|| Rc::from(name.as_str()));
        Ok(Self {
            kind,
            ..Self::new(shape, data).named(name)
        })
    }
}

fn floats<const N: usize>(raw: &[u8], from: impl Fn([u8; N]) -> f32) -> Option<Data> {
    let (chunks, rest) = raw.as_chunks::<N>();
    let values = chunks.iter().map(|chunk| from(*chunk)).collect();
    rest.is_empty().then(|| Data::Floats(Rc::new(values)))
}

fn ints<const N: usize>(raw: &[u8], from: impl Fn([u8; N]) -> i64) -> Option<Data> {
    let (chunks, rest) = raw.as_chunks::<N>();
    let values = chunks.iter().map(|chunk| from(*chunk)).collect();
    rest.is_empty().then(|| Data::Ints(Rc::new(values)))
}

fn from_bytes(kind: i32, raw: &[u8]) -> Option<Data> {
    match kind {
        FLOAT => floats(raw, f32::from_le_bytes),
        DOUBLE => floats(raw, |b| f64::from_le_bytes(b) as f32),
        FLOAT16 => floats(raw, |b| half::f16::from_le_bytes(b).to_f32()),
        BFLOAT16 => floats(raw, |b| half::bf16::from_le_bytes(b).to_f32()),
        INT64 => ints(raw, i64::from_le_bytes),
        INT32 => ints(raw, |b| i64::from(i32::from_le_bytes(b))),
        INT16 => ints(raw, |b| i64::from(i16::from_le_bytes(b))),
        UINT16 => ints(raw, |b| i64::from(u16::from_le_bytes(b))),
        INT8 => ints(raw, |[b]| i64::from(b as i8)),
        UINT8 => ints(raw, |[b]| i64::from(b)),
        BOOL => ints(raw, |[b]| i64::from(b != 0)),
        _ => None,
    }
}

fn from_fields(kind: i32, tensor: &TensorProto) -> Option<Data> {
    let bits = tensor.int32_data.iter().map(|bits| *bits as u16);
    match kind {
        FLOAT => Some(Data::Floats(Rc::new(tensor.float_data.clone()))),
        DOUBLE => {
            let values = tensor.double_data.iter().map(|v| *v as f32);
            Some(Data::Floats(Rc::new(values.collect())))
        }
        FLOAT16 => {
            let values = bits.map(|bits| half::f16::from_bits(bits).to_f32());
            Some(Data::Floats(Rc::new(values.collect())))
        }
        BFLOAT16 => {
            let values = bits.map(|bits| half::bf16::from_bits(bits).to_f32());
            Some(Data::Floats(Rc::new(values.collect())))
        }
        INT64 => Some(Data::Ints(Rc::new(tensor.int64_data.clone()))),
        INT32 | INT16 | UINT16 | INT8 | UINT8 | BOOL => {
            let values = tensor.int32_data.iter().map(|v| i64::from(*v));
            Some(Data::Ints(Rc::new(values.collect())))
        }
        _ => None,
    }
}

/// Reads bytes of a file beside an ONNX file: its name, where they begin, and how many (to the end for `None`). The error is
/// the end of a sentence.
pub type ReadExternal<'a> = dyn FnMut(&str, u64, Option<u64>) -> Result<Vec<u8>, String> + 'a;

/// Reads weights that lie in files beside an ONNX file.
pub(super) struct External<'a> {
    pub read: &'a mut ReadExternal<'a>,
}

impl External<'_> {
    fn bytes(&mut self, tensor: &TensorProto) -> Result<Vec<u8>, ImportError> {
        let entry = |key: &str| {
            let mut entries = tensor.external_data.iter();
            let entry = entries.find(|entry| entry.key.as_deref() == Some(key));
            entry.and_then(|entry| entry.value.clone())
        };
        let location = entry("location").unwrap_or_default();
        let wrong = |reason: String| ImportError::External {
            location: location.clone(),
            reason,
        };
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(wrong(format!("its {key} is {text:?}, no number"))),
            },
        };
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?;
        (self.read)(&location, offset, length).map_err(wrong)
    }
}
