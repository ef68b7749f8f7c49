//! A tensor as PyTorch keeps one: a storage, an offset, a shape and strides.

use std::io;
use std::sync::Arc;

use super::storages::Storages;
use crate::checkpoint::ElementType;

/// One tensor, not yet read.
pub(super) struct Strided {
    storage: Option<(Arc<Storages>, String)>,
    pub element_type: ElementType,
    pub shape: Vec<usize>,
    stride: Vec<usize>,
    /// Offset in elements.
    offset: usize,
    /// Elements from the offset to the end of the last one.
    extent: usize,
}

impl Strided {
    /// Checks that the tensor lies within its storage, so that nothing is made room for that isn't there.
    ///
    /// # Errors
    /// A sentence about what doesn't fit.
    pub fn new(
        storages: Arc<Storages>,
        key: String,
        element_type: ElementType,
        offset: usize,
        shape: Vec<usize>,
        stride: Vec<usize>,
        storage_elements: usize,
    ) -> Result<Self, String> {
        if shape.len() != stride.len() {
            return Err(format!(
                "a tensor of shape {shape:?} and strides {stride:?}"
            ));
        }
        let beyond = || format!("a tensor of shape {shape:?} is larger than its storage `{key}`");
        let count = shape
            .iter()
            .try_fold(1usize, |count, extent| count.checked_mul(*extent));
        let count = count.ok_or_else(beyond)?;
        let extent = match count {
            0 => 0,
            _ => shape
                .iter()
                .zip(&stride)
                .try_fold(1usize, |extent, (&length, &step)| {
                    extent.checked_add((length - 1).checked_mul(step)?)
                })
                .ok_or_else(beyond)?,
        };
        // An expanded view repeats its elements: no state dict of a network holds one.
        let element_type = match count > storage_elements {
            true => ElementType::Other("an expanded view"),
            false => element_type,
        };
        let end = offset.checked_add(extent).ok_or_else(beyond)?;
        let size = element_type.size().unwrap_or(1) as u64;
        let there = storages
            .size(&key)
            .ok_or_else(|| format!("its storage `{key}` is missing"))?;
        if end > storage_elements || (storage_elements as u64).saturating_mul(size) > there {
            return Err(beyond());
        }
        Ok(Self {
            storage: Some((storages, key)),
            element_type,
            shape,
            stride,
            offset,
            extent,
        })
    }

    /// Represents a tensor of a kind that no network here has.
    pub fn unreadable(kind: &'static str) -> Self {
        Self {
            storage: None,
            element_type: ElementType::Other(kind),
            shape: Vec::new(),
            stride: Vec::new(),
            offset: 0,
            extent: 0,
        }
    }

    /// Returns storage and offset: equal for names that share their numbers.
    pub fn identity(&self) -> Option<(Arc<str>, usize)> {
        let (_, key) = self.storage.as_ref()?;
        Some((key.as_str().into(), self.offset))
    }

    /// Returns the elements in row-major order, little-endian.
    ///
    /// # Errors
    /// Those of reading, and `InvalidData` for element types that are not read here.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let size = self.element_type.size();
        let (Some((storages, key)), Some(size)) = (&self.storage, size) else {
            let detail = format!("{} is not read here", self.element_type.name());
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        };
        let start = (self.offset * size) as u64;
        let mut bytes = storages.read(key, start, (self.extent * size) as u64)?;
        if !self.is_contiguous() {
            bytes = self.gather(&bytes, size);
        }
        if self.element_type == ElementType::Bool {
            for byte in &mut bytes {
                *byte = u8::from(*byte != 0);
            }
        }
        Ok(bytes)
    }

    fn is_contiguous(&self) -> bool {
        if self.extent == 0 {
            return true;
        }
        let mut expected = 1;
        for (&length, &step) in self.shape.iter().zip(&self.stride).rev() {
            if length > 1 && step != expected {
                return false;
            }
            expected *= length;
        }
        true
    }

    fn gather(&self, bytes: &[u8], size: usize) -> Vec<u8> {
        let count: usize = self.shape.iter().product();
        let mut gathered = Vec::with_capacity(count * size);
        let mut at = vec![0usize; self.shape.len()];
        let mut place = 0;
        for _ in 0..count {
            gathered.extend_from_slice(&bytes[place * size..(place + 1) * size]);
            for axis in (0..at.len()).rev() {
                at[axis] += 1;
                place += self.stride[axis];
                if at[axis] < self.shape[axis] {
                    break;
                }
                place -= self.stride[axis] * self.shape[axis];
                at[axis] = 0;
            }
        }
        gathered
    }
}
