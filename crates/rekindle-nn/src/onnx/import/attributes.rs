//! A node of the file and its settings.

use super::constant::{Constant, External};
use super::error::{ImportError, Outcome};
use crate::onnx::proto::{AttributeProto, NodeProto};

/// A node of the file.
#[derive(Clone, Copy)]
pub(super) struct Operator<'a> {
    pub node: &'a NodeProto,
    /// Version of the operator set.
    pub opset: i64,
}

impl<'a> Operator<'a> {
    /// Returns the operator's name, with its domain where that is not ONNX's own.
    pub fn kind(&self) -> String {
        let kind = self.node.op_type.as_deref().unwrap_or_default();
        match self.node.domain.as_deref().unwrap_or_default() {
            "" | "ai.onnx" => kind.to_string(),
            domain => format!("{domain}::{kind}"),
        }
    }

    /// Returns the node's name, or that of its first output.
    pub fn name(&self) -> &'a str {
        let output = self.node.output.first().map_or("?", String::as_str);
        let name = self.node.name.as_deref().unwrap_or_default();
        if name.is_empty() { output } else { name }
    }

    /// Returns the names of the inputs; empty for one that is left out.
    pub fn input(&self, index: usize) -> &'a str {
        self.node.input.get(index).map_or("", String::as_str)
    }

    fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        let mut all = self.node.attribute.iter();
        all.find(|attribute| attribute.name.as_deref() == Some(name))
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|a| a.i.unwrap_or_default())
    }

    pub fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub fn float(&self, name: &str) -> Option<f64> {
        self.attribute(name)
            .map(|a| f64::from(a.f.unwrap_or_default()))
    }

    pub fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.attribute(name).map(|a| a.floats.as_slice())
    }

    pub fn text(&self, name: &str) -> Option<String> {
        let bytes = self.attribute(name)?.s.as_deref().unwrap_or_default();
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Reads an integer that has to be 0 or more, or `default`.
    pub fn count(&self, name: &str, default: usize) -> Outcome<usize> {
        match self.int(name) {
            None => Ok(default),
            Some(value) => Ok(usize::try_from(value)
                .map_err(|_| format!("its {name} is {value}, which is negative"))?),
        }
    }

    /// Reads `N` integers that have to be 0 or more, or `default` each.
    pub fn counts<const N: usize>(&self, name: &str, default: usize) -> Outcome<[usize; N]> {
        let Some(values) = self.ints(name).filter(|values| !values.is_empty()) else {
            return Ok([default; N]);
        };
        let counts: Option<Vec<usize>> = values.iter().map(|v| usize::try_from(*v).ok()).collect();
        let counts = counts.and_then(|counts| <[usize; N]>::try_from(counts).ok());
        Ok(counts.ok_or_else(|| format!("its {name} are {values:?}, where {N} were expected"))?)
    }

    /// Reads the tensor of a setting.
    pub fn tensor(
        &self,
        name: &str,
        external: &mut External<'_>,
    ) -> Result<Option<Constant>, ImportError> {
        let tensor = self.attribute(name).and_then(|a| a.t.as_ref());
        tensor
            .map(|tensor| Constant::read(tensor, external))
            .transpose()
    }

    /// Reads what a `Constant` holds.
    pub fn constant(&self, external: &mut External<'_>) -> Outcome<Constant> {
        if let Some(tensor) = self.tensor("value", external)? {
            return Ok(tensor);
        }
        let attribute = |name: &str| self.attribute(name);
        if let Some(value) = self.float("value_float") {
            return Ok(Constant::floats(Vec::new(), vec![value as f32]));
        }
        if let Some(value) = self.int("value_int") {
            return Ok(Constant::ints(Vec::new(), vec![value]));
        }
        if let Some(values) = attribute("value_floats") {
            return Ok(Constant::floats(
                vec![values.floats.len()],
                values.floats.clone(),
            ));
        }
        match self.ints("value_ints") {
            Some(values) => Ok(Constant::row(values.to_vec())),
            None => Err("it holds no numbers".into()),
        }
    }
}

/// Turns an axis that may count from behind into an index below `rank`.
pub(super) fn axis(value: i64, rank: usize) -> Outcome<usize> {
    let counted = if value < 0 {
        value + rank as i64
    } else {
        value
    };
    match usize::try_from(counted) {
        Ok(index) if index < rank => Ok(index),
        _ => Err(format!("axis {value} of a tensor of {rank} dimensions").into()),
    }
}

/// Computes the shape that a `Reshape` asks for.
pub(super) fn target(from: &[usize], asked: &[i64], zero_is_zero: bool) -> Outcome<Vec<usize>> {
    let wrong = || format!("{from:?} does not fit into the shape {asked:?}");
    let mut open = None;
    let mut shape = Vec::with_capacity(asked.len());
    for (index, extent) in asked.iter().enumerate() {
        shape.push(match *extent {
            -1 if open.is_none() => {
                open = Some(index);
                1
            }
            0 if !zero_is_zero => *from.get(index).ok_or_else(wrong)?,
            extent => usize::try_from(extent).map_err(|_| wrong())?,
        });
    }
    let all: usize = from.iter().product();
    let product = |shape: &[usize]| shape.iter().try_fold(1usize, |n, e| n.checked_mul(*e));
    let known = product(&shape).ok_or_else(wrong)?;
    if let Some(open) = open {
        if known == 0 || !all.is_multiple_of(known) {
            return Err(wrong().into());
        }
        shape[open] = all / known;
    }
    match product(&shape) == Some(all) {
        true => Ok(shape),
        false => Err(wrong().into()),
    }
}

/// A range along an axis as `Slice` means it: bounds beyond the ends are those of the ends.
pub(super) fn range(start: i64, end: i64, extent: usize) -> (usize, usize) {
    let extent = extent as i64;
    let clamp = |bound: i64| {
        let counted = if bound < 0 {
            bound.saturating_add(extent)
        } else {
            bound
        };
        counted.clamp(0, extent)
    };
    let (start, end) = (clamp(start), clamp(end));
    (start as usize, (end - start).max(0) as usize)
}
