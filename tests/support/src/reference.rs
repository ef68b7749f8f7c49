//! Numbers that other programs computed.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// The path of a file of `tests/reference`.
pub fn reference_path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../reference")).join(name)
}

/// Opens a safetensors file of `tests/reference`.
pub fn reference(name: &str) -> Reference {
    Reference::open(&reference_path(name))
}

/// A safetensors file of numbers to agree with.
pub struct Reference {
    bytes: Vec<u8>,
}

impl Reference {
    /// Reads the file; panics where it is missing.
    pub fn open(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { bytes }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    /// Names of all tensors.
    pub fn names(&self) -> Vec<String> {
        let file = self.file();
        file.names().into_iter().map(str::to_string).collect()
    }

    /// Names that begin with `prefix`, without it.
    pub fn names_behind(&self, prefix: &str) -> Vec<String> {
        let names = self.names().into_iter();
        names
            .filter_map(|name| name.strip_prefix(prefix).map(str::to_string))
            .collect()
    }

    /// Shape and values, as `f32` whatever the file has.
    pub fn values(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = self.file();
        let view = file
            .tensor(name)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => {
                let (numbers, _) = data.as_chunks::<4>();
                numbers.iter().map(|b| f32::from_le_bytes(*b)).collect()
            }
            Dtype::I64 => {
                let (numbers, _) = data.as_chunks::<8>();
                let numbers = numbers.iter().map(|b| i64::from_le_bytes(*b));
                numbers.map(|number| number as f32).collect()
            }
            Dtype::U8 => data.iter().map(|b| f32::from(*b)).collect(),
            other => panic!("{name} has dtype {other:?}"),
        };
        (view.shape().to_vec(), values)
    }

    /// Shape and bytes of a tensor of bytes.
    pub fn bytes(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let file = self.file();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), Dtype::U8, "{name}");
        (view.shape().to_vec(), view.data().to_vec())
    }

    /// The [`relative_error`] of what was found under a name.
    pub fn relative_error(&self, name: &str, shape: &[usize], found: &[f32]) -> f64 {
        let (expected_shape, expected) = self.values(name);
        assert_eq!(shape, expected_shape, "shape of {name}");
        relative_error(found, &expected)
    }
}

/// `|found - expected| / |expected|` in the Euclidean norm, summed in f64.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let difference: f64 = found
        .iter()
        .zip(expected)
        .map(|(f, e)| square(f64::from(*f) - f64::from(*e)))
        .sum();
    let norm: f64 = expected.iter().map(|e| square(f64::from(*e))).sum();
    (difference / norm.max(f64::MIN_POSITIVE)).sqrt()
}
