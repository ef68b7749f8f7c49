//! Known numbers that are put into another order, taken or repeated.

use std::rc::Rc;

use super::super::attributes::{Operator, axis};
use super::super::constant::{Constant, Data, elements};
use super::super::error::Outcome;
use super::shapes::{broadcast, parts};

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

pub(crate) fn transposed(x: &Constant, order: &[usize]) -> Outcome<Constant> {
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
pub(crate) fn taken(
    x: &Constant,
    axis: usize,
    indices: impl Iterator<Item = usize>,
) -> Outcome<Constant> {
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

pub(crate) fn gathered(
    operator: Operator<'_>,
    x: &Constant,
    indices: Option<&Constant>,
) -> Outcome<Constant> {
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

pub(crate) fn concatenated(
    operator: Operator<'_>,
    inputs: &[Option<&Constant>],
) -> Outcome<Constant> {
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

pub(crate) fn expanded(x: &Constant, shape: &[usize]) -> Outcome<Constant> {
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

pub(crate) fn tiled(x: &Constant, repeats: &[usize]) -> Outcome<Constant> {
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

pub(crate) fn split(
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
