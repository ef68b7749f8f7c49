//! Computes operators on shapes: orders, axes, ranges.

use super::super::attributes::{Operator, axis, range, target};
use super::super::constant::Constant;
use super::super::error::Outcome;

/// Returns the part of a shape that `Shape` asks for.
pub(crate) fn shape(operator: Operator<'_>, shape: &[usize]) -> Outcome<Constant> {
    let end = operator.int("end").unwrap_or(i64::MAX);
    let (start, count) = range(operator.int("start").unwrap_or(0), end, shape.len());
    let part = shape[start..start + count].iter();
    Ok(Constant::row(part.map(|extent| *extent as i64).collect()))
}

/// Returns the order of a `Transpose`, by default the reverse.
pub(crate) fn order(operator: Operator<'_>, rank: usize) -> Outcome<Vec<usize>> {
    match operator.ints("perm") {
        None => Ok((0..rank).rev().collect()),
        Some(order) => order.iter().map(|from| axis(*from, rank)).collect(),
    }
}

/// Reads axes from the second input or, in older operator sets, from a setting.
pub(crate) fn axes(
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
pub(crate) fn regrouped(
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
pub(crate) type Range = (usize, usize, usize, isize);

/// Lists the ranges that a `Slice` takes.
pub(crate) fn slices(
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
pub(crate) fn lengths(input: Option<&Constant>) -> Outcome<Vec<usize>> {
    let values = input.and_then(Constant::as_ints);
    let values = values.ok_or("its shape is not known before the network runs")?;
    let extents: Option<Vec<usize>> = values.iter().map(|v| usize::try_from(*v).ok()).collect();
    Ok(extents.ok_or_else(|| format!("{values:?} is no shape"))?)
}

/// Lists how many indices each output of a `Split` gets.
pub(crate) fn parts(
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

/// Computes the shape that two shapes are repeated to.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
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
