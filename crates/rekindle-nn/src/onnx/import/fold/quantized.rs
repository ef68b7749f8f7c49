//! Known numbers that are rounded to whole ones, and back.

use std::rc::Rc;

use super::super::attributes::{Operator, axis};
use super::super::constant::{Constant, Data};
use super::super::error::Outcome;
use crate::onnx::proto::{FLOAT, INT8, INT16, UINT8, UINT16};

/// Returns the least and the largest number of the type that a `QuantizeLinear` with this zero point gives.
pub(crate) fn bounds(operator: Operator<'_>, zero: Option<&Constant>) -> Outcome<(i64, i64)> {
    let asked = operator.int("output_dtype").filter(|kind| *kind != 0);
    let kind = match (zero, asked) {
        (Some(zero), _) => zero.kind,
        (None, Some(kind)) => kind as i32,
        (None, None) => UINT8,
    };
    match kind {
        UINT8 => Ok((0, 255)),
        INT8 => Ok((-128, 127)),
        UINT16 => Ok((0, 65_535)),
        INT16 => Ok((-32_768, 32_767)),
        _ => Err(format!(
            "it rounds to type {kind} of ONNX; whole numbers of 8 and 16 bits are known"
        )
        .into()),
    }
}

/// Scales and zero points by the place of a number.
struct Steps<'a> {
    scales: &'a [f32],
    zeros: Option<&'a [i64]>,
    inner: usize,
}

impl<'a> Steps<'a> {
    fn new(
        operator: Operator<'_>,
        shape: &[usize],
        inputs: &[Option<&'a Constant>],
    ) -> Outcome<Self> {
        if operator.int("block_size").unwrap_or(0) != 0 {
            return Err("its scales are those of blocks".into());
        }
        let given = |index: usize| inputs.get(index).copied().flatten();
        let scale = given(1).ok_or("its scale is not known before the network runs")?;
        let scales = scale.as_floats().ok_or("its scale is a whole number")?;
        let zeros = match given(2) {
            None => None,
            Some(zero) => Some(zero.as_ints().ok_or("its zero point is no whole number")?),
        };
        let (count, inner) = match scales.len() {
            1 => (1, 1),
            count => {
                let at = axis(operator.int("axis").unwrap_or(1), shape.len())?;
                let fits = shape[at] == count && scale.shape.len() == 1;
                let wrong = || format!("{count} scales for dimension {at} of {shape:?}");
                fits.then_some(()).ok_or_else(wrong)?;
                (count, shape[at + 1..].iter().product())
            }
        };
        if zeros.is_some_and(|zeros| zeros.len() != count) {
            return Err(format!("it has other zero points than its {count} scales").into());
        }
        Ok(Self {
            scales,
            zeros,
            inner: std::cmp::max(inner, 1),
        })
    }

    fn at(&self, place: usize) -> (f32, i64) {
        let channel = place / self.inner % self.scales.len();
        (
            self.scales[channel],
            self.zeros.map_or(0, |zeros| zeros[channel]),
        )
    }
}

pub(crate) fn quantized(
    operator: Operator<'_>,
    x: &Constant,
    inputs: &[Option<&Constant>],
) -> Outcome<Constant> {
    let (least, most) = bounds(operator, inputs.get(2).copied().flatten())?;
    let steps = Steps::new(operator, &x.shape, inputs)?;
    let values = x.as_floats().ok_or("it rounds whole numbers")?;
    let whole = |(place, value): (usize, &f32)| {
        let (scale, zero) = steps.at(place);
        let whole = (value / scale).round_ties_even() as i64;
        whole.saturating_add(zero).clamp(least, most)
    };
    let values = values.iter().enumerate().map(whole).collect();
    Ok(Constant {
        data: Data::Ints(Rc::new(values)),
        ..x.clone()
    })
}

pub(crate) fn dequantized(
    operator: Operator<'_>,
    x: &Constant,
    inputs: &[Option<&Constant>],
) -> Outcome<Constant> {
    let steps = Steps::new(operator, &x.shape, inputs)?;
    let values = x.as_ints().ok_or("it takes real numbers")?;
    let real = |(place, value): (usize, &i64)| {
        let (scale, zero) = steps.at(place);
        value.wrapping_sub(zero) as f32 * scale
    };
    let values = values.iter().enumerate().map(real).collect();
    // onnxruntime calls what it rounds so.
    let name = x.name.as_deref();
    let name = name.map(|name| name.strip_suffix("_quantized").unwrap_or(name).into());
    Ok(Constant {
        data: Data::Floats(Rc::new(values)),
        kind: FLOAT,
        name,
        ..x.clone()
    })
}
