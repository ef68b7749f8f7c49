//! Arithmetic on numbers that are known: what exporters leave around shapes.

use std::rc::Rc;

use super::attributes::{Operator, axis, range, target};
use super::constant::{Constant, Data, elements};
use super::error::Outcome;

/// Operators that are computed on reading where all they take is known.
pub(super) const FOLDED: [&str; 49] = [
    "Abs",
    "Add",
    "And",
    "Cast",
    "CastLike",
    "Ceil",
    "Clip",
    "Concat",
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
    "Range",
    "Reciprocal",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
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
    if let Some(result) = binary(&kind, x, second)? {
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
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => {
            let Some(reduced) = reduced(operator, &kind, x, second) else {
                return Ok(None);
            };
            reduced
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![one]))
}

/// Returns the part of a shape that `Shape` asks for.
pub(super) fn shape(operator: Operator<'_>, shape: &[usize]) -> Outcome<Constant> {
    let end = operator.int("end").unwrap_or(i64::MAX);
    let (start, count) = range(operator.int("start").unwrap_or(0), end, shape.len());
    let part = shape[start..start + count].iter();
    Ok(Constant::row(part.map(|extent| *extent as i64).collect()))
}

/// Returns the order of a `Transpose`, by default the reverse.
pub(super) fn order(operator: Operator<'_>, rank: usize) -> Outcome<Vec<usize>> {
    match operator.ints("perm") {
        None => Ok((0..rank).rev().collect()),
        Some(order) => order.iter().map(|from| axis(*from, rank)).collect(),
    }
}

/// Reads axes from the second input or, in older operator sets, from a setting.
pub(super) fn axes(
    operator: Operator<'_>,
    input: Option<&Constant>,
    rank: usize,
) -> Outcome<Option<Vec<usize>>> {
    let given = match input {
        Some(input) => Some(input.as_ints().ok_or("its axes are no whole numbers")?),
        None => operator.ints("axes"),
    };
    let axes = given.map(|axes| axes.iter().map(|a| axis(*a, rank)).collect());
    axes.transpose()
}

/// Computes the new shape of a tensor whose numbers stay where they are.
pub(super) fn regrouped(
    operator: Operator<'_>,
    shape: &[usize],
    second: Option<&Constant>,
) -> Outcome<Vec<usize>> {
    let rank = shape.len();
    match operator.kind().as_str() {
        "Reshape" => {
            let asked = match second {
                Some(asked) => asked.as_ints(),
                None => operator.ints("shape"),
            };
            let asked = asked.ok_or("its shape is not known before the network runs")?;
            target(shape, asked, operator.int("allowzero") == Some(1))
        }
        "Flatten" => {
            let at = operator.int("axis").unwrap_or(1);
            let at = if at == rank as i64 {
                rank
            } else {
                axis(at, rank)?
            };
            let product = |part: &[usize]| part.iter().product();
            Ok(vec![product(&shape[..at]), product(&shape[at..])])
        }
        "Squeeze" => {
            let axes = axes(operator, second, rank)?;
            let is_dropped = |(index, extent): (usize, &usize)| match &axes {
                Some(axes) => axes.contains(&index),
                None => *extent == 1,
            };
            if let Some(at) = (0..rank).find(|at| is_dropped((*at, &shape[*at])) && shape[*at] != 1)
            {
                return Err(format!("dimension {at} of {shape:?} is not 1").into());
            }
            let kept = shape.iter().enumerate().filter(|entry| !is_dropped(*entry));
            Ok(kept.map(|(_, extent)| *extent).collect())
        }
        _ => {
            let given = match second {
                Some(axes) => axes.as_ints(),
                None => operator.ints("axes"),
            };
            let given = given.ok_or("its axes are not known before the network runs")?;
            let new_rank = rank + given.len();
            let axes: Vec<usize> = given
                .iter()
                .map(|a| axis(*a, new_rank))
                .collect::<Outcome<_>>()?;
            let mut old = shape.iter();
            let extents = (0..new_rank).map(|index| match axes.contains(&index) {
                true => Some(1),
                false => old.next().copied(),
            });
            let extents: Option<Vec<usize>> = extents.collect();
            Ok(extents.ok_or("its axes name a dimension twice")?)
        }
    }
}

/// A range of an axis: axis, first index, number of indices, step.
pub(super) type Range = (usize, usize, usize, isize);

/// Lists the ranges that a `Slice` takes.
pub(super) fn slices(
    operator: Operator<'_>,
    inputs: &[Option<&Constant>],
    shape: &[usize],
) -> Outcome<Vec<Range>> {
    let given = |index: usize, name: &str| -> Outcome<Option<Vec<i64>>> {
        match inputs.get(index).copied().flatten() {
            Some(input) => {
                let ints = input.as_ints().ok_or("its bounds are no whole numbers")?;
                Ok(Some(ints.to_vec()))
            }
            None => Ok(operator.ints(name).map(<[i64]>::to_vec)),
        }
    };
    let unknown = "its bounds are not known before the network runs";
    let starts = given(1, "starts")?.ok_or(unknown)?;
    let ends = given(2, "ends")?.ok_or(unknown)?;
    let axes = given(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = given(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("its bounds are of different numbers".into());
    }
    let each = starts.iter().zip(&ends).zip(axes.iter().zip(&steps));
    each.map(|((start, end), (at, step))| {
        let at = axis(*at, shape.len())?;
        if *step == 0 || step.unsigned_abs() > 1 << 32 {
            return Err(format!("its step is {step}").into());
        }
        if *step > 0 {
            let (start, count) = range(*start, *end, shape[at]);
            return Ok((at, start, count.div_ceil(*step as usize), *step as isize));
        }
        // Backwards, from the last number that `start` admits to the one behind `end`.
        let extent = shape[at] as i64;
        let counted = |bound: i64| {
            if bound < 0 {
                bound.saturating_add(extent)
            } else {
                bound
            }
        };
        let first = counted(*start).clamp(-1, extent - 1);
        let last = counted(*end).clamp(-1, extent - 1);
        let count = (first - last).max(0) as usize;
        let start = usize::try_from(first).unwrap_or(0);
        Ok((
            at,
            start,
            count.div_ceil(step.unsigned_abs() as usize),
            *step as isize,
        ))
    })
    .collect()
}

/// Reads the whole numbers of an input as extents.
pub(super) fn lengths(input: Option<&Constant>) -> Outcome<Vec<usize>> {
    let values = input.and_then(Constant::as_ints);
    let values = values.ok_or("its shape is not known before the network runs")?;
    let extents: Option<Vec<usize>> = values.iter().map(|v| usize::try_from(*v).ok()).collect();
    Ok(extents.ok_or_else(|| format!("{values:?} is no shape"))?)
}

/// Lists how many indices each output of a `Split` gets.
pub(super) fn parts(
    operator: Operator<'_>,
    second: Option<&Constant>,
    extent: usize,
) -> Outcome<Vec<usize>> {
    let given = match second {
        Some(input) => input.as_ints(),
        None => operator.ints("split"),
    };
    let parts: Vec<usize> = match given {
        Some(given) => {
            let parts: Option<Vec<usize>> =
                given.iter().map(|v| usize::try_from(*v).ok()).collect();
            parts.ok_or("its parts are negative")?
        }
        None => {
            let count = operator.node.output.len().max(1);
            let each = extent.div_ceil(count);
            (0..count)
                .map(|at| each.min(extent.saturating_sub(at * each)))
                .collect()
        }
    };
    match parts.iter().sum::<usize>() == extent {
        true => Ok(parts),
        false => Err(format!("its parts {parts:?} are not {extent} together").into()),
    }
}

/// Copies elements by their places along strides.
fn strided<T: Copy>(data: &[T], shape: &[usize], strides: &[usize], first: usize) -> Vec<T> {
    let count: usize = shape.iter().product();
    let mut result = Vec::with_capacity(count);
    let mut index = vec![0; shape.len()];
    let mut place = first;
    for _ in 0..count {
        result.push(data[place]);
        for at in (0..shape.len()).rev() {
            index[at] += 1;
            place += strides[at];
            if index[at] < shape[at] {
                break;
            }
            place -= strides[at] * shape[at];
            index[at] = 0;
        }
    }
    result
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    strides
}

fn copied(x: &Constant, shape: Vec<usize>, strides: &[usize]) -> Outcome<Constant> {
    elements(&shape).ok_or("it gives too many elements")?;
    let data = match &x.data {
        Data::Floats(data) => Data::Floats(Rc::new(strided(data, &shape, strides, 0))),
        Data::Ints(data) => Data::Ints(Rc::new(strided(data, &shape, strides, 0))),
    };
    Ok(Constant {
        shape,
        data,
        ..x.clone()
    })
}

pub(super) fn transposed(x: &Constant, order: &[usize]) -> Outcome<Constant> {
    let is_order = (0..x.shape.len()).all(|at| order.contains(&at));
    if !is_order || order.len() != x.shape.len() {
        return Err("its order is not one of all dimensions".into());
    }
    let from = strides(&x.shape);
    let shape = order.iter().map(|at| x.shape[*at]).collect();
    let strides: Vec<usize> = order.iter().map(|at| from[*at]).collect();
    copied(x, shape, &strides)
}

/// Takes indices along an axis.
fn taken(x: &Constant, axis: usize, indices: impl Iterator<Item = usize>) -> Outcome<Constant> {
    let indices: Vec<usize> = indices.collect();
    let extent = x.shape[axis];
    if indices.iter().any(|index| *index >= extent) {
        return Err(format!("an index is not below {extent}").into());
    }
    let inner: usize = x.shape[axis + 1..].iter().product();
    let outer: usize = x.shape[..axis].iter().product();
    let mut shape = x.shape.clone();
    shape[axis] = indices.len();
    elements(&shape).ok_or("it gives too many elements")?;
    fn take<T: Copy>(
        data: &[T],
        outer: usize,
        extent: usize,
        inner: usize,
        at: &[usize],
    ) -> Vec<T> {
        let each = (0..outer).flat_map(|o| at.iter().map(move |i| (o * extent + i) * inner));
        each.flat_map(|from| data[from..from + inner].iter().copied())
            .collect()
    }
    let data = match &x.data {
        Data::Floats(data) => Data::Floats(Rc::new(take(data, outer, extent, inner, &indices))),
        Data::Ints(data) => Data::Ints(Rc::new(take(data, outer, extent, inner, &indices))),
    };
    Ok(Constant::new(shape, data))
}

fn gathered(operator: Operator<'_>, x: &Constant, indices: Option<&Constant>) -> Outcome<Constant> {
    let at = axis(operator.int("axis").unwrap_or(0), x.shape.len())?;
    let indices = indices.ok_or("its indices are not known before the network runs")?;
    let values = indices
        .as_ints()
        .ok_or("its indices are no whole numbers")?;
    let values = values.iter().map(|value| axis(*value, x.shape[at]));
    let values: Vec<usize> = values.collect::<Outcome<_>>()?;
    let mut result = taken(x, at, values.into_iter())?;
    result.shape.splice(at..=at, indices.shape.iter().copied());
    Ok(result)
}

fn concatenated(operator: Operator<'_>, inputs: &[Option<&Constant>]) -> Outcome<Constant> {
    let parts: Option<Vec<&Constant>> = inputs.iter().copied().collect();
    let parts = parts.ok_or("a part is missing")?;
    let rank = parts[0].shape.len();
    let at = axis(operator.int("axis").unwrap_or(1), rank)?;
    let others = |c: &Constant| {
        let mut shape = c.shape.clone();
        (shape.len() == rank).then(|| shape.remove(at))?;
        Some(shape)
    };
    let first = others(parts[0]);
    if parts.iter().any(|part| others(part) != first) {
        return Err("its parts are of different shapes".into());
    }
    let outer: usize = parts[0].shape[..at].iter().product();
    let mut shape = parts[0].shape.clone();
    shape[at] = parts.iter().map(|part| part.shape[at]).sum();
    elements(&shape).ok_or("it gives too many elements")?;
    fn join<'a, T: Copy + 'a>(parts: &[(&'a [T], usize)], outer: usize) -> Vec<T> {
        let rows =
            (0..outer).flat_map(|o| parts.iter().map(move |(data, n)| &data[o * n..(o + 1) * n]));
        rows.flatten().copied().collect()
    }
    let inner = |part: &&Constant| part.shape[at..].iter().product::<usize>();
    let floats: Option<Vec<(&[f32], usize)>> = parts
        .iter()
        .map(|p| Some((p.as_floats()?, inner(p))))
        .collect();
    if let Some(floats) = floats {
        return Ok(Constant::floats(shape, join(&floats, outer)));
    }
    let ints: Option<Vec<(&[i64], usize)>> = parts
        .iter()
        .map(|p| Some((p.as_ints()?, inner(p))))
        .collect();
    let ints = ints.ok_or("it joins whole and real numbers")?;
    Ok(Constant::ints(shape, join(&ints, outer)))
}

/// Computes the shape that two shapes are repeated to.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], at: usize| {
        let from_behind = rank - at;
        shape
            .len()
            .checked_sub(from_behind)
            .map_or(1, |at| shape[at])
    };
    let both = (0..rank).map(|at| match (extent(a, at), extent(b, at)) {
        (x, y) if x == y => Some(x),
        (1, y) => Some(y),
        (x, 1) => Some(x),
        _ => None,
    });
    both.collect()
}

pub(super) fn expanded(x: &Constant, shape: &[usize]) -> Outcome<Constant> {
    let wrong = || format!("{:?} can't be repeated to {shape:?}", x.shape);
    let shape = broadcast(&x.shape, shape).ok_or_else(wrong)?;
    let missing = shape.len() - x.shape.len();
    let own = strides(&x.shape);
    let strides: Vec<usize> = (0..shape.len())
        .map(|at| match at.checked_sub(missing) {
            Some(at) if x.shape[at] > 1 => own[at],
            _ => 0,
        })
        .collect();
    copied(x, shape, &strides)
}

fn tiled(x: &Constant, repeats: &[usize]) -> Outcome<Constant> {
    if repeats.len() != x.shape.len() {
        return Err("it repeats other dimensions than there are".into());
    }
    let mut result = x.clone();
    for (axis, repeat) in repeats.iter().enumerate() {
        let extent = x.shape[axis];
        extent
            .checked_mul(*repeat)
            .ok_or("it gives too many elements")?;
        let indices = (0..*repeat).flat_map(|_| 0..extent);
        result = taken(&result, axis, indices)?;
    }
    Ok(result)
}

fn split(
    operator: Operator<'_>,
    x: &Constant,
    second: Option<&Constant>,
) -> Outcome<Vec<Constant>> {
    let at = axis(operator.int("axis").unwrap_or(0), x.shape.len())?;
    let mut start = 0;
    let parts = parts(operator, second, x.shape[at])?.into_iter();
    parts
        .map(|count| {
            start += count;
            taken(x, at, start - count..start)
        })
        .collect()
}

fn cast(x: &Constant, to: i64) -> Constant {
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
    Constant { data, ..x.clone() }
}

fn unary(kind: &str, x: &Constant) -> Option<Constant> {
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
        "Mod" => (
            |a, b| a.rem_euclid(b),
            |a, b| a.checked_rem_euclid(b),
            false,
        ),
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

fn binary(kind: &str, x: &Constant, y: Option<&Constant>) -> Outcome<Option<Constant>> {
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
    let (x, y) = (cast(&x, 1), cast(&y, 1));
    let (Some(a), Some(b)) = (x.as_floats(), y.as_floats()) else {
        return Ok(None);
    };
    let values = a.iter().zip(b).map(|(a, b)| real(*a, *b)).collect();
    let result = Constant::floats(shape, values);
    Ok(Some(if is_truth { cast(&result, 9) } else { result }))
}

fn chosen(inputs: &[Option<&Constant>]) -> Outcome<Constant> {
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

fn counted(inputs: &[Option<&Constant>]) -> Outcome<Constant> {
    let whole = |index: usize| {
        let input = inputs.get(index).copied().flatten();
        Some(*input?.as_ints()?.first()?)
    };
    let (Some(start), Some(limit), Some(step)) = (whole(0), whole(1), whole(2)) else {
        return Err("its bounds are no whole numbers".into());
    };
    let count = match step {
        1.. => limit.saturating_sub(start).max(0) as u64,
        _ => return Err("it walks backwards".into()),
    };
    let count = count.div_ceil(step as u64) as usize;
    elements(&[count]).ok_or("it gives too many elements")?;
    Ok(Constant::row(
        (0..count as i64).map(|at| start + at * step).collect(),
    ))
}

/// Reduces all dimensions of whole numbers, which is what shapes need.
fn reduced(
    operator: Operator<'_>,
    kind: &str,
    x: &Constant,
    axes_input: Option<&Constant>,
) -> Option<Constant> {
    let values = x.as_ints()?;
    let axes = axes(operator, axes_input, x.shape.len()).ok()?;
    if x.shape.len() != 1 || axes.is_some_and(|axes| axes != [0]) {
        return None;
    }
    let value = match kind {
        "ReduceProd" => values.iter().try_fold(1i64, |n, v| n.checked_mul(*v))?,
        "ReduceSum" => values.iter().try_fold(0i64, |n, v| n.checked_add(*v))?,
        "ReduceMax" => *values.iter().max()?,
        _ => *values.iter().min()?,
    };
    let shape = match operator.int("keepdims").unwrap_or(1) {
        0 => Vec::new(),
        _ => vec![1],
    };
    Some(Constant::ints(shape, vec![value]))
}
