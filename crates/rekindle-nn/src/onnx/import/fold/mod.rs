//! Folds constants on reading: everything that exporters leave around shapes.

mod elements;
mod numbers;
mod quantized;
mod reduce;
mod shapes;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::attributes::Operator;
use super::constant::{Constant, Data};
use super::error::Outcome;
use elements::{concatenated, gathered, split, taken, tiled};
use numbers::{binary, cast, chosen, counted, unary};
use quantized::{dequantized, quantized};
use reduce::{batch_normalised, reduced};

pub(super) use elements::{expanded, transposed};
pub(super) use quantized::bounds;
pub(super) use shapes::{axes, broadcast, lengths, order, parts, regrouped, shape, slices};

/// Operators that are computed on reading where all they take is known.
pub(super) const FOLDED: [&str; 52] = [
    "Abs",
    "Add",
    "And",
    "Cast",
    "CastLike",
    "Ceil",
    "Clip",
    "Concat",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Equal",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "QuantizeLinear",
    "Range",
    "Reciprocal",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Reshape",
    "Round",
    "Shape",
    "Size",
    "Slice",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Computes what an operator gives for known inputs; `None` where it can't be computed.
pub(super) fn fold(
    operator: Operator<'_>,
    inputs: &[Option<&Constant>],
) -> Outcome<Option<Vec<Constant>>> {
    let kind = operator.kind();
    let Some(Some(x)) = inputs.first() else {
        return Ok(None);
    };
    let x = *x;
    let second = inputs.get(1).copied().flatten();
    let arithmetic = match operator.int("fmod") {
        Some(1) if kind == "Mod" => "Mod of C",
        _ => kind.as_str(),
    };
    if let Some(mut result) = binary(arithmetic, x, second)? {
        // The largest and the least are of any number of tensors.
        for other in inputs.iter().skip(2).flatten() {
            let next = binary(arithmetic, &result, Some(other))?;
            result = next.ok_or("it takes another number of tensors")?;
        }
        return Ok(Some(vec![result]));
    }
    if let Some(result) = unary(&kind, x) {
        return Ok(Some(vec![result]));
    }
    let one = match kind.as_str() {
        "Identity" | "Dropout" => x.clone(),
        "Cast" => cast(x, operator.int("to").unwrap_or(1)),
        "CastLike" => match second.map(|like| &like.data) {
            Some(Data::Ints(_)) => cast(x, 7),
            _ => cast(x, 1),
        },
        "Shape" => shape(operator, &x.shape)?,
        "Clip" => {
            let mut result = x.clone();
            for (index, kind) in [(1, "Max"), (2, "Min")] {
                if let Some(bound) = inputs.get(index).copied().flatten() {
                    result = binary(kind, &result, Some(bound))?.ok_or("it has no bounds")?;
                }
            }
            result
        }
        "Size" => Constant::ints(Vec::new(), vec![x.elements() as i64]),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
            let shape = regrouped(operator, &x.shape, second)?;
            Constant { shape, ..x.clone() }
        }
        "Transpose" => transposed(x, &order(operator, x.shape.len())?)?,
        "Slice" => {
            let mut result = x.clone();
            for (axis, start, count, step) in slices(operator, inputs, &x.shape)? {
                let place = |at: usize| start.wrapping_add_signed(at as isize * step);
                result = taken(&result, axis, (0..count).map(place))?;
            }
            result.named(None)
        }
        "Gather" => gathered(operator, x, second)?,
        "Concat" => concatenated(operator, inputs)?,
        "Expand" => expanded(x, &lengths(second)?)?,
        "Tile" => tiled(x, &lengths(second)?)?,
        "Split" => return split(operator, x, second).map(Some),
        "Where" => chosen(inputs)?,
        "Range" => counted(inputs)?,
        "QuantizeLinear" => quantized(operator, x, inputs)?,
        "DequantizeLinear" => dequantized(operator, x, inputs)?,
        "BatchNormalization" => {
            let Some(normalised) = batch_normalised(operator, inputs)? else {
                return Ok(None);
            };
            normalised
        }
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceL2"
        | "ReduceSumSquare" => {
            let Some(reduced) = reduced(operator, &kind, x, second)? else {
                return Ok(None);
            };
            reduced
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![one]))
}
