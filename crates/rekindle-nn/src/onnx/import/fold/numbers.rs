//! Arithmetic on known numbers.

use std::rc::Rc;

use super::super::constant::{Constant, Data, elements};
use super::super::error::Outcome;
use super::elements::expanded;
use super::shapes::broadcast;

pub(crate) fn cast(x: &Constant, to: i64) -> Constant {
    // FLOAT, FLOAT16, DOUBLE and BFLOAT16; the others are whole numbers.
    let data = match (&x.data, [1, 10, 11, 16].contains(&to)) {
        (Data::Ints(values), true) => {
            Data::Floats(Rc::new(values.iter().map(|v| *v as f32).collect()))
        }
        (Data::Floats(values), false) => {
            let whole = |v: &f32| {
                if to == 9 {
                    i64::from(*v != 0.0)
                } else {
                    *v as i64
                }
            };
            Data::Ints(Rc::new(values.iter().map(whole).collect()))
        }
        (data, _) => data.clone(),
    };
    Constant {
        data,
        kind: to as i32,
        ..x.clone()
    }
}

pub(crate) fn unary(kind: &str, x: &Constant) -> Option<Constant> {
    let real: fn(f32) -> f32 = match kind {
        "Neg" => |v| -v,
        "Abs" => f32::abs,
        "Sqrt" => f32::sqrt,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Round" => f32::round_ties_even,
        "Reciprocal" => |v| 1.0 / v,
        "Exp" => f32::exp,
        "Log" => f32::ln,
        "Not" => |v| v,
        _ => return None,
    };
    let whole: fn(i64) -> i64 = match kind {
        "Neg" => i64::wrapping_neg,
        "Abs" => i64::wrapping_abs,
        "Not" => |v| i64::from(v == 0),
        _ => |v| v,
    };
    let data = match &x.data {
        Data::Floats(values) => Data::Floats(Rc::new(values.iter().map(|v| real(*v)).collect())),
        Data::Ints(values) => Data::Ints(Rc::new(values.iter().map(|v| whole(*v)).collect())),
    };
    Some(Constant::new(x.shape.clone(), data))
}

type Real = fn(f32, f32) -> f32;

type Whole = fn(i64, i64) -> Option<i64>;

/// Returns what an operator does with two numbers of one kind, and whether it gives a truth value.
fn arithmetic(kind: &str) -> Option<(Real, Whole, bool)> {
    Some(match kind {
        "Add" => (|a, b| a + b, |a, b| a.checked_add(b), false),
        "Sub" => (|a, b| a - b, |a, b| a.checked_sub(b), false),
        "Mul" => (|a, b| a * b, |a, b| a.checked_mul(b), false),
        "Div" => (|a, b| a / b, |a, b| a.checked_div(b), false),
        // The sign is the divisor's, or else that of what is divided.
        "Mod" => (
            |a, b| a - (a / b).floor() * b,
            |a, b| a.checked_rem(b)?.checked_add(b)?.checked_rem(b),
            false,
        ),
        "Mod of C" => (|a, b| a % b, i64::checked_rem, false),
        "Pow" => (
            f32::powf,
            |a, b| a.checked_pow(u32::try_from(b).ok()?),
            false,
        ),
        "Min" => (f32::min, |a, b| Some(a.min(b)), false),
        "Max" => (f32::max, |a, b| Some(a.max(b)), false),
        "Equal" => (
            |a, b| f32::from(a == b),
            |a, b| Some(i64::from(a == b)),
            true,
        ),
        "Less" => (|a, b| f32::from(a < b), |a, b| Some(i64::from(a < b)), true),
        "LessOrEqual" => (
            |a, b| f32::from(a <= b),
            |a, b| Some(i64::from(a <= b)),
            true,
        ),
        "Greater" => (|a, b| f32::from(a > b), |a, b| Some(i64::from(a > b)), true),
        "GreaterOrEqual" => (
            |a, b| f32::from(a >= b),
            |a, b| Some(i64::from(a >= b)),
            true,
        ),
        "And" => (|a, _| a, |a, b| Some(i64::from(a != 0 && b != 0)), true),
        "Or" => (|a, _| a, |a, b| Some(i64::from(a != 0 || b != 0)), true),
        _ => return None,
    })
}

pub(crate) fn binary(kind: &str, x: &Constant, y: Option<&Constant>) -> Outcome<Option<Constant>> {
    let (Some((real, whole, is_truth)), Some(y)) = (arithmetic(kind), y) else {
        return Ok(None);
    };
    let wrong = || format!("{:?} and {:?} don't fit together", x.shape, y.shape);
    let shape = broadcast(&x.shape, &y.shape).ok_or_else(wrong)?;
    let (x, y) = (expanded(x, &shape)?, expanded(y, &shape)?);
    if let (Some(a), Some(b)) = (x.as_ints(), y.as_ints()) {
        let values: Option<Vec<i64>> = a.iter().zip(b).map(|(a, b)| whole(*a, *b)).collect();
        let values = values.ok_or("it leaves the range of whole numbers")?;
        return Ok(Some(Constant::ints(shape, values)));
    }
    let is_whole = x.as_ints().is_some();
    let (x, y) = (cast(&x, 1), cast(&y, 1));
    let (Some(a), Some(b)) = (x.as_floats(), y.as_floats()) else {
        return Ok(None);
    };
    let values = a.iter().zip(b).map(|(a, b)| real(*a, *b)).collect();
    let result = Constant::floats(shape, values);
    Ok(Some(match (is_truth, kind) {
        (true, _) => cast(&result, 9),
        (false, "Pow") if is_whole => cast(&result, 7),
        _ => result,
    }))
}

pub(crate) fn chosen(inputs: &[Option<&Constant>]) -> Outcome<Constant> {
    let &[Some(condition), Some(a), Some(b)] = inputs else {
        return Err("a part is missing".into());
    };
    let wrong = "its parts don't fit together";
    let shape = broadcast(&a.shape, &b.shape).ok_or(wrong)?;
    let shape = broadcast(&condition.shape, &shape).ok_or(wrong)?;
    let condition = expanded(condition, &shape)?;
    let condition = condition
        .as_ints()
        .ok_or("its condition is no truth value")?;
    let (a, b) = (expanded(a, &shape)?, expanded(b, &shape)?);
    fn choose<T: Copy>(condition: &[i64], a: &[T], b: &[T]) -> Vec<T> {
        let each = condition.iter().zip(a.iter().zip(b));
        each.map(|(c, (a, b))| if *c != 0 { *a } else { *b })
            .collect()
    }
    match (&a.data, &b.data) {
        (Data::Ints(a), Data::Ints(b)) => Ok(Constant::ints(shape, choose(condition, a, b))),
        (Data::Floats(a), Data::Floats(b)) => Ok(Constant::floats(shape, choose(condition, a, b))),
        _ => Err("it chooses between whole and real numbers".into()),
    }
}

pub(crate) fn counted(inputs: &[Option<&Constant>]) -> Outcome<Constant> {
    let given = |index: usize| inputs.get(index).copied().flatten();
    let bounds: Option<Vec<&Constant>> = (0..3).map(given).collect();
    let bounds = bounds.ok_or("a bound is missing")?;
    let whole: Option<Vec<i64>> = bounds
        .iter()
        .map(|b| b.as_ints()?.first().copied())
        .collect();
    let real: Option<Vec<f32>> = bounds
        .iter()
        .map(|b| b.as_floats()?.first().copied())
        .collect();
    let [start, limit, step] = match (&whole, &real) {
        (Some(bounds), _) => [0, 1, 2].map(|index| bounds[index] as f64),
        (_, Some(bounds)) => [0, 1, 2].map(|index| f64::from(bounds[index])),
        _ => return Err("its bounds are of different kinds".into()),
    };
    let count = ((limit - start) / step).ceil();
    // Not for a step of zero, nor for bounds that are no numbers.
    let is_finite = count.is_finite() && count < (1u64 << 40) as f64;
    let count = if is_finite {
        count.max(0.0) as usize
    } else {
        usize::MAX
    };
    elements(&[count]).ok_or("it gives too many elements")?;
    match whole.as_deref() {
        Some(&[start, _, step]) => {
            let value = |at: usize| start.wrapping_add((at as i64).wrapping_mul(step));
            Ok(Constant::row((0..count).map(value).collect()))
        }
        _ => {
            let values = (0..count).map(|at| (start + at as f64 * step) as f32);
            Ok(Constant::floats(vec![count], values.collect()))
        }
    }
}
